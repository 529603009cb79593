"""Where the `hoijax` program starts: Ctrl-C ends it in one line from its first import on."""

import os
import select
import sys

from hoijax.cli import interrupts

ENDED_BY_SIGNALS = (interrupts.EXIT_CODE, 143)

PIPE_EXIT_CODE = 141
"""As of programs that SIGPIPE ends."""


def _reader_is_gone() -> bool:
    """Whether nobody reads what is printed, as with `hoijax solve --help | head -1`."""
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), 0)  # errors are reported whatever is asked
    return bool(pipe.poll(0))


def main() -> None:
    """Entry point of `hoijax`."""
    try:
        interrupts.listen()
        from hoijax.cli.main import main as run

        run()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at its end
        sys.exit(PIPE_EXIT_CODE)
    except KeyboardInterrupt:
        interrupts.leave(message=interrupts.MESSAGE)
    except SystemExit as stop:
        if stop.code in ENDED_BY_SIGNALS:
            interrupts.leave(stop.code)
        raise


if __name__ == "__main__":
    main()
