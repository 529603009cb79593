"""A folder of results that any number of processes fill: every item once, every result whole.

An item ends as a marker in `.work/done` or `.work/failed`; the same command does what has none. Who
works on an item holds `.work/locks/ITEM` by flock(2), which the system gives back when a process
ends, however it ends. Nobody is in charge, nobody waits for anybody, and no clock is read.

Until it is given back, a lock file holds a letter for every process that began the item: "a" where
it was alone in its process, "s" where others were. So a file that is found unlocked tells how many
processes died over the item, and only deaths that it was alone in count against it.
"""

import contextlib
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoijax.errors import UserError
from hoijax.io.file_lock import lock_file
from hoijax.io.json_files import read_json, write_json
from hoijax.work.manifest import MANIFEST, check_manifest, manifest_of, refuse_foreign, writing

WORK = ".work"
MAX_CRASHES = 5
"""Processes that may die while an item is alone in them before it counts as failed."""
ALONE, SHARED = "a", "s"
LEFTOVER = re.compile(
    r"\.(?:(?P<item>.+?)(?:-partial-|-old-|\.json-)|partial-|hoijax-)[a-z0-9_]{8}"
    r"|\.(?P<bundle>.+)\.[a-z0-9_]{8}\.partial"
)
"""What a killed process leaves of files and folders that appear by a rename."""

Shard = tuple[int, int]
"""(I, N): this process does every N-th item, from the I-th on, I counted from 0."""


@dataclass(frozen=True)
class Item:
    """One piece of work. `key` changes with its content: a done marker with another key is void."""

    id: str
    source: str
    key: str


@dataclass(frozen=True)
class Claim:
    """An item that this process works on."""

    item: Item
    path: Path
    descriptor: int
    begun: str
    """A letter for each process that died over the item before."""


