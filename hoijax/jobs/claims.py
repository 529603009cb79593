"""Who works on what, agreed on through files alone: any number of processes, hosts and restarts.

A claim on an item is the file `ITEM.N`, made by `os.link`, which exactly one process can win (on NFS
as well). A claim whose owner is dead is not removed but outbid: whoever makes `ITEM.N+1` first is the
new owner, so two that notice the same death cannot both take over.

An owner on this machine is dead when its process is gone; one elsewhere when its claim has not been
touched for `STALE_SECONDS` by the clock of the file system (clocks of hosts disagree).
"""

import contextlib
import json
import os
import re
import socket
import tempfile
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path

BEAT_SECONDS = 20.0
STALE_SECONDS = 300.0
"""Far above what network file systems cache file times for (a minute)."""


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _process_start(pid: int) -> str | None:
    """When a process of this machine began (its id alone is used again); None where it is gone."""
    stat = _read_text(f"/proc/{pid}/stat")
    if stat:
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else fields[19]
    if Path("/proc/self/stat").exists():
        return None
    try:  # no /proc: macOS
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def _machine() -> str:
    """What process ids are unique in: a host since its start, and there one namespace (container)."""
    boot = _read_text("/proc/sys/kernel/random/boot_id").strip()
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {boot} {namespace}".strip()


def describe_self() -> dict[str, str | int]:
    """This process, so that others can tell whether it lives."""
    pid = os.getpid()
    return {"machine": _machine(), "pid": pid, "start": _process_start(pid) or ""}


@dataclass(frozen=True)
class Claim:
    """An item that this process works on; `attempt` counts the owners that died on it before."""

    item: str
    attempt: int
    path: Path


class Claims:
    """The claims in one folder, seen by one process. Keep it in a `with`: a thread says "alive"."""

    def __init__(self, folder: Path, stale_seconds: float = STALE_SECONDS):
        self.folder = folder
        self.stale_seconds = stale_seconds
        self.token = uuid.uuid4().hex
        self._held: dict[Path, Claim] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="claims", daemon=True)

    def __enter__(self) -> "Claims":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for claim in list(self._held.values()):
            with contextlib.suppress(OSError):
                self.release(claim)

    def _beat(self) -> None:
        while not self._stop.wait(min(BEAT_SECONDS, self.stale_seconds / 4)):
            for path in list(self._held):
                with contextlib.suppress(OSError):
                    os.utime(path)

    def claim(self, item: str) -> Claim | None:
        """Take an item; None where a living process has it."""
        latest = self._latest(item)
        if latest is not None and self.is_alive(self._path(item, latest)):
            return None
        claim = Claim(item, 0 if latest is None else latest + 1, Path())
        path = self._path(item, claim.attempt)
        if not self._make(path):
            return None
        claim = Claim(item, claim.attempt, path)
        self._held[path] = claim
        return claim

    def holds(self, claim: Claim) -> bool:
        """Whether the item is still ours: nobody took this process for dead meanwhile."""
        return self._latest(claim.item) == claim.attempt

    def release(self, claim: Claim) -> None:
        """Give an item back, with the claims of the dead before us."""
        self._held.pop(claim.path, None)
        for attempt in sorted(self._attempts(claim.item)):
            if attempt <= claim.attempt:  # ours last: as long as one is there, the last one counts
                self._path(claim.item, attempt).unlink(missing_ok=True)

    def bury(self, item: str) -> None:
        """Remove what the dead left of an item that needs no owner any more (it is done)."""
        for attempt in sorted(self._attempts(item)):
            if not self.is_alive(self._path(item, attempt)):
                self._path(item, attempt).unlink(missing_ok=True)

    def living(self, items: list[str]) -> list[str]:
        """Those of the items that a living process (perhaps this one) has claimed."""
        found = []
        for item in items:
            latest = self._latest(item)
            if latest is not None and self.is_alive(self._path(item, latest)):
                found.append(item)
        return found

    def is_alive(self, path: Path) -> bool:
        """Whether the owner of a claim still works on it."""
        try:
            owner = json.loads(path.read_text())
            touched = path.stat().st_mtime
        except (OSError, ValueError):
            # Gone since: its item is done, or free at the next look.
            return path.exists()
        if owner.get("machine") == _machine():
            return _process_start(int(owner["pid"])) == owner["start"]
        return self.now() - touched < self.stale_seconds

    def now(self) -> float:
        """The time on the file system's clock."""
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".now-") as probe:
            return os.fstat(probe.fileno()).st_mtime

    def _path(self, item: str, attempt: int) -> Path:
        return self.folder / f"{item}.{attempt}"

    def _attempts(self, item: str) -> list[int]:
        pattern = re.compile(re.escape(item) + r"\.(\d+)")
        found = (pattern.fullmatch(name) for name in os.listdir(self.folder))
        return [int(match[1]) for match in found if match]

    def _latest(self, item: str) -> int | None:
        return max(self._attempts(item), default=None)

    def _make(self, path: Path) -> bool:
        """Make a claim with its whole content at once; False where another process was first."""
        content = json.dumps(describe_self() | {"token": self.token})
        descriptor, partial = tempfile.mkstemp(dir=self.folder, prefix=".claim-")
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(content)
            os.link(partial, path)
            return True
        except FileExistsError:
            return False
        finally:
            Path(partial).unlink(missing_ok=True)
