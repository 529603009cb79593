"""Files locked by flock(2): held by one process or shared, given back by the system at its end."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from hoijax.errors import UserError

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}


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
