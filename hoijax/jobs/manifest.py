"""Many items worked off a shared folder: claimed one by one, done or failed with a marker each.

Any number of processes run the same command on the same folder, with no one in charge and nobody
waiting for anybody. Each item is done under a claim (`claims`), and ends as a marker in
`.work/done` or `.work/failed`. Every file is written whole or not at all, so a run may be killed at
any point; running again does what is missing and tries what failed.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoijax.errors import UserError
from hoijax.io.json_files import differences, read_json, write_json
from hoijax.jobs.claims import STALE_SECONDS, Claim, Claims

MANIFEST = "manifest.json"
WORK = ".work"
MANIFEST_VERSION = 1
MAX_ATTEMPTS = 5
"""Processes that may die over an item before it counts as failed."""
TEMPORARY = re.compile(r"\.(claim|now|hoijax|partial|.+\.json)-[a-z0-9_]{8}")
AN_HOUR = 3600.0


@dataclass(frozen=True)
class Item:
    """One piece of work. `key` changes with its content: a done marker with another key is void."""

    id: str
    source: str
    key: str


class Superseded(Exception):
    """Another process took the item over, in the belief that this one was dead."""


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings as canonical JSON."""
    return hashlib.sha256(_canonical(settings).encode()).hexdigest()


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)


