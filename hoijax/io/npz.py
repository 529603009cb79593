"""Plain arrays in an npz file: the same bytes for the same arrays, and no pickle, ever.

`np.load` alone is not enough for files that strangers send: it allocates what a damaged header
claims before it reads, and its messages do not say which key of which file is wrong.
"""

import errno
import io
import math
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hoijax.errors import UserError

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: no clock in the bytes
MAX_FILE_BYTES = 1 << 31
"""Refuse files that are, or claim to unpack to, more than this (2 GiB): no scene is that large."""
MAX_MEMBERS = 10_000
"""Refuse archives of more files than this."""


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as a compressed npz; equal arrays give equal bytes, whatever the clock says.

    Raises UserError for an array of objects, which only a pickle could hold.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, array in arrays.items():
            if array.dtype.hasobject:
                raise UserError(f"array {key!r} holds Python objects; give it a numeric dtype")
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            write_member(archive, f"{key}.npy", member.getvalue(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def write_member(archive: zipfile.ZipFile, name: str, content: bytes, compression: int) -> None:
    """Add a file to a zip with fixed time and permissions, so that the bytes depend on nothing else."""
    info = zipfile.ZipInfo(name, date_time=_EPOCH)
    info.compress_type = compression
    info.create_system = 3  # Unix, also where this runs on Windows
    info.external_attr = 0o100644 << 16
    archive.writestr(info, content)


def read_regular_file(path: str | Path, largest: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a file. OSError, with the reason, for pipes, devices (they may never end) and giants."""
    path = Path(path)
    if path.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is not a regular file")
    if path.stat().st_size > largest:
        raise OSError(errno.EFBIG, f"is {path.stat().st_size} bytes; at most {largest} are read")
    return path.read_bytes()


def read_npz(content: bytes, where: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays that can be read, a problem for every key that cannot) of the bytes of an npz file.

    where: the file's name, which starts every problem. A file that is no npz at all has one problem,
    under the key "".
    """
    arrays: dict[str, np.ndarray] = {}
    problems: dict[str, str] = {}
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        damage = (
            _what_else(content)
            or f"{len(content)} bytes that are none, or a truncated one ({error})"
        )
        return {}, {"": f"{where}: expected an npz (a zip of arrays), found {damage}"}
    with archive:
        if problem := archive_problem(archive):
            return {}, {"": f"{where}: {problem}"}
        for info in archive.infolist():
            key = info.filename.removesuffix(".npy")
            try:
                if key in arrays:
                    raise ValueError("it is stored twice")
                arrays[key] = _read_member(archive, info)
            except Exception as error:  # damage ends in whatever the decoders raise
                reason = str(error) or type(error).__name__
                problems[key] = f"{where}: key {key!r}: {reason}"
    return arrays, problems


def _what_else(content: bytes) -> str:
    """What a file is that is no npz, with the remedy; empty where that is not known."""
    if not content:
        return "an empty file"
    if content.startswith(b"\x93NUMPY"):
        return "a single array; write what belongs together with numpy.savez"
    if content[:1] == b"\x80" and content[-1:] == b".":
        return (
            "a pickle, which may run code when it is read; where you trust it, load it yourself and write its "
            "arrays with numpy.savez"
        )
    return ""


def archive_problem(archive: zipfile.ZipFile, most: int = MAX_FILE_BYTES) -> str | None:
    """Why an archive must not be unpacked, by what its directory claims; None where it may be.

    most: bytes that all its files may have.
    """
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        return f"holds {len(members)} files; at most {MAX_MEMBERS} are read"
    total = sum(info.file_size for info in members)
    if total > most:
        return f"claims to unpack to {total} bytes; at most {most} are read"
    return None


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array; ValueError says what is wrong with it."""
    if not info.filename.endswith(".npy"):
        raise ValueError("expected a .npy array, found another kind of file")
    with archive.open(info) as stream:
        shape, is_fortran, dtype = _read_header(stream)
        start, count = stream.tell(), math.prod(shape)
        # before the rest is unpacked: a header that does not fit its file is no array
        expected, claimed = count * dtype.itemsize, info.file_size - start
        if expected != claimed:
            raise ValueError(
                f"expected {expected} bytes for shape {shape} {dtype}, found {claimed}"
            )
        content = stream.read()
    if len(content) != expected:
        raise ValueError(
            f"expected {expected} bytes for shape {shape} {dtype}, found {len(content)}"
        )
    flat = np.frombuffer(content, dtype, count=count)
    return flat.reshape(shape, order="F" if is_fortran else "C").copy()


def _read_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether columns come first, dtype) of an npy file; ValueError for what is no plain array."""
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"expected npy version 1.0 or 2.0, found {version[0]}.{version[1]}")
    shape, is_fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError(
            "expected plain numbers, found pickled Python objects, which are never read; "
            "store the array with a numeric dtype"
        )
    if dtype.kind not in "biufcSU" or dtype.subdtype is not None:
        raise ValueError(f"expected plain numbers or text, found dtype {dtype}")
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise ValueError(f"expected lengths of 0 and more, found shape {shape}")
    return shape, is_fortran, dtype
