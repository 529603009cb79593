"""Two small optimizers for use inside `jit` and `vmap`: gradient steps, and dense Levenberg-Marquardt.

What a method solves as a whole is `hoijax.solver`; these fit bodies, cameras and single poses.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

Tree = TypeVar("Tree")
MIN_DAMPING, MAX_DAMPING = 1e-3, 1e3


def cosine_rate(first: float, last: float, steps: int) -> Callable[[Any], Any]:
    """Learning rate by step: a cosine from `first`, which would reach `last` after `steps`."""

    def rate(index: Any) -> Any:
        return last + (first - last) * 0.5 * (1.0 + jnp.cos(jnp.pi * (index / steps)))

    return rate


def gradient_step(
    transform: optax.GradientTransformation, gradient: Tree, state: Any, unknowns: Tree
) -> tuple[Tree, Any]:
    """One step of any optax transform: (unknowns, state)."""
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer
        updates, state = transform.update(gradient, state, unknowns)  # pyright: ignore[reportArgumentType]
    return optax.apply_updates(unknowns, updates), state  # pyright: ignore


def descend(
    loss: Callable[[Tree, Any, Array], Array],
    start: Tree,
    transform: optax.GradientTransformation,
    steps: int,
    *,
    refresh: Callable[[Tree], Any] = lambda unknowns: None,
    refresh_every: int | None = None,
) -> tuple[Tree, Float[Array, " steps"]]:
    """`steps` steps of an optax transform: where they end, and the loss before each.

    loss: (unknowns, context, index of the step) -> scalar. refresh: unknowns -> context, which then
    stays for `refresh_every` steps (None: all); these must divide `steps`.
    """
    length = steps if refresh_every is None else refresh_every

    def one_round(carry: Any, first: Array) -> tuple[Any, Array]:
        context = refresh(carry[0])

        def step(carry: Any, index: Array) -> tuple[Any, Array]:
            unknowns, state = carry
            value, gradient = jax.value_and_grad(loss)(unknowns, context, index)
            return gradient_step(transform, gradient, state, unknowns), value

        return jax.lax.scan(step, carry, first + jnp.arange(length))

    carry = (start, transform.init(start))  # pyright: ignore[reportArgumentType]  # any pytree will do
    firsts = jnp.arange(steps // length) * length
    (unknowns, _), values = jax.lax.scan(one_round, carry, firsts)
    return unknowns, values.reshape(-1)


def levenberg_marquardt(
    normal: Callable[[Tree], tuple[Float[Array, "n n"], Float[Array, " n"], Float[Array, ""]]],
    move: Callable[[Tree, Float[Array, " n"]], Tree],
    start: Tree,
    steps: int,
) -> tuple[Tree, Float[Array, ""], Tree]:
    """Damped Gauss-Newton steps: (best state seen, its cost, state after the last step).

    normal: state -> (hessian, gradient, cost) of the least squares. move: the state after a step, which
    it may cut. Damping halves where the cost is the lowest so far, else it grows fourfold.
    """

    def step(carry: Any, _: None) -> tuple[Any, None]:
        state, best_state, best, damping = carry
        hessian, gradient, cost = normal(state)
        better = cost < best
        best_state = jax.tree.map(lambda a, b: jnp.where(better, a, b), state, best_state)
        damping = jnp.where(better, damping * 0.5, damping * 4.0)
        damping = jnp.clip(damping, MIN_DAMPING, MAX_DAMPING)
        change = -solve_positive(hessian + damping * jnp.eye(gradient.shape[0]), gradient)
        return (move(state, change), best_state, jnp.minimum(cost, best), damping), None

    carry = (start, start, jnp.asarray(jnp.inf), jnp.asarray(1.0))
    (last, best_state, best, _), _ = jax.lax.scan(step, carry, None, length=steps)
    return best_state, best, last


def solve_positive(matrix: Float[Array, "n n"], right: Float[Array, " n"]) -> Float[Array, " n"]:
    """x of A x = b for a small positive definite A: Gauss-Jordan elimination, which needs no pivots."""
    rows = jnp.concatenate([matrix, right[:, None]], axis=1)
    for k in range(len(right)):
        pivot = rows[k] / rows[k, k]
        rows = (rows - rows[:, k, None] * pivot).at[k].set(pivot)
    return rows[:, -1]
