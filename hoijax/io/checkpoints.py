"""Checkpoints on disk (Orbax): trees of arrays by stage and step, the newest of each is kept."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hoijax.errors import UserError

__all__ = ["DONE", "Checkpoints"]

DONE = "done"


class Checkpoints:
    """Trees of arrays by stage and step in a folder; each appears whole or not at all.

    A tree is read back into the shape of one like it: a checkpoint of other settings is refused.
    """

    def __init__(self, folder: str | Path):
        import orbax.checkpoint as ocp

        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._writer = ocp.AsyncCheckpointer(ocp.StandardCheckpointHandler())
        self._arguments = ocp.args
        self._writing: Path | None = None

    def save(self, stage: str, step: int | str, tree: Any) -> Path:
        """Write a checkpoint, then drop the older ones of the stage. step: a number, or DONE."""
        path = self.save_soon(stage, step, tree)
        self.wait()
        return path

    def save_soon(self, stage: str, step: int | str, tree: Any) -> Path:
        """As `save`, by a thread; what went wrong there is raised by the next call of any method."""
        self.wait()
        path = self.folder / stage / str(step)
        host = jax.tree.map(np.array, tree)  # a copy: the caller may give the arrays away
        self._writing = path
        self._writer.save(path, args=self._arguments.StandardSave(_plain(host)), force=True)
        return path

    def wait(self) -> None:
        """Until what is being written is on the disk and older checkpoints of its stage are gone."""
        path, self._writing = self._writing, None
        if path is None:
            return
        self._writer.wait_until_finished()
        for old in path.parent.iterdir():
            if old.name != path.name:
                shutil.rmtree(old, ignore_errors=True)

    def close(self) -> None:
        """Wait, and end the thread; what could not be written is no concern any more."""
        with contextlib.suppress(Exception):
            self.wait()
        self._writer.close()

    def latest(self, stage: str) -> int | str | None:
        """The newest checkpoint of a stage: DONE, a step, or None."""
        self.wait()
        return newest(self.folder / stage)

    def load(self, stage: str, like: Any) -> Any:
        """The newest checkpoint of a stage. UserError where it does not fit or is damaged."""
        step = self.latest(stage)
        if step is None:
            raise UserError(f"'{self.folder}' holds no checkpoint of the stage {stage}.")
        leaves, tree = jax.tree.flatten(like)
        path = self.folder / stage / str(step)
        try:
            empty = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), leaves)
            restored = self._writer.restore(
                path, args=self._arguments.StandardRestore(_plain(empty))
            )
        except Exception as error:  # Orbax and its stores raise many kinds
            raise UserError(_unfit(path, str(error).splitlines()[0][:200])) from error
        values = [restored.get(str(i), empty[i]) for i in range(len(leaves))]
        for value, leaf in zip(values, leaves, strict=True):
            if np.shape(value) != np.shape(leaf):
                raise UserError(_unfit(path, f"shape {np.shape(value)}, expected {np.shape(leaf)}"))
        return jax.tree.unflatten(tree, [jax.numpy.asarray(value) for value in values])


def newest(folder: Path) -> int | str | None:
    """The newest checkpoint in the folder of a stage, found without Orbax: DONE, a step, or None."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if DONE in names:
        return DONE
    steps = [int(name) for name in names if name.isdigit()]
    return max(steps) if steps else None


def _plain(tree: Any) -> dict[str, Any]:
    """Leaves by number: what is stored does not depend on how classes are called. Those that hold
    nothing are left out, for Orbax does not write them."""
    return {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(tree)) if np.size(leaf)}


def _unfit(path: Path, reason: str) -> str:
    return (
        f"the checkpoint '{path}' cannot be continued: {reason}. It may be of other settings; start anew "
        "in another --out, or delete the folder."
    )
