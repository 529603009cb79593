"""Anchor motion end to end on a small scene, and what it does with bad input."""

import contextlib
import dataclasses
import json
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from anchor_factory import make_anchor
from counted import programs_made
from small_scene import SMALL_ALIGNMENT, SMALL_SEARCH, as_users_run, run
from traced_modules import of_each, watched_loads

import hoijax
import hoijax.api.solve
from hoijax.bodies import load_body
from hoijax.bundle.write import write_bundle
from hoijax.errors import UserError
from hoijax.experiments.sweep import sweep
from hoijax.methods.anchor_motion import stages
from hoijax.methods.anchor_motion.body_start import repeated, start_bodies
from hoijax.methods.anchor_motion.method import METHOD
from hoijax.methods.anchor_motion.results import tracked_stills
from hoijax.methods.anchor_motion.static_scene import load_static
from hoijax.methods.anchor_motion.terms import TERMS, anchor_problem
from hoijax.methods.running import solve_bundle
from hoijax.results.evaluation import Evaluator
from hoijax.results.result import load_result, save_result
from hoijax.scene.build_bodies import BodyMotions, StaticScene, without_broken_numbers
from hoijax.settings import AnchorSettings
from hoijax.solver.problem import Solution
from hoijax.viewer.resolving import Edits, Resolver

FRAMES = 12
SMALL = AnchorSettings(
    inits=1,
    body_start="estimate",  # our own fit needs longer clips than this one
    track_steps=60,
    steps=50,
    refresh_every=20,
    points=96,
    grid_resolution=24,
    render_width=0,
    search=SMALL_SEARCH,
    alignment=SMALL_ALIGNMENT,
)


@pytest.fixture(scope="module")
def made():
    """(bundle, truth) of a carried box. A point map without drift: in one second nothing tells it from
    a step of the person, and the answer would be the noise's."""
    from priors.synthetic.from_text import observe_text
    from priors.synthetic.observation_noise import NoiseModel

    noise = dataclasses.replace(
        NoiseModel(), scale_drift=0.0, lateral_shift=0.0, depth_shift=0.0, body_translation=0.03
    )
    with as_users_run():
        return observe_text(
            "a person carries a box with both hands",
            hoijax.load_objects(["box"]),
            frames=FRAMES,
            seed=0,
            noise=noise,
        )


