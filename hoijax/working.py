"""Working through a manifest: item by item, a failure ends nothing else, progress in one line."""

import errno
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hoijax.claims import Claim
from hoijax.errors import UserError
from hoijax.manifest import Item, Manifest, Superseded, writing

FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""No space, no quota, read-only: the next item would fail in the same way."""

Log = Callable[[str], None]


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
            _do(manifest, item, claim, act, log)
            log(_progress(manifest, at_start, time.perf_counter() - begun))
    return standing(manifest)


def _do(manifest: Manifest, item: Item, claim: Claim, act: Callable, log: Log) -> None:
    try:
        row = act(item, lambda: manifest.check(claim))
        manifest.finish(item, claim, row)
    except Superseded:
        manifest.claims.release(claim)
        log(f"{item.id}: another process took it over, after this one seemed dead")
    except Exception as error:
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
