"""Ctrl-C: what it ends a command with, and how it gets through where Python would drop it."""

import _thread
import signal
import sys
import threading
from types import TracebackType

EXIT_CODE = 130
DELAY = 0.05
"""Seconds after which a dropped interrupt is sent again."""
MESSAGE = "interrupted: nothing was written."


def raise_what_callbacks_swallow() -> None:
    """Make Ctrl-C reach the program also where Python drops it: in callbacks and destructors.

    JAX cleans up in a callback of the garbage collector, and an exception there is only printed.
    """
    previous = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # Now it would be raised in here, and dropped again.
            threading.Timer(DELAY, _interrupt_main_thread).start()
        else:
            previous(unraisable)

    sys.unraisablehook = hook


def _interrupt_main_thread() -> None:
    """As Ctrl-C does: a waiting call is woken."""
    identity = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and identity is not None:
        signal.pthread_kill(identity, signal.SIGINT)
    else:
        _thread.interrupt_main()


def silence_late_interrupts() -> None:
    """While the interpreter shuts down there is nobody left to tell."""
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            shown(kind, error, trace)

    sys.excepthook = hook
