"""Bilinear look-up in an image whose cells store their four corners contiguously: one gather."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.geometry.rows import dot


def pack_corners(image: Float[np.ndarray, "*batch h w"]) -> Float[np.ndarray, "*batch h-1 w-1 4"]:
    """Corner layout of an image sampled at integer positions: (00, 01, 10, 11) as (row, column)."""
    corners = [
        image[..., :-1, :-1], image[..., :-1, 1:], image[..., 1:, :-1], image[..., 1:, 1:],
    ]  # fmt: skip
    return np.ascontiguousarray(np.stack(corners, axis=-1))


def _value_and_slope(corners: Array, uv: Array) -> tuple[Array, Array]:
    height, width, _ = corners.shape
    limit = jnp.asarray([width, height], jnp.float32)
    # Outside the image the border value continues: what leaves the view is not penalised further.
    inside = jnp.clip(uv, 0.0, limit - 1e-4)
    cell = jnp.floor(inside)
    column, row = jnp.moveaxis(cell.astype(jnp.int32), -1, 0)
    u, v = jnp.moveaxis(inside - cell, -1, 0)
    flat = corners.reshape(height * width, 4)
    c = jnp.take(flat, row * width + column, axis=0, mode="clip")
    c00, c01, c10, c11 = jnp.moveaxis(c, -1, 0)
    top, bottom = c00 + u * (c01 - c00), c10 + u * (c11 - c10)
    slope_u = (1.0 - v) * (c01 - c00) + v * (c11 - c10)
    slope = jnp.where(inside == uv, jnp.stack([slope_u, bottom - top], axis=-1), 0.0)
    return top + v * (bottom - top), slope


@jax.custom_jvp
def bilinear(corners: Float[Array, "h w 4"], uv: Float[Array, "n 2"]) -> Float[Array, " n"]:
    """Value at continuous (column, row) positions; differentiable in uv, constant outside."""
    return _value_and_slope(corners, uv)[0]


@bilinear.defjvp
def _bilinear_jvp(primals, tangents):
    value, slope = _value_and_slope(*primals)
    return value, dot(slope, tangents[1])


def bilinear_with_gradient(
    corners: Float[Array, "h w 4"], uv: Float[Array, "n 2"]
) -> tuple[Float[Array, " n"], Float[Array, "n 2"]]:
    """Value and gradient from the same gather."""
    return _value_and_slope(corners, uv)
