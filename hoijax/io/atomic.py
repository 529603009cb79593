"""Results appear whole or not at all: folders, and files added to a folder."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from hoijax.errors import UserError

RESULT_MARKER, BUNDLE_MARKER = "run.json", "bundle.json"
_partial_folders: set[Path] = set()
"""Being written by this process."""


def discard_partial_folders() -> None:
    """Remove what is being written: for a process that ends without unwinding."""
    for folder in tuple(_partial_folders):
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _partial_folder(parent: Path, prefix: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
    _partial_folders.add(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _partial_folders.discard(folder)


def check_output(path: str | Path, marker: str = RESULT_MARKER) -> Path:
    """Refuse, before any work, an output folder that could not be written or holds something else.

    marker: a file that tells an earlier result of the same kind.

    Raises UserError where the path is a file, a folder that is not an earlier result, or lies
    where nothing may be written.
    """
    path = Path(path)
    try:
        if path.is_symlink():
            path.stat()
        is_there = path.exists()
    except OSError as error:  # a name too long, a link to itself or to nothing
        raise UserError(f"--out '{str(path)[:80]}' cannot be written: {error.strerror}.") from error
    if path.is_file():
        raise UserError(f"--out '{path}' is a file. Give a folder.")
    if is_there and not path.is_dir():
        raise UserError(f"--out '{path}' is a pipe, socket or device. Give a folder.")
    if path.is_dir() and any(path.iterdir()) and not (path / marker).is_file():
        raise UserError(
            f"--out '{path}' holds files that are not a hoijax result. Give a new or empty folder."
        )
    _check_outside_bundles(path, path.resolve().parents)
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise UserError(f"--out '{path}' cannot be written: '{parent}' is a file, not a folder.")
    if not os.access(parent, os.W_OK):
        raise UserError(f"--out '{path}' cannot be written: no permission in '{parent}'.")
    try:  # the only sure test: permissions lie on network and read-only file systems
        with tempfile.TemporaryDirectory(dir=parent, prefix=".hoijax-"):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def _check_outside_bundles(path: Path, folders: Iterable[Path]) -> None:
    """Refuse what would be written into a bundle, which says what its files are."""
    bundle = next((folder for folder in folders if (folder / BUNDLE_MARKER).is_file()), None)
    if bundle is not None:
        raise UserError(f"--out '{path}' lies inside the bundle '{bundle}'. Give another folder.")


def check_apart(source: str | Path, out: str | Path) -> None:
    """Refuse an output folder that holds what is read, or lies within it. Raises UserError."""
    source_path, out_path = Path(source).resolve(), Path(out).resolve()
    if source_path.is_relative_to(out_path):
        raise UserError(f"--out '{out}' holds the bundle itself. Give another folder.")
    if out_path.is_relative_to(source_path):
        raise UserError(f"--out '{out}' lies inside the bundle '{source}'. Give another folder.")


@contextlib.contextmanager
def output_folder(path: str | Path, marker: str = RESULT_MARKER) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends well.

    An earlier result there is replaced. On any exception, Ctrl-C included, nothing of the new
    result remains and the earlier one is untouched. Raises UserError where it cannot be written.
    """
    path = check_output(path, marker).absolute()
    with _made(path.parent):
        try:
            with _partial_folder(path.parent, f".{path.name}-partial-") as partial:
                yield partial
                partial.chmod(0o755)
                _take_place(partial, path)
        except OSError as error:
            raise _cannot_write(path, error) from error


@contextlib.contextmanager
def added_files(folder: str | Path) -> Iterator[Path]:
    """A temporary folder whose files move into `folder` together when the block ends well.

    The folder is made where it is missing; files of the same names are replaced, others stay. On any
    exception nothing changes. Raises UserError where it cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out '{folder}' is no folder. Give one.")
    _check_outside_bundles(folder, (folder.resolve(), *folder.resolve().parents))
    with _made(folder):
        try:
            with _partial_folder(folder, ".partial-") as partial:
                yield partial
                for path in sorted(partial.iterdir()):
                    path.replace(folder / path.name)
        except OSError as error:
            raise _cannot_write(folder, error) from error


def _take_place(new: Path, path: Path) -> None:
    """Rename a folder to `path`; what was there is deleted only after that."""
    if not path.exists():
        new.replace(path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-old-"))
    path.replace(old / path.name)
    try:
        new.replace(path)
    except BaseException:
        (old / path.name).replace(path)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; on any exception remove the ones that were made."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_write(folder, error) from error
        yield
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"'{path}' cannot be written: {error.strerror or error}. "
        "Check the permissions and the free space, or give another --out."
    )