def prepared(bundle):
    with as_users_run(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return type(METHOD).prepare(METHOD, bundle, SMALL, (), lambda _: None)


def solved(bundle, settings=SMALL, **options):
    with as_users_run(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return solve_bundle(METHOD, bundle, settings, **options)


@contextlib.contextmanager
def small_settings(settings=SMALL):
    """Commands of anchor motion take these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(METHOD, "presets", {"default": settings})
        yield


@pytest.fixture(scope="module")
def commanded(made, tmp_path_factory):
    """The bundle, and beside it the result of the command a user types; the programs that it loaded."""
    place = tmp_path_factory.mktemp("anchor")
    write_bundle(place / "bundle", *made)
    with small_settings(), programs_made(1), watched_loads() as loads:
        ran = run("solve", place / "bundle", "--method", "anchorhoi", "--out", place / "out")
    assert ran.code == 0, ran.err
    return place, loads


@pytest.fixture(scope="module")
def folder(commanded):
    return commanded[0]


@pytest.fixture(scope="module")
def result(folder):
    return load_result(folder / "out")


def measured(bundle, ground_truth, result):
    """Errors of the winner."""
    with as_users_run():
        return Evaluator(result, load_body(bundle.body), ground_truth).measure(0)


@pytest.mark.slow
def test_both_passes_are_one_program(result):
    """Which the fixture asserts."""
    assert SMALL.track_steps != SMALL.steps
    assert result.history.shape[1] == SMALL.steps


@pytest.mark.slow
@pytest.mark.thorough
def test_every_module_that_runs_counts_in_the_key_of_its_program(commanded):
    for load in of_each(commanded[1]):
        assert load.uncounted() == set(), load.program.function


@pytest.mark.slow
def test_bodies_and_objects_come_near_the_truth(made, result):
    """Poses, place and contacts after few steps; no candidate ends worse than it began.

    With so few points, a coarse grid and one candidate the box may be found on a wrong side: its turn
    is not asserted here. `scripts/benchmarks/quality.py` measures it at full settings.
    """
    errors = measured(made[0], made[1], result)
    assert errors["mpjpe_mm"] < 50.0
    assert errors["pa_mpjpe_mm"] < 40.0
    assert errors["translation_cm"] < 11.0
    assert errors["contact_f1@5cm"] >= 0.9
    assert errors["penetration_mean_cm"] < 0.5
    assert errors["object_in_body_mean_cm"] < 0.5
    assert errors["foot_skate_cm_s@5cm"] < 0.5
    assert np.all(result.losses <= result.initial_losses)
    assert np.isfinite(list(errors.values())).all()


@pytest.mark.slow
def test_frames_without_keypoints_and_a_person_half_out_of_the_picture(made):
    """A third of the frames without any keypoint, the legs of the others below the picture's edge.

    Worse than with everything seen, but a person and a box in the right place.
    """
    bundle, ground_truth = made
    o = bundle.observations
    keypoints = np.array(o.keypoints)
    edge = int(np.median(keypoints[:, :, (8, 11), 1][keypoints[:, :, (8, 11), 2] > 0])) + 5
    keypoints[:, 4:8] = 0.0
    keypoints[keypoints[..., 1] > edge] = 0.0
    ids = np.array(o.instance_ids)
    ids[:, edge:] = 0
    cut = dataclasses.replace(
        o,
        keypoints=keypoints,
        instance_ids=ids,
        person_point_mask=o.person_point_mask & (o.person_pixels[..., 1] < edge),
    )
    result = solved(dataclasses.replace(bundle, observations=cut))
    errors = measured(bundle, ground_truth, result)
    assert errors["mpjpe_mm"] < 120.0
    assert errors["translation_cm"] < 20.0
    assert np.isfinite(result.losses).all()


@pytest.mark.slow
def test_a_result_is_the_still_of_another_solve(folder, tmp_path):
    """Its first frame, by the command; what is no result is refused."""
    again = tmp_path / "again"
    options = ("--method", "anchor-motion", "--static", folder / "out", "--out", again)
    with small_settings():
        ran = run("solve", folder / "bundle", *options)
    assert ran.code == 0, ran.err
    metrics = json.loads((again / "metrics.json").read_text())
    assert (again / "scene.glb").is_file()
    assert (again / "preview.mp4").is_file()
    assert metrics["contact_f1@5cm"] >= 0.9
    refused = run("solve", folder / "bundle", *options[:3], tmp_path, "--out", tmp_path / "no")
    assert refused.code == 2
    assert "not a result folder" in refused.err
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_a_result_is_solved_again_from_where_it_stands(made, result):
    """As the viewer does; a dragged box stays nearer to where it was put."""
    bundle, _ = made
    run = {"method": "anchor-motion", "settings": dataclasses.asdict(SMALL)}
    result = dataclasses.replace(result, run=run)
    with as_users_run(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        resolver = Resolver(result, bundle)
        again = resolver.solve(result, Edits())
        T = np.array(result.Ts_world_object[0, 6])
        T[1, 3] += 0.1
        dragged = resolver.solve(result, Edits(key_poses={(0, 6): T}))
    assert again.term_names == result.term_names
    assert again.losses[0] < 1.1 * result.losses[0]
    assert np.abs(again.body_translations - result.body_translations).max() < 0.1
    rise = dragged.object_translations[0, 0, 6, 1] - again.object_translations[0, 0, 6, 1]
    assert rise > 0.01


@pytest.mark.slow
def test_more_betas_than_the_body_has_are_refused(made):
    """As of an SMPL-X file with another number of shape directions."""
    bundle, _ = made
    betas = np.zeros((1, 999), np.float32)
    other = dataclasses.replace(
        bundle, observations=dataclasses.replace(bundle.observations, body_betas=betas)
    )
    with pytest.raises(UserError, match="shape directions; got 999 betas"):
        solved(other)


@pytest.mark.slow
def test_results_keep_the_bodies_of_every_candidate(result, tmp_path):
    folder = tmp_path / "result"
    folder.mkdir()
    save_result(result, folder)
    loaded = load_result(folder)
    rotations, translations = loaded.bodies_of(0)
    np.testing.assert_array_equal(rotations, result.body_rotations)
    np.testing.assert_array_equal(translations, result.body_translations)


@pytest.mark.slow
def test_nothing_seen_of_the_person_and_a_broken_number_still_give_a_finite_result(
    made, monkeypatch
):
    """All keypoints missing but one, which is NaN, and no contact at all: a warning, no NaN."""
    bundle, _ = made
    o = bundle.observations
    keypoints = np.zeros_like(o.keypoints)
    keypoints[0, 3, 5] = np.nan
    far = np.array(o.person_points)
    far[0, 2, 0] = np.nan
    blind = dataclasses.replace(
        bundle, observations=dataclasses.replace(o, keypoints=keypoints, person_points=far)
    )
    away = np.tile(np.eye(4, dtype=np.float32), (1, 1, 1))
    away[0, :3, 3] = 9.0
    still = StaticScene(o.body_rotations[:, 0], o.body_translations[:, 0], away)
    monkeypatch.setattr(stages, "load_static", lambda *_: still)
    settings = dataclasses.replace(SMALL, static="far away")
    with as_users_run(), pytest.warns(UserWarning, match="no contact keypoints"):
        result = solve_bundle(METHOD, blind, settings)
    assert np.isfinite(result.body_rotations).all()
    assert np.isfinite(result.body_translations).all()
    assert np.isfinite(result.object_translations).all()
    assert np.isfinite(result.losses).all()


@pytest.mark.slow
def test_stills_begin_where_most_touches():
    """Contact keypoints are looked for in the frame with most contact, then in others."""
    scene, unknowns, _ = make_anchor()
    frames, edges = unknowns.body_translation.shape[1], scene.edges.mask.shape[0]
    losses = jnp.asarray([2.0, 1.0])
    both = jax.tree.map(lambda x: jnp.stack([x + 1.0, x]), unknowns)
    none = jnp.zeros((2, 1))
    tracked = Solution(both, losses, losses, none, jnp.zeros(2, jnp.int32), none[:, None])
    states = np.zeros((2, edges, frames), np.float32)
    first = int(np.flatnonzero(np.asarray(scene.edges.mask))[0])
    states[0], states[1, first, 2] = 1.0, 1.0
    stills = list(tracked_stills(scene, tracked, states))
    places = [still.translations for still in stills]
    order = [2, *(t for t in range(frames) if t != 2)]
    expected = [np.asarray(unknowns.body_translation[:, t]) for t in order]
    np.testing.assert_allclose(places, expected, rtol=1e-6)


def test_broken_numbers_count_as_not_seen(made):
    bundle, _ = made
    o = bundle.observations
    rotations, points = np.array(o.body_rotations), np.array(o.object_points)
    rotations[0, 4] = np.nan
    points[0, 1, 0] = np.inf
    broken = dataclasses.replace(o, body_rotations=rotations, object_points=points)
    sound = without_broken_numbers(dataclasses.replace(bundle, observations=broken)).observations
    np.testing.assert_array_equal(sound.body_rotations[0, 4], rotations[0, 3])
    assert not sound.object_point_mask[0, 1, 0]
    assert np.isfinite(sound.object_points).all()
    everything = np.full_like(rotations, np.nan)
    none = dataclasses.replace(
        bundle, observations=dataclasses.replace(o, body_rotations=everything)
    )
    with pytest.raises(UserError, match="no frame of finite numbers"):
        without_broken_numbers(none)


def test_one_broken_camera_is_mended_and_what_nothing_can_mend_is_refused(made):
    """Intrinsics of a frame; the shape of a body; an object that no frame shows."""
    bundle, _ = made
    o = bundle.observations
    intrinsics, betas = np.array(o.intrinsics), np.array(o.body_betas)
    intrinsics[5] = np.nan
    betas[0, 0] = np.inf

    def with_(**changes):
        return dataclasses.replace(bundle, observations=dataclasses.replace(o, **changes))

    sound = without_broken_numbers(with_(intrinsics=intrinsics)).observations
    np.testing.assert_array_equal(sound.intrinsics[5], o.intrinsics[4])
    with pytest.raises(UserError, match="'body_betas' has numbers that are not finite"):
        without_broken_numbers(with_(body_betas=betas))
    with pytest.raises(UserError, match="no frame shows box"):
        without_broken_numbers(with_(object_detected=np.zeros_like(o.object_detected)))


@pytest.mark.slow
def test_a_person_without_keypoints_starts_from_the_estimate(made):
    bundle, _ = made
    o = bundle.observations
    blind = dataclasses.replace(
        bundle, observations=dataclasses.replace(o, keypoints=np.zeros_like(o.keypoints))
    )
    with pytest.warns(UserWarning, match="body motion is taken instead"):
        start = start_bodies(blind, load_body(bundle.body), "fit", None)
    np.testing.assert_array_equal(start.rotations, o.body_rotations)


def test_a_still_is_repeated():
    still = StaticScene(np.ones((1, 55, 3)), np.zeros((1, 3)), np.eye(4)[None])
    motions = repeated(still, 4)
    assert isinstance(motions, BodyMotions)
    assert motions.rotations.shape == (1, 4, 55, 3)


def test_unknown_weights_starts_and_counts_are_refused():
    with pytest.raises(UserError, match="unknown loss terms"):
        METHOD.check_weights(SMALL, {"elbow_grease": 1.0})
    for options, says in (
        ({"body_start": "guess"}, "Known: corrected, fit, keypoints, estimate, static"),
        ({"body_start": "static"}, "needs a static scene"),
        ({"static_frame": 3}, "--static-frame is a frame of --static"),
        ({"steps": 0}, "--steps must be at least 1"),
        ({"render_width": 4}, "width from 16 to 512"),
        ({"video": "clip.mp4", "render_width": 0}, "omit --render-width 0"),
        ({"vposer": "none.npz"}, "no VPoser weights"),
        ({"preset": "hoi-page"}, "no preset 'hoi-page' of the method anchor-motion"),
        ({"halving": False}, "--halving is for --method joint or hoi-page, not for anchor-motion"),
        ({"stepz": 3}, "no option 'stepz'. Did you mean 'steps'"),
        ({"palm_contact": False}, "--palm-contact is for --method joint or hoi-page"),
    ):
        with pytest.raises(UserError, match=says):
            METHOD.settings(**options)
    assert METHOD.settings(steps=7).track_steps == 7


def test_static_scenes_must_fit_the_bundle(made, tmp_path):
    """Another body, another object, a frame that is not there, no result at all."""
    bundle, _ = made
    with pytest.raises(UserError, match="not a result folder"):
        load_static(tmp_path, bundle)
    whole = _still_result(bundle)
    cases = {
        "body": (dataclasses.replace(whole, body_name="smplx.npz"), 0, "their vertices differ"),
        "frame": (whole, 99, "has frames 0 to 11, not 99"),
    }
    for name, (result, frame, message) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        save_result(result, folder)
        with pytest.raises(UserError, match=message):
            load_static(folder, bundle, frame)
    folder = tmp_path / "fits"
    folder.mkdir()
    save_result(whole, folder)
    still = load_static(folder, bundle, 2)
    np.testing.assert_array_equal(still.rotations, bundle.observations.body_rotations[:, 2])
    other = dataclasses.replace(bundle, assets=tuple(hoijax.load_objects(["ball"])))
    with pytest.raises(UserError, match="the same objects in the same order"):
        load_static(folder, other)


def _still_result(bundle):
    """A result whose bodies are the bundle's estimates."""
    from hoijax.results.result import Result

    o = bundle.observations
    eye = np.tile(np.eye(3, dtype=np.float32), (1, 1, FRAMES, 1, 1))
    one = np.zeros(1, np.float32)
    return Result(
        prompt=bundle.prompt,
        fps=bundle.fps,
        affordance=bundle.affordance,
        assets=bundle.assets,
        body_name=bundle.body,
        body_rotations=o.body_rotations,
        body_translations=o.body_translations,
        body_betas=o.body_betas,
        body_rest_joints=o.body_rest_joints,
        object_rotations=eye,
        object_translations=np.zeros((1, 1, FRAMES, 3), np.float32),
        losses=one,
        initial_losses=one,
        codes=np.zeros(1, np.int32),
        labels=("start",),
        term_names=("a",),
        reports=np.zeros((1, 1), np.float32),
        history=np.zeros((1, 2, 1), np.float32),
        contact=np.zeros((1, 1, FRAMES), bool),
        Ts_world_pointmap=np.tile(np.eye(4, dtype=np.float32), (FRAMES, 1, 1)),
    )


def test_the_problem_compiles_once():
    """Problems compare by value: two solves of one shape share a program."""
    one, other = anchor_problem(TERMS), anchor_problem(TERMS)
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.slow
def test_scenes_are_swept_with_the_program_of_a_solve(made, folder, result, tmp_path, monkeypatch):
    """Two scenes (one twice) under two designs; the first design is what `solve` finds."""
    del result  # its program is there
    for name in ("one", "two"):
        shutil.copytree(folder / "bundle", tmp_path / name)
    few = dataclasses.replace(SMALL, track_steps=4, steps=8)
    ready = prepared(made[0])
    monkeypatch.setattr(METHOD, "prepare", lambda *_: ready)
    weight = METHOD.numbers(few, TERMS).weights["object_points"][1]
    with small_settings(few), programs_made(0), as_users_run():
        rows = sweep(tmp_path, f"object_points={weight:g},0", method="anchorhoi")
        alone = solved(made[0], few)
    assert rows[0]["loss"] == pytest.approx(alone.losses[0], rel=1e-3)
    assert [row["loss +-"] for row in rows] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert rows[1]["object_points"] > 1.05 * rows[0]["object_points"]
