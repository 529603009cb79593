"""The body pass of the joint solve, against motions whose errors are known."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lifted_box import FRAMES, lifted_box

import hoijax
from hoijax.bodies import load_body
from hoijax.bodies.keypoints import OPENPOSE_18
from hoijax.bodies.kinematics import BODY_JOINT_COUNT, JOINT_NAMES
from hoijax.geometry.rotations import matrix_to_rotation_6d
from hoijax.methods.joint import build_problem, corrections
from hoijax.methods.joint import settle as settle_steps
from hoijax.methods.joint.body_descent import BodySolution, solve_bodies
from hoijax.methods.joint.body_problem import camera_of, held_in_camera
from hoijax.methods.joint.build_problem import body_problem
from hoijax.methods.joint.corrections import correct_bundle
from hoijax.methods.joint.settings import BodyPassSettings
from hoijax.methods.joint.swapped_frames import without_swapped_frames
from hoijax.results.geometry_queries import joints_of
from hoijax.scene.scene import Unknowns
from hoijax.solver.problem import Solution
from priors.synthetic.erring_observations import erring_bundle
from priors.synthetic.from_text import BODY, scene_of_text

SMALL = BodyPassSettings(points=32, vertices=96)
ERRORS = {
    "body_lean": 2.0,
    "body_drift": 2.0,
    "body_hands": 2.0,
    "intrinsics": 2.0,
    "depth_drift": 2.0,
    "camera_moves": 2.0,
    "keypoints_tails": 0.3,
}


@pytest.fixture(scope="module")
def body():
    return load_body(BODY)


@pytest.fixture(scope="module")
def exact():
    return lifted_box()


@pytest.fixture(scope="module")
def clip(exact):
    """(the bundle with errors, the ground truth, the factor of its focal length)."""
    bundle, truth = lifted_box(**ERRORS)
    factor = bundle.observations.intrinsics[0, 0, 0] / exact[0].observations.intrinsics[0, 0, 0]
    return bundle, truth, factor


def joint_error(body, o, truth) -> float:
    """Mean error of the body's joints in the world, metres."""
    return float(joint_errors(body, o, truth).mean())


def joint_errors(body, o, truth):
    """Of each joint in every frame, metres. (P, T, 22)"""
    names = ("body_rotations", "body_translations", "body_betas", "body_rest_joints")
    estimate = dataclasses.replace(truth, **{name: getattr(o, name) for name in names})
    away = (joints_of(body, estimate) - joints_of(body, truth))[:, :, :BODY_JOINT_COUNT]
    return np.linalg.norm(away, axis=-1)


@pytest.mark.slow
def test_body_camera_and_focal_length_come_nearer_to_the_truth(clip, body):
    bundle, truth, factor = clip
    corrected = correct_bundle(bundle, body, SMALL)
    assert joint_error(body, corrected.bundle.observations, truth) < 0.75 * joint_error(
        body, bundle.observations, truth
    )
    assert abs(np.log(corrected.numbers["focal length factor"] * factor)) < 0.4 * abs(
        np.log(factor)
    )
    given, changed = bundle.observations, corrected.bundle.observations
    np.testing.assert_array_equal(
        given.body_rotations[:, :, corrections.MOVING_JOINTS :],
        changed.body_rotations[:, :, corrections.MOVING_JOINTS :],
    )
    assert changed.frame_count == FRAMES
    assert np.isfinite(corrected.Ts_world_pointmap).all()


@pytest.mark.slow
def test_estimates_that_agree_with_each_other_are_kept(exact, clip, body):
    bundle, truth = exact
    moved = [
        joint_error(body, correct_bundle(bundle, body, settings).bundle.observations, truth)
        for settings in (SMALL, dataclasses.replace(SMALL, usual_gain=1e-9))
    ]
    assert moved[0] < min(0.75 * moved[1], 0.008)  # skin is coarse here, and never where points are
    problem = body_problem(clip[0], body, SMALL)
    solution = solve_bodies(problem, corrections.no_change(problem), np.int32(SMALL.rounds))
    seen = clip[0].observations
    assert corrections.doubt_in_estimates(seen, solution, SMALL) == 1.0
    unseen = dataclasses.replace(seen, keypoints=np.zeros_like(seen.keypoints))
    still = solution.replace(energy=solution.first_energy)
    assert corrections.doubt_in_estimates(seen, still, SMALL) == corrections.MIN_DOUBT
    assert corrections.doubt_in_estimates(unseen, still, SMALL) == 1.0


