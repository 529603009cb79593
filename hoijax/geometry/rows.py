"""Products of many short vectors, coordinate by coordinate: numpy's own go row by row, four times slower.

All results equal those of `sum`, `numpy.cross` and `numpy.linalg.norm` to the bit. `dot` is for JAX too,
whose sums over an axis of two or three are as slow on CPU.
"""

from typing import TypeVar

import jax
import numpy as np
from jaxtyping import Float
from numpy import ndarray

Values = TypeVar("Values", jax.Array, ndarray)


def dot(a: Values, b: Values) -> Values:
    """Inner product of every row: (*n, d) with (*n, d), which broadcast, to (*n)."""
    products = [a[..., i] * b[..., i] for i in range(a.shape[-1])]
    return sum(products[1:], products[0])


def cross(a: Float[ndarray, "*#n 3"], b: Float[ndarray, "*#n 3"]) -> Float[ndarray, "*n 3"]:
    """Vector product of every row."""
    out = np.empty(np.broadcast_shapes(a.shape, b.shape), np.result_type(a, b))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        np.subtract(a[..., j] * b[..., k], a[..., k] * b[..., j], out=out[..., i])
    return out


def unit(vectors: Float[ndarray, "*n 3"]) -> Float[ndarray, "*n 3"]:
    """Rows of length 1; a zero stays one."""
    length = np.sqrt(dot(vectors, vectors))
    return vectors / np.maximum(length, 1e-20)[..., None]


def face_areas(corners: Float[ndarray, "f 3 3"]) -> Float[ndarray, "f 3"]:
    """Normals of triangles, twice their area long."""
    return cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
