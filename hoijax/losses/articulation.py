"""Joints between objects stay within their limits and move smoothly."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.scene.joints import ObjectJoints
from hoijax.scene.posed import PosedScene, present

Values = Float[Array, "D T"]
Mask = Bool[Array, "D T"]


def _joints(posed: PosedScene) -> tuple[ObjectJoints, Values]:
    what = "joints between objects"
    return present(posed.scene.joints, what), present(posed.joint_values, what)


def object_joint_limits(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared excess of every joint value beyond its limits (radians or metres, squared), zero within. (D, T)

    Joints without limits have infinite ones and cost nothing.
    """
    joints, values = _joints(posed)
    below = jnp.maximum(joints.lower[:, None] - values, 0.0)
    above = jnp.maximum(values - joints.upper[:, None], 0.0)
    excess = below + above
    return excess**2, jnp.ones_like(excess, dtype=bool)


def object_joint_smoothness(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared distance of what hangs on a joint to the mid-point of its neighbors in time. (D, T)

    In square metres, by the joint's lever: a laptop's lid, a door and a drawer are held alike, and as
    `translation_smoothness` holds free objects. It is the motion relative to the parent. The first
    and the last frame have none.
    """
    joints, values = _joints(posed)
    values = values * joints.levers[:, None]
    bend = values[:, 1:-1] - 0.5 * (values[:, :-2] + values[:, 2:])
    bend = jnp.pad(bend, ((0, 0), (1, 1)))[:, : values.shape[1]]
    inner = jnp.arange(values.shape[-1])
    mask = (inner > 0) & (inner < values.shape[-1] - 1)
    return bend**2, jnp.broadcast_to(mask, bend.shape)
