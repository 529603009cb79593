"""The pose prior: limits as boxes, mirrored sides, a mixture that is low at its centres; VPoser absent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hoijax.bodies.pose_prior import (
    BODY_JOINT_COUNT,
    JOINT_LOWER,
    JOINT_STIFFNESS,
    JOINT_UPPER,
    REFERENCE_POSES,
    RIGHT_JOINTS,
    limit_excess,
    pose_energy,
)

LEFT_JOINTS = (1, 4, 7, 10, 13, 16, 18, 20)


def test_reference_poses_keep_the_limits():
    assert np.abs(np.asarray(limit_excess(jnp.asarray(REFERENCE_POSES)))).max() < 1e-10


def test_limits_mirror():
    mirror = np.array([1.0, -1.0, -1.0])
    for left, right in zip(LEFT_JOINTS, RIGHT_JOINTS, strict=True):
        ends = np.sort([JOINT_LOWER[left] * mirror, JOINT_UPPER[left] * mirror], axis=0)
        np.testing.assert_allclose(np.stack([JOINT_LOWER[right], JOINT_UPPER[right]]), ends)


def test_a_knee_bent_backwards_costs_its_excess():
    pose = np.array(REFERENCE_POSES[0])
    pose[4] = (-0.5, 0.0, 0.0)
    expected = (JOINT_LOWER[4, 0] + 0.5) ** 2
    assert float(limit_excess(jnp.asarray(pose))) == pytest.approx(expected, rel=1e-5)


def test_the_root_is_free():
    pose = np.array(REFERENCE_POSES[0])
    pose[0] = (0.3, 3.0, -0.2)
    assert float(limit_excess(jnp.asarray(pose))) == 0.0
    same = float(pose_energy(jnp.asarray(REFERENCE_POSES[0])))
    assert float(pose_energy(jnp.asarray(pose))) == pytest.approx(same, abs=1e-5)


def test_energy_equals_a_mixture_in_float64(rng):
    pose = REFERENCE_POSES[1] + 0.2 * rng.normal(size=(BODY_JOINT_COUNT, 3))
    firm = np.ones((BODY_JOINT_COUNT, 3))
    firm[[4, 5]] = (2.0, 1.0, 1.0)  # knees
    firm[[7, 8]] = (7.5, 1.875, 1.875)  # ankles
    sigma = 0.35 / np.sqrt((JOINT_STIFFNESS * firm)[1:].astype(np.float64))
    parts = [np.sum(((pose - ref)[1:] / sigma) ** 2) / 2 for ref in REFERENCE_POSES]
    expected = -np.log(np.sum(np.exp(-np.array(parts))))
    assert float(pose_energy(jnp.asarray(pose, jnp.float32))) == pytest.approx(expected, rel=1e-4)


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
