"""Gradient steps and dense Levenberg-Marquardt on problems whose answer is known."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hoijax.geometry.descent import cosine_rate, descend, levenberg_marquardt

TARGET = {"a": np.float32(1.5), "b": np.array([-2.0, 0.25], np.float32)}
START = {"a": jnp.zeros(()), "b": jnp.ones(2)}


def squares(unknowns, target, index):
    away = jax.tree.map(lambda x, y: jnp.sum((x - y) ** 2), unknowns, target)
    return sum(jax.tree.leaves(away))


@pytest.mark.parametrize("transform", [optax.sgd(0.2), optax.adam(cosine_rate(0.3, 0.0, 60))])
def test_any_transform_goes_to_the_minimum(transform):
    found, values = jax.jit(
        lambda start: descend(squares, start, transform, 60, refresh=lambda x: TARGET)
    )(START)
    chex.assert_trees_all_close(found, TARGET, atol=0.1)
    assert values.shape == (60,)
    assert values[0] == pytest.approx(float(squares(START, TARGET, 0)))
    assert values[-1] < 1e-2 * values[0]


def test_context_stays_for_a_few_steps_and_the_index_counts_on():
    def loss(x, context, index):  # its value is the context, its slope 1
        return context + 100.0 * index.astype(jnp.float32) + x - jax.lax.stop_gradient(x)

    start, steepest = jnp.asarray(0.0), optax.sgd(1.0)
    end, values = descend(loss, start, steepest, 6, refresh=lambda x: x, refresh_every=2)
    assert end == -6.0
    np.testing.assert_allclose(values, [0.0, 100.0, 198.0, 298.0, 396.0, 496.0])


def test_levenberg_marquardt_keeps_the_best_it_saw(rng):
    """A curve through noiseless points: exp(a x) + b; the start is far off."""
    x = jnp.linspace(0.0, 1.0, 20)
    y = jnp.exp(1.3 * x) + 0.4

    def residuals(p):
        return jnp.exp(p[0] * x) + p[1] - y

    def normal(p):
        r, J = residuals(p), jax.jacfwd(residuals)(p)
        return J.T @ J, J.T @ r, jnp.sum(r**2)

    solve = jax.jit(lambda p: levenberg_marquardt(normal, lambda p, d: p + d, p, 15))
    found, cost, last = solve(jnp.asarray([-2.0, 3.0]))
    np.testing.assert_allclose(found, [1.3, 0.4], atol=1e-3)
    assert cost == pytest.approx(float(jnp.sum(residuals(found) ** 2)), abs=1e-7)
    assert float(jnp.sum(residuals(last) ** 2)) <= 1e-4
    wild = jax.jit(lambda p: levenberg_marquardt(normal, lambda p, d: p + 1e3, p, 3))
    np.testing.assert_array_equal(wild(jnp.asarray([0.5, 0.5]))[0], [0.5, 0.5])