class WorkFolder:
    """The state of one output folder, as one process sees it; made by `work_folder`."""

    def __init__(self, out: Path, items: Sequence[Item], shard: Shard, retry: Mapping[str, str]):
        self.out = out
        self.everything = tuple(items)
        self.items = tuple(items)[shard[0] :: shard[1]]
        """What this process and those it starts are to do."""
        self.retry = retry
        """Failures that are to be tried again, those of before this run: token of each by item."""
        self._settled: set[str] = set()
        self._held: dict[str, Claim] = {}

    # ---- markers

    def _marker(self, kind: str, item: Item) -> Path:
        return self.out / WORK / kind / f"{item.id}.json"

    def done(self, item: Item) -> dict[str, Any] | None:
        """The marker of an item that is done as it is asked for now, and whose result is there."""
        marker = read_json(self._marker("done", item))
        same = marker is not None and marker.get("key") == item.key
        return marker if same and (self.out / item.id).exists() else None

    def failure(self, item: Item) -> str | None:
        """Why an item failed, in this run or an earlier one."""
        marker = read_json(self._marker("failed", item))
        return None if marker is None else str(marker.get("why"))

    def settled(self, item: Item) -> bool:
        """Whether nothing is left to do for an item in this run."""
        if self.done(item) is not None:
            return True
        marker = read_json(self._marker("failed", item))
        return marker is not None and str(marker.get("token")) != self.retry.get(item.id)

    def count_settled(self) -> int:
        """How many items are settled: two listings, not a file for each of thousands."""
        marked = {
            name.removesuffix(".json")
            for kind in ("done", "failed")
            for name in os.listdir(self.out / WORK / kind)
        }
        marked -= self._settled
        new = [item for item in self.items if item.id in marked]
        self._settled.update(item.id for item in new if self.settled(item))
        return len(self._settled)

    # ---- work

    def begun(self) -> dict[str, int]:
        """How many processes began an item and did not give it back, by item."""
        counts: dict[str, int] = {}
        with os.scandir(self.out / WORK / "locks") as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # given back meanwhile
                    counts[entry.name] = entry.stat().st_size
        return counts

    def waiting(self) -> list[tuple[Item, int]]:
        """Items that may be free, each with its count in `begun`, the least first.

        In this order processes that are killed for reasons of their own die over ever other items.
        """
        self.count_settled()
        begun = self.begun()
        left = [i for i in self.items if i.id not in self._settled and i.id not in self._held]
        return sorted(((i, begun.get(i.id, 0)) for i in left), key=lambda one: one[1])

    def take(self, item: Item, *, alone: bool) -> Claim | None:
        """Lock an item; None where it is settled, or another process has it.

        alone: this process works on nothing else meanwhile, so its death is the item's. An item that
        was the end of `MAX_CRASHES` processes is marked as failed. Raises UserError where nothing
        can be written.
        """
        if item.id in self._settled or self.settled(item):
            return None
        path = self.out / WORK / "locks" / item.id
        with writing(self.out):
            descriptor = lock_file(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if descriptor is None:
                return None
            begun = os.pread(descriptor, 4096, 0).decode()
            claim = self._held[item.id] = Claim(item, path, descriptor, begun)
            try:
                return self._begin(claim, ALONE if alone else SHARED)
            except BaseException:
                self.give_back(claim)
                raise

    def _begin(self, claim: Claim, letter: str) -> Claim | None:
        if self.settled(claim.item):  # by another process, before the lock was ours
            self._release(claim)
            return None
        if (crashes := claim.begun.count(ALONE)) >= MAX_CRASHES:
            why = (
                f"{crashes} processes ended while they worked on it alone (out of memory? a crash?)"
            )
            self.fail(claim, why)
            return None
        if claim.begun:
            self.remove_leftovers(claim.item.id)
        os.pwrite(claim.descriptor, letter.encode(), len(claim.begun))
        self._marker("done", claim.item).unlink(missing_ok=True)
        return claim

    def finish(self, claim: Claim, row: Mapping[str, Any]) -> None:
        """Mark an item as done; `row` is what the summary says of it."""
        content = {"key": claim.item.key, "row": dict(row)}
        write_json(self._marker("done", claim.item), content)
        self._marker("failed", claim.item).unlink(missing_ok=True)
        self._release(claim)

    def fail(self, claim: Claim, why: str) -> None:
        """Say why an item has no result."""
        item = claim.item
        content = {"id": item.id, "source": item.source, "why": why, "token": uuid.uuid4().hex}
        write_json(self._marker("failed", item), content)
        self._release(claim)

    def give_back(self, claim: Claim) -> None:
        """Let others do the item; deaths before ours are not forgotten."""
        if claim.begun:
            os.ftruncate(claim.descriptor, len(claim.begun))
            self._close(claim)
        else:
            self._release(claim)

    def give_all_back(self) -> None:
        """Give back everything that this process still holds."""
        for claim in list(self._held.values()):
            with contextlib.suppress(OSError):
                self.give_back(claim)

    def _release(self, claim: Claim) -> None:
        claim.path.unlink(missing_ok=True)  # while it is locked: see `lock_file`
        self._close(claim)

    def _close(self, claim: Claim) -> None:
        del self._held[claim.item.id]
        os.close(claim.descriptor)

    def remove_leftovers(self, item_id: str | None = None) -> None:
        """Remove half-written files of killed processes; of all items only where nobody else works."""
        for folder in (self.out, *(self.out / WORK / kind for kind in ("done", "failed"))):
            for path in folder.iterdir():
                match = LEFTOVER.fullmatch(path.name)
                if match and item_id in (None, match["item"], match["bundle"]):
                    if path.is_dir():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink(missing_ok=True)

    def remove_locks(self) -> None:
        """Remove locks of what is done: left where a process was killed after its marker."""
        begun = self.begun()
        for item in self.everything:
            if item.id in begun and self.done(item) is not None:
                (self.out / WORK / "locks" / item.id).unlink(missing_ok=True)


@contextlib.contextmanager
def work_folder(
    out: str | Path,
    items: Sequence[Item],
    settings: Mapping[str, Any],
    *,
    force: bool = False,
    shard: Shard = (0, 1),
    retry: Mapping[str, str] | None = None,
) -> Iterator[WorkFolder]:
    """A folder to work in, made where there is none; at the end all that is held is given back.

    settings: everything that the results of all items depend on (JSON). force: where the folder
    holds results of other settings, do those again. retry: `WorkFolder.retry` of the process that
    started this one; by default all that failed before. Raises UserError where the folder holds
    something else or results of other settings, naming what differs, and where locks do not work.
    """
    out = Path(out).absolute()
    wanted = manifest_of(settings)
    if out.is_file():
        raise UserError(f"--out '{out}' is a file. Give a folder.")
    keyed = [Item(i.id, i.source, f"{i.key} {wanted['settings_hash']}") for i in items]
    with writing(out):
        refuse_foreign(out)
        for kind in ("done", "failed", "locks"):
            (out / WORK / kind).mkdir(parents=True, exist_ok=True)
    with _presence(out) as (descriptor, is_first):
        with writing(out):
            if not (out / MANIFEST).exists():
                write_json(out / MANIFEST, wanted, exclusive=True)
            check_manifest(out, wanted, force, is_first)
            folder = WorkFolder(out, keyed, shard, _failures(out) if retry is None else retry)
            if is_first:
                folder.remove_leftovers()
                folder.remove_locks()
                fcntl.flock(descriptor, fcntl.LOCK_SH)  # others may join
        try:
            yield folder
        finally:
            folder.give_all_back()


@contextlib.contextmanager
def _presence(out: Path) -> Iterator[tuple[int, bool]]:
    """The lock that all who work in a folder share, and whether it is ours alone for now."""
    path = out / WORK / "runners"
    with writing(out):
        descriptor = lock_file(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_first = descriptor is not None
        if descriptor is None:
            descriptor = lock_file(path, fcntl.LOCK_SH)
            assert descriptor is not None
    try:
        yield descriptor, is_first
    finally:
        os.close(descriptor)


def _failures(out: Path) -> dict[str, str]:
    """Tokens of all failures in a folder, by item."""
    markers = {path.stem: read_json(path) for path in (out / WORK / "failed").glob("*.json")}
    return {name: str(marker.get("token")) for name, marker in markers.items() if marker}
