"""Arrays of files that strangers send, read by a contract: dtype, shape, finite, plausible, rotations.

One table a file (`Field` by key) says what is taken; every problem is found at once and names file and key.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

ORTHONORMAL_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Field:
    """What an array must be."""

    shape: str | None = None
    """Axis names or lengths as in jaxtyping, "T 55 3"; equal names are equal lengths. None: any."""
    kinds: str = "fiu"
    """Kinds of dtype that are taken: f floats, i and u whole numbers, b booleans, U and S text."""
    largest: float = np.inf
    """Largest magnitude."""
    lowest: float = -np.inf
    is_finite: bool = True
    """NaN and infinite numbers are refused."""
    is_rotation: bool = False
    """The last two axes are a rotation matrix: orthonormal, and not a mirror."""
    needed: bool = True


def field_problems(
    arrays: Mapping[str, ndarray],
    fields: Mapping[str, Field],
    where: str,
    sizes: Mapping[str, int] | None = None,
) -> list[str]:
    """Every problem of the arrays that `fields` names; other keys are not looked at.

    where: the file, which starts every problem. sizes: axis lengths that are known beforehand.
    """
    known = {name: (length, "elsewhere") for name, length in (sizes or {}).items()}
    problems = []
    for key, contract in fields.items():
        if key in arrays:
            problem = _problem(arrays[key], contract, known, key)
            problems += [f"{where}: key {key!r}: {problem}"] if problem else []
        elif contract.needed:
            problems.append(f"{where}: key {key!r}: is missing")
    return problems


def _problem(
    array: ndarray, contract: Field, known: dict[str, tuple[int, str]], key: str
) -> str | None:
    """The first thing wrong with one array: what comes after it would follow from it."""
    if array.dtype.kind not in contract.kinds:
        names = {"f": "real numbers", "i": "whole numbers", "b": "true and false", "U": "text"}
        wanted = " or ".join(names[kind] for kind in contract.kinds if kind in names)
        return f"expected {wanted}, found dtype {array.dtype}"
    if contract.shape is not None and (reason := _shape_problem(array, contract.shape, known, key)):
        return reason
    if array.dtype.kind not in "fiu" or array.size == 0:
        return None
    if not contract.is_finite:
        return None
    if not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        return f"{bad} of {array.size} numbers are NaN or infinite"
    if np.abs(array.astype(np.float64)).max() > contract.largest:
        return f"expected at most {contract.largest:g}, found {np.abs(array).max():g}"
    if array.min() < contract.lowest:
        return f"expected at least {contract.lowest:g}, found {array.min():g}"
    return _rotation_problem(array) if contract.is_rotation else None


def _shape_problem(
    array: ndarray, shape: str, known: dict[str, tuple[int, str]], key: str
) -> str | None:
    axes = shape.split()
    wanted = ", ".join(axes)
    if array.ndim != len(axes):
        return f"expected {len(axes)} axes ({wanted}), found shape {array.shape}"
    for name, length in zip(axes, array.shape, strict=True):
        expected, source = (
            (int(name), "always")
            if name.isdigit()
            else known.setdefault(name, (length, f"as in {key}"))
        )
        if length != expected:
            why = "" if name.isdigit() else f" with {name} = {expected} ({source})"
            return f"expected shape ({wanted}){why}, found {array.shape}"
    return None


def _rotation_problem(matrices: ndarray) -> str | None:
    rotations = matrices.astype(np.float64)
    gaps = np.abs(rotations @ rotations.swapaxes(-1, -2) - np.eye(3)).max(axis=(-1, -2))
    if not (gaps < ORTHONORMAL_TOLERANCE).all():
        return "are not rotations (R^T R is not 1)"
    if not (np.linalg.det(rotations) > 0.0).all():
        return "are not rotations but mirror (det R is -1)"
    return None
