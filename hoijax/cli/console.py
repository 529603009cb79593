"""What commands say: tables and lines for people, progress with the time left, one JSON object for machines."""

import contextlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

# Paths and messages are printed as they are; where nobody looks, tables need not fit a terminal.
_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}
_RECORD = "seconds.json"


class Reporter:
    """Where a command's words go. `finish` prints the JSON object, once, if one was asked for."""

    def __init__(self, command: str, *, quiet: bool = False, as_json: bool = False) -> None:
        self.command, self.as_json = command, as_json
        self.silent = quiet or as_json
        self.console = Console(width=None if sys.stdout.isatty() else 120, **_PLAIN)
        self.errors = Console(stderr=True, **_PLAIN)
        self.facts: dict[str, Any] = {}
        self.log = Progress(command, None if self.silent else self.console)

    def say(self, text: str) -> None:
        """A line for people."""
        self.log.pause()
        if not self.silent:
            self.console.print(text)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None
    ) -> None:
        """Nothing is cut off: what does not fit a cell goes on in its next line.

        width: at most, where nobody's terminal says one.
        """
        self.log.pause()
        if self.silent:
            return
        table = Table(*(Column(name, overflow="fold") for name in columns))
        for row in rows:
            table.add_row(*row)
        if self.console.is_terminal:
            width = None
        self.console.print(table, soft_wrap=False, width=width)

    def add(self, **facts: Any) -> None:
        """What goes into the JSON object: numbers, words, paths, and lists and dicts of them."""
        self.facts |= facts

    def warn(self, message: str) -> None:
        self.log.pause()
        self.errors.print(f"warning: {message}", style="yellow")

    def finish(self, code: int = 0, error: str | None = None) -> None:
        """The end of the command: its error on stderr, its JSON object on stdout."""
        self.log.stop(remember=code == 0)
        if error is not None:
            message = error if code > 128 else f"error: {error}"
            self.errors.print(message, style="red")
        if self.as_json:
            head = {"command": self.command, "exit_code": code}
            content = head | ({"error": error} if error is not None else self.facts)
            print(json.dumps(content, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return value.tolist()  # numpy


class Progress:
    """A log that also hears which stages end (`hoijax.progress`), and shows what is left of them.

    On a terminal a bar stands below the lines; elsewhere there are only lines. How long stages take
    is learnt from the last run of the same command on this machine.
    """

    def __init__(self, command: str, console: Console | None) -> None:
        self.command, self.console = command, console
        self.ended: dict[str, float] = {}
        self.expected = _recorded().get(command, {})
        self.begun = self.stage_begun = time.perf_counter()
        self.part: tuple[str, int, int] | None = None
        self._live: Live | None = None
        self._spinner = Spinner("dots")

    def __call__(self, message: str) -> None:
        if self.console is None:
            return
        self._start()
        self.console.print(message, style="dim")

    def finished(self, stage: str, seconds: float) -> None:
        self.ended[stage] = seconds
        self.part, self.stage_begun = None, time.perf_counter()
        self(f"{stage}: {seconds:.1f} s")

    def counted(self, stage: str, done: int, total: int) -> None:
        self.part = (stage, done, total)
        if self.console is not None and not self.console.is_terminal and total > 1:
            left = self.seconds_left()
            rest = "" if left is None else f", about {left:.0f} s left"
            self(f"{stage}: {done} of {total}{rest}")

    def seconds_left(self) -> float | None:
        """By the parts of this stage, then the last run's stages; None where neither is known."""
        now = time.perf_counter() - self.stage_begun
        coming = [s for name, s in self.expected.items() if name not in self.ended]
        if self.part is not None and self.part[1]:
            name, done, total = self.part
            estimate = now * (total - done) / done
            return estimate + sum(
                s for n, s in self.expected.items() if n not in {*self.ended, name}
            )
        if not coming:
            return None
        return max(sum(coming) - min(now, coming[0]), 0.0)

    def __rich__(self) -> Any:
        passed = time.perf_counter() - self.begun
        left = self.seconds_left()
        words = [self.part[0] if self.part else self._coming(), f"{passed:.0f} s"]
        if self.part:
            words.append(f"{self.part[1]} of {self.part[2]}")
        if left is not None:
            words.append(f"about {left:.0f} s left")
        self._spinner.update(text=Text("  ".join(words)))
        fraction = None if left is None else passed / max(passed + left, 1e-9)
        if fraction is None:
            return self._spinner
        bar = ProgressBar(total=1.0, completed=fraction, width=40)
        return Group(self._spinner, bar)

    def _coming(self) -> str:
        return next((name for name in self.expected if name not in self.ended), "working")

    def _start(self) -> None:
        if self._live is None and self.console is not None and self.console.is_terminal:
            self._live = Live(self, console=self.console, transient=True, refresh_per_second=4)
            self._live.start()

    def pause(self) -> None:
        """Take the bar away, until something is logged again."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def stop(self, remember: bool) -> None:
        """The command is over; `remember` how long its stages took."""
        self.pause()
        if remember and self.ended:
            _record(self.command, self.ended)


def _record_path() -> Path:
    from hoijax.runtime import cache_folder

    return cache_folder() / _RECORD


def _recorded() -> dict[str, dict[str, float]]:
    """Seconds by command and stage of earlier runs; empty where there is no readable record."""
    try:
        record = json.loads(_record_path().read_text())
        return {
            str(command): {str(name): float(s) for name, s in stages.items()}
            for command, stages in record.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _record(command: str, stages: dict[str, float]) -> None:
    """A record that cannot be written costs nothing but the next run's estimate."""
    path = _record_path()
    partial = path.with_suffix(f".{time.time_ns()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(_recorded() | {command: stages}))
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
