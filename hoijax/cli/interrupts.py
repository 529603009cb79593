"""Ctrl-C: what it ends a command with, and how it gets through where Python would drop it."""

import _thread
import signal
import sys
import threading
from types import TracebackType

EXIT_CODE = 130
DELAY = 0.05
"""Seconds after which a dropped interrupt is sent again."""
SIGNALS = {KeyboardInterrupt: signal.SIGINT, SystemExit: signal.SIGTERM}
"""What is raised on a signal, and the signal."""
MESSAGE = "interrupted: nothing was written."


def raise_what_callbacks_swallow() -> None:
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


def silence_late_interrupts() -> None:
    """While the interpreter shuts down there is nobody left to tell."""
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            shown(kind, error, trace)

    sys.excepthook = hook
