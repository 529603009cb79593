"""Contact keypoints (eq. 3): sampling against brute force, a hand-made palm on a box, thresholds."""

import jax.numpy as jnp
import numpy as np
import pytest

from hoijax.methods.anchor_motion.contact_pairs import (
    PairThresholds,
    farthest_point_sampling,
    find_pairs,
)
from hoijax.settings import PairSettings


def brute_force(points: np.ndarray, count: int) -> list[int]:
    chosen = [0]
    while len(chosen) < count:
        nearest = [min(np.sum((p - points[c]) ** 2) for c in chosen) for p in points]
        chosen.append(int(np.argmax(nearest)))
    return chosen


def test_farthest_points_equal_brute_force(rng):
    points = rng.normal(size=(60, 3)).astype(np.float32)
    found = np.asarray(farthest_point_sampling(jnp.asarray(points), 12))
    assert found.tolist() == brute_force(points, 12)
    assert len(set(found.tolist())) == 12


def palm_on_box(gap: float, facing: float = -1.0):
    """A 5 x 5 palm `gap` metres above the top of a box; facing -1: its skin looks down at the box."""
    grid = np.stack(np.meshgrid(*[np.linspace(-0.04, 0.04, 5)] * 2), axis=-1).reshape(-1, 2)
    top = np.insert(grid, 1, 0.30, axis=1)
    side = np.array([[0.2, 0.1, 0.0], [0.2, 0.2, 0.0]])
    box = np.concatenate([top, side])
    outward = np.concatenate([np.tile([0.0, 1.0, 0.0], (25, 1)), np.tile([1.0, 0, 0], (2, 1))])
    palm = top + np.array([0.0, gap, 0.0])
    skin = np.tile([0.0, facing, 0.0], (25, 1))
    return [jnp.asarray(x, jnp.float32) for x in (box, outward, palm, skin)]


def test_a_palm_on_a_box_gives_pairs_where_outward_normals_are_antiparallel():
    near, valid = (np.asarray(x) for x in find_pairs(*palm_on_box(0.01), thresholds()))
    assert valid[:25].all()
    assert not valid[25:].any()
    assert near[:25].tolist() == list(range(25))


def test_the_back_of_a_hand_is_no_contact():
    """Parallel normals: the skin looks away from the box, as near as it is."""
    assert not np.asarray(find_pairs(*palm_on_box(0.01, facing=1.0), thresholds())[1]).any()


def thresholds(**changes) -> PairThresholds:
    return PairThresholds.of(PairSettings(**changes))


@pytest.mark.parametrize(("gap", "touches"), [(0.03, True), (0.20, False)])
def test_distance_decides(gap, touches):
    assert np.asarray(find_pairs(*palm_on_box(gap), thresholds())[1]).any() == touches


def test_thresholds_are_those_of_the_equation():
    """A palm tilted by 60 degrees has 1 + n.n = 0.5; the robust distance of 3 cm is 2.97 cm."""
    box, outward, palm, _ = palm_on_box(0.03)
    tilt = np.radians(60.0)
    skin = jnp.asarray(np.tile([np.sin(tilt), -np.cos(tilt), 0.0], (25, 1)), jnp.float32)
    for normal, expected in ((0.51, True), (0.49, False)):
        valid = find_pairs(box, outward, palm, skin, thresholds(normal_threshold=normal))[1]
        assert np.asarray(valid)[:25].all() == expected
    robust = 0.03 * 0.2 / np.hypot(0.03, 0.2)
    for distance, expected in ((robust + 1e-4, True), (robust - 1e-4, False)):
        valid = find_pairs(box, outward, palm, skin, thresholds(distance_threshold=distance))[1]
        assert np.asarray(valid)[:25].any() == expected
