"""Results of stages by content: the same inputs, settings and model are never computed twice.

An entry is a folder `STAGE/KEY` with `entry.json` (what it is, and the SHA-256 of every other file),
`arrays.npz` and `value.json`. The key is a hash of everything the result depends on. A folder is
written under another name, synced, and renamed: a kill leaves nothing half-written that could be
read, and of two runners with the same result the first one's stays. A damaged entry is set aside
with a warning and computed again.
"""

import contextlib
import dataclasses
import errno
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import time
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hoijax.errors import UserError
from hoijax.io.npz import read_npz, write_member
from hoijax.io.validation import parse_json
from hoijax.runtime import cache_home
from priors.protocols import ModelId

__all__ = [
    "CorruptEntryWarning",
    "Entry",
    "Store",
    "content_key",
    "default_store",
    "model_identity",
]

FORMAT = "hoijax-prior-result-1"
ENTRY, ARRAYS, VALUE = "entry.json", "arrays.npz", "value.json"
STALE_SECONDS = 24 * 3600
"""Temporary folders older than this were left by a killed run and are removed."""
REREADS = 20
"""Times an entry that is being replaced is read, or written, again."""
WHOLE_FILE_BYTES = 1 << 20
"""Files of a local model directory up to this size are hashed whole, larger ones at both ends."""


class CorruptEntryWarning(UserWarning):
    """A stored result is damaged and is computed again."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One stored result."""

    arrays: Mapping[str, np.ndarray]
    value: Any
    """A JSON value."""
    digest: str
    """SHA-256 of the content: what results that build on this one are keyed by."""
    seconds: float
    """How long it took to compute."""


def default_store() -> Path:
    """$HOIJAX_PRIORS_CACHE, else $XDG_CACHE_HOME/hoijax/priors."""
    if chosen := os.environ.get("HOIJAX_PRIORS_CACHE"):
        return Path(chosen)
    return cache_home() / "hoijax" / "priors"


