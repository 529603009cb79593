"""Working through a folder in groups of items: a failure ends nothing else."""

import errno
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from hoijax.errors import UserError
from hoijax.progress import Log, silent
from hoijax.work.folder import Claim, Item, WorkFolder
from hoijax.work.manifest import writing

FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""No space, no quota, read-only: the next item would fail in the same way."""

Row = Mapping[str, Any]
"""What the summary says of an item."""


def is_fatal(error: BaseException | None) -> bool:
    """Whether an error says that nothing more can be written."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FATAL:
            return True
        error = error.__cause__
    return False


def describe(error: Exception) -> str:
    """A failure in words; what was not foreseen carries its type."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Progress:
    """How far a folder, or this process's shard of it, is."""

    done: int
    failed: dict[str, str]
    """Why, by item."""
    total: int

    @property
    def open(self) -> int:
        """Items without a marker: once nothing is left to take, those that other processes have."""
        return self.total - self.done - len(self.failed)


def progress_of(folder: WorkFolder, items: Sequence[Item] | None = None) -> Progress:
    """How far the folder's own items, or these, are now."""
    items = folder.items if items is None else items
    left = [item for item in items if folder.done(item) is None]
    failed = {item.id: why for item in left if (why := folder.failure(item))}
    return Progress(len(items) - len(left), failed, len(items))


def _take_alone(folder: WorkFolder) -> Claim | None:
    """The next free item, of those that fewest processes died over."""
    for item, _ in folder.waiting():
        if (claim := folder.take(item, alone=True)) is not None:
            return claim
    return None


@dataclass(frozen=True)
class GroupWork:
    """How items are done many at a time; the first and the last run in threads, side by side."""

    prepare: Callable[[Item], Any]
    """What one item needs before its group is solved."""
    solve: Callable[[Sequence[Any]], Sequence[Any]]
    """All that was prepared to as many solutions; an Exception in place of one is a failure."""
    finish: Callable[[Item, Any, Any], Row]
    """(item, prepared, solution) -> row, once the results are in their place."""
    size: Callable[[], int]
    """Items of a group; asked before every group."""
    fraction: float = 1 / 8
    """At most this part of what is open is one group, so that later processes find work."""


@dataclass
class _Groups:
    """Takes items of a folder by groups, the next one while the last is still being solved."""

    folder: WorkFolder
    work: GroupWork
    pool: ThreadPoolExecutor
    log: Log
    at_start: int = 0
    begun: float = field(default_factory=time.perf_counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> list[tuple[Claim, Future]]:
        """Lock a group of items that no process began, and prepare it; empty where none are left."""
        waiting = self.folder.waiting()
        size = min(self.work.size(), max(ceil(len(waiting) * self.work.fraction), 1))
        group: list[tuple[Claim, Future]] = []
        for item, begun in waiting:
            if begun or len(group) == size:
                break
            if (claim := self.folder.take(item, alone=False)) is not None:
                group.append(self.prepare(claim))
        return group

    def prepare(self, claim: Claim) -> tuple[Claim, Future]:
        return claim, self.pool.submit(self.work.prepare, claim.item)

    def solve(self, group: Sequence[tuple[Claim, Future]]) -> list[Future]:
        """Solve a group; its results are written in threads."""
        ready: list[tuple[Claim, Any]] = []
        for claim, prepared in group:
            try:
                ready.append((claim, prepared.result()))
            except Exception as error:
                self._end(claim, error)
        if not ready:
            return []
        try:
            solutions = self.work.solve([prepared for _, prepared in ready])
        except Exception as error:
            if len(ready) == 1:
                self._end(ready[0][0], error)
                return []
            self.log(f"a group of {len(ready)} failed ({describe(error)}): one by one")
            return [future for one in ready for future in self._solve_one(*one)]
        return [
            self.pool.submit(self._finish, claim, prepared, solution)
            for (claim, prepared), solution in zip(ready, solutions, strict=True)
        ]

    def _solve_one(self, claim: Claim, prepared: Any) -> list[Future]:
        try:
            (solution,) = self.work.solve([prepared])
        except Exception as error:
            self._end(claim, error)
            return []
        return [self.pool.submit(self._finish, claim, prepared, solution)]

    def _finish(self, claim: Claim, prepared: Any, solution: Any) -> None:
        def act() -> Row:
            if isinstance(solution, Exception):
                raise solution
            return self.work.finish(claim.item, prepared, solution)

        finish_item(self.folder, claim, act, self.log)
        self._say_speed()

    def _end(self, claim: Claim, error: Exception) -> None:
        fail_item(self.folder, claim, error, self.log)
        self._say_speed()

    def _say_speed(self) -> None:
        with self.lock:
            seconds = time.perf_counter() - self.begun
            self.log(_speed(self.folder, self.at_start, seconds))


def work_in_groups(
    folder: WorkFolder, work: GroupWork, threads: int, log: Log = silent
) -> Progress:
    """Do every item that nobody else does; returns when what is left is in other hands.

    One group is solved while the next is prepared and the last one's results are written. What is raised is
    that item's failure, and ends nothing else, unless nothing more can be written: then UserError.
    Items over which a process died, with others beside them, are done afterwards, each alone: so no
    other pays for one that ends processes, and it is blamed only for its own.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="items")
    try:
        groups = _Groups(folder, work, pool, log, folder.count_settled())
        written: list[Future] = []
        group = groups.take()
        while group:
            following = groups.take()
            before, written = written, groups.solve(group)
            _wait(before)
            group = following
        _wait(written)
        while (claim := _take_alone(folder)) is not None:
            _wait(groups.solve([groups.prepare(claim)]))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return progress_of(folder)


def _wait(futures: Sequence[Future]) -> None:
    for future in futures:
        future.result()


def finish_item(folder: WorkFolder, claim: Claim, act: Callable[[], Row], log: Log) -> None:
    """Do an item (`act` returns its row) and mark it as done, or as failed."""
    try:
        folder.finish(claim, act())
    except Exception as error:
        fail_item(folder, claim, error, log)


def fail_item(folder: WorkFolder, claim: Claim, error: Exception, log: Log) -> None:
    """Record why an item has no result. Raises UserError where nothing more can be written."""
    name = claim.item.id
    if is_fatal(error):
        folder.give_back(claim)
        raise UserError(
            f"{describe(error)}\nStopped at {name}; the same command resumes there."
        ) from error
    with writing(folder.out):
        folder.fail(claim, describe(error))
    log(f"{name}: failed: {describe(error)}")


def _speed(folder: WorkFolder, at_start: int, seconds: float) -> str:
    """One line: how far all processes together are, how fast, and how long it still takes."""
    count, total = folder.count_settled(), len(folder.items)
    rate = max(count - at_start, 1) / max(seconds, 1e-3)
    left = (total - count) / rate
    speed = f"{rate:.2f} scenes/s" if rate >= 1.0 else f"{60.0 * rate:.1f} scenes/min"
    return f"{count}/{total} scenes, {speed}, {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
