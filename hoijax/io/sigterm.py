"""SIGTERM: a scheduler's notice that this process has seconds left.

The process ends with exit code 143, at once, or in work that can be kept (`held`) at the next place
where its state is whole. A notice that comes again changes nothing: schedulers send it to a process
and to its parent, which sends it on, and a checkpoint that is being written must not be cut off.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

EXIT_CODE = 128 + signal.SIGTERM
"""What a shell says of a process that SIGTERM ended: 143."""


class _Notice:
    """What this process was told; signals have no other place than its globals."""

    asked = False
    holders = 0


def listen() -> None:
    """Take SIGTERM as a notice from now on. Does nothing outside the main thread."""
    if threading.current_thread() is threading.main_thread():
        _Notice.asked = False
        signal.signal(signal.SIGTERM, _hear)


def _hear(signum: int, frame: object) -> None:
    first, _Notice.asked = not _Notice.asked, True
    if first and not _Notice.holders:
        sys.exit(EXIT_CODE)


def asked() -> bool:
    """Whether SIGTERM has arrived."""
    return _Notice.asked


def leave_if_asked() -> None:
    """End the process here if it was told to (SystemExit, so that everything is given back)."""
    if _Notice.asked:
        sys.exit(EXIT_CODE)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """In here a notice does not end the process: whoever works calls `leave_if_asked` in good places.

    It is also called at the end. Threads other than the main one never hold anything up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Notice.holders += 1
    try:
        yield
    finally:
        _Notice.holders -= 1
    leave_if_asked()
