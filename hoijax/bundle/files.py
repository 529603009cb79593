"""The files of a bundle, in a folder or a zip of one: read with care, written all or nothing."""

import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from hoijax.errors import UserError
from hoijax.io.atomic import BUNDLE_MARKER
from hoijax.io.npz import archive_problem, read_regular_file, write_member

MANIFEST = BUNDLE_MARKER


def unsafe_name(name: str) -> str | None:
    """Why a file name of a bundle must not be followed, or None when it stays inside."""
    if not name or "\\" in name or ":" in name or any(ord(letter) < 32 for letter in name):
        return "holds a backslash, a colon, a control character or nothing at all"
    parts = name.split("/")
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return "leads out of the bundle; use a relative path without '..'"
    return None


def _is_noise(name: str) -> bool:
    """Files that file managers leave behind: no part of a bundle, and no reason to refuse one."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


@runtime_checkable
class BundleFiles(Protocol):
    """Named files to read."""

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes:
        """Raises ValueError with the reason when the content cannot be had."""
        ...


class _FolderFiles:
    def __init__(self, root: Path):
        self.root = root.resolve()

    def names(self) -> list[str]:
        paths = [path for path in self.root.rglob("*") if path.is_file() or path.is_symlink()]
        names = [path.relative_to(self.root).as_posix() for path in paths]
        return sorted(name for name in names if not _is_noise(name))

    def read(self, name: str) -> bytes:
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root):
            raise ValueError("is a link that leads out of the bundle")
        try:
            return read_regular_file(path)
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror or error}") from None


class _ZipFiles:
    def __init__(self, archive: zipfile.ZipFile):
        self.archive = archive
        if problem := archive_problem(archive):
            raise UserError(f"{archive.filename}: the zip {problem}")
        files = [info for info in archive.infolist() if not info.is_dir()]
        files = [info for info in files if not _is_noise(info.filename) or ".." in info.filename]
        # Zipping the folder itself, as file managers do, puts all files under its name.
        tops = {info.filename.split("/")[0] for info in files}
        top = f"{tops.pop()}/" if len(tops) == 1 else ""
        if unsafe_name(top.rstrip("/")):
            top = ""
        self.members = {info.filename.removeprefix(top): info for info in files}
        if len(self.members) < len(files):
            raise UserError(f"{archive.filename}: the zip holds a file name twice; zip it again")

    def names(self) -> list[str]:
        return sorted(self.members)

    def read(self, name: str) -> bytes:
        try:
            return self.archive.read(self.members[name])
        except Exception as error:  # damage ends in whatever the decoders raise
            raise ValueError(f"cannot be unpacked: {error}") from None


@contextlib.contextmanager
def open_bundle(path: Path) -> Iterator[BundleFiles]:
    """The files of a bundle folder or zip; nothing is unpacked to disk.

    Raises UserError when the path is neither, or when a name in the zip leads out of it.
    """
    if path.is_dir():
        yield _FolderFiles(path)
        return
    if not path.is_file():
        raise UserError(f"{path}: there is no such bundle; give a bundle folder or a zip of one")
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: expected a bundle folder or a zip of one, found a file that is no zip, or a "
            f"truncated one ({error})"
        ) from None
    with archive:
        files = _ZipFiles(archive)
        for name in files.names():
            if reason := unsafe_name(name):
                raise UserError(f"{path}: the file name {name!r} in the zip {reason}")
        yield files


def write_files(path: Path, files: Mapping[str, bytes]) -> None:
    """Write all files to a folder, or to a zip where the path ends in .zip, or none at all.

    They are written beside the target under another name and renamed at the end, so an interrupt
    or a full disk leaves what was there before. A bundle that is there already is replaced;
    anything else in the way is refused. Raises UserError.
    """
    try:
        if path.suffix.lower() == ".zip":
            _write_zip(path, files)
        else:
            _write_folder(path, files)
    except OSError as error:
        raise UserError(
            f"cannot write the bundle {path}: {error.strerror or error}. "
            "Check the folder's permissions and the free space, or give another --out."
        ) from None


def _write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    check_bundle_target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
            for member, content in files.items():
                write_member(archive, member, content, zipfile.ZIP_STORED)
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_bundle_target(path: Path) -> None:
    """Refuse a place that `write_files` would refuse, before the work. Raises UserError."""
    if path.suffix.lower() == ".zip":
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "no regular file"
            raise UserError(f"{path} is {kind}; give the bundle another name")
    elif path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; give the bundle another name")
    elif path.is_dir() and any(path.iterdir()) and not (path / MANIFEST).is_file():
        raise UserError(f"{path} holds other files than a bundle; give an empty or a new folder")
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise UserError(f"cannot write the bundle {path}: {parent} is a file, not a folder")
    if not os.access(parent, os.W_OK):
        raise UserError(f"cannot write the bundle {path}: check the permissions of {parent}")


def _write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    check_bundle_target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial"))
    replaced = partial / "replaced"
    new = partial / "new"
    try:
        for name, content in files.items():
            target = new / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        if path.exists():
            path.replace(replaced)
        try:
            new.replace(path)
        except BaseException:
            if replaced.exists() and not path.exists():
                replaced.replace(path)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
