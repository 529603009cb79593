"""Where the `hoijax` program starts: Ctrl-C ends it in one line from its first import on."""

from hoijax.cli import interrupts

ENDED_BY_SIGNALS = (interrupts.EXIT_CODE, 143)


def main() -> None:
    """Entry point of `hoijax`."""
    interrupts.listen()
    try:
        from hoijax.cli.main import main as run

        run()
    except KeyboardInterrupt:
        interrupts.leave(message=interrupts.MESSAGE)
    except SystemExit as stop:
        if stop.code in ENDED_BY_SIGNALS:
            interrupts.leave(stop.code)
        raise


if __name__ == "__main__":
    main()
