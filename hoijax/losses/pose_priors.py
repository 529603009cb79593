"""A body poses as people do: joint limits, and a mixture of Gaussians or the user's VPoser."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.bodies.kinematics import BODY_JOINT_COUNT
from hoijax.bodies.pose_prior import limit_excess, pose_energy
from hoijax.geometry.rotations import matrix_to_axis_angle
from hoijax.scene.bodies import MovingBodies
from hoijax.scene.posed import PosedScene, present

FIRST_FINGER = 25
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def _rotations(posed: PosedScene) -> Float[Array, "P T 55 3 3"]:
    return present(posed.body_joint_rotations, "rotations of moving bodies")


def _bodies(posed: PosedScene) -> MovingBodies:
    return present(posed.scene.bodies, "moving bodies")


def _poses(posed: PosedScene) -> Float[Array, "P T 22 3"]:
    return matrix_to_axis_angle(_rotations(posed)[:, :, :BODY_JOINT_COUNT])


def joint_limits(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared radians beyond the ranges of the joints. (P, T)"""
    values = limit_excess(_poses(posed))
    return values, jnp.ones_like(values, dtype=bool)


def pose_prior(posed: PosedScene) -> tuple[Values, Mask]:
    """Negative logarithm of the mixture of reference poses, or of VPoser where the scene has it. (P, T)"""
    bodies, poses = _bodies(posed), _poses(posed)
    model = bodies.pose_model
    values = pose_energy(poses, bodies.pose_centers) if model is None else model.energy(poses)
    return values, jnp.ones_like(values, dtype=bool)


def finger_prior(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared turn of the finger joints from where they started, summed over joints. (P, T)

    Half the squared difference of the matrices: the squared angle to fourth order, smooth at half a
    turn. Fingers are no keypoints; contact and penetration move them from their start.
    """
    away = (_rotations(posed) - _bodies(posed).fixed_rotations)[:, :, FIRST_FINGER:]
    values = 0.5 * jnp.sum(away**2, axis=(-1, -2, -3))
    return values, jnp.ones_like(values, dtype=bool)
