"""Which of many values are the smallest, where their order does not matter."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

BLOCK = 128
"""Values that are counted by one row of a matrix product."""
HALVINGS = 20


def smallest_indices(values: Float[Array, "*batch n"], count: int) -> Int[Array, "*batch count"]:
    """Indices of the `count` smallest values of every row, ascending.

    Values that differ from the largest of these by less than a millionth of the row's range may be left out;
    in their place the index of one that is not smaller is repeated. A threshold is found by counting what is
    below: `top_k` sorts, which takes twice as long on CPU and one core.
    """
    upto = _counts(values < _threshold(values, count)[..., None])
    rows = upto.reshape(-1, upto.shape[-1])
    slots = jnp.arange(1, count + 1, dtype=jnp.int32)
    index = jax.vmap(lambda row: jnp.searchsorted(row, slots))(rows)
    others = jnp.arange(1, rows.shape[-1] + 1) - rows
    spare = jax.vmap(lambda row: jnp.searchsorted(row, 1))(others)
    index = jnp.where(slots <= rows[:, -1:], index, spare[:, None])
    return index.astype(jnp.int32).reshape(*values.shape[:-1], count)


def _threshold(values: Float[Array, "*batch n"], count: int) -> Float[Array, "*batch"]:
    """What at most `count` values are below, and hardly fewer."""

    def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        lower, upper = bounds
        middle = 0.5 * (lower + upper)
        is_few = jnp.sum((values < middle[..., None]).astype(jnp.int32), axis=-1) <= count
        return jnp.where(is_few, middle, lower), jnp.where(is_few, upper, middle)

    bounds = jnp.min(values, axis=-1), jnp.max(values, axis=-1)
    return jax.lax.fori_loop(0, HALVINGS, halve, bounds)[0]


def _counts(chosen: Bool[Array, "*batch n"]) -> Int[Array, "*batch n"]:
    """How many are chosen up to each: in blocks, as a running sum is slow on CPU."""
    *batch, n = chosen.shape
    padded = jnp.pad(chosen, [(0, 0)] * len(batch) + [(0, -n % BLOCK)]).astype(jnp.float32)
    blocks = padded.reshape(*batch, -1, BLOCK)
    inside = (blocks @ np.triu(np.ones((BLOCK, BLOCK), np.float32))).astype(jnp.int32)
    totals = inside[..., -1]
    before = jnp.cumsum(totals, axis=-1) - totals
    return (inside + before[..., None]).reshape(*batch, -1)[..., :n]
