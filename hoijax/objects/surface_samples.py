"""Points spread over a triangle mesh."""

import numpy as np
from jaxtyping import Float, Float32, Int

GOLDEN_RATIO = 0.5 * (1.0 + 5.0**0.5)


def sample_surface(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], count: int, seed: int
) -> tuple[Float32[np.ndarray, "S 3"], Float32[np.ndarray, "S 3"], Int[np.ndarray, "S"]]:
    """Points spread by area, their unit normals and their faces.

    Stratified: one draw from each of `count` equal shares of the cumulative area, so every face gets
    its due number of samples to within one, and thin parts are never missed by chance. The shares are
    visited in golden-ratio order: the first n samples, for any n, are spread over the surface as well.
    """
    rng = np.random.default_rng(seed)
    a, b, c = np.moveaxis(np.asarray(vertices, np.float64)[faces], 1, 0)
    normals = np.cross(b - a, c - a)
    doubled_area = np.linalg.norm(normals, axis=1)
    cumulative = np.cumsum(doubled_area)
    draws = (np.arange(count) + rng.random(count)) / count * cumulative[-1]
    draws = draws[np.argsort(np.argsort(np.arange(count) * GOLDEN_RATIO % 1.0))]
    face_ids = np.minimum(np.searchsorted(cumulative, draws, side="right"), len(faces) - 1)
    u, v = rng.random((2, count, 1))
    root = np.sqrt(u)
    points = (1 - root) * a[face_ids] + root * (1 - v) * b[face_ids] + root * v * c[face_ids]
    unit = normals[face_ids] / doubled_area[face_ids, None]
    return points.astype(np.float32), unit.astype(np.float32), face_ids
