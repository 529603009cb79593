"""Checkpoints of a composition on disk (Orbax): every stage on its own, the newest of each is kept."""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hoijax.errors import UserError

__all__ = ["Checkpoints"]

DONE = "done"


class Checkpoints:
    """Trees of arrays by stage and step in a folder; each appears whole or not at all.

    A tree is read back into the shape of one like it: a checkpoint of other settings is refused.
    """

    def __init__(self, folder: str | Path):
        import orbax.checkpoint as ocp

        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._writer = ocp.Checkpointer(ocp.StandardCheckpointHandler())
        self._arguments = ocp.args

    def save(self, stage: str, step: int | str, tree: Any) -> Path:
        """Write a checkpoint, then drop the older ones of the stage. step: a number, or DONE."""
        path = self.folder / stage / str(step)
        host = jax.tree.map(np.asarray, tree)
        self._writer.save(path, args=self._arguments.StandardSave(_plain(host)), force=True)
        for old in path.parent.iterdir():
            if old.name != path.name:
                shutil.rmtree(old, ignore_errors=True)
        return path

    def latest(self, stage: str) -> int | str | None:
        """The newest checkpoint of a stage: DONE, a step, or None."""
        folder = self.folder / stage
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        if DONE in names:
            return DONE
        steps = [int(name) for name in names if name.isdigit()]
        return max(steps) if steps else None

    def load(self, stage: str, like: Any) -> Any:
        """The newest checkpoint of a stage. UserError where it does not fit or is damaged."""
        step = self.latest(stage)
        if step is None:
            raise UserError(f"'{self.folder}' holds no checkpoint of the stage {stage}.")
        leaves, tree = jax.tree.flatten(like)
        path = self.folder / stage / str(step)
        try:
            found = self._writer.restore(
                path, args=self._arguments.StandardRestore(_plain(jax.tree.map(np.asarray, like)))
            )
        except Exception as error:  # Orbax and its stores raise many kinds
            raise UserError(_unfit(path, str(error).splitlines()[0][:200])) from error
        values = [found[str(i)] for i in range(len(leaves))]
        for value, leaf in zip(values, leaves, strict=True):
            if np.shape(value) != np.shape(leaf):
                raise UserError(_unfit(path, f"shape {np.shape(value)}, expected {np.shape(leaf)}"))
        return jax.tree.unflatten(tree, [jax.numpy.asarray(value) for value in values])


def _plain(tree: Any) -> dict[str, Any]:
    """Leaves by number: what is stored does not depend on how classes are called."""
    return {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(tree))}


def _unfit(path: Path, reason: str) -> str:
    return (
        f"the checkpoint '{path}' cannot be continued: {reason}. It may be of other settings; start anew "
        "in another --out, or delete the folder."
    )
