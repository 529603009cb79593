"""Poses from keypoints in space: posed skeletons are found again; gaps, outliers and straight limbs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hoijax.bodies import load_body
from hoijax.bodies.fitting.energy import FACE_COUNT
from hoijax.bodies.fitting.fit import known_person
from hoijax.bodies.fitting.lifting import lifted_pose
from hoijax.bodies.keypoints import OPENPOSE_18, openpose18_from
from hoijax.bodies.pose_prior import REFERENCE_POSES

LIMBS = [i for i, name in enumerate(OPENPOSE_18) if name.split("_")[-1] in ("knee", "ankle")]
ARMS = [i for i, name in enumerate(OPENPOSE_18) if name.split("_")[-1] in ("elbow", "wrist")]
FRAMES = 12


@pytest.fixture(scope="module")
def person():
    body = load_body("anny")
    rest = np.asarray(body.shape(jnp.zeros(1)).joints_rest)
    return known_person(body, np.zeros(1, np.float32), rest)


@pytest.fixture(scope="module")
def keypoints_of(person):
    def one(pose, place):
        full = jnp.zeros((55, 3)).at[:22].set(pose)
        posed = person.pose(full, place)
        return openpose18_from(posed.joints_world, posed.vertices_world[:FACE_COUNT])

    posed = jax.jit(jax.vmap(one))

    def keypoints(poses, place=(0.0, 0.0, 0.0)):
        places = np.tile(np.asarray(place, np.float32), (len(poses), 1))
        return np.asarray(posed(jnp.asarray(poses, jnp.float32), jnp.asarray(places)))

    return keypoints


def moving(rng) -> np.ndarray:
    """From standing to a crouch that turns, the arms in any way that shoulders allow."""
    share = np.linspace(0.0, 1.0, FRAMES)[:, None, None]
    poses = REFERENCE_POSES[0] * (1.0 - share) + REFERENCE_POSES[3] * share
    poses[:, [16, 17]] += 0.3 * rng.normal(size=(1, 2, 3))
    poses[:, 18, 1], poses[:, 19, 1] = -1.2, 0.9
    poses[:, [3, 6, 9]] = 0.0  # a trunk that bends is no single direction
    poses[:, 0] = np.linspace(0.5, 2.5, FRAMES)[:, None] * [0.0, 1.0, 0.0]
    return poses


def errors(keypoints_of, found, true) -> np.ndarray:
    """Metres between limbs as seen from the neck, which both share."""
    a, b = keypoints_of(found), true
    away = (a - a[:, 1:2]) - (b - b[:, 1:2])
    return np.linalg.norm(away, axis=-1)


def test_a_posed_skeleton_is_found_again(keypoints_of, rng):
    true = keypoints_of(moving(rng))
    found = lifted_pose(true)
    assert found is not None
    assert found.shape == (FRAMES, 22, 3)
    assert errors(keypoints_of, found, true)[:, LIMBS + ARMS].max() < 0.08


def test_noise_stays_noise(keypoints_of, rng):
    true = keypoints_of(moving(rng))
    found = lifted_pose(true + 0.03 * rng.normal(size=true.shape))
    assert found is not None
    assert errors(keypoints_of, found, true)[:, LIMBS + ARMS].mean() < 0.10


def test_gaps_are_bridged_and_one_wild_frame_is_ignored(keypoints_of, rng):
    true = keypoints_of(moving(rng))
    broken = true.copy()
    broken[3:5, LIMBS] = np.nan
    broken[8, ARMS] += 1.5
    found = lifted_pose(broken)
    assert found is not None
    away = errors(keypoints_of, found, true)[:, LIMBS + ARMS]
    assert away.max() < 0.20


def test_an_arm_that_is_never_seen_hangs_as_when_standing(keypoints_of, rng):
    true = np.array(keypoints_of(moving(rng)))
    true[:, [OPENPOSE_18.index("left_elbow"), OPENPOSE_18.index("left_wrist")]] = np.nan
    found = lifted_pose(true)
    assert found is not None
    np.testing.assert_allclose(found[:, 16], REFERENCE_POSES[0, None, 16].repeat(FRAMES, 0))


def test_no_trunk_no_pose():
    assert lifted_pose(np.full((4, 18, 3), np.nan)) is None


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_straight_arm_up_or_down_is_finite(keypoints_of, sign):
    poses = np.repeat(REFERENCE_POSES[:1], 4, axis=0)
    poses[:, 16], poses[:, 17] = (0.0, 0.0, sign * np.pi / 2), (0.0, 0.0, -sign * np.pi / 2)
    poses[:, 18:20] = 0.0
    true = keypoints_of(poses)
    found = lifted_pose(true)
    assert found is not None
    assert np.isfinite(found).all()
    assert errors(keypoints_of, found, true)[:, ARMS].max() < 0.08
