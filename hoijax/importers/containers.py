"""Named arrays of a file in any container that people keep results in: npz, npy, pt, json.

No pickle is ever run: `.pt` goes through torch's `weights_only`, and `.pkl` is refused with the way out.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.io.npz import read_npz, read_regular_file
from hoijax.io.validation import parse_json

__all__ = ["canonical", "read_arrays", "read_json"]

PICKLED = (".pkl", ".pickle", ".joblib", ".pth")
TORCH = (".pt", ".pth", ".ckpt")
PICKLE_HINT = (
    "Pickled files can run code and are never read. Where you trust it, turn it into an npz once, by "
    'the six lines under "Pickled files" in docs/bring-your-own.md.'
)


def canonical(key: str) -> str:
    """One spelling of nested names: "smpl_params_incam/body_pose" is "smpl_params_incam_body_pose"."""
    return re.sub(r"[^0-9A-Za-z]+", "_", key).strip("_")


def read_arrays(path: str | Path) -> dict[str, ndarray]:
    """Every array of a file by its canonical name, nested ones joined; "" names that of a bare array.

    npz, npy, pt (dictionaries, lists or one tensor; torch is needed), json (lists of numbers). What is
    no array in it is left out. Raises UserError for other files, damage, and pickles, with the remedy.
    """
    path = Path(path)
    content, kind = _bytes(path), path.suffix.lower()
    if kind == ".json":
        return dict(_flat(read_json(path)))
    if kind in TORCH:
        return dict(_flat(_read_torch(path)))
    if kind in PICKLED or content[:1] == b"\x80":
        raise UserError(f"{path}: is a pickle. {PICKLE_HINT}")
    if content[:6] == b"\x93NUMPY":
        return {"": _read_npy(path, content)}
    arrays, problems = read_npz(content, str(path))
    if not arrays and problems:
        hint = f" {PICKLE_HINT}" if "pickled" in "".join(problems.values()) else ""
        raise UserError(next(iter(problems.values())) + "." + hint)
    return {canonical(key): array for key, array in arrays.items()}


def read_json(path: str | Path) -> Any:
    """The content of a json file; UserError where it is none."""
    try:
        return parse_json(_bytes(Path(path)).decode("utf-8"), finite=False)
    except ValueError as error:
        raise UserError(f"{path}: expected JSON, found damage: {error}") from error


def _bytes(path: Path) -> bytes:
    try:
        return read_regular_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_npy(path: Path, content: bytes) -> ndarray:
    import io

    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except ValueError as error:
        hint = (
            PICKLE_HINT if "pickle" in str(error).lower() or "object" in str(error).lower() else ""
        )
        raise UserError(f"{path}: is no plain array ({error}). {hint}".strip()) from error


def _read_torch(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"{path}: torch reads this file, and is not installed. `pip install torch`, or turn the file "
            'into an npz elsewhere ("Pickled files" in docs/bring-your-own.md).'
        ) from error
    import pickle

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that torch itself is leaving behind
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: is damaged, or holds more than tensors and plain values, and is not read "
            f"further. {PICKLE_HINT}"
        ) from error


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, ndarray]]:
    """(canonical name, array) of everything numeric in nested mappings and lists."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}_{key}" if name else str(key))
        return
    array = _array(value)
    if array is not None:
        yield canonical(name), array
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for number, item in enumerate(value):
            yield from _flat(item, f"{name}_{number}" if name else str(number))


def _array(value: Any) -> ndarray | None:
    """A tensor, an array, a number, or nested lists of numbers as an array; None for all else."""
    if hasattr(value, "detach"):
        return value.detach().cpu().numpy()
    if isinstance(value, str | bytes) or value is None:
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        return None
    return array if array.dtype.kind in "biuf" else None
