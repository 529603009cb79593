"""Object motion states of the PAG: how an object may move (HOI-PAGE L_smo)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.rotations import slerp_midpoint, squared_chordal
from hoijax.scene import PosedScene

STATIC_FACTOR = 10.0  # published: an object that does not move is held ten times harder
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def translation_smoothness(posed: PosedScene) -> tuple[Values, Mask]:
    """Moving: squared distance to the neighbours' mid-point. Static: to the previous frame. (O, T)"""
    t = posed.translations
    bend = jnp.sum((t[:, 1:-1] - 0.5 * (t[:, :-2] + t[:, 2:])) ** 2, axis=-1)
    step = STATIC_FACTOR * jnp.sum((t[:, 1:] - t[:, :-1]) ** 2, axis=-1)
    return _switch(posed.scene.objects.is_translational, bend, step)


def rotation_smoothness(posed: PosedScene) -> tuple[Values, Mask]:
    """As translation_smoothness, with the slerp mid-point and the squared angle. (O, T)

    The squared angle is taken as 4 sin^2(angle / 2): the same to fourth order and smooth at pi.
    """
    r = posed.rotations
    bend = squared_chordal(r[:, 1:-1], slerp_midpoint(r[:, :-2], r[:, 2:]))
    step = STATIC_FACTOR * squared_chordal(r[:, 1:], r[:, :-1])
    return _switch(posed.scene.objects.is_rotational, bend, step)


def _switch(moves: Array, bend: Array, step: Array) -> tuple[Array, Array]:
    bend = jnp.pad(bend, ((0, 0), (1, 1)))
    step = jnp.pad(step, ((0, 0), (1, 0)))
    values = jnp.where(moves[:, None], bend, step)
    return values, jnp.ones_like(values, dtype=bool)
