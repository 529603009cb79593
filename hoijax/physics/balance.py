"""Feet and balance of the body alone."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.geometry.rows import cross, dot
from hoijax.physics.rigid_motion import smoothed_derivative
from hoijax.results.protocols.mesh_motion import MeshMotion

STANDING = 0.03
"""Metres above the ground below which skin stands on it."""
SLOW = 0.2
"""Metres a second of the center of mass below which a frame is slow: static balance must hold."""


def feet_and_balance(motion: MeshMotion) -> dict[str, float]:
    """Skating of skin on the ground, floor penetration, balance.

    Skate: mean horizontal speed of the skin that is below 3 cm in two frames. Balance: share of slow
    frames in which the center of the body's volume is above the hull of its skin below 3 cm (grown by
    as much); NaN without slow frames. A carried object's mass is left out.
    """
    skin = motion.body_vertices
    low = skin[..., 1] < STANDING
    planted = low[1:] & low[:-1]
    steps = np.linalg.norm(np.diff(skin[..., [0, 2]], axis=0), axis=-1)
    centers = volume_centers(skin, motion.body_faces)
    speed = np.linalg.norm(smoothed_derivative(centers, motion.fps, 1), axis=-1)
    slow = np.flatnonzero((speed < SLOW) & (low.sum(axis=1) >= 3))
    balanced = [_above(centers[t, [0, 2]], skin[t, low[t]][:, [0, 2]]) for t in slow]
    return {
        "foot_skate_cm_s@3cm": float(steps[planted].mean() * motion.fps * 100)
        if planted.any()
        else 0.0,
        "floor_penetration_cm": float(np.maximum(-skin[..., 1].min(axis=1), 0).mean() * 100),
        "balanced_share@3cm": float(np.mean(balanced)) if balanced else float("nan"),
    }


def volume_centers(vertices: Float[ndarray, "T V 3"], faces: ndarray) -> Float[ndarray, "T 3"]:
    """Center of the volume within a mesh, by tetrahedra from its mean vertex."""
    return np.stack([_volume_center(frame, faces) for frame in vertices])  # fits the cache


def _volume_center(vertices: Float[ndarray, "V 3"], faces: ndarray) -> Float[ndarray, "3"]:
    origin = vertices.mean(axis=0)
    a, b, c = (vertices.take(faces[:, k], axis=0) - origin for k in range(3))
    volumes = dot(a, cross(b, c))
    return origin + np.einsum("f,fi->i", volumes, a + b + c) / 4 / volumes.sum()


def _above(point: Float[ndarray, "2"], standing: Float[ndarray, "N 2"]) -> bool:
    from scipy.spatial import ConvexHull, QhullError

    try:
        sides = ConvexHull(standing).equations
    except QhullError:  # all on a line
        return bool(np.linalg.norm(standing - point, axis=-1).min() <= STANDING)
    return bool((sides[:, :2] @ point + sides[:, 2]).max() <= STANDING)
