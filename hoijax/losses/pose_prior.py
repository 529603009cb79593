"""A body poses as people do: joint limits, and a mixture of Gaussians or the user's VPoser."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.bodies.pose_prior import BODY_JOINT_COUNT, limit_excess, pose_energy
from hoijax.geometry.rotations import matrix_to_axis_angle
from hoijax.scene.interaction import AnchorPosed

FIRST_FINGER = 25
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def _poses(posed: AnchorPosed) -> Float[Array, "P T 22 3"]:
    return matrix_to_axis_angle(posed.rotations[:, :, :BODY_JOINT_COUNT])


def joint_limits(posed: AnchorPosed) -> tuple[Values, Mask]:
    """Squared radians beyond the ranges of the joints. (P, T)"""
    values = limit_excess(_poses(posed))
    return values, jnp.ones_like(values, dtype=bool)


def pose_prior(posed: AnchorPosed) -> tuple[Values, Mask]:
    """Negative logarithm of the mixture of reference poses, or of VPoser where the scene has it. (P, T)"""
    model, poses = posed.scene.pose_model, _poses(posed)
    values = pose_energy(poses, posed.scene.pose_centers) if model is None else model.energy(poses)
    return values, jnp.ones_like(values, dtype=bool)


def finger_prior(posed: AnchorPosed) -> tuple[Values, Mask]:
    """Squared turn of the finger joints from where they started, summed over joints. (P, T)

    Half the squared difference of the matrices: the squared angle to fourth order, smooth at half a
    turn. Fingers are no keypoints; contact and penetration move them from their start.
    """
    away = (posed.rotations - posed.scene.fixed_rotations)[:, :, FIRST_FINGER:]
    values = 0.5 * jnp.sum(away**2, axis=(-1, -2, -3))
    return values, jnp.ones_like(values, dtype=bool)
