"""Programs that are loaded before they are asked for, by a thread beside the work.

Reading a binary takes XLA some 60 ms, without Python's lock; a solve reads two dozen. Which ones, the
last run of the same kind has noted.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hoijax.programs.store import STORE, digest_of, loaded


@dataclass
class _Process:
    """What this process has loaded ahead: once for every kind of work, one kind at a time."""

    begun: set[str] = field(default_factory=set)
    is_loading: bool = False


_PROCESS = _Process()


@contextlib.contextmanager
def loading_ahead(kind: Any) -> Iterator[None]:
    """In here programs that work of this kind used before are loaded before they are asked for.

    kind: a JSON value, what decides which programs the work needs. Inside other such work, which they
    belong to, and where this process did the same before, nothing happens.
    """
    work = digest_of(json.dumps(kind, sort_keys=True, default=str))
    if STORE.folder is None or _PROCESS.is_loading or work in _PROCESS.begun:
        yield
        return
    _PROCESS.begun.add(work)
    _PROCESS.is_loading = True
    noted = STORE.read(_record(work)) or []
    STORE.used.clear()
    STORE.ahead.update({name: Future() for name in noted})
    given = STORE.folder / "binaries", dict(STORE.ahead)
    threading.Thread(target=_load, args=given, name="programs").start()
    try:
        yield
    finally:
        _PROCESS.is_loading = False
        for future in STORE.ahead.values():
            future.cancel()
        STORE.ahead.clear()
    used = list(STORE.used)
    if STORE.folder is not None and used and used != noted:
        with contextlib.suppress(OSError):  # a full disk: the next run loads what it asks for
            _record(work).parent.mkdir(exist_ok=True)
        STORE.write(_record(work), json.dumps(used).encode())


def _record(work: str) -> Path:
    assert STORE.folder is not None
    return STORE.folder / "recent" / work


def _load(folder: Path, futures: dict[str, Future]) -> None:
    for name, future in futures.items():
        if not threading.main_thread().is_alive():
            return  # the process ends
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(STORE.read(folder / name, loaded))
            except Exception:  # whoever asks for it reads it again, and says what is wrong
                future.set_result(None)