@pytest.mark.slow
def test_half_the_frames_of_the_same_seconds_give_the_same_motion(body):
    """At 30 and at 15 frames a second: 3.5 mm apart, and 10.7 with deviations of steps and of the clip that do
    not know the frame rate."""
    text, boxes = "a person lifts a box", hoijax.load_objects(["box"])
    scene, script, _ = scene_of_text(text, boxes, frames=2 * FRAMES, seed=0)
    whole, truth = erring_bundle(
        scene, script.graph, prompt=text, fps=30.0, body=BODY, strengths=ERRORS, seed=4
    )
    bundles = [correct_bundle(b, body, SMALL).bundle for b in (whole, every_second_frame(whole))]
    names = ("body_rotations", "body_translations", "body_betas", "body_rest_joints")
    estimates = [{name: getattr(b.observations, name) for name in names} for b in bundles]
    full, half = (joints_of(body, dataclasses.replace(truth, **x))[:, :, :22] for x in estimates)
    assert np.median(np.linalg.norm(full[:, ::2] - half, axis=-1)) < 0.006


def every_second_frame(bundle):
    """The bundle at half its frame rate: along the axis that has as many entries as there are frames."""
    o, kept = bundle.observations, {}
    for field in dataclasses.fields(o):
        array = getattr(o, field.name)
        axes = [axis for axis, size in enumerate(np.shape(array)[:2]) if size == o.frame_count]
        if axes:
            kept[field.name] = np.take(array, np.arange(0, o.frame_count, 2), axis=axes[0])
    observations = dataclasses.replace(o, **kept)
    return dataclasses.replace(bundle, observations=observations, fps=0.5 * bundle.fps)


@pytest.mark.slow
def test_a_keypoint_far_from_its_joint_is_not_followed(exact, body):
    """In all frames: a hidden joint is invented in one place. One that is a little off is followed."""
    bundle, truth = exact
    o, wrist = bundle.observations, OPENPOSE_18.index("left_wrist")
    errors = []
    for pixels in (4.0, 20.0):
        keypoints = np.array(o.keypoints)
        keypoints[:, :, wrist, 0] += pixels
        changed = dataclasses.replace(o, keypoints=keypoints)
        settings = dataclasses.replace(SMALL, usual_gain=1e-9)
        found = correct_bundle(dataclasses.replace(bundle, observations=changed), body, settings)
        away = joint_errors(body, found.bundle.observations, truth)
        errors.append(float(away[..., JOINT_NAMES.index("left_wrist")].mean()))
    assert errors[0] > 0.018
    assert errors[1] < 0.016


@pytest.mark.slow
def test_padding_changes_nothing(clip, body, monkeypatch):
    bundle = clip[0]
    solved = []
    for bucket in (build_problem.FRAME_BUCKET, FRAMES):
        monkeypatch.setattr(build_problem, "FRAME_BUCKET", bucket)
        problem = body_problem(bundle, body, SMALL)
        assert len(problem.frames.real) == -(-FRAMES // bucket) * bucket
        solution = solve_bodies(problem, corrections.no_change(problem), np.int32(SMALL.rounds))
        solved.append(jax.tree.map(np.asarray, (solution.changes, solution.clip)))
    (padded, padded_clip), (plain, plain_clip) = solved
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[:FRAMES], padded), plain, atol=2e-4)
    chex.assert_trees_all_close(padded_clip, plain_clip, atol=2e-4)


def test_a_frame_that_jumps_away_and_back_is_mended(clip):
    o = clip[0].observations
    smooth = np.repeat(o.body_rotations[:, :1], FRAMES, axis=1)
    smooth = smooth + 0.01 * np.arange(FRAMES)[None, :, None, None]
    lost = smooth.copy()
    lost[:, 4, 1:22] += 0.9
    mended, count = without_swapped_frames(dataclasses.replace(o, body_rotations=lost))
    assert count == 1
    np.testing.assert_allclose(mended.body_rotations, smooth, atol=0.02)
    same, count = without_swapped_frames(dataclasses.replace(o, body_rotations=smooth))
    assert count == 0
    np.testing.assert_allclose(same.body_rotations, smooth, atol=1e-6)


def test_left_and_right_are_exchanged_back(clip, rng):
    """In single frames, every other one, and runs up to the end; a mirror written by hand."""
    o = clip[0].observations
    step = np.linspace(0.0, 0.3, FRAMES)[None, :, None, None]
    pose = 0.2 * rng.standard_normal((1, 1, 55, 3))
    smooth = (pose + step * rng.standard_normal((1, 1, 55, 3))).astype(np.float32)
    frames = np.array([1, 3, 5, 6, FRAMES - 1])
    swapped = smooth.copy()
    for joint, name in enumerate(JOINT_NAMES):
        other = {"left": "right", "right": "left"}.get(name.partition("_")[0])
        source = JOINT_NAMES.index(name.replace(name.partition("_")[0], other)) if other else joint
        if joint:
            swapped[:, frames, joint] = smooth[:, frames, source] * [1.0, -1.0, -1.0]
    mended, count = without_swapped_frames(dataclasses.replace(o, body_rotations=swapped))
    assert count == len(frames)
    np.testing.assert_allclose(mended.body_rotations, smooth, atol=1e-6)


