"""Which candidate is best, against plain sorting."""

import flax.struct
import jax.numpy as jnp
import numpy as np
import pytest

from hoijax.candidates import lowest_loss, ranking, taken


@pytest.mark.parametrize(
    ("losses", "order"),
    [
        ([3.0, 1.0, 2.0], [1, 2, 0]),
        ([np.nan, 5.0, -np.inf, np.inf, 4.0], [4, 1, 0, 2, 3]),
        ([2.0, 1.0, 1.0], [1, 2, 0]),
        ([np.nan, np.nan], [0, 1]),
    ],
)
def test_finite_losses_come_first_and_ties_stay_in_order(losses, order):
    assert ranking(jnp.asarray(losses)).tolist() == order
    assert lowest_loss(losses) == order[0]
    assert ranking([losses, losses[::-1]])[0].tolist() == order


@flax.struct.dataclass
class Tree:
    values: jnp.ndarray
    shared: jnp.ndarray


def test_candidates_are_taken_from_every_leaf_but_scalars():
    tree = Tree(np.arange(6.0, dtype=np.float32).reshape(3, 2), np.int32(7))
    several, one = taken(tree, np.array([2, 0])), taken(tree, 1)
    assert np.asarray(several.values).tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert np.asarray(one.values).tolist() == [2.0, 3.0]
    assert several.shared == one.shared == 7
