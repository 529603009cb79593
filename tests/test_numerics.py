"""Gradient-safe primitives: plain numpy values, finite gradients at every singular point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hoijax.geometry.safe_math import (
    geman_mcclure,
    masked_mean,
    safe_min,
    safe_norm,
    safe_normalize,
)


def gradient(function, *arguments):
    return jax.jit(jax.grad(lambda *a: jnp.sum(function(*a))))(*arguments)


def test_safe_norm_is_the_euclidean_length(rng):
    x = jnp.asarray(rng.normal(size=(4, 5, 3)), jnp.float32)
    np.testing.assert_allclose(safe_norm(x), np.linalg.norm(x, axis=-1), rtol=1e-6)
    unit = np.asarray(x) / np.linalg.norm(x, axis=-1, keepdims=True)
    np.testing.assert_allclose(gradient(safe_norm, x), unit, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-7])
def test_safe_norm_at_zero(size):
    x = jnp.full((2, 3), size, jnp.float32)
    assert np.isfinite(safe_norm(x)).all()
    np.testing.assert_array_equal(gradient(safe_norm, x), np.zeros((2, 3)))


def test_safe_min_gives_its_gradient_to_one_value(rng):
    x = np.asarray(rng.normal(size=(5, 7)), np.float32)
    x[3] = 2.0  # all equal
    np.testing.assert_array_equal(safe_min(jnp.asarray(x)), x.min(axis=-1))
    np.testing.assert_array_equal(gradient(safe_min, jnp.asarray(x)), np.eye(7)[x.argmin(axis=-1)])


def test_safe_normalize(rng):
    x = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32)
    np.testing.assert_allclose(
        safe_normalize(x), np.asarray(x) / np.linalg.norm(x, axis=-1, keepdims=True), rtol=1e-6
    )
    zero = jnp.zeros((2, 3))
    np.testing.assert_array_equal(safe_normalize(zero), zero)
    assert np.isfinite(gradient(lambda v: safe_normalize(v) * jnp.arange(3.0), zero)).all()


def test_masked_mean(rng):
    values, mask = rng.normal(size=12).astype(np.float32), rng.random(12) < 0.5
    arrays = jnp.asarray(values), jnp.asarray(mask)
    np.testing.assert_allclose(masked_mean(*arrays), values[mask].mean(), rtol=1e-6)
    np.testing.assert_allclose(gradient(masked_mean, *arrays), mask / mask.sum(), rtol=1e-6)


def test_masked_mean_ignores_what_is_masked_even_when_it_is_not_finite():
    values = jnp.asarray([1.0, jnp.nan, jnp.inf, 3.0])
    mask = jnp.asarray([True, False, False, True])
    assert masked_mean(values, mask) == 2.0
    np.testing.assert_array_equal(gradient(masked_mean, values, mask), [0.5, 0.0, 0.0, 0.5])


def test_masked_mean_of_nothing_is_zero():
    values, mask = jnp.ones(3), jnp.zeros(3, bool)
    assert masked_mean(values, mask) == 0.0
    np.testing.assert_array_equal(gradient(masked_mean, values, mask), np.zeros(3))


def test_geman_mcclure(rng):
    rho = 0.2
    squared = jnp.asarray([0.0, 1e-6, rho**2, 1e6])
    found = np.asarray(geman_mcclure(squared, rho))
    assert found[0] == 0.0
    np.testing.assert_allclose(found[1], 1e-6, rtol=1e-4)  # equal to its argument near zero
    np.testing.assert_allclose(found[2], rho**2 / 2, rtol=1e-6)  # half its bound at rho
    assert found[3] <= rho**2 * (1 + 1e-6)
    slope = np.asarray(gradient(lambda s: geman_mcclure(s, rho), squared))
    np.testing.assert_allclose(slope[[0, 2]], [1.0, 0.25], rtol=1e-5)
    assert np.isfinite(slope).all()
