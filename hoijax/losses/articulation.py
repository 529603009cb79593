"""Joints of articulated objects stay within their limits and move smoothly."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.objects.articulated.model import PosedArticulation

Values = Float[Array, "D T"]
Mask = Bool[Array, "D T"]


def joint_limits(posed: PosedArticulation) -> tuple[Values, Mask]:
    """Squared excess of every joint value beyond its limits (radians or metres, squared), zero within. (D, T)

    Joints without limits have infinite ones and cost nothing.
    """
    values = jnp.asarray(posed.joint_values)
    below = jnp.maximum(posed.lower - values, 0.0)
    above = jnp.maximum(values - posed.upper, 0.0)
    excess = jnp.swapaxes(below + above, -1, -2)
    return excess**2, jnp.ones_like(excess, dtype=bool)


def joint_smoothness(posed: PosedArticulation) -> tuple[Values, Mask]:
    """Squared distance of what hangs on a joint to the mid-point of its neighbors in time. (D, T)

    In square metres, by the joint's lever: a laptop's lid, a door and a drawer are held alike, and as
    `translation_smoothness` holds free objects. It is the motion relative to the parent. The first
    and the last frame have none.
    """
    values = jnp.swapaxes(jnp.asarray(posed.joint_values), -1, -2) * posed.levers[:, None]
    bend = values[:, 1:-1] - 0.5 * (values[:, :-2] + values[:, 2:])
    bend = jnp.pad(bend, ((0, 0), (1, 1)))
    inner = jnp.arange(values.shape[-1])
    mask = (inner > 0) & (inner < values.shape[-1] - 1)
    return bend**2, jnp.broadcast_to(mask, bend.shape)
