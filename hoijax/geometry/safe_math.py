"""Gradient-safe primitives. Every function here has a finite gradient everywhere (tested at its singular point)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

EPSILON = 1e-12
Scale = float | Float[Array, ""]
"""Of a robust kernel: traced where a term is weighed (`losses.term`), so sweeps compile nothing."""


def safe_norm(x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    """Euclidean length of the last axis; the gradient at zero is zero instead of NaN."""
    squared = jnp.sum(x * x, axis=-1)
    is_zero = squared < EPSILON
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squared)))


def safe_normalize(x: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """Unit vector along the last axis; the zero vector stays zero."""
    norm = safe_norm(x)[..., None]
    return x / jnp.where(norm == 0.0, 1.0, norm)


def safe_min(values: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    """Smallest of the last axis; the first of equals bears the gradient.

    The derivative of `jnp.min` looks for the values that equal it: where a compiler works out the values
    twice, rounded differently, it finds none and divides by zero.
    """
    lowest = jnp.argmin(values, axis=-1, keepdims=True)
    return jnp.sum(jnp.where(jnp.arange(values.shape[-1]) == lowest, values, 0.0), axis=-1)


def masked_mean(values: Float[Array, "*n"], mask: Bool[Array, "*n"]) -> Float[Array, ""]:
    """Mean of the values whose mask is set; zero where none is."""
    return jnp.sum(jnp.where(mask, values, 0.0)) / jnp.maximum(jnp.sum(mask, dtype=values.dtype), 1)


def geman_mcclure(squared: Float[Array, "*n"], rho: float | Float[Array, ""]) -> Float[Array, "*n"]:
    """Robust kernel on a squared residual: rho^2 s / (s + rho^2). Equal to s near zero, bounded by rho^2."""
    return rho**2 * squared / (squared + rho**2)
