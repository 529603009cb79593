"""Frames and rigid transforms. World: y up, ground at y = 0. Camera: OpenCV (x right, y down, z forward)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Z_UP_FROM_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]], np.float32)
"""Rotation that takes y-up coordinates to z-up ones (Blender): (x, y, z) -> (x, -z, y)."""
GRAVITY = np.array([0.0, -9.81, 0.0])
"""Acceleration of what falls, m/s^2, in the y-up world."""


def transform_points(
    T: Float[Array, "*batch 4 4"], points: Float[Array, "*batch n 3"]
) -> Float[Array, "*batch n 3"]:
    """Apply T_target_source (rigid or similarity) to points in the source frame."""
    return points @ jnp.swapaxes(T[..., :3, :3], -1, -2) + T[..., None, :3, 3]


def compose_rigid(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """(..., 4, 4) matrix from a rotation (..., 3, 3) and a translation (..., 3); numpy, float32."""
    T = np.zeros((*np.shape(translation)[:-1], 4, 4), np.float32)
    T[..., :3, :3] = rotation
    T[..., :3, 3] = translation
    T[..., 3, 3] = 1.0
    return T


def invert_rigid(T: np.ndarray) -> np.ndarray:
    """Inverse of rigid transforms (..., 4, 4); numpy."""
    rotation = np.swapaxes(T[..., :3, :3], -1, -2)
    return compose_rigid(rotation, -(rotation @ T[..., :3, 3:])[..., 0])


def look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """T_world_camera (4, 4) of an upright OpenCV camera at `eye` looking at `target` (world, y up)."""
    eye, target = np.asarray(eye, np.float64), np.asarray(target, np.float64)
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    return compose_rigid(np.stack([right, down, forward], axis=-1), eye)
