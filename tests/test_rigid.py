"""Rigid transforms with hand-written gradients, against jax's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hoijax.geometry.point_transforms import to_local, to_world
from hoijax.geometry.rotations import super_fibonacci_rotations


@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (to_world, lambda r, t, p: p @ jnp.swapaxes(r, -1, -2) + t[..., None, :]),
        (to_local, lambda r, t, p: (p - t[..., None, :]) @ r),
    ],
)
def test_value_and_gradients_equal_automatic_ones(ours, plain, rng):
    rotation = jnp.asarray(super_fibonacci_rotations(6).reshape(2, 3, 3, 3))
    translation = jnp.asarray(rng.normal(size=(2, 3, 3)), jnp.float32)
    points = jnp.asarray(rng.normal(size=(2, 3, 17, 3)), jnp.float32)
    probe = jnp.asarray(rng.normal(size=points.shape), jnp.float32)

    def score(function):
        return jax.value_and_grad(
            lambda *args: jnp.sum(probe * jnp.sin(function(*args))), argnums=(0, 1, 2)
        )(rotation, translation, points)

    for mine, automatic in zip(
        jax.tree.leaves(score(ours)), jax.tree.leaves(score(plain)), strict=True
    ):
        np.testing.assert_allclose(mine, automatic, rtol=2e-5, atol=2e-5)
