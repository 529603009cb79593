"""Symmetric positive systems whose blocks couple each frame with the next two: solved in O(T)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BLOCK = 6
PAIR = 2 * BLOCK


def solve_banded(
    diagonal: Float[Array, "T 6 6"],
    to_next: Float[Array, "T-1 6 6"],
    to_second: Float[Array, "T-2 6 6"],
    right: Float[Array, "T 6"],
) -> Float[Array, "T 6"]:
    """x of A x = right for the A with these blocks on and above its diagonal.

    Two frames make one block, so that the matrix is block tridiagonal; then one sweep of block
    Cholesky forwards and one backwards. An A that is not positive definite gives NaN.
    """
    frames = diagonal.shape[0]
    extra = frames % 2
    blocks = (frames + extra) // 2
    # A last frame of its own, tied to nothing, fills an odd count up.
    diagonal = jnp.concatenate([diagonal, jnp.broadcast_to(jnp.eye(BLOCK), (extra, BLOCK, BLOCK))])
    to_next = jnp.pad(to_next, ((0, extra + 1), (0, 0), (0, 0)))
    to_second = jnp.pad(to_second, ((0, extra + 2), (0, 0), (0, 0)))[: frames + extra]
    right = jnp.pad(right, ((0, extra), (0, 0))).reshape(blocks, PAIR)
    inner = to_next[0::2]
    main = _block(diagonal[0::2], inner, jnp.swapaxes(inner, -1, -2), diagonal[1::2])
    upper = _block(to_second[0::2], jnp.zeros_like(inner), to_next[1::2], to_second[1::2])

    def forward(carry, row):
        taken, shift = carry
        main, upper, right = row
        factor = jax.scipy.linalg.cho_factor(main - taken, lower=True)
        both = jax.scipy.linalg.cho_solve(
            factor, jnp.concatenate([upper, (right - shift)[:, None]], axis=-1)
        )
        following, partial = both[:, :PAIR], both[:, PAIR]
        return (upper.T @ following, upper.T @ partial), (following, partial)

    start = (jnp.zeros((PAIR, PAIR)), jnp.zeros(PAIR))
    _, (following, partial) = jax.lax.scan(forward, start, (main, upper, right))

    def backward(after, row):
        following, partial = row
        x = partial - following @ after
        return x, x

    _, x = jax.lax.scan(backward, jnp.zeros(PAIR), (following, partial), reverse=True)
    return x.reshape(-1, BLOCK)[:frames]


def _block(a: Array, b: Array, c: Array, d: Array) -> Float[Array, "n 12 12"]:
    top, bottom = jnp.concatenate([a, b], axis=-1), jnp.concatenate([c, d], axis=-1)
    return jnp.concatenate([top, bottom], axis=-2)
