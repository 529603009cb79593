"""Rigid transforms of many points with hand-written backward passes.

The gradient of a rigidly moved cloud is nine sums (a wrench), but XLA on CPU turns the automatic
one into a slow batched matrix product: written out like this, a value with its gradient costs
hardly more than the value alone.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Axes = list[Array]
"""Coordinates, each in an array of its own: XLA on CPU vectorizes work on these, not on (n, 3) arrays."""


def axes_of(values: Float[Array, "*n d"]) -> Axes:
    """Each coordinate of many vectors."""
    return [values[..., i] for i in range(values.shape[-1])]


def turned(matrix: Float[Array, "3 3"], values: Axes) -> Axes:
    """The product of a matrix and every vector."""
    return [sum(matrix[i, j] * values[j] for j in range(3)) for i in range(3)]  # pyright: ignore[reportReturnType]


def crossed(a: Axes, b: Axes) -> Axes:
    """Vector products."""
    return [a[i - 2] * b[i - 1] - a[i - 1] * b[i - 2] for i in range(3)]


def in_one_array(values: Axes) -> Axes:
    """The same values, which XLA computes once and keeps, and not again in every loop that reads them."""
    return list(jax.lax.optimization_barrier(jnp.stack(values)))


def rotated(points: Float[Array, "*n 3"], rotation: Float[Array, "3 3"]) -> Float[Array, "*n 3"]:
    """R p of every point. Differentiable forward, unlike the transforms below."""
    return jnp.stack(turned(rotation, axes_of(points)), axis=-1)


@jax.custom_vjp
def to_world(
    rotation: Float[Array, "*batch 3 3"],
    translation: Float[Array, "*batch 3"],
    points: Float[Array, "*batch n 3"],
) -> Float[Array, "*batch n 3"]:
    """R p + t for every point of a batch of clouds (T_world_local applied to local points)."""
    p = axes_of(points)
    r, t = rotation[..., None, :, :], translation[..., None, :]
    rows = [
        p[0] * r[..., i, 0] + p[1] * r[..., i, 1] + p[2] * r[..., i, 2] + t[..., i]
        for i in range(3)
    ]
    return jnp.stack(rows, axis=-1)


def _to_world_forward(rotation, translation, points):
    return to_world(rotation, translation, points), (rotation, points)


def _outer_sums(points: Array, cotangent: Array) -> tuple[Array, Array]:
    """Sum over the points of p c^T, (..., 3, 3), and of c, (..., 3): one product for both."""
    with_ones = jnp.stack([*axes_of(points), jnp.ones_like(points[..., 0])], axis=-2)
    pulls = jnp.stack(axes_of(cotangent), axis=-2)
    sums = jnp.einsum("...in,...jn->...ij", with_ones, pulls)
    return sums[..., :3, :], sums[..., 3, :]


def _to_world_backward(saved, cotangent):
    rotation, points = saved
    outer, pull = _outer_sums(points, cotangent)
    d_points = to_local(rotation, jnp.zeros_like(pull), cotangent)
    return jnp.swapaxes(outer, -1, -2), pull, d_points


to_world.defvjp(_to_world_forward, _to_world_backward)


@jax.custom_vjp
def to_local(
    rotation: Float[Array, "*batch 3 3"],
    translation: Float[Array, "*batch 3"],
    points: Float[Array, "*batch n 3"],
) -> Float[Array, "*batch n 3"]:
    """R^T (p - t): the inverse of `to_world`."""
    t, r = translation[..., None, :], rotation[..., None, :, :]
    d = [points[..., i] - t[..., i] for i in range(3)]
    rows = [d[0] * r[..., 0, j] + d[1] * r[..., 1, j] + d[2] * r[..., 2, j] for j in range(3)]
    return jnp.stack(rows, axis=-1)


def _to_local_forward(rotation, translation, points):
    return to_local(rotation, translation, points), (rotation, translation, points)


def _to_local_backward(saved, cotangent):
    rotation, translation, points = saved
    outer, pull = _outer_sums(points, cotangent)
    d_rotation = outer - translation[..., :, None] * pull[..., None, :]
    d_translation = -jnp.sum(rotation * pull[..., None, :], axis=-1)
    d_points = to_world(rotation, jnp.zeros_like(translation), cotangent)
    return d_rotation, d_translation, d_points


to_local.defvjp(_to_local_forward, _to_local_backward)
