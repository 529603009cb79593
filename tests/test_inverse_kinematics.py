"""Hand-written Jacobians against finite differences, and the banded step against a dense solve."""

import dataclasses

import numpy as np
import pytest

from hoijax.objects.asset import load_asset
from priors.choreography import banded_steps, choreographer, inverse_kinematics
from priors.choreography.banded_steps import damped_step, no_columns, smoothness
from priors.choreography.inverse_kinematics import start_of
from priors.choreography.plan import Performance
from priors.choreography.pose_targets import PoseTargets
from priors.choreography.skin_collisions import stacked_grids
from priors.choreography.tracks import pose_targets
from priors.language.script import script_from_text

FRAMES = 5


@pytest.fixture(scope="module")
def problem():
    """A person in the middle of a box, with every kind of target."""
    box = load_asset("box")
    script = script_from_text("a person carries a box", [box])
    rng = np.random.default_rng(0)
    person = choreographer.make_person(np.zeros(10, np.float32))
    performance = Performance(script, (box,), [person], FRAMES, 12.0, rng)
    targets = pose_targets(performance.tracks[0], performance.objects, 12.0)
    free = {
        field.name: np.asarray(getattr(targets, field.name))
        for field in dataclasses.fields(PoseTargets)
        if field.name.endswith(("_weight", "_local", "_point", "_normal", "_axis"))
    }
    noise = {name: rng.uniform(0.2, 0.6, value.shape) for name, value in free.items()}
    joints = rng.integers(0, 22, targets.slot_joint.shape)
    transforms = targets.Ts_world_object.copy()
    transforms[:, 0, 1, 3] = 0.9
    changed = noise | {"slot_joint": joints, "Ts_world_object": transforms}
    targets = dataclasses.replace(targets, **changed)
    start = start_of(targets, person.skeleton)
    start = start + rng.normal(0.0, 0.1, start.shape)
    return start, (targets, person.skeleton, stacked_grids([box]))


def _system(x, targets, skeleton, grids):
    return inverse_kinematics._system(x, targets, skeleton, grids, smoothness(x))


def test_gradient_is_that_of_the_cost(problem):
    x, rest = problem
    direction = np.random.default_rng(1).normal(size=x.shape)
    step = 1e-6 * direction
    up, down = (_system(x + s, *rest).cost for s in (step, -step))
    by_hand = 2.0 * np.sum(_system(x, *rest).gradient * direction)
    np.testing.assert_allclose(by_hand, (up - down) / 2e-6, rtol=1e-5)


def test_smoothness_is_quadratic_within_limits_and_stiffer_beyond(monkeypatch):
    x = np.random.default_rng(0).normal(size=(FRAMES, 69))
    for limit in (np.inf, 0.5):
        monkeypatch.setattr(banded_steps, "LIMITS", (np.full(69, limit), np.full(69, limit)))
        direction = np.random.default_rng(1).normal(size=x.shape)
        ups = [smoothness(x + s * direction) for s in (-1e-5, 0.0, 1e-5)]
        slope = (ups[2].cost - ups[0].cost) / 2e-5
        np.testing.assert_allclose(2.0 * np.sum(ups[1].gradient * direction), slope, rtol=1e-6)
        bend = (ups[2].gradient - ups[0].gradient) / 2e-5
        np.testing.assert_allclose(_times(ups[1].bands, direction), bend, rtol=1e-4, atol=1e-4)


def _times(bands, x):
    """The banded matrix as a dense one, times x."""
    dense = np.zeros((FRAMES, FRAMES, x.shape[1]))
    for shift, band in enumerate(bands):
        for t in range(FRAMES - shift):
            dense[t, t + shift] = dense[t + shift, t] = band[t]
    return np.einsum("stn,tn->sn", dense, x)


def test_a_step_solves_the_whole_system():
    rng = np.random.default_rng(0)
    bands = smoothness(rng.normal(size=(FRAMES, 69))).bands
    J = rng.normal(size=(FRAMES, 90, 69))
    blocks, gradient = np.swapaxes(J, 1, 2) @ J, rng.normal(size=(FRAMES, 69))
    step = damped_step(blocks, gradient, bands, no_columns(*gradient.shape))
    product = np.einsum("tij,tj->ti", blocks, step) + _times(bands, step)
    np.testing.assert_allclose(product, -gradient, atol=1e-9)


def test_a_pose_is_found_again(problem):
    """Targets taken from a pose: the cost falls to what that pose costs, or below."""
    x, (targets, skeleton, grids) = problem
    x = np.repeat(x[:1], FRAMES, axis=0)
    chain = inverse_kinematics.body_transforms(x, targets.heading, skeleton.rest_joints)
    joints = np.array([20, 21])
    turned = np.einsum("thij,thj->thi", chain.rotations[:, joints], targets.hand_local)
    hands = chain.positions[:, joints] + turned
    ankles = chain.positions[:, [7, 8]]
    wanted = dataclasses.replace(
        targets,
        hand_point=hands,
        hand_weight=np.ones((FRAMES, 2, 3)) * [1.0, 0.0, 0.0],
        ankle=ankles,
        slot_weight=np.zeros((FRAMES, 4)),
        collision_weight=np.zeros((FRAMES, 1)),
    )
    found = inverse_kinematics.solve_poses(start_of(wanted, skeleton), wanted, skeleton, grids)
    assert found.cost < _system(x, wanted, skeleton, grids).cost
    posed = inverse_kinematics.body_transforms(
        found.unknowns, targets.heading, skeleton.rest_joints
    )
    off = np.linalg.norm(posed.positions[:, [7, 8]] - ankles, axis=-1)
    assert off.max() < 0.02
