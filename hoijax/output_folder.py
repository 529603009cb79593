"""Result folders appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hoijax.errors import UserError

RESULT_MARKER = "run.json"


def check_output(path: str | Path) -> Path:
    """Refuse, before any work, an output folder that could not be written or holds something else.

    Raises UserError where the path is a file, a folder that is not an earlier result, or lies
    where nothing may be written.
    """
    path = Path(path)
    if path.is_file():
        raise UserError(f"--out '{path}' is a file. Give a folder.")
    if path.is_dir() and any(path.iterdir()) and not (path / RESULT_MARKER).is_file():
        raise UserError(
            f"--out '{path}' holds files that are not a hoijax result. Give a new or empty folder."
        )
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"--out '{path}' cannot be written: no permission in '{parent}'.")
    try:  # the only sure test: permissions lie on network and read-only file systems
        with tempfile.TemporaryDirectory(dir=parent, prefix=".hoijax-"):
            pass
    except OSError as error:
        raise UserError(f"--out '{path}' cannot be written: {error}.") from error
    return path


@contextmanager
def output_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends well.

    An earlier result there is replaced. On any exception, Ctrl-C included, nothing of the new
    result remains and the earlier one is untouched.
    """
    path = check_output(path)
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    parent = path.absolute().parent
    partial = Path(tempfile.mkdtemp(dir=parent, prefix=f".{path.name}-partial-"))
    try:
        yield partial
        partial.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=parent, prefix=f".{path.name}-old-"))
            path.replace(old / path.name)
            partial.replace(path)
            shutil.rmtree(old)
        else:
            partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