def content_key(*parts: Any) -> str:
    """SHA-256 of plain values, arrays, bytes, dataclasses and mappings of them.

    Equal content gives an equal key in any process. UserError for anything else: an object's address
    or repr would make a key that is never found again.
    """
    text = json.dumps([plain(part) for part in parts], sort_keys=True, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """A JSON value that stands for a value's content; arrays and bytes by their SHA-256."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"array": content, "shape": list(value.shape), "dtype": value.dtype.str}
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise UserError(f"no content key for a value of type {type(value).__name__}")


def model_identity(model: Any) -> dict[str, Any]:
    """What a result depends on of a model: class, weights, revision and sampling settings.

    A local directory is told apart by what is in it. Where a model runs (device, memory mode) is
    left out: a result computed elsewhere is still that result.
    """
    model_id: ModelId = model.model_id
    settings = getattr(model, "settings", None)
    return {
        "class": type(model).__name__,
        "name": model_id.name,
        "revision": model_id.revision or _directory_digest(model_id.name),
        "body": getattr(model, "body_name", None),
        "settings": plain(settings) if dataclasses.is_dataclass(settings) else None,
    }


def _directory_digest(name: str) -> str | None:
    """A hash of the files of a local model directory; None where there is no such directory."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return None
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        size = path.stat().st_size
        total.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as stream:
            total.update(stream.read(WHOLE_FILE_BYTES))
            if size > WHOLE_FILE_BYTES:
                stream.seek(-WHOLE_FILE_BYTES // 2, os.SEEK_END)
                total.update(stream.read())
    return total.hexdigest()[:16]


class Store:
    """A folder of results; any number of processes may use one at the same time."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_write(self.root, error) from error
        self._remove_stale()

    def get(self, stage: str, key: str) -> Entry | None:
        """The stored result, or None. A damaged one gives a CorruptEntryWarning and None."""
        folder, problem = self._folder(stage, key), ""
        for _ in range(REREADS):
            with _open_folder(folder) as before:
                if before is None:
                    return None
                try:
                    return _read(folder, stage, key)
                except FileNotFoundError as error:
                    problem = f"{Path(error.filename).name} is missing"
                except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                    problem = str(error)
                if _inode(folder) == before:
                    break  # else another process replaced it while we read
        warnings.warn(
            f"stage {stage!r}: the stored result {folder} is damaged ({problem}); it is set aside "
            "and computed again",
            CorruptEntryWarning,
            stacklevel=2,
        )
        self._discard(folder)
        return None

    def digest(self, stage: str, key: str) -> str | None:
        """The digest of a stored result without reading its arrays; None where there is none."""
        folder = self._folder(stage, key)
        try:
            return _digest(_header(folder, stage, key))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            entry = self.get(stage, key)  # says what is wrong, and sets it aside
            return None if entry is None else entry.digest

    def put(
        self,
        stage: str,
        key: str,
        arrays: Mapping[str, np.ndarray],
        value: Any,
        *,
        made_by: Any = None,
        seconds: float = 0.0,
        replace: bool = False,
    ) -> Entry:
        """Store a result; returns what is then stored.

        made_by: a JSON value that says what the result was made from, for people who look.
        replace: also where there is a result already; else the stored one stays.
        """
        folder = self._folder(stage, key)
        files = {ARRAYS: _npz(arrays), VALUE: _json(value)}
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        files[ENTRY] = _json(
            {
                "format": FORMAT,
                "stage": stage,
                "key": key,
                "sha256": hashes,
                "seconds": round(seconds, 3),
                "made_by": made_by,
            }
        )
        try:
            with self._partial() as partial:
                for name, content in files.items():
                    with (partial / name).open("wb") as stream:
                        stream.write(content)
                        stream.flush()
                        os.fsync(stream.fileno())
                folder.parent.mkdir(parents=True, exist_ok=True)
                if replace:
                    self._discard(folder)
                is_mine = _take(folder, partial)
        except OSError as error:
            raise _cannot_write(self.root, error) from error
        if is_mine:
            plain_value = json.loads(files[VALUE])
            return Entry(dict(arrays), plain_value, content_key(hashes), seconds)
        return self.get(stage, key) or Entry(dict(arrays), value, content_key(hashes), seconds)

    def _folder(self, stage: str, key: str) -> Path:
        if not re.fullmatch(r"[a-z0-9_-]+", stage) or not re.fullmatch(r"[0-9a-f]{64}", key):
            raise ValueError(f"not a stage and a key: {stage!r}, {key!r}")
        return self.root / stage / key

    @contextlib.contextmanager
    def _partial(self) -> Iterator[Path]:
        partial = Path(tempfile.mkdtemp(dir=self.root, prefix=".partial-"))
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _discard(self, folder: Path) -> None:
        """Move a folder out of the way, then delete it: no reader meets half of it."""
        with self._partial() as partial, contextlib.suppress(FileNotFoundError):
            folder.rename(partial / "old")

    def _remove_stale(self) -> None:
        for path in self.root.glob(".partial-*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _open_folder(folder: Path) -> Iterator[int | None]:
    """Its inode, or None where there is none. While it is open, no new folder gets the same number."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield None
        return
    try:
        yield os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


def _take(folder: Path, partial: Path) -> bool:
    """Give the written folder its name; False where another writer's entry has it already."""
    for _ in range(REREADS):
        try:
            partial.rename(folder)
            return True
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if folder.is_dir():
            return False  # else a third one has just moved away what was in our place
    return False


def _inode(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def _read(folder: Path, stage: str, key: str) -> Entry:
    """Read and check an entry; ValueError says what is wrong with it."""
    header = _header(folder, stage, key)
    contents = {}
    for name in (ARRAYS, VALUE):
        contents[name] = (folder / name).read_bytes()
        if hashlib.sha256(contents[name]).hexdigest() != header["sha256"][name]:
            raise ValueError(f"{name}: its SHA-256 is not the one in {ENTRY}")
    arrays, problems = read_npz(contents[ARRAYS], ARRAYS)
    if problems:
        raise ValueError("; ".join(problems.values()))
    value = parse_json(contents[VALUE].decode("utf-8"))
    return Entry(arrays, value, _digest(header), float(header["seconds"]))


def _header(folder: Path, stage: str, key: str) -> dict[str, Any]:
    header = parse_json((folder / ENTRY).read_text(encoding="utf-8"))
    if not isinstance(header, dict):
        raise ValueError(f"{ENTRY}: is no JSON object")
    for name, wanted in {"format": FORMAT, "stage": stage, "key": key}.items():
        if header.get(name) != wanted:
            raise ValueError(f"{ENTRY}: {name} is {header.get(name)!r}, expected {wanted!r}")
    return header


def _digest(header: Mapping[str, Any]) -> str:
    return content_key({name: header["sha256"][name] for name in (ARRAYS, VALUE)})


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Masks are packed, everything else is stored as it is: pixels and points hardly shrink."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            packed = zipfile.ZIP_DEFLATED if array.dtype == np.bool_ else zipfile.ZIP_STORED
            write_member(archive, f"{name}.npy", member.getvalue(), packed)
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"the cache of prior results '{path}' cannot be written: {error.strerror or error}. Check "
        "the permissions and the free space, or give another folder with --cache"
    )
