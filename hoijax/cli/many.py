"""What commands over many scenes share: the part of them that is asked for, and what became of them."""

from pathlib import Path

from hoijax.cli.console import Reporter
from hoijax.errors import UserError


def parse_shard(text: str | None) -> tuple[int, int]:
    """ "3/32" to (3, 32); all of the work where nothing is given."""
    if text is None:
        return 0, 1
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise UserError(f"--shard: cannot read '{text}'. Write I/N with I from 0 to N-1.")
    return int(index), int(count)


def say_progress(reporter: Reporter, progress, out: Path, summary: str) -> None:
    """How many scenes there are; a failure ends the command with exit code 2."""
    reporter.say(summary)
    reporter.add(out=out, done=progress.done, total=progress.total, elsewhere=progress.open)
    reporter.add(failed=progress.failed)
    if progress.open:
        reporter.say(f"{progress.open} are in the hands of other processes")
    for name, message in progress.failed.items():
        reporter.say(f"  {name}: {message}")
    if progress.failed:
        raise UserError(f"{len(progress.failed)} scenes failed; the same command tries them again.")
