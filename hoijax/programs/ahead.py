"""Programs that are loaded before they are asked for, by a thread beside the work.

Reading a binary takes XLA some 60 ms, without Python's lock; a solve reads two dozen. Which ones, the
last run of the same kind has noted.
"""

import json
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hoijax.programs.store import STORE, digest_of, loaded


@dataclass
class _Work:
    """What this process loads ahead: once for every kind of work, one kind at a time."""

    begun: set[str] = field(default_factory=set)
    current: str | None = None
    noted: list[str] = field(default_factory=list)


_WORK = _Work()


def load_ahead(kind: Any) -> None:
    """Begin work of a kind (a JSON value: what decides which programs it needs), unless some is going on."""
    work = digest_of(json.dumps(kind, sort_keys=True, default=str))
    if STORE.folder is None or _WORK.current is not None or work in _WORK.begun:
        return
    names = STORE.read(_record(work)) or []
    _WORK.begun.add(work)
    _WORK.current, _WORK.noted = work, names
    STORE.used.clear()
    futures = {name: Future() for name in names}
    STORE.ahead.update(futures)
    folder = STORE.folder / "binaries"
    threading.Thread(target=_load, args=(folder, futures), name="programs").start()


def note_used() -> None:
    """End the work: the next run of its kind loads ahead what this one used."""
    work, _WORK.current = _WORK.current, None
    for future in STORE.ahead.values():
        future.cancel()
    STORE.ahead.clear()
    used = list(STORE.used)
    if work is not None and STORE.folder is not None and used and used != _WORK.noted:
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
