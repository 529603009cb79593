"""Checkpoints of one solve, in a hidden folder beside its result: the same command resumes from them.

Only long solves make any: the first is written when `checkpoint_seconds` of work are not kept yet.
What a checkpoint holds is what the optimizer carries from round to round, so a descent that goes on
from one ends on the same bits. What comes before the descent (alignment, starts) is computed again.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hoijax.errors import UserError
from hoijax.io import sigterm
from hoijax.io.checkpoints import Checkpoints, newest
from hoijax.io.json_files import differences, read_json, write_json
from hoijax.progress import Log, counted, silent

HEADER, ROWS = "solve.json", "rows.json"
CHECKPOINT_SECONDS = 30.0
ENVIRONMENT = "HOIJAX_CHECKPOINT_SECONDS"


def checkpoint_seconds() -> float:
    """Seconds of work that may be lost: $HOIJAX_CHECKPOINT_SECONDS, or 30. Raises UserError."""
    text = os.environ.get(ENVIRONMENT, "")
    try:
        seconds = float(text) if text else CHECKPOINT_SECONDS
    except ValueError:
        seconds = -1.0
    if not seconds >= 0.0:
        raise UserError(f"{ENVIRONMENT} is '{text}'. Give seconds, 0 or more.")
    return seconds


def checkpoint_folder(out: str | Path) -> Path:
    """The hidden folder beside a result."""
    out = Path(out).absolute()
    return out.with_name(f".{out.name}.checkpoints")


def state_of(path: str | Path) -> list[list[Any]]:
    """Names, sizes and times of a file, or of the files of a folder: what changes when they do."""
    path = Path(path)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    states = [(file.name, file.stat()) for file in files if file.is_file()]
    return [[name, state.st_size, state.st_mtime_ns] for name, state in states]


class SolveCheckpoints:
    """What is kept of one solve while it runs.

    about: everything the result depends on (JSON). What an interrupted solve left is continued where
    that agrees; else UserError naming the differences, or, with `replace`, dropped with a line.
    restart: what is there is dropped in any case.
    """

    def __init__(
        self,
        folder: str | Path,
        about: Mapping[str, Any],
        *,
        restart: bool = False,
        replace: bool = False,
        log: Log = silent,
    ) -> None:
        self.folder, self.log = Path(folder), log
        self.about = json.loads(json.dumps(about, sort_keys=True, default=str))
        self.every = checkpoint_seconds()
        self._store: Checkpoints | None = None
        self._ended: dict[str, tuple[int, Any]] = {}
        """Stages that are over and were too short to be written when they ended."""
        self._last = time.monotonic()
        there = self.folder.is_dir()
        if there and not restart:
            restart = self._is_void(replace)
        if there and restart:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _is_void(self, replace: bool) -> bool:
        """Whether what is there is of something else, and is to be dropped."""
        header = read_json(self.folder / HEADER)
        if header is None:  # killed before the header was written
            return True
        differ = differences(header, self.about)
        if not differ:
            return False
        listed = "\n".join(f"  {line}" for line in differ)
        if not replace:
            raise UserError(
                f"'{self.folder}' holds an interrupted solve of something else:\n{listed}\n"
                "Give the same bundle and settings to continue it, or --restart to start again."
            )
        self.log(f"what an interrupted solve left is dropped, it is of something else:\n{listed}")
        return True

    def stage(self, name: str) -> "StageWatch":
        """What looks at one descent; names tell apart those of one solve."""
        return StageWatch(self, name)

    def drop(self) -> None:
        """The result is there: nothing is to be continued."""
        if self._store is not None:
            self._store.close()
            self._store = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def load(self, stage: str, like: Any) -> tuple[int, Any] | None:
        """(step, tree) that an earlier run left of a stage, or None."""
        step = newest(self.folder / stage)
        if not isinstance(step, int):
            return None
        try:
            return step, self._opened().load(stage, like)
        except UserError as error:
            self.log(f"{stage} restarts: {error}")
            return None

    def is_due(self) -> bool:
        """Whether as much work is not kept as may be lost, or the process must go."""
        return sigterm.asked() or time.monotonic() - self._last >= self.every

    def keep(self, stage: str, step: int, tree: Any) -> None:
        """Write a checkpoint, in a thread; when the process must go, wait for it.

        A disk that takes no more costs the checkpoint and not the solve.
        """
        try:
            store = self._opened()
            for name, (ended, content) in self._ended.items():
                store.save_soon(name, ended, content)
            store.save_soon(stage, step, tree)
            if sigterm.asked():
                store.wait()
            self._ended.clear()
        except Exception as error:  # Orbax and its stores raise many kinds
            reason = str(error).strip().splitlines() or [type(error).__name__]
            self.log(f"no checkpoint in '{self.folder}': {reason[0][:200]}. The solve goes on.")
        self._last = time.monotonic()

    def keep_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep a table as far as it is."""
        try:
            self._begin()
            write_json(self.folder / ROWS, {"rows": list(rows)})
        except OSError as error:
            self.log(f"no checkpoint in '{self.folder}': {error}. The work goes on.")

    def rows(self) -> list[dict[str, Any]]:
        """The table that an earlier run left."""
        return (read_json(self.folder / ROWS) or {}).get("rows", [])

    def holds(self, stage: str) -> bool:
        """Whether an earlier run left anything of a stage."""
        return newest(self.folder / stage) is not None

    def part(self, name: str, tree: Any) -> None:
        """Something is over that is not done in steps; it is written at once where that is due."""
        if self.is_due():
            self.keep(name, 1, tree)
            if sigterm.asked():
                self.log(f"stopped after {name}; the same command resumes there")
        else:
            self.ended(name, 1, tree)

    def ended(self, stage: str, step: int, tree: Any) -> None:
        """A stage is over; it is written together with the next checkpoint."""
        self._ended[stage] = step, jax.tree.map(np.array, tree)

    def _opened(self) -> Checkpoints:
        # Not before it is needed: Orbax takes a second to import.
        if self._store is None:
            self._begin()
            self._store = Checkpoints(self.folder)
        return self._store

    def _begin(self) -> None:
        """The folder, and what it is of."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / HEADER).exists():
            write_json(self.folder / HEADER, self.about)


class StageWatch:
    """`solver.segments.Watch` of one descent of a solve."""

    def __init__(self, checkpoints: SolveCheckpoints, name: str) -> None:
        self.kept, self.name = checkpoints, name

    def resume(self, like: Any) -> tuple[int, Any] | None:
        """What an earlier run left."""
        carry = self.kept.load(self.name, like)
        if carry is not None:
            self.kept.log(f"{self.name}: goes on after {carry[0]} rounds of an interrupted run")
        return carry

    def look(self, done: int, total: int, carry: Any) -> None:
        """Keep the descent where that is due."""
        if self.kept.is_due():
            self.kept.keep(self.name, done, carry)
            if sigterm.asked():
                self.kept.log(
                    f"stopped: {self.name} is checkpointed after {done} of {total} rounds; the same "
                    "command resumes there"
                )
            else:
                counted(self.kept.log, self.name, done, total)
        elif done == total:
            self.kept.ended(self.name, done, carry)
