"""Where the `hoijax` program starts: Ctrl-C ends it in one line from its first instruction on.

Until it is listened to, Python answers Ctrl-C with a traceback; so next to nothing is imported before.
"""

import _signal  # built in: `signal` itself imports `enum`, longer than all else here
import gc
import os
import sys

from hoijax.cli.endings import INTERRUPTED, INTERRUPTED_MESSAGE, READER_GONE

GARBAGE_THRESHOLDS = 20_000, 10, 10
"""Of the garbage collector, Python's first being 700: it goes through all that was imported, which stays,
five times in a warm solve, and takes a half second of it."""

ONE_BLAS_THREAD = "OPENBLAS_NUM_THREADS", "1"
"""Of numpy's products, which are small here: its threads wait for each other beside those of JAX."""


def _leave_at_once(*_: object) -> None:
    """Ctrl-C before anything is loaded, so before anything can be half written."""
    os.write(2, f"{INTERRUPTED_MESSAGE}\n".encode())
    os._exit(INTERRUPTED)


def _reader_is_gone() -> bool:
    """Whether nobody reads what is printed, as with `hoijax solve --help | head -1`."""
    import select

    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), 0)  # errors are reported whatever is asked
    return bool(pipe.poll(0))


def main() -> None:
    """Entry point of `hoijax`."""
    try:
        if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
            _signal.signal(_signal.SIGINT, _leave_at_once)
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        os.environ.setdefault(*ONE_BLAS_THREAD)
        from hoijax.cli import interrupts

        interrupts.listen()
        _run()
    except KeyboardInterrupt:  # Python's own, in the instructions before
        _leave_at_once()


def _run() -> None:
    from hoijax.cli import interrupts

    try:
        from hoijax.cli.main import main as run

        run()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at its end
        sys.exit(READER_GONE)
    except KeyboardInterrupt:
        interrupts.leave(message=INTERRUPTED_MESSAGE)
    except SystemExit as stop:
        if stop.code in (INTERRUPTED, 143):
            interrupts.leave(stop.code)
        raise


if __name__ == "__main__":
    main()
