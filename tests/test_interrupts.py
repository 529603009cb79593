"""Ctrl-C: one line and exit code 130, in imports, in callbacks, in native code and in commands.

Each in a process of its own: the program takes over signals, and ends without unwinding.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hoijax.cli import entry, interrupts
from hoijax.cli.endings import INTERRUPTED_MESSAGE

START = """
import gc, os, signal, sys, threading, time, types
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from hoijax.cli import entry, interrupts
def press():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
def soon():
    threading.Timer(0.2, press).start()
sys.modules["hoijax.cli.main"] = types.ModuleType("hoijax.cli.main")
"""
END = """
sys.modules["hoijax.cli.main"].main = work
entry.main()
"""
SLEEPS = """
def work():
    soon()
    time.sleep(30)
"""
CALLBACK = """
told = []
def collected(phase, info):
    if phase == "start" and not told:
        told.append(phase)
        raise KeyboardInterrupt
def work():
    gc.callbacks.append(collected)
    gc.collect()
    time.sleep(30)
"""
IMPORTS = """
Path("slow_module.py").write_text(
    "import time\\n"
    "try:\\n"
    "    time.sleep(30)\\n"
    "except KeyboardInterrupt:\\n"  # as C++ that starts a module does: it aborts
    "    import os\\n"
    "    os.abort()\\n"
)
sys.path.insert(0, "")
def work():
    soon()
    import slow_module
"""
NATIVE = """
import hashlib
from hoijax.io.atomic import output_folder
interrupts.PATIENCE = 0.2
def work():
    with output_folder("result") as partial:
        (partial / "half").touch()
        soon()
        hashlib.pbkdf2_hmac("sha256", b"native", b"code", 10**9)  # minutes
"""
THREADS = """
def work():
    threading.Thread(target=time.sleep, args=(30,)).start()  # a compilation that nobody waits for
    soon()
    time.sleep(30)
"""


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.slow
def test_a_reader_that_leaves_ends_a_command_quietly():
    """As with `hoijax solve --help | head -1`."""
    command = subprocess.Popen(
        [sys.executable, "-m", "hoijax.cli.entry", "solve", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout is not None
    command.stdout.close()
    _, error = command.communicate()
    assert command.returncode == 141
    assert error == b""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("work", [SLEEPS, CALLBACK, IMPORTS, NATIVE, THREADS])
def test_an_interrupt_is_one_line_and_leaves_nothing_behind(work, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", START + work + END],
        capture_output=True,
        text=True,
        timeout=25,
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (ran.returncode, ran.stderr) == (130, INTERRUPTED_MESSAGE + "\n")
    assert {path.name for path in tmp_path.iterdir()} <= {"slow_module.py"}


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_before_anything_is_imported_is_one_line():
    """Nothing that takes long stands between Python's own start and the handler."""
    at_first_import = """
import _signal, sys
_signal.signal(_signal.SIGINT, _signal.default_int_handler)  # ignored where CI runs in the background
from hoijax.cli import entry
loaded = {"enum", "re", "typing", "signal", "threading"} & set(sys.modules)
assert not loaded, loaded
class Press:
    def find_spec(self, name, *_):
        import _signal, os
        os.kill(os.getpid(), _signal.SIGINT)
sys.meta_path.insert(0, Press())
entry.main()
"""
    ran = subprocess.run(
        [sys.executable, "-S", "-c", at_first_import],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert (ran.returncode, ran.stderr) == (130, INTERRUPTED_MESSAGE + "\n")


def test_an_interrupt_while_it_begins_to_listen_is_one_line_too(monkeypatch):
    left = []

    def pressed():
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupts, "listen", pressed)
    monkeypatch.setattr(entry, "_leave_at_once", lambda *_: left.append(True))
    before = signal.getsignal(signal.SIGINT)
    try:
        entry.main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert left
