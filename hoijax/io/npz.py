"""Plain arrays in an npz file: the same bytes for the same arrays, and no pickle, ever.

`np.load` alone is not enough for files that strangers send: it allocates what a damaged header
claims before it reads, and its messages do not say which key of which file is wrong.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from hoijax.errors import UserError

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: no clock in the bytes
MAX_FILE_BYTES = 1 << 32
"""Refuse members that claim to unpack to more than this (4 GiB): no scene is that large."""


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
        found = (
            "an empty file"
            if not content
            else f"{len(content)} bytes that are none, or a truncated one ({error})"
        )
        return {}, {"": f"{where}: expected an npz (a zip of arrays), found {found}"}
    with archive:
        for info in archive.infolist():
            key = info.filename.removesuffix(".npy")
            try:
                if key in arrays:
                    raise ValueError("it is stored twice")
                arrays[key] = _read_member(archive, info)
            except (
                ValueError,
                OSError,
                EOFError,
                RuntimeError,
                zipfile.BadZipFile,
                zlib.error,
            ) as error:
                problems[key] = f"{where}: key {key!r}: {error}"
    return arrays, problems


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array; ValueError says what is wrong with it."""
    if not info.filename.endswith(".npy"):
        raise ValueError("expected a .npy array, found another kind of file")
    if info.file_size > MAX_FILE_BYTES:
        raise ValueError(f"claims to be {info.file_size} bytes; at most {MAX_FILE_BYTES} are read")
    content = archive.read(info)
    stream = io.BytesIO(content)
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
    count = math.prod(shape)
    expected, found = count * dtype.itemsize, len(content) - stream.tell()
    if expected != found:
        raise ValueError(f"expected {expected} bytes for shape {shape} {dtype}, found {found}")
    flat = np.frombuffer(content, dtype, count=count, offset=stream.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C").copy()
