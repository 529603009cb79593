"""A body poses as people do: joint limits and a mixture of Gaussians (in place of VPoser)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.anchor_scene import AnchorPosed
from hoijax.bodies.pose_prior import BODY_JOINT_COUNT, limit_excess, pose_energy
from hoijax.rotations import matrix_to_axis_angle

Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def _poses(posed: AnchorPosed) -> Float[Array, "P T 22 3"]:
    return matrix_to_axis_angle(posed.rotations[:, :, :BODY_JOINT_COUNT])


def joint_limits(posed: AnchorPosed) -> tuple[Values, Mask]:
    """Squared radians beyond the ranges of the joints. (P, T)"""
    values = limit_excess(_poses(posed))
    return values, jnp.ones_like(values, dtype=bool)


def pose_prior(posed: AnchorPosed) -> tuple[Values, Mask]:
    """Negative logarithm of the mixture of reference poses. (P, T)"""
    values = pose_energy(_poses(posed))
    return values, jnp.ones_like(values, dtype=bool)
