"""Ctrl-C: one line and exit code 130, in imports, in callbacks and in commands."""

import subprocess
import sys
import types

import pytest

from hoijax.cli import entry
from hoijax.cli.interrupts import MESSAGE


def run_with(monkeypatch, command):
    """The program with a command in place of the command line's own; its exit code."""
    module = types.ModuleType("hoijax.cli.main")
    module.main = command  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "hoijax.cli.main", module)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as stop:
        entry.main()
    return stop.value.code


def interrupt():
    raise KeyboardInterrupt


def test_an_interrupted_command_is_one_line(monkeypatch, capsys):
    assert run_with(monkeypatch, interrupt) == 130
    assert capsys.readouterr().err == MESSAGE + "\n"


def test_an_interrupt_while_modules_load_is_one_line(monkeypatch, capsys):
    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "hoijax.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "hoijax.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as stop:
        entry.main()
    assert stop.value.code == 130
    assert capsys.readouterr().err == MESSAGE + "\n"


SWALLOWED = """
import gc, signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)
from hoijax.cli import entry
told = []
def collected(phase, info):
    if phase == "start" and not told:
        told.append(phase)
        raise KeyboardInterrupt
def work():
    gc.callbacks.append(collected)
    gc.collect()
    time.sleep(30)
sys.modules["hoijax.cli.main"] = types.ModuleType("hoijax.cli.main")
sys.modules["hoijax.cli.main"].main = work
entry.main()
"""


def test_an_interrupt_that_a_callback_swallows_arrives():
    """In a process of its own: pytest and hypothesis have callbacks and hooks of theirs."""
    ran = subprocess.run(
        [sys.executable, "-c", SWALLOWED], capture_output=True, text=True, timeout=25
    )
    assert (ran.returncode, ran.stderr) == (130, MESSAGE + "\n")
