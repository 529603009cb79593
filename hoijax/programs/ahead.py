"""Programs that are loaded before they are asked for, by a thread beside the work.

Reading a binary takes XLA some 60 ms, without Python's lock; a solve reads two dozen. Which ones, the
last run of the same kind has noted. Before it is known what kind a run is, while a command still imports
what it needs, those of the last run of the command are a guess.
"""

import contextlib
import importlib
import json
import threading
from collections.abc import Iterator, Sequence
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
    command: str | None = None
    """Whose last run was the guess."""


_PROCESS = _Process()


def load_for(command: str) -> None:
    """Start to load what the last run of a command used; `loading_ahead` goes on with it."""
    if STORE.folder is None:
        return
    _PROCESS.command = digest_of(command)
    _start(STORE.read(_record(_PROCESS.command)) or [])


@contextlib.contextmanager
def loading_ahead(kind: Any, modules: Sequence[str] = ()) -> Iterator[None]:
    """In here programs that work of this kind used before are loaded before they are asked for.

    kind: a JSON value, what decides which programs the work needs. Inside other such work, which they
    belong to, and where this process did the same before, nothing happens. modules: what the work's end
    imports, which they do after the programs.
    """
    work = digest_of(json.dumps(kind, sort_keys=True, default=str))
    if STORE.folder is None or _PROCESS.is_loading or work in _PROCESS.begun:
        yield
        return
    _PROCESS.begun.add(work)
    _PROCESS.is_loading = True
    command, _PROCESS.command = _PROCESS.command, None
    noted = STORE.read(_record(work)) or []
    STORE.used.clear()
    if noted:
        _drop(set(STORE.ahead) - set(noted))
    _start(noted, modules)
    try:
        yield
    finally:
        _PROCESS.is_loading = False
        _drop(set(STORE.ahead))
    used = list(STORE.used)
    for record in {work, command} - {None}:
        _note(_record(record), used)


def _start(names: Sequence[str], modules: Sequence[str] = ()) -> None:
    """A thread that loads those programs that no other loads."""
    assert STORE.folder is not None
    futures = {name: Future() for name in names if name not in STORE.ahead}
    STORE.ahead.update(futures)
    given = STORE.folder / "binaries", futures, modules
    threading.Thread(target=_load, args=given, name="programs").start()


def _drop(names: set[str]) -> None:
    for name in names:
        coming = STORE.ahead.pop(name, None)  # the work may have taken it meanwhile
        if coming is not None:
            coming.cancel()


def _note(record: Path, used: list[str]) -> None:
    if STORE.folder is None or not used or used == STORE.read(record):
        return
    with contextlib.suppress(OSError):  # a full disk: the next run loads what it asks for
        record.parent.mkdir(exist_ok=True)
    STORE.write(record, json.dumps(used).encode())


def _record(work: str) -> Path:
    assert STORE.folder is not None
    return STORE.folder / "recent" / work


def _load(folder: Path, futures: dict[str, Future], modules: Sequence[str]) -> None:
    for name, future in futures.items():
        if not threading.main_thread().is_alive():
            return  # the process ends
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(STORE.read(folder / name, loaded))
            except Exception:  # whoever asks for it reads it again, and says what is wrong
                future.set_result(None)
    for name in modules:
        importlib.import_module(name)