class Manifest:
    """The state of one output folder, seen by one process. Use in a `with`."""

    def __init__(self, out: Path, items: Sequence[Item], stale_seconds: float = STALE_SECONDS):
        self.out = out
        self.items = tuple(items)
        self.claims = Claims(out / WORK / "claims", stale_seconds)
        # What failed before this process began is tried again; what fails meanwhile is not.
        self._settled: set[str] = set()
        self._failed_before = {item.id: self._failure_token(item) for item in items}

    def __enter__(self) -> "Manifest":
        for folder in ("done", "failed"):
            (self.out / WORK / folder).mkdir(parents=True, exist_ok=True)
        self.claims.__enter__()
        self._clear_away()
        return self

    def _clear_away(self) -> None:
        """Remove what killed processes left: claims of what is done, temporary files of an hour ago."""
        claimed = {name.rpartition(".")[0] for name in os.listdir(self.claims.folder)}
        for item in self.items:  # killed after the marker, before the claim was given back
            if item.id in claimed and self.done(item) is not None:
                self.claims.bury(item.id)
        now = self.claims.now()
        for folder in (
            self.out,
            *(self.out / WORK / name for name in ("done", "failed", "claims")),
        ):
            for path in folder.iterdir():
                with contextlib.suppress(OSError):
                    if TEMPORARY.fullmatch(path.name) and now - path.stat().st_mtime > AN_HOUR:
                        path.rmdir() if path.is_dir() else path.unlink()

    def __exit__(self, *given: Any) -> None:
        self.claims.__exit__(*given)

    @classmethod
    def open(
        cls,
        out: str | Path,
        items: Sequence[Item],
        settings: Mapping[str, Any],
        *,
        force: bool = False,
        stale_seconds: float = STALE_SECONDS,
    ) -> "Manifest":
        """The manifest of a folder, made where there is none.

        settings: everything the results depend on (JSON). Raises UserError where the folder holds
        something else, or results of other settings or of another version, naming what differs;
        `force` keeps the folder and does every item anew that was done with the other settings.
        """
        out = Path(out).absolute()
        settings = json.loads(_canonical(settings))
        wanted = {
            "manifest_version": MANIFEST_VERSION,
            "settings_hash": settings_hash(settings),
            "settings": settings,
        }
        if out.is_file():
            raise UserError(f"--out '{out}' is a file. Give a folder.")
        with writing(out):
            there = _settle_manifest(out, wanted)
            if there != wanted and not force:
                listed = "\n".join(f"  {line}" for line in differences(there, wanted))
                raise UserError(
                    f"--out '{out}' holds results of other settings:\n{listed}\nGive the same "
                    "settings, another --out, or --force to do them all again."
                )
            if there != wanted:
                if working := cls(out, items, stale_seconds).living():
                    raise UserError(
                        f"--force: another process is solving {working[0]} in '{out}' with other "
                        "settings. Stop it first."
                    )
                write_json(out / MANIFEST, wanted)
        key = wanted["settings_hash"]
        keyed = [Item(item.id, item.source, f"{item.key} {key}") for item in items]
        return cls(out, keyed, stale_seconds)

    # ---- markers

    def _marker(self, kind: str, item: Item) -> Path:
        return self.out / WORK / kind / f"{item.id}.json"

    def done(self, item: Item) -> dict[str, Any] | None:
        """The marker of an item that is done as it is asked for now."""
        marker = read_json(self._marker("done", item))
        return marker if marker is not None and marker.get("key") == item.key else None

    def failure(self, item: Item) -> str | None:
        """Why an item failed; None where it did not, or was to be tried again."""
        marker = read_json(self._marker("failed", item))
        if marker is None or marker.get("token") == self._failed_before.get(item.id):
            return None
        return str(marker.get("why"))

    def last_failure(self, item: Item) -> str | None:
        """Why an item failed, in this run or an earlier one."""
        marker = read_json(self._marker("failed", item))
        return None if marker is None else str(marker.get("why"))

    def _failure_token(self, item: Item) -> str | None:
        marker = read_json(self._marker("failed", item))
        return None if marker is None else str(marker.get("token"))

    def settled(self, item: Item) -> bool:
        """Whether nothing is left to do for an item in this run."""
        return self.done(item) is not None or self.failure(item) is not None

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

    def living(self) -> list[str]:
        """Items that a living process has claimed."""
        if not self.claims.folder.is_dir():
            return []
        return self.claims.living([item.id for item in self.items])

    # ---- work

    def take(self, item: Item) -> Claim | None:
        """Claim an item that is not settled and clear away what a killed run left of it."""
        if item.id in self._settled or self.settled(item):
            return None
        claim = self.claims.claim(item.id)
        if claim is None:
            return None
        if self.settled(item):  # by another process, between the two lines above
            self.claims.release(claim)
            return None
        if claim.attempt >= MAX_ATTEMPTS:
            self.fail(item, claim, f"ended the process it was solved in {claim.attempt} times")
            return None
        left = re.compile(rf"\.{re.escape(item.id)}-(partial|old)-[a-z0-9_]{{8}}")
        for name in os.listdir(self.out):
            if left.fullmatch(name):
                shutil.rmtree(self.out / name, ignore_errors=True)
        self._marker("done", item).unlink(missing_ok=True)
        return claim

    def check(self, claim: Claim) -> None:
        """Call before results take their place. Raises Superseded where the claim is lost."""
        if not self.claims.holds(claim):
            raise Superseded(claim.item)

    def finish(self, item: Item, claim: Claim, row: Mapping[str, Any]) -> None:
        """Mark an item as done; `row` is what the summary says of it."""
        self.check(claim)
        write_json(self._marker("done", item), {"key": item.key, "row": dict(row)})
        self._marker("failed", item).unlink(missing_ok=True)
        self.claims.release(claim)

    def fail(self, item: Item, claim: Claim, why: str) -> None:
        """Say why an item has no result."""
        content = {"id": item.id, "source": item.source, "why": why}
        content["token"] = f"{self.claims.token} {time.time_ns()}"
        write_json(self._marker("failed", item), content)
        self.claims.release(claim)


def _settle_manifest(out: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """The manifest that is in the folder now: of two processes that begin at once one makes it."""
    path = out / MANIFEST
    if out.is_dir() and not path.exists():
        others = sorted(name for name in os.listdir(out) if not name.startswith("."))
        if others and not path.exists():
            raise UserError(
                f"--out '{out}' holds files that are not results of many scenes ({others[0]}). "
                "Give a new or empty folder."
            )
    out.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_json(path, wanted, exclusive=True)
    there = read_json(path)
    if there is None:
        raise UserError(f"'{path}' is no JSON object. Restore it, or give another --out.")
    return there


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """An OSError in here is a UserError that names the output folder."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--out '{out}' cannot be written: {error.strerror or error}. "
            "Check the permissions and the free space, or give another --out."
        ) from error
