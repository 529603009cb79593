"""Nearest of two sets of points, frame by frame."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

CHUNK = 32  # targets a scan iteration visits
_WHICH = CHUNK - 1
_NEVER = jnp.iinfo(jnp.int32).max


def nearest_indices(
    queries: Float[Array, "T m d"], targets: Float[Array, "T v d"]
) -> Int[Array, "T m"]:
    """Index of the nearest target; of those whose squared distances agree to 4e-6, any.

    The bits of a float >= 0 sort like the float. Their lowest five hold which of CHUNK targets it is, so that
    one integer minimum finds distance and index; chunks are compared afterwards, in an array of m v / CHUNK
    numbers. XLA on CPU vectorizes a plain minimum, and neither an argmin nor a choice beside a minimum: these
    took over a hundred and ten times as long.
    """
    extra = -targets.shape[1] % CHUNK
    padded = jnp.pad(targets, ((0, 0), (0, extra), (0, 0)), mode="edge")
    frames, count, axes = padded.shape
    chunks = jnp.transpose(padded.reshape(frames, -1, CHUNK, axes), (1, 2, 3, 0))

    def visit(_, targets):
        keys = []
        for k in range(CHUNK):
            squared = sum((queries[..., a] - targets[k, a, :, None]) ** 2 for a in range(axes))
            bits = jax.lax.bitcast_convert_type(squared, jnp.int32)
            keys.append((bits & ~_WHICH) | k)
        return None, functools.reduce(jnp.minimum, keys)

    def compare(best, chunk):
        nearest, index = best
        key, first = chunk
        index = jnp.where(key < nearest, first + (key & _WHICH), index)
        return (jnp.minimum(nearest, key), index), None

    _, keys = jax.lax.scan(visit, None, chunks)
    shape = queries.shape[:2]
    start = jnp.full(shape, _NEVER, jnp.int32), jnp.zeros(shape, jnp.int32)
    firsts = jnp.arange(count // CHUNK, dtype=jnp.int32) * CHUNK
    (_, index), _ = jax.lax.scan(compare, start, (keys, firsts))
    return jnp.minimum(index, targets.shape[1] - 1)
