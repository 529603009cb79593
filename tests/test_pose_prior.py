"""The pose prior: limits as boxes, mirrored sides, a mixture that is low at its centers; VPoser absent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoijax.bodies.pose_prior import (
    BODY_JOINT_COUNT,
    FIT_LOWER,
    FIT_UPPER,
    JOINT_LOWER,
    JOINT_UPPER,
    PRIOR_STIFFNESS,
    REFERENCE_POSES,
    RIGHT_JOINTS,
    limit_excess,
    pose_energy,
    prior_centers,
)

LEFT_JOINTS = (1, 4, 7, 10, 13, 16, 18, 20)


def test_reference_poses_keep_the_limits():
    assert np.abs(np.asarray(limit_excess(jnp.asarray(REFERENCE_POSES)))).max() < 1e-10


def test_limits_mirror():
    mirror = np.array([1.0, -1.0, -1.0])
    for low, high in ((JOINT_LOWER, JOINT_UPPER), (FIT_LOWER, FIT_UPPER)):
        for left, right in zip(LEFT_JOINTS, RIGHT_JOINTS, strict=True):
            ends = np.sort([low[left] * mirror, high[left] * mirror], axis=0)
            np.testing.assert_allclose(np.stack([low[right], high[right]]), ends)


def test_a_fit_may_do_all_that_an_animator_may():
    assert (FIT_LOWER <= JOINT_LOWER).all()
    assert (FIT_UPPER >= JOINT_UPPER).all()


def test_a_bent_and_twisted_elbow_keeps_the_limits_of_a_fit():
    """The two turns together have a third component, which no limit of the hinge alone foresees."""
    turn = Rotation.from_rotvec([0.0, -np.radians(100), 0.0]) * Rotation.from_rotvec([1.0, 0, 0])
    pose = np.array(REFERENCE_POSES[0])
    pose[18] = turn.as_rotvec()
    assert np.abs(np.degrees(pose[18, 2])) > 20.0
    assert float(limit_excess(jnp.asarray(pose))) == 0.0


def test_a_knee_bent_backwards_costs_its_excess():
    pose = np.array(REFERENCE_POSES[0])
    pose[4] = (-0.5, 0.0, 0.0)
    expected = (FIT_LOWER[4, 0] + 0.5) ** 2
    assert float(limit_excess(jnp.asarray(pose))) == pytest.approx(expected, rel=1e-5)


def test_the_root_is_free():
    pose = np.array(REFERENCE_POSES[0])
    pose[0] = (0.3, 3.0, -0.2)
    assert float(limit_excess(jnp.asarray(pose))) == 0.0
    same = float(pose_energy(jnp.asarray(REFERENCE_POSES[0])))
    assert float(pose_energy(jnp.asarray(pose))) == pytest.approx(same, abs=1e-5)


def test_energy_equals_a_mixture_in_float64(rng):
    pose = REFERENCE_POSES[1] + 0.2 * rng.normal(size=(BODY_JOINT_COUNT, 3))
    sigma = 0.35 / np.sqrt(PRIOR_STIFFNESS[1:].astype(np.float64))
    parts = [np.sum(((pose - ref)[1:] / sigma) ** 2) / 2 for ref in REFERENCE_POSES]
    expected = -np.log(np.sum(np.exp(-np.array(parts))))
    assert float(pose_energy(jnp.asarray(pose, jnp.float32))) == pytest.approx(expected, rel=1e-4)


def test_an_estimate_is_a_center_in_its_own_frame(rng):
    estimate = rng.normal(size=(3, BODY_JOINT_COUNT, 3)).astype(np.float32)
    centers = prior_centers(3, estimate)
    assert centers.shape == (3, len(REFERENCE_POSES) + 1, BODY_JOINT_COUNT, 3)
    with_it = np.asarray(pose_energy(jnp.asarray(estimate), jnp.asarray(centers)))
    assert np.abs(with_it).max() < 1e-3
    other = np.asarray(pose_energy(jnp.asarray(estimate[[1, 2, 0]]), jnp.asarray(centers)))
    assert other.min() > 1.0


def test_gradients_are_finite_and_equal_differences(rng):
    def total(pose):
        return limit_excess(pose) + pose_energy(pose)

    slope = jax.jit(jax.grad(total))
    for pose in (np.zeros((22, 3)), rng.normal(size=(22, 3))):
        pose = pose.astype(np.float32)
        found = np.asarray(slope(jnp.asarray(pose)))
        assert np.isfinite(found).all()
        direction = rng.normal(size=(22, 3)).astype(np.float32)
        ahead, behind = (float(total(jnp.asarray(pose + s * direction))) for s in (1e-3, -1e-3))
        assert float((found * direction).sum()) == pytest.approx(
            (ahead - behind) / 2e-3, rel=0.02, abs=0.05
        )
