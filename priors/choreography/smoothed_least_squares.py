"""Steps of a least-squares problem over frames that smoothness joins: matrices and the linear solve."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from priors.choreography.joint_limits import JOINT_COUNT

UNKNOWN_COUNT = 3 + 3 * JOINT_COUNT
"""Of one frame: pelvis position, then the axis-angle of 22 joints."""
CG_STEPS = 50
VELOCITY, ACCELERATION = 0.3, 2.5
PELVIS_VELOCITY, PELVIS_ACCELERATION = 1.0, 25.0


def smoothness_matrices(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, T) matrices D^T D of first and second differences along time."""
    first = np.diff(np.eye(frames), axis=0)
    second = np.diff(np.eye(frames), n=2, axis=0)
    return (first.T @ first).astype(np.float32), (second.T @ second).astype(np.float32)


def smoothness_weights() -> tuple[np.ndarray, np.ndarray]:
    """(69,) squared weights of velocity and of acceleration."""
    velocity = np.full(UNKNOWN_COUNT, VELOCITY**2, np.float32)
    acceleration = np.full(UNKNOWN_COUNT, ACCELERATION**2, np.float32)
    velocity[:3], acceleration[:3] = PELVIS_VELOCITY**2, PELVIS_ACCELERATION**2
    return velocity, acceleration


def _rowwise(matrices: Float[Array, "T n n"], x: Float[Array, "T n"]) -> Float[Array, "T n"]:
    """Symmetric matrix times vector per frame; sums of products run faster than a batched dot here."""
    return jnp.sum(matrices * x[:, :, None], axis=1)


def solve_normal_equations(
    blocks: Float[Array, "T n n"],
    gradient: Float[Array, "T n"],
    velocity: Float[Array, "T T"],
    acceleration: Float[Array, "T T"],
) -> Float[Array, "T n"]:
    """Solve (blockdiag(blocks) + smoothness) step = -gradient by conjugate gradients.

    Preconditioned with the inverse of each frame's own block (its smoothness diagonal included).
    """
    velocity_weight, acceleration_weight = smoothness_weights()

    def times(x):
        data = _rowwise(blocks, x)
        return data + velocity_weight * (velocity @ x) + acceleration_weight * (acceleration @ x)

    own = jnp.diagonal(velocity)[:, None] * velocity_weight
    own = own + jnp.diagonal(acceleration)[:, None] * acceleration_weight
    inverse = jnp.linalg.inv(blocks + own[..., None] * jnp.eye(blocks.shape[-1]))

    def step(state, _):
        x, r, d, rz = state
        Ad = times(d)
        alpha = rz / jnp.maximum(jnp.sum(d * Ad), 1e-20)
        x, r = x + alpha * d, r - alpha * Ad
        z = _rowwise(inverse, r)
        rz_next = jnp.sum(r * z)
        return (x, r, z + rz_next / jnp.maximum(rz, 1e-20) * d, rz_next), None

    z = _rowwise(inverse, -gradient)
    state = (jnp.zeros_like(gradient), -gradient, z, jnp.sum(-gradient * z))
    (x, *_), _ = jax.lax.scan(step, state, length=CG_STEPS)
    return x
