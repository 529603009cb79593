"""What was followed as an object and can hardly be it, told by the person beside it."""

import numpy as np
import pytest

from priors.observe.doubted_objects import METRES, SEGMENTS, doubts_about_objects, pixels_a_metre

T, H, W = 5, 200, 300
RULER = 100.0


def person():
    """Limbs straight down from joint to joint, at 100 pixels a metre; the mask is a column."""
    points = np.ones((1, T, 18, 3))
    for (first, second), length in zip(SEGMENTS, METRES, strict=True):
        points[:, :, second, :2] = points[:, :, first, :2] + (0, RULER * length)
    mask = np.zeros((1, T, H, W), bool)
    mask[..., 20:190, 30:70] = True
    return points, mask


def box(left, top, width, height):
    mask = np.zeros((T, H, W), bool)
    mask[:, top : top + height, left : left + width] = True
    return mask


def doubts(*masks, sides=(0.4, 0.4, 0.4), points=None):
    keypoints, people = person()
    names = [f"thing {o}" for o in range(len(masks))]
    keypoints = keypoints if points is None else points
    return doubts_about_objects(
        names, np.tile(sides, (len(masks), 1)), np.stack(masks), people, keypoints
    )


def test_limbs_are_the_ruler():
    assert pixels_a_metre(person()[0][0]) == pytest.approx(RULER)


def test_an_object_of_its_size_in_reach_is_not_doubted():
    assert doubts(box(75, 80, 40, 40)) == []
    assert doubts(box(75, 80, 90, 60)) == []  # nearer than the person, or of a child


def test_sizes_that_cannot_be_are_doubted():
    (large,) = doubts(box(75, 0, 220, 200))
    assert "thing 0 is 4.3 times as large as its mesh" in large
    (small,) = doubts(box(72, 80, 8, 8))
    assert "thing 0 is 0.2 times as large as its mesh" in small


def test_what_is_never_near_is_doubted():
    (far,) = doubts(box(200, 80, 40, 40))
    assert "thing 0 is never within 25 cm of a person or another object" in far
    moved = box(200, 80, 40, 40)
    moved[2] = box(80, 80, 40, 40)[2]
    assert doubts(moved) == []
    assert doubts(box(75, 80, 90, 60), box(180, 80, 40, 40)) == []  # on what the person touches


def test_without_a_ruler_nothing_is_said():
    points = person()[0]
    points[..., 2] = 0.0
    assert doubts(box(200, 80, 40, 40), points=points) == []
