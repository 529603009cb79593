"""Rotations: axis-angle, 6D (Zhou et al. 2019), quaternions (wxyz) and matrices; all batched and gradient-safe."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.geometry.safe_math import safe_normalize
from hoijax.programs import program

# Below this squared angle the closed forms lose digits in float32, so Taylor series take over.
SMALL_SQUARED_ANGLE = 1e-6


def skew(v: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Cross-product matrix: skew(a) @ b = a x b."""
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    zero = jnp.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return jnp.stack(rows, axis=-1).reshape(*v.shape[:-1], 3, 3)


@program
def axis_angle_to_matrix(axis_angle: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Rodrigues' formula; smooth at zero."""
    squared = jnp.sum(axis_angle * axis_angle, axis=-1)
    small = squared < SMALL_SQUARED_ANGLE
    safe = jnp.where(small, 1.0, squared)
    angle = jnp.sqrt(safe)
    sine = jnp.where(small, 1.0 - squared / 6.0, jnp.sin(angle) / angle)
    cosine = jnp.where(small, 0.5 - squared / 24.0, (1.0 - jnp.cos(angle)) / safe)
    k = skew(axis_angle)
    identity = jnp.eye(3, dtype=axis_angle.dtype)
    return identity + sine[..., None, None] * k + cosine[..., None, None] * (k @ k)


@program
def matrix_to_quaternion(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 4"]:
    """Unit quaternion wxyz with w >= 0, through the best conditioned of the four classical forms."""
    m = matrix
    diagonal = jnp.stack([m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]], axis=-1)
    trace = jnp.sum(diagonal, axis=-1)
    w = jnp.stack(
        [
            1.0 + trace,
            m[..., 2, 1] - m[..., 1, 2],
            m[..., 0, 2] - m[..., 2, 0],
            m[..., 1, 0] - m[..., 0, 1],
        ],
        axis=-1,
    )

    def around(i: int) -> Array:
        j, k = (i + 1) % 3, (i + 2) % 3
        parts = [jnp.zeros_like(trace)] * 4
        parts[0] = m[..., k, j] - m[..., j, k]
        parts[1 + i] = 1.0 + m[..., i, i] - m[..., j, j] - m[..., k, k]
        parts[1 + j] = m[..., j, i] + m[..., i, j]
        parts[1 + k] = m[..., k, i] + m[..., i, k]
        return jnp.stack(parts, axis=-1)

    candidates = jnp.stack([w, around(0), around(1), around(2)], axis=-2)
    scores = jnp.concatenate([trace[..., None], diagonal], axis=-1)
    best = jnp.argmax(scores, axis=-1)
    quaternion = jnp.take_along_axis(candidates, best[..., None, None], axis=-2)[..., 0, :]
    quaternion = safe_normalize(quaternion)
    return jnp.where(quaternion[..., :1] < 0.0, -quaternion, quaternion)


@program
def quaternion_to_matrix(quaternion: Float[Array, "*batch 4"]) -> Float[Array, "*batch 3 3"]:
    """Rotation matrix of a quaternion wxyz (normalized first)."""
    w, x, y, z = jnp.moveaxis(safe_normalize(quaternion), -1, 0)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return jnp.stack(rows, axis=-1).reshape(*quaternion.shape[:-1], 3, 3)


@program
def quaternion_to_axis_angle(quaternion: Float[Array, "*batch 4"]) -> Float[Array, "*batch 3"]:
    """Axis-angle vector of a unit quaternion wxyz with w >= 0."""
    w, xyz = quaternion[..., :1], quaternion[..., 1:]
    squared = jnp.sum(xyz * xyz, axis=-1, keepdims=True)
    small = squared < 1e-12
    norm = jnp.sqrt(jnp.where(small, 1.0, squared))
    return jnp.where(small, 2.0, 2.0 * jnp.arctan2(norm, w) / norm) * xyz


@program
def matrix_to_axis_angle(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3"]:
    """Axis-angle vector with angle in [0, pi]."""
    return quaternion_to_axis_angle(matrix_to_quaternion(matrix))


@program
def matrix_to_rotation_6d(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 6"]:
    """First two columns, one after the other (Zhou et al. 2019)."""
    return jnp.concatenate([matrix[..., :, 0], matrix[..., :, 1]], axis=-1)


@program
def rotation_6d_to_matrix(rotation_6d: Float[Array, "*batch 6"]) -> Float[Array, "*batch 3 3"]:
    """Gram-Schmidt on two columns (Zhou et al. 2019)."""
    first = safe_normalize(rotation_6d[..., :3])
    raw = rotation_6d[..., 3:]
    second = safe_normalize(raw - jnp.sum(first * raw, axis=-1, keepdims=True) * first)
    return jnp.stack([first, second, jnp.cross(first, second)], axis=-1)


def squared_chordal(
    a: Float[Array, "*batch 3 3"], b: Float[Array, "*batch 3 3"]
) -> Float[Array, "*batch"]:
    """Half the squared Frobenius distance of two rotations: 4 sin^2(angle / 2), about angle^2 when small.

    Smooth everywhere, unlike the geodesic distance, and equal to its square up to angle^4 / 12.
    """
    return 0.5 * jnp.sum((a - b) ** 2, axis=(-1, -2))


def slerp_midpoint(
    a: Float[Array, "*batch 3 3"], b: Float[Array, "*batch 3 3"]
) -> Float[Array, "*batch 3 3"]:
    """Rotation half-way between two rotations along the shorter arc."""
    qa, qb = matrix_to_quaternion(a), matrix_to_quaternion(b)
    sign = jnp.where(jnp.sum(qa * qb, axis=-1, keepdims=True) < 0.0, -1.0, 1.0)
    return quaternion_to_matrix(qa + sign * qb)


def super_fibonacci_rotations(count: int) -> np.ndarray:
    """Rotations spread evenly over SO(3), shape (count, 3, 3) float32 (Alexa, CVPR 2022)."""
    phi, psi = np.sqrt(2.0), 1.533751168755204288118041
    s = np.arange(count) + 0.5
    r, big_r = np.sqrt(s / count), np.sqrt(1.0 - s / count)
    alpha, beta = 2.0 * np.pi * s / phi, 2.0 * np.pi * s / psi
    w, x, y, z = big_r * np.cos(beta), r * np.sin(alpha), r * np.cos(alpha), big_r * np.sin(beta)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return np.stack(rows, axis=-1).reshape(count, 3, 3).astype(np.float32)
