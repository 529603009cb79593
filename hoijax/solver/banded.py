"""Symmetric positive systems whose blocks couple each frame with the next two: solved in O(T)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

MAX_TRIANGLE = 24
"""Rows of a triangle that is solved and not halved."""


def solve_banded(
    diagonal: Float[Array, "T n n"],
    to_next: Float[Array, "T-1 n n"],
    to_second: Float[Array, "T-2 n n"],
    right: Float[Array, "T n"],
) -> Float[Array, "T n"]:
    """x of A x = right for the A with these blocks on and above its diagonal.

    An A that is not positive definite gives NaN.
    """
    return solve_banded_columns(diagonal, to_next, to_second, right[..., None])[..., 0]


def solve_arrow(
    diagonal: Float[Array, "T n n"],
    to_next: Float[Array, "T-1 n n"],
    to_second: Float[Array, "T-2 n n"],
    border: Float[Array, "T n c"],
    corner: Float[Array, "c c"],
    right: tuple[Float[Array, "T n"], Float[Array, " c"]],
) -> tuple[Float[Array, "T n"], Float[Array, " c"]]:
    """(x, y) of [[A, B], [B^T, C]] (x, y) = right: a banded A, and c unknowns that couple with all frames.

    y by the Schur complement C - B^T A^-1 B, then x.
    """
    columns = jnp.concatenate([right[0][..., None], border], axis=-1)
    solved = solve_banded_columns(diagonal, to_next, to_second, columns)
    of_right, of_border = solved[..., 0], solved[..., 1:]
    complement = corner - jnp.einsum("tnc,tnd->cd", border, of_border)
    y = jnp.linalg.solve(complement, right[1] - jnp.einsum("tnc,tn->c", border, of_right))
    return of_right - of_border @ y, y


def solve_banded_columns(
    diagonal: Float[Array, "T n n"],
    to_next: Float[Array, "T-1 n n"],
    to_second: Float[Array, "T-2 n n"],
    right: Float[Array, "T n m"],
) -> Float[Array, "T n m"]:
    """`solve_banded` for m right-hand sides.

    Two frames make one block, so that the matrix is block tridiagonal; then one sweep of block
    Cholesky forwards and one backwards.
    """
    frames, block, columns = right.shape
    pair = 2 * block
    extra = frames % 2
    blocks = (frames + extra) // 2
    # A last frame of its own, tied to nothing, fills an odd count up.
    diagonal = jnp.concatenate([diagonal, jnp.broadcast_to(jnp.eye(block), (extra, block, block))])
    to_next = jnp.pad(to_next, ((0, extra + 1), (0, 0), (0, 0)))
    to_second = jnp.pad(to_second, ((0, extra + 2), (0, 0), (0, 0)))[: frames + extra]
    right = jnp.pad(right, ((0, extra), (0, 0), (0, 0))).reshape(blocks, pair, columns)
    inner = to_next[0::2]
    main = _block(diagonal[0::2], inner, jnp.swapaxes(inner, -1, -2), diagonal[1::2])
    upper = _block(to_second[0::2], jnp.zeros_like(inner), to_next[1::2], to_second[1::2])

    def forward(carry, row):
        taken, shift = carry
        main, upper, right = row
        inverse = inverse_of_lower(jnp.linalg.cholesky(main - taken, symmetrize_input=False))
        both = inverse @ jnp.concatenate([upper, right - shift], axis=-1)
        following, partial = both[:, :pair], both[:, pair:]
        return (following.T @ following, following.T @ partial), (inverse, following, partial)

    start = (jnp.zeros((pair, pair)), jnp.zeros((pair, columns)))
    _, factors = jax.lax.scan(forward, start, (main, upper, right))

    def backward(after, row):
        inverse, following, partial = row
        x = inverse.T @ (partial - following @ after)
        return x, x

    _, x = jax.lax.scan(backward, jnp.zeros((pair, columns)), factors, reverse=True)
    return x.reshape(-1, block, columns)[:frames]


def inverse_of_lower(L: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Inverse of a lower triangular matrix, by halves: products, which XLA on CPU does some fifty times
    faster than it solves triangles."""
    size = len(L)
    if size <= MAX_TRIANGLE:
        return jax.lax.linalg.triangular_solve(L, jnp.eye(size), left_side=True, lower=True)
    half = size // 2
    first, second = inverse_of_lower(L[:half, :half]), inverse_of_lower(L[half:, half:])
    below = -second @ (L[half:, :half] @ first)
    return _block(first, jnp.zeros((half, size - half)), below, second)


def _block(a: Array, b: Array, c: Array, d: Array) -> Float[Array, "*n m m"]:
    """[[a, b], [c, d]]."""
    top, bottom = jnp.concatenate([a, b], axis=-1), jnp.concatenate([c, d], axis=-1)
    return jnp.concatenate([top, bottom], axis=-2)
