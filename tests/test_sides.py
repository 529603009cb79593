"""Left and right of one person stay the same over a clip."""

import numpy as np
import pytest

from priors.models.sides import OTHER_SIDE, exchanged_sides, with_steady_sides


def walker(frames: int, heading) -> np.ndarray:
    """OpenPose-18 (u, v, confidence) of a person who swings arms and legs; heading: radians, 0 faces us."""
    right_x = np.array([0, 0, -18, -22, -24, 18, 22, 24, -6, -7, -7, 6, 7, 7, -3, 3, -7, 7.0])
    y = np.array([-70, -50, -50, -25, 0, -50, -25, 0, 0, 45, 90, 0, 45, 90, -73, -73, -70, -70.0])
    ahead = np.array([8, 0, 0, 0, 12, 0, 0, -12, 0, 5, -10, 0, -5, 10, 6, 6, 0, 0.0])
    t = np.arange(frames)[:, None]
    turn = np.broadcast_to(heading, frames)[:, None]
    x = right_x * np.cos(turn) + ahead * np.sin(0.3 * t) * np.sin(turn) + 2.0 * t
    return np.stack([x, np.broadcast_to(y, x.shape), np.full(x.shape, 0.9)], axis=-1)


@pytest.mark.parametrize("heading", [0.0, np.pi, 0.6])
def test_sides_that_were_read_the_wrong_way_round_are_exchanged(heading):
    """Also where the frames in which the reading changes its mind are sure of nothing."""
    true = walker(40, heading)
    points = true.copy()
    wrong = np.r_[10:22, 26, 27]
    points[wrong] = points[wrong][:, OTHER_SIDE]
    for doubtful in (9, 10, 21, 22):
        points[doubtful, :, 2] = 0.05
        points[doubtful, :, :2] = true[doubtful, OTHER_SIDE, :2]
    found = with_steady_sides(points)
    sure = points[..., 2].mean(axis=1) > 0.5
    np.testing.assert_allclose(found[sure], true[sure])
    assert set(np.flatnonzero(exchanged_sides(points) & sure)) == set(wrong) - {10, 21}


def test_nothing_is_exchanged_where_a_person_turns_around():
    points = walker(60, np.linspace(0.0, np.pi, 60))
    assert not exchanged_sides(points).any()


def test_most_frames_say_which_side_is_left():
    points = walker(30, 0.0)
    points[:20] = points[:20][:, OTHER_SIDE]
    assert exchanged_sides(points).tolist() == [False] * 20 + [True] * 10


def test_frames_without_a_person_stay_empty():
    points = walker(12, 0.0)
    points[4:7] = 0.0
    points[7:9] = points[7:9][:, OTHER_SIDE]
    assert np.flatnonzero(exchanged_sides(points)).tolist() == [7, 8]
    assert not exchanged_sides(np.zeros((3, 18, 3))).any()
    assert exchanged_sides(np.zeros((0, 18, 3))).shape == (0,)
    depths = np.broadcast_to(np.arange(18.0)[:, None], (12, 18, 1))
    depths = np.concatenate([points, depths], axis=-1)
    np.testing.assert_array_equal(with_steady_sides(depths)[7, :, 3], np.arange(18.0)[OTHER_SIDE])
