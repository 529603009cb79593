"""Posed points of a body, with a forward derivative that costs one matrix product.

A turn of a joint carries all that hangs from it about that joint. So the derivative of a point by the turn of
a joint is the lever arm between them, in parts of the point's skin weights: the same for every direction in
which a derivative is taken, where plain forward mode goes down the tree again for each. The product of all
lever arms with all directions is what is left to do (measured: a sixth of the time).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from hoijax.bodies.kinematics import (
    BODY_JOINT_COUNT,
    JOINT_COUNT,
    JOINT_PARENTS,
    AnyArray,
    forward_kinematics,
    skinning_palette,
)
from hoijax.geometry.rows import dot


def _carried() -> np.ndarray:
    """(55, 22): 1 where the first joint hangs from the second, or is it."""
    above = np.eye(JOINT_COUNT, dtype=np.float32)
    for joint, parent in enumerate(JOINT_PARENTS[1:], start=1):
        above[joint] += above[parent]
    return above[:, :BODY_JOINT_COUNT]


_CARRIED = _carried()
_ABOVE = np.array(JOINT_PARENTS[1:BODY_JOINT_COUNT])


@jax.custom_jvp
def pose_points(
    body_rotations: Float[Array, "22 3 3"],
    hand_rotations: Float[Array, "33 3 3"],
    points_rest: Float[Array, "n 3"],
    weights: Float[Array, "n 55"],
    joints_rest: Float[AnyArray, "55 3"],
) -> Float[Array, "n 3"]:
    """Linear blend skinning of points about the rest pelvis. Rotations are local to the parent joint.

    Differentiable forward, by body rotations and rest points; by hands, weights and rest joints it raises
    NotImplementedError.
    """
    return _posed(body_rotations, hand_rotations, points_rest, weights, joints_rest)[0]


def _posed(body_rotations, hand_rotations, points_rest, weights, joints_rest):
    """(points, their blended transforms, the palette these are of, `forward_kinematics`)."""
    rotations = jnp.concatenate([body_rotations, hand_rotations])
    transforms = forward_kinematics(joints_rest, rotations, jnp.zeros(3))
    palette = skinning_palette(transforms, joints_rest)
    blended = (weights @ palette.reshape(JOINT_COUNT, 12)).reshape(-1, 3, 4)
    points = dot(blended[..., :3], points_rest[:, None, :]) + blended[..., 3]
    return points, blended, palette, transforms


def _pose_points_jvp(primals, tangents):
    body_rotations, _, points_rest, weights, _ = primals
    turn, *others = tangents
    of_points = others.pop(1)
    if not all(isinstance(tangent, SymbolicZero) for tangent in others):
        raise NotImplementedError("pose_points: only body rotations and rest points may vary")
    points, blended, palette, transforms = _posed(*primals)
    moved = jnp.zeros_like(points)
    if not isinstance(turn, SymbolicZero):
        arms = _lever_arms(points_rest, weights, palette, transforms)
        moved = moved + (arms @ _spins(body_rotations, turn, transforms)).reshape(-1, 3)
    if not isinstance(of_points, SymbolicZero):
        moved = moved + dot(blended[..., :3], of_points[:, None, :])
    return points, moved


pose_points.defjvp(_pose_points_jvp, symbolic_zeros=True)


def _spins(rotations, change, transforms) -> Float[Array, "66"]:
    """World axes of the turns that are changes of local rotations."""
    skew = dot(change[:, :, None, :], rotations[:, None, :, :])
    local = jnp.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=-1)
    above = transforms[_ABOVE, :, :3]
    world = dot(above, local[1:, None, :])
    return jnp.concatenate([local[:1], world]).ravel()


def _lever_arms(points_rest, weights, palette, transforms) -> Float[Array, "rows 66"]:
    """Derivatives of all points by spins about all joints of the body."""
    by_joint = dot(palette[None, ..., :3], points_rest[:, None, None, :])
    by_joint = weights[..., None] * (by_joint + palette[..., 3])
    at = transforms[:BODY_JOINT_COUNT, :, 3]
    x, y, z = (by_joint[..., i] @ _CARRIED - (weights @ _CARRIED) * at[:, i] for i in range(3))
    none = jnp.zeros_like(x)
    rows = ((none, z, -y), (-z, none, x), (y, -x, none))
    arms = jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=1)  # spin x arm
    return arms.reshape(3 * len(points_rest), 3 * BODY_JOINT_COUNT)