def test_keypoints_beside_the_persons_mask_are_believed_less(clip):
    o = clip[0].observations
    ids = np.zeros_like(o.instance_ids)
    height, width = o.image_size
    ids[:, : height // 2] = 1
    keypoints = np.full_like(o.keypoints, 0.9)
    keypoints[..., 0] = width / 2
    keypoints[..., :9, 1], keypoints[..., 9:, 1] = height / 4, 3 * height / 4
    keypoints[0, 0, 0, 1] = -5.0  # outside the image: nothing is known of a mask there
    o = dataclasses.replace(o, instance_ids=ids, keypoints=keypoints)
    confidence = corrections.with_believed_keypoints(o).keypoints[..., 2]
    np.testing.assert_allclose(confidence[..., :9], 0.9)
    np.testing.assert_allclose(confidence[..., 9:], 0.9 * corrections.BESIDE_SHARE)
    unmasked = dataclasses.replace(o, instance_ids=np.zeros_like(ids))
    np.testing.assert_array_equal(
        corrections.with_believed_keypoints(unmasked).keypoints, keypoints
    )


def test_points_lie_on_the_rays_of_their_pixels(clip):
    """Of a map that is shifted across the view and has a focal length of its own; a far point stays."""
    o = clip[0].observations
    warped = o.object_points * [1.05, 0.97, 1.0] + [0.02, -0.01, 0.0]
    warped[0, 0, 0] = far = [9.0, 0.0, 2.0]
    bent = dataclasses.replace(o, object_points=warped.astype(np.float32))
    mended = corrections.on_their_rays(bent).object_points
    np.testing.assert_allclose(mended[0, 0, 0], far)
    seen = np.array(o.object_point_mask)
    seen[0, 0, 0] = False
    points, frames = mended[seen], np.nonzero(seen)[1]
    projected = np.einsum("nij,nj->ni", o.intrinsics[frames], points / points[:, 2:])[:, :2]
    np.testing.assert_allclose(projected, o.object_pixels[seen], atol=1e-2)
    np.testing.assert_array_equal(points[:, 2], warped[seen][:, 2].astype(np.float32))


def test_published_settings_keep_the_body():
    from hoijax.methods.base import method_named

    joint, page = method_named("joint"), method_named("hoi-page")
    published = joint.settings("hoi-page")
    assert published.keep_body
    assert not joint.settings().keep_body
    first, second = joint.passes(joint.settings())
    assert second.like == first.name  # one compiled program in a batch
    assert joint.terms(published) == page.terms(page.settings("hoi-page"))


def _unmoved(prepared) -> Solution:
    """A solution that is where the candidates started."""
    count = len(prepared.terms)
    return Solution(
        unknowns=prepared.initial,
        losses=np.zeros(1, np.float32),
        initial_losses=np.zeros(1, np.float32),
        reports=np.zeros((1, count), np.float32),
        history=np.zeros((1, 1, count), np.float32),
        codes=np.zeros(1, np.int32),
    )


def test_what_was_off_is_in_the_result(clip, monkeypatch):
    """From `prepare` to `run.json`'s content, the solve itself left out."""
    from hoijax.methods.joint.method import METHOD

    bundle = clip[0]
    numbers = {"focal length factor": 1.1}
    whole = corrections.Corrections(
        bundle, np.asarray(bundle.observations.Ts_world_camera), numbers
    )
    monkeypatch.setattr("hoijax.methods.joint.method.corrections_of", lambda *_: whole)
    settings = METHOD.settings(inits=1, start="yaw", points=32, grid_resolution=16)
    prepared = METHOD.prepare(bundle, settings, (), lambda stage: None)
    result = METHOD.result(prepared, _unmoved(prepared))
    assert result.run["corrections"] == numbers


def test_a_result_is_reopened_without_the_body_pass(clip, monkeypatch):
    """What the last pass reads is made of the result's bodies and of the number that it records."""
    from hoijax.methods.joint.method import METHOD

    bundle, factor = clip[0], 1.1
    whole = corrections.zoomed(corrections.on_their_rays(bundle.observations), factor)
    corrected = corrections.Corrections(
        dataclasses.replace(bundle, observations=whole),
        np.asarray(bundle.observations.Ts_world_camera),
        {corrections.FOCAL_FACTOR: factor},
    )
    monkeypatch.setattr("hoijax.methods.joint.method.corrections_of", lambda *_: corrected)
    settings = METHOD.settings(inits=1, start="yaw", points=32, grid_resolution=16)
    prepared = METHOD.prepare(bundle, settings, (), lambda stage: None)
    result = METHOD.result(prepared, _unmoved(prepared))
    monkeypatch.setattr(
        "hoijax.methods.joint.method.corrections_of", lambda *_: pytest.fail("again")
    )
    again = METHOD.reopen(bundle, result, settings)
    for a, b in zip(
        jax.tree.leaves((prepared.scene, prepared.initial)),
        jax.tree.leaves((again.scene, again.initial)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("outlined", [0.0, 1.0])
def test_an_outline_keeps_its_size_when_the_focal_length_changes(exact, body, outlined):
    """Depth keeps an object where it is along the view; where there is none, its image keeps its size."""
    problem = body_problem(exact[0], body, SMALL)
    changes, clip = corrections.no_change(problem)
    clip = clip.replace(focal=jnp.asarray(0.05))
    solution = BodySolution(changes, clip, jnp.asarray(0.0), jnp.asarray(0.0))
    frames, center = len(problem.frames.real), np.array([0.3, -0.2, 3.0], np.float32)
    R, t, _ = camera_of(clip, jax.tree.map(lambda x: x[0], problem.frames))
    world = np.tile(np.asarray(R) @ center + np.asarray(t), (frames, 1, 1)).astype(np.float32)
    turns = np.tile(np.eye(3, dtype=np.float32), (frames, 1, 1, 1))
    without_depth = np.full((frames, 1), outlined, np.float32)
    rotations, centers = settle_steps._in_map(problem, solution, turns, world, without_depth)
    held = dataclasses.replace(
        problem.frames.held, rotations=rotations, centers=centers, outlined=without_depth
    )
    held = jax.tree.map(lambda x: x[0], held)
    nothing = jnp.zeros(4)
    np.testing.assert_allclose(held_in_camera(held, nothing, clip)[0], center, atol=1e-5)
    longer = np.asarray(held_in_camera(held, nothing, clip.replace(focal=jnp.asarray(0.15)))[0])
    f = np.exp(0.1)
    np.testing.assert_allclose(f * longer[:2] / longer[2], center[:2] / center[2], rtol=1e-5)
    np.testing.assert_allclose(longer[2] / center[2], f if outlined else 1.0, rtol=1e-5)


@pytest.mark.slow
def test_hands_and_objects_that_touch_are_moved_together(clip, body):
    """A clip seen without errors whose box is solved 4 cm too far along the view: contact brings it back."""
    from hoijax.methods.joint.method import METHOD
    from hoijax.methods.joint.settle import settle

    bundle, truth = lifted_box()
    settings = METHOD.settings(
        inits=1,
        start="yaw",
        points=32,
        grid_resolution=24,
        object_scale="fixed",
        body_pass=dataclasses.replace(SMALL, contact_rounds=5),
    )
    prepared = METHOD.prepare(bundle, settings, (), lambda stage: None)
    center = np.append(bundle.assets[0].center, 1.0)
    true = (truth.Ts_world_object @ center)[..., :3]
    away = 0.04 * truth.Ts_world_camera[0, :3, 2]
    solution = dataclasses.replace(
        _unmoved(prepared),
        unknowns=Unknowns(
            matrix_to_rotation_6d(jnp.asarray(truth.Ts_world_object[None, :, :, :3, :3])),
            jnp.asarray((true + away)[None], jnp.float32),
        ),
    )
    states = np.zeros_like(prepared.extra.states)
    states[:, :, np.flatnonzero(truth.edge_contact.any(axis=0))] = 1.0
    prepared = dataclasses.replace(
        prepared, extra=dataclasses.replace(prepared.extra, states=states)
    )
    (descent, _), numbers = METHOD.passes(settings), METHOD.numbers(settings, prepared.terms)
    settled = settle(settings, descent, prepared, solution, numbers)
    held = truth.edge_contact.any(axis=0)
    error = np.linalg.norm(np.asarray(settled.initial.object_translation[0]) - true, axis=-1)
    assert error[:, held].mean() < 0.8 * 0.04
    before, after = bundle.observations, settled.bundle.observations
    assert joint_error(body, after, truth) < joint_error(body, before, truth) + 0.015
    left_out = dataclasses.replace(settings, body_pass=dataclasses.replace(SMALL, contact_rounds=0))
    assert settle(left_out, descent, prepared, solution, numbers) is prepared
    alone = dataclasses.replace(numbers, weights=numbers.weights | {"contact": np.zeros(2)})
    assert settle(settings, descent, prepared, solution, alone) is prepared
