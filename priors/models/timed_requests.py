"""HTTP requests that end in time: a client's own timeout begins anew with every byte that arrives."""

import importlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def timed_client(openai: Any, seconds: float) -> Any:
    """openai's HTTP client, each of whose requests has its headers within `seconds` or is a timeout."""
    base = openai.DefaultHttpxClient
    library = importlib.import_module(base.__mro__[1].__module__.partition(".")[0])

    class TimedClient(base):
        def send(self, request: Any, **options: Any) -> Any:
            try:
                return within(seconds, lambda: base.send(self, request, **options))
            except TimeoutError:
                raise library.ReadTimeout("no headers in time", request=request) from None

    return TimedClient()


def within(seconds: float, call: Callable[[], Answer]) -> Answer:
    """What a call returns or raises; TimeoutError where it takes longer. It then goes on unheard.

    A thread that is a daemon, so that it holds up neither the end of the process nor Ctrl-C.
    """
    ended: queue.SimpleQueue[tuple[Answer | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            ended.put((call(), None))
        except BaseException as error:
            ended.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        answer, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"took more than {seconds:g} s") from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]
