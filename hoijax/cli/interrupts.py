"""Ctrl-C: what it ends a command with, and how it gets through where Python would drop or delay it.

Python raises it in the main thread between two of its own instructions. Native code (a compilation, a
search in a mesh) may take minutes until then, callbacks and destructors swallow it, and in the middle of an
import some C++ libraries abort. A command that was interrupted ends without the interpreter's own shutdown,
which crashes while threads still compile.
"""

import _thread
import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

from hoijax.cli.endings import INTERRUPTED, INTERRUPTED_MESSAGE

PATIENCE = 3.0
"""Seconds that native code may keep the main thread from hearing Ctrl-C; then the process ends."""
DELAY = 0.05
"""Seconds after which a dropped interrupt is sent again."""
SIGNALS = {KeyboardInterrupt: signal.SIGINT, SystemExit: signal.SIGTERM}
"""What is raised on a signal, and the signal."""
_IMPORTS = "<frozen importlib"
_heard = threading.Event()


def listen() -> None:
    """Take Ctrl-C from now on. Does nothing where the process was started to ignore it (nohup, `&`)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return
    signal.signal(signal.SIGINT, _hear)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(
        writer, warn_on_full_buffer=False
    )  # written to at once, in native code too
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()
    _raise_what_callbacks_swallow()


def leave(code: int = INTERRUPTED, message: str | None = None) -> NoReturn:
    """End the process now; folders that are half written are removed."""
    with contextlib.suppress(ValueError):  # raised where another thread ends the process
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):
        if message is not None:
            print(message, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    # Where it was not imported yet nothing is half written; importing it now might wait for the import
    # that was interrupted.
    if (atomic := sys.modules.get("hoijax.io.atomic")) is not None:
        getattr(atomic, "discard_partial_folders", lambda: None)()
    os._exit(code)


def _hear(signum: int, frame: FrameType | None) -> None:
    _heard.set()
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORTS):
            leave(message=INTERRUPTED_MESSAGE)
        frame = frame.f_back
    raise KeyboardInterrupt


def _watch(reader: int) -> None:
    """End the process where Ctrl-C came and the main thread does not hear it."""
    while signals := os.read(reader, 64):
        if signal.SIGINT in signals and not _heard.wait(PATIENCE):
            leave(message=INTERRUPTED_MESSAGE)


def _raise_what_callbacks_swallow() -> None:
    """Make Ctrl-C and SIGTERM reach the program also where Python drops it: in callbacks and destructors.

    JAX cleans up in a callback of the garbage collector, and an exception there is only printed.
    """
    previous = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        sent = SIGNALS.get(unraisable.exc_type)
        if sent is not None:
            # Now it would be raised in here, and dropped again.
            threading.Timer(DELAY, _signal_main_thread, [sent]).start()
        else:
            previous(unraisable)

    sys.unraisablehook = hook


def _signal_main_thread(sent: signal.Signals) -> None:
    """As Ctrl-C or a scheduler does: a waiting call is woken."""
    identity = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and identity is not None:
        signal.pthread_kill(identity, sent)
    else:
        _thread.interrupt_main(sent)
