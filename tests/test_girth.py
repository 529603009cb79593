"""A person drawn stout is found stout: masks are made backwards from the betas."""

import numpy as np
import pytest

from hoijax.bodies import load_body
from priors.models.girth import STEPS, _drawn, stoutness, with_girth
from priors.protocols import BodyMotion

T, H, W, FOCAL = 3, 120, 90, 130.0
K = np.tile(np.array([[FOCAL, 0, W / 2], [0, FOCAL, H / 2], [0, 0, 1]], np.float32), (T, 1, 1))


@pytest.fixture(scope="module")
def standing():
    """(body, motion of an average person 2.5 m before a level camera, keypoints that are all seen)."""
    body = load_body("anny")
    rest = np.asarray(body.shape(np.zeros(1, np.float32)).joints_rest)
    camera = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
    motion = BodyMotion(
        rotations=np.zeros((T, 55, 3), np.float32),
        translations=np.tile(np.float32([0.0, -0.1, -2.5]), (T, 1)),
        betas=np.zeros(1, np.float32),
        rest_joints=rest,
        Ts_world_camera=np.tile(camera, (T, 1, 1)),
    )
    return body, motion, np.ones((T, 18, 3), np.float32)


def masks(body, motion: BodyMotion, betas: np.ndarray) -> np.ndarray:
    shaped = body.shape(betas.astype(np.float32)).with_rest_joints(motion.rest_joints)
    return _drawn(shaped, motion, np.arange(T), K, (T, H, W))


def test_stoutness_swells_the_skin(standing):
    body, motion, _ = standing
    betas = stoutness(body, motion.rest_joints)
    assert np.linalg.norm(betas) == pytest.approx(1.0)
    slim, stout = (masks(body, motion, amount * betas).sum() for amount in (0.0, 2.0))
    assert stout > 1.08 * slim


def test_a_stout_person_is_found_and_bones_stay(standing):
    body, motion, keypoints = standing
    betas = stoutness(body, motion.rest_joints)
    wanted = STEPS[-3]
    found = with_girth(motion, body, masks(body, motion, wanted * betas), None, keypoints, K)
    np.testing.assert_allclose(found.betas, wanted * betas, atol=1e-4)
    np.testing.assert_array_equal(found.rest_joints, motion.rest_joints)


def test_an_average_person_and_one_who_is_hardly_seen_stay_average(standing):
    body, motion, keypoints = standing
    average = masks(body, motion, np.zeros(1))
    for seen in (keypoints, 0.1 * keypoints):
        assert not with_girth(motion, body, average, None, seen, K).betas.any()


def test_what_hides_the_person_does_not_make_them_slim(standing):
    body, motion, keypoints = standing
    betas = stoutness(body, motion.rest_joints)
    wanted = STEPS[-3]
    person = masks(body, motion, wanted * betas)
    hidden = np.zeros_like(person)
    hidden[:, :, : W // 2] = True
    found = with_girth(motion, body, person & ~hidden, hidden, keypoints, K)
    np.testing.assert_allclose(found.betas, wanted * betas, atol=1e-4)
