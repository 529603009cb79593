"""Working through a manifest: item by item or in groups, a failure ends nothing else."""

import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from hoijax.errors import UserError
from hoijax.jobs.claims import Claim
from hoijax.jobs.manifest import Item, Manifest, Superseded, writing
from hoijax.progress import Log

FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""No space, no quota, read-only: the next item would fail in the same way."""


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
class Standing:
    """How far a folder is."""

    done: int
    failed: dict[str, str]
    elsewhere: int
    """Items that other living processes are at work on."""
    total: int


def work_through(
    manifest: Manifest,
    act: Callable[[Item, Callable[[], None]], Mapping[str, Any]],
    log: Log = lambda message: None,
) -> Standing:
    """Do every item that nobody else does; returns when what is left is in other living hands.

    act: does one item and returns its row; it calls its second argument just before results take
    their place. What it raises is that item's failure, and ends nothing else, unless nothing more
    can be written: then UserError.
    """
    begun, at_start = time.perf_counter(), None
    taken = True
    while taken:  # again after the last item: a process may have died meanwhile
        taken = False
        for item in manifest.items:
            with writing(manifest.out):
                claim = manifest.take(item)
            if claim is None:
                continue
            taken = True
            at_start = at_start if at_start is not None else manifest.count_settled()
            log(f"{item.id}: begun")
            finish_item(manifest, item, claim, act, log)
            log(_progress(manifest, at_start, time.perf_counter() - begun))
    return standing(manifest)


Taken = tuple[Item, Claim]


@dataclass(frozen=True)
class GroupWork:
    """How items are done many at a time; the first and the last run in threads, side by side."""

    prepare: Callable[[Item], Any]
    """What one item needs before its group is solved."""
    solve: Callable[[Sequence[Any]], Sequence[Any]]
    """Everything that was prepared to as many solutions."""
    finish: Callable[[Item, Any, Any, Callable[[], None]], Mapping[str, Any]]
    """(item, prepared, solution, confirm) -> row; calls `confirm` just before results appear."""
    size: Callable[[], int]
    """Items of a group; asked before every group."""


SHARE_OF_OPEN = 8
"""A group takes at most this part of what is open, so that processes that come later find work."""


@dataclass
class _Groups:
    """Takes items of a manifest by groups, the next one while the last is still being solved."""

    manifest: Manifest
    work: GroupWork
    pool: ThreadPoolExecutor
    log: Log
    at_start: int | None = None
    begun: float = field(default_factory=time.perf_counter)
    alone: deque[Taken] = field(default_factory=deque)
    """Items over which a process died: solved by themselves, so that no other pays for them."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> list[tuple[Taken, Future]]:
        """Claim the next group and begin to prepare it; empty where nothing is left to take."""
        group = [self.alone.popleft()] if self.alone else self._claim()
        if group and self.at_start is None:
            self.at_start = self.manifest.count_settled()
        return [(taken, self.pool.submit(self.work.prepare, taken[0])) for taken in group]

    def _claim(self) -> list[Taken]:
        group: list[Taken] = []
        left = len(self.manifest.items) - self.manifest.count_settled()
        size = min(self.work.size(), max(-(-left // SHARE_OF_OPEN), 1))
        for item in self.manifest.items:
            with writing(self.manifest.out):
                claim = self.manifest.take(item)
            if claim is None:
                continue
            if claim.attempt:
                self.alone.append((item, claim))
            else:
                group.append((item, claim))
            if len(group) == size:
                break
        return group or ([self.alone.popleft()] if self.alone else [])

    def solve(self, group: Sequence[tuple[Taken, Future]]) -> list[Future]:
        """Solve a group; its results are written in threads."""
        ready: list[tuple[Taken, Any]] = []
        for taken, prepared in group:
            try:
                ready.append((taken, prepared.result()))
            except Exception as error:
                self._end(taken, error)
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
            self.pool.submit(self._finish, taken, prepared, solution)
            for (taken, prepared), solution in zip(ready, solutions, strict=True)
        ]

    def _solve_one(self, taken: Taken, prepared: Any) -> list[Future]:
        try:
            (solution,) = self.work.solve([prepared])
        except Exception as error:
            self._end(taken, error)
            return []
        return [self.pool.submit(self._finish, taken, prepared, solution)]

    def _finish(self, taken: Taken, prepared: Any, solution: Any) -> None:
        def act(item: Item, confirm: Callable[[], None]) -> Mapping[str, Any]:
            return self.work.finish(item, prepared, solution, confirm)

        finish_item(self.manifest, *taken, act, self.log)
        self._progress()

    def _end(self, taken: Taken, error: Exception) -> None:
        fail_item(self.manifest, *taken, error, self.log)
        self._progress()

    def _progress(self) -> None:
        with self.lock:
            seconds = time.perf_counter() - self.begun
            self.log(_progress(self.manifest, self.at_start or 0, seconds))


def work_in_groups(
    manifest: Manifest,
    work: GroupWork,
    threads: int,
    log: Log = lambda message: None,
) -> Standing:
    """As `work_through`, with items solved in groups: one group is solved while the next is prepared
    and the last one's results are written."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="scenes")
    try:
        groups = _Groups(manifest, work, pool, log)
        writing_now: list[Future] = []
        group = groups.take()
        while group:
            following = groups.take()
            written = groups.solve(group)
            for future in writing_now:
                future.result()
            writing_now = written
            if not following:  # the last ones are written; a process may have died meanwhile
                for future in writing_now:
                    future.result()
                writing_now, following = [], groups.take()
            group = following
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return standing(manifest)


def finish_item(manifest: Manifest, item: Item, claim: Claim, act: Callable, log: Log) -> None:
    """Do a claimed item (`act` as in `work_through`) and mark it as done, or as failed."""
    try:
        row = act(item, lambda: manifest.check(claim))
        manifest.finish(item, claim, row)
    except Exception as error:
        fail_item(manifest, item, claim, error, log)


def fail_item(manifest: Manifest, item: Item, claim: Claim, error: Exception, log: Log) -> None:
    """Record why an item has no result. Raises UserError where nothing more can be written."""
    if isinstance(error, Superseded):
        manifest.claims.release(claim)
        log(f"{item.id}: another process took it over, after this one seemed dead")
        return
    if is_fatal(error):
        manifest.claims.release(claim)
        raise UserError(
            f"{describe(error)}\nStopped at {item.id}; the same command goes on from there."
        ) from error
    with writing(manifest.out):
        manifest.fail(item, claim, describe(error))
    log(f"{item.id}: failed: {describe(error)}")


def standing(manifest: Manifest) -> Standing:
    """How far the folder is now."""
    failed: dict[str, str] = {}
    done = 0
    for item in manifest.items:
        if manifest.done(item) is not None:
            done += 1
        elif why := manifest.last_failure(item):
            failed[item.id] = why
    return Standing(done, failed, len(manifest.living()), len(manifest.items))


def _progress(manifest: Manifest, at_start: int, seconds: float) -> str:
    """One line: how far all processes together are, how fast, and how long it still takes."""
    count, total = manifest.count_settled(), len(manifest.items)
    rate = max(count - at_start, 1) / max(seconds, 1e-3)
    left = (total - count) / rate
    speed = f"{rate:.2f} scenes/s" if rate >= 1.0 else f"{60.0 * rate:.1f} scenes/min"
    return f"{count}/{total} scenes, {speed}, {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
