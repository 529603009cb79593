"""Which values are the smallest: against numpy's sort."""

import jax.numpy as jnp
import numpy as np
import pytest

from hoijax.geometry.smallest import smallest_indices


@pytest.mark.parametrize(("n", "count"), [(5, 5), (50, 7), (700, 300), (128, 1)])
def test_the_smallest_values_by_numpy(rng, n, count):
    values = rng.normal(size=(2, 3, n)).astype(np.float32)
    found = np.asarray(smallest_indices(jnp.asarray(values), count)).reshape(6, count)
    for row, chosen in zip(values.reshape(6, n), found, strict=True):
        assert set(chosen) == set(np.argsort(row)[:count])


def test_of_equal_values_at_the_threshold_only_one_is_repeated(rng):
    values = np.minimum(rng.normal(size=200), 0.2).astype(np.float32)
    below = np.flatnonzero(values < np.float32(0.2))
    assert len(below) < 150
    found = np.asarray(smallest_indices(jnp.asarray(values), 150))
    assert set(below) < set(found)
    assert len(set(found)) == len(below) + 1
