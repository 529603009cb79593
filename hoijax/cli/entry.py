"""Where the `hoijax` program starts: Ctrl-C ends it in one line from its first import on."""

import sys

from hoijax.cli import interrupts


def main() -> None:
    """Entry point of `hoijax`."""
    interrupts.raise_what_callbacks_swallow()
    interrupts.silence_late_interrupts()
    try:
        from hoijax.cli.main import main as run

        run()
    except KeyboardInterrupt:
        print(interrupts.MESSAGE, file=sys.stderr)
        sys.exit(interrupts.EXIT_CODE)


if __name__ == "__main__":
    main()
