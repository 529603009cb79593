"""Files locked by flock(2): held by one process or shared, given back by the system at its end."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from hoijax.errors import UserError

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}
LONGEST_NAME = 200
"""Bytes of a name that get into that of its lock."""


def lock_file(path: Path, how: int) -> int | None:
    """A file, made where it is missing, opened and locked; None where another process has it.

    Whoever removes a lock file does so while it is locked. So a lock on a file that is not there any
    more locks nothing, and the next try makes a new one.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, how)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            if error.errno in NO_LOCKS:
                raise UserError(
                    f"'{path.parent}' is on a file system without locks ({error.strerror}). Give an "
                    "--out on another one, or have it mounted with them (Lustre: -o flock)."
                ) from error
            raise
        os.close(descriptor)


@contextlib.contextmanager
def held_output(out: str | Path) -> Iterator[None]:
    """While one process works on what it will write to `out`, no other one does.

    The lock is a hidden file beside it, gone at the end. Where the file system has no locks, or nothing can
    be written there (the output itself says so), nothing is held. Raises UserError where another process
    works on it.
    """
    out = Path(out).absolute()
    beside = out.with_name(f".{os.fsdecode(os.fsencode(out.name)[:LONGEST_NAME])}.lock")
    missing = [folder for folder in out.parents if not folder.exists()]
    descriptor, held = None, False
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        descriptor = lock_file(beside, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = descriptor is None
    except (OSError, UserError):
        pass
    if held:
        raise UserError(
            f"another process is writing '{out}'. Wait for its end, or give another --out."
        )
    try:
        yield
    finally:
        if descriptor is not None:
            beside.unlink(missing_ok=True)  # while it is locked: see `lock_file`
            os.close(descriptor)
        with contextlib.suppress(OSError):  # those that nothing was written to
            for folder in missing:
                folder.rmdir()
