"""Checks of the video benchmark on motions made from the answer."""

import numpy as np
import pytest

from hoijax.bodies.kinematics import JOINT_NAMES
from scripts.benchmarks.video_checks import (
    VARIANTS,
    fall_accelerations,
    hint_of_variant,
    motion_apart,
    variant_of,
)

FPS = 24.0


def bounces(g: float) -> np.ndarray:
    """Heights of a ball that is kicked every 17 frames and flies free between."""
    t = (np.arange(70) % 17) / FPS
    return 0.3 + 0.5 * g * t * (17 / FPS - t)


@pytest.mark.parametrize("g", [9.81, 7.0])
def test_flights_between_touches_fall_as_they_were_made(g):
    found = fall_accelerations(bounces(g), FPS)
    assert len(found) == 3
    np.testing.assert_allclose(found, g, rtol=1e-6)


def test_what_is_held_is_no_flight():
    held = 1.0 + 0.01 * np.sin(np.arange(60))
    assert len(fall_accelerations(held, FPS)) == 0


@pytest.mark.parametrize("name", VARIANTS)
def test_a_motion_and_its_variant_are_the_same_motion(name):
    rng = np.random.default_rng(0)
    joints, centers = rng.normal(size=(9, 55, 3)), rng.normal(size=(9, 3))
    left, right = JOINT_NAMES.index("left_knee"), JOINT_NAMES.index("right_knee")
    if name == "mirrored":
        mirror = np.array([-1.0, 1.0, 1.0])
        order = [
            JOINT_NAMES.index(
                n.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")
            )
            for n in JOINT_NAMES
        ]
        assert order[left] == right
        variant = (joints[:, order] * mirror, centers * mirror)
    else:
        step = slice(None, None, -1 if name == "reversed" else 2)
        variant = joints[step], centers[step]
    assert motion_apart(joints, centers, *variant, name) == (0.0, 0.0)
    moved = variant[0] + [0.0, 0.03, 0.0], variant[1] + [0.0, 0.0, 0.04]
    assert motion_apart(joints, centers, *moved, name) == pytest.approx((0.03, 0.04))


def test_variants_of_a_clip_and_their_hints():
    clip = np.arange(5 * 4 * 6 * 3).reshape(5, 4, 6, 3)
    np.testing.assert_array_equal(variant_of(clip, "mirrored")[0, 0, 0], clip[0, 0, -1])
    np.testing.assert_array_equal(variant_of(clip, "reversed")[0], clip[-1])
    np.testing.assert_array_equal(variant_of(clip, "half rate"), clip[[0, 2, 4]])
    assert hint_of_variant("0:1,2,3,2", "mirrored", 6, 5) == "0:2,2,3,2"
    assert hint_of_variant("0:1,2,3,2", "reversed", 6, 5) == "4:1,2,3,2"
    assert hint_of_variant("2:1,2,3,2", "half rate", 6, 5) == "1:1,2,3,2"
