"""Keypoints off a person's mask lose confidence, those behind what hides the person do not."""

import numpy as np

from priors.observe.doubted_keypoints import AWAY, doubted


def test_a_limb_that_masks_contradict_is_less_sure():
    person, box = np.zeros((1, 100, 120), bool), np.zeros((1, 100, 120), bool)
    person[:, 20:84, 40:56] = True  # 1024 pixels: a side of 32
    box[:, 40:60, 56:90] = True
    on, behind = (48.0, 50.0, 0.9), (80.0, 50.0, 0.9)
    off, outside = (55.0 + 2 * AWAY * 32, 25.0, 0.9), (200.0, 300.0, 0.0)
    points = np.array([[on, behind, off, outside]])
    confidence = doubted(points, person, box)[0, :, 2]
    np.testing.assert_allclose(confidence[:2], 0.9)
    np.testing.assert_allclose(confidence[2], 0.9 / 5, rtol=0.2)
    assert confidence[3] == 0.0
    assert points[0, 2, 2] == 0.9  # the caller's array stays


def test_a_frame_without_a_mask_stays():
    points = np.full((1, 18, 3), 0.7)
    nothing = np.zeros((1, 10, 10), bool)
    np.testing.assert_array_equal(doubted(points, nothing, nothing), points)
