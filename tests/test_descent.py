"""Gradient steps and dense Levenberg-Marquardt on problems whose answer is known."""

import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hoijax.geometry.descent import cosine_rate, descend, levenberg_marquardt, solve_positive

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


def test_a_small_positive_system_is_solved(rng):
    for size, scale in ((1, 1.0), (6, 1e-3), (6, 1e5), (14, 1.0)):
        root = rng.normal(size=(5, size, size)) * np.geomspace(1.0, 30.0, size)
        matrices = scale * (np.swapaxes(root, 1, 2) @ root + np.eye(size))
        right = rng.normal(size=(5, size))
        found = jax.vmap(solve_positive)(*(jnp.asarray(x, jnp.float32) for x in (matrices, right)))
        expected = np.linalg.solve(matrices, right[..., None])[..., 0]
        np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


MANY_AT_ONCE = """
from concurrent.futures import ThreadPoolExecutor
import os, jax, jax.numpy as jnp
from hoijax.geometry.descent import levenberg_marquardt

def normal(p):
    return jnp.eye(6) * 2.0, 2.0 * p, jnp.sum(p**2)

def one(p):
    return levenberg_marquardt(normal, lambda p, d: p + d, p, 4)[1]

solve = jax.jit(jax.vmap(jax.vmap(one)))
starts = jnp.ones((49, 96, 6))
solve(starts).block_until_ready()
threads = os.cpu_count() + 1
with ThreadPoolExecutor(threads) as pool:
    list(pool.map(lambda _: solve(starts).block_until_ready(), range(2 * threads)))
"""


def test_threads_that_solve_at_once_do_not_wait_for_each_other_for_ever():
    """LAPACK's batches in XLA wait for threads of a pool that is as large as the machine has cores."""
    subprocess.run([sys.executable, "-c", MANY_AT_ONCE], check=True, timeout=60)
