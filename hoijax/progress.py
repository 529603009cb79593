"""What long work says while it runs: to any callable that takes a message, more to one that counts.

Code takes `log`, a function of one string. Where it is more than that (`hoijax.cli.console.Progress`),
it also hears which stage ended and how much of one is done, and can show what is left.
"""

import time
from collections.abc import Callable

Log = Callable[[str], None]


def silent(_: str) -> None:
    """A log that says nothing."""


def finished(log: Log, stage: str, seconds: float) -> None:
    """A stage has ended."""
    heard = getattr(log, "finished", None)
    if heard is not None:
        heard(stage, seconds)
    else:
        log(f"{stage}: {seconds:.1f} s")


def counted(log: Log, stage: str, done: int, total: int) -> None:
    """`done` of `total` equal parts of a stage are over."""
    heard = getattr(log, "counted", None)
    if heard is not None:
        heard(stage, done, total)
    elif total > 1:
        log(f"{stage}: {done} of {total}")


class Stopwatch:
    """Wall time of each stage, reported as it ends."""

    def __init__(self, times: dict[str, float], log: Log) -> None:
        self.times, self.log, self.start = times, log, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.times[name] = round(now - self.start, 3)
        self.start = now
        finished(self.log, name, self.times[name])

    def restart(self) -> None:
        """What has passed since the last lap belongs to no stage."""
        self.start = time.perf_counter()
