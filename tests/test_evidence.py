"""What a bundle lacks, estimated from what it has; each input is made backwards from the answer."""

import dataclasses

import numpy as np
import pytest
from scene_factory import make_scene
from scipy.spatial.transform import Rotation

import hoijax.initialization.contact_states as contact_module
import hoijax.initialization.evidence as module
from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.bodies import load_body
from hoijax.bodies.fitting.person import FittedPerson
from hoijax.bundle.evidence import CAMERA_HEIGHT, absent_keys, level_camera, observations_from
from hoijax.bundle.observations import Observations
from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.initialization.contact_states import warn_of_unseen_contacts
from hoijax.initialization.evidence import (
    body_keypoints,
    complete,
    completion_lines,
    with_camera_height,
    with_filled_bodies,
    with_focal_length,
    without_unread_frames,
)
from hoijax.objects.asset import load_asset
from hoijax.settings import SceneSettings

T, H, W, FOCAL, DEPTH = 4, 240, 320, 300.0, 3.0
CENTER = (W / 2, H / 2)


@pytest.fixture(scope="module")
def body():
    return load_body("anny")


@pytest.fixture(scope="module")
def standing(body):
    """A person who stands 3 m in front of a level camera, 1.4 m above the ground; all arrays there are."""
    rest = np.asarray(body.shape(np.zeros(1, np.float32)).joints_rest)
    place = np.array([0.0, -rest[:, 1].min() + 0.02, -DEPTH], np.float32)
    rotations = np.zeros((1, T, 55, 3), np.float32)
    rotations[0, :, 0] = [0.0, 0.2, 0.0]
    arrays = {
        "instance_ids": boxes(),
        "body_rotations": rotations,
        "body_translations": np.tile(np.float32(place), (1, T, 1)),
        "body_betas": np.zeros((1, 1), np.float32),
        "body_rest_joints": rest[None].astype(np.float32),
        "Ts_world_camera": np.tile(level_camera(), (T, 1, 1)),
    }
    o = observations_from(arrays, {"P": 1, "O": 1, "T": T, "H": H, "W": W})
    keypoints = body_keypoints(body, o, 0)
    camera = (keypoints - level_camera()[:3, 3]) @ level_camera()[:3, :3]
    pixels = FOCAL * camera[..., :2] / camera[..., 2:] + CENTER
    seen = np.isfinite(pixels).all(axis=-1, keepdims=True)
    found = np.concatenate([np.where(seen, pixels, 0.0), seen * 0.9], axis=-1)
    return arrays | {"keypoints": found[None].astype(np.float32)}


def boxes() -> np.ndarray:
    ids = np.zeros((T, H, W), np.uint8)
    ids[:, 100:140, 150:190] = 2
    return ids


def observed(arrays: dict, *lacking: str) -> Observations:
    there = {key: array for key, array in arrays.items() if key not in lacking}
    return observations_from(there, {"P": 1, "O": 1, "T": T, "H": H, "W": W})


def bundle_of(arrays: dict, *lacking: str) -> Bundle:
    there = [key for key in arrays if key not in lacking]
    asset = dataclasses.replace(load_asset("box", samples=64), name="box")
    graph = PartAffordanceGraph.model_validate(
        {
            "objects": [
                {
                    "name": "box",
                    "parts": list(asset.part_names),
                    "is_translational": True,
                    "is_rotational": True,
                }
            ],
            "people": [{"name": "Ada"}],
            "edges": [
                {
                    "first": {"entity": "Ada", "part": "left_hand"},
                    "second": {"entity": "box", "part": asset.part_names[0]},
                    "is_continuous": True,
                    "is_rel_static": True,
                }
            ],
        }
    )
    o = observed(arrays, *lacking)
    return Bundle("a box", 10.0, graph, (asset,), ("anny",), o, {}, absent=absent_keys(there))


def test_what_lacks_nothing_comes_back_as_it_is(standing):
    intrinsics = np.tile(np.float32([[FOCAL, 0, W / 2], [0, FOCAL, H / 2], [0, 0, 1]]), (T, 1, 1))
    bundle = bundle_of(standing | {"intrinsics": intrinsics})
    assert complete(bundle) is bundle
    assert completion_lines(bundle, bundle) == []


def test_a_frame_that_is_not_to_be_read_is_not_seen(standing):
    mask = np.array([True, True, False, True])
    o = without_unread_frames(observed(standing | {"frame_mask": mask}))
    assert not o.instance_ids[2].any()
    np.testing.assert_array_equal(o.object_detected[0], mask)
    np.testing.assert_array_equal(o.body_mask[0], mask)
    np.testing.assert_array_equal((o.keypoints[0, ..., 2] > 0).any(axis=1), mask)
    assert o.keypoints.dtype == np.float32


def test_gaps_of_a_body_are_filled_along_the_shortest_turn(standing):
    rotations, places = (np.array(standing[f"body_{n}"]) for n in ("rotations", "translations"))
    rotations[0, :, 3] = np.radians([0, 777, 40, 777])[:, None] * [1.0, 0.0, 0.0]
    places[0, :, 0] = [0.0, 50.0, 1.0, 50.0]
    mask = np.array([[True, False, True, False]])
    given = {"body_rotations": rotations, "body_translations": places, "body_mask": mask}
    o = with_filled_bodies(observed(standing | given))
    turns = np.degrees(Rotation.from_rotvec(o.body_rotations[0, :, 3]).magnitude())
    np.testing.assert_allclose(turns, [0, 20, 40, 40], atol=1e-3)
    np.testing.assert_allclose(o.body_translations[0, :, 0], [0, 0.5, 1, 1], atol=1e-6)
    assert o.body_mask.all()


def test_the_focal_length_is_that_under_which_a_person_is_as_tall_as_she_is(standing, body):
    o = with_focal_length(observed(standing), body)
    np.testing.assert_allclose(o.intrinsics[:, 0, 0], FOCAL, rtol=1e-3)
    nearer = standing | {"body_translations": standing["body_translations"] + np.float32([0, 0, 1])}
    o = with_focal_length(observed(nearer), body)
    np.testing.assert_allclose(o.intrinsics[:, 0, 0], FOCAL * 2 / 3, rtol=0.03)


def test_the_focal_length_is_that_of_the_point_map(standing, body):
    rng = np.random.default_rng(0)
    points = rng.uniform([-1, -1, 2], [1, 1, 4], (1, T, 40, 3)).astype(np.float32)
    pixels = 500.0 * points[..., :2] / points[..., 2:] + CENTER
    pixels[:, :, :5] += 80.0  # leaks
    given = {"object_points": points, "object_pixels": pixels.astype(np.float32)}
    given["object_point_mask"] = np.ones((1, T, 40), bool)
    o = with_focal_length(observed(standing | given), body)
    np.testing.assert_allclose(o.intrinsics[:, 1, 1], 500.0, rtol=0.02)


def test_without_body_or_points_the_guess_stays(standing, body):
    o = observed(standing, "body_rotations", "body_translations")
    assert with_focal_length(o, body) is o
    assert o.intrinsics[0, 0, 0] == pytest.approx(np.hypot(H, W))


def test_a_level_camera_is_as_high_as_the_ankles_are_low(standing, body):
    lacking = ("body_rotations", "body_translations", "Ts_world_camera")
    intrinsics = np.tile(np.float32([[FOCAL, 0, W / 2], [0, FOCAL, H / 2], [0, 0, 1]]), (T, 1, 1))
    o = with_camera_height(observed(standing | {"intrinsics": intrinsics}, *lacking), body)
    assert o.Ts_world_camera[0, 1, 3] == pytest.approx(CAMERA_HEIGHT, abs=0.1)


def test_a_missing_body_is_fitted_and_said(standing, monkeypatch):
    """The fit itself is tested in test_body_fit.py; here where its answer goes."""
    place, given = np.float32([0.1, 0.2, 0.3]), {}

    def fit(keypoints, intrinsics, cameras, **options):
        given.update(options)
        rest = standing["body_rest_joints"][0]
        turns = np.full((T, 55, 3), 0.1, np.float32)
        return FittedPerson(turns, np.tile(place, (T, 1)), np.ones(3, np.float32), rest, cameras)

    monkeypatch.setattr(module, "fit_person", fit)
    bundle = bundle_of(standing, "body_rotations", "body_translations")
    o = complete(bundle).observations
    np.testing.assert_array_equal(o.body_translations[0], np.tile(place, (T, 1)))
    np.testing.assert_array_equal(o.body_betas, [[1.0, 1.0, 1.0]])
    assert o.body_mask.all()
    np.testing.assert_array_equal(given["rest_joints"], standing["body_rest_joints"][0])
    lines = completion_lines(bundle, complete(bundle))
    assert lines[0].startswith("focal length: 400 pixels")
    assert lines[1].startswith("Ada: body fitted")
    shapeless = bundle_of(
        standing, "body_rotations", "body_translations", "body_betas", "body_rest_joints"
    )
    given.clear()
    complete(shapeless)
    assert "rest_joints" not in given


def test_a_person_who_cannot_be_fitted_is_refused_by_number(standing):
    face = np.array(standing["keypoints"])
    face[:, :, 1:14, 2] = 0.0
    face[:, :, 0, 2] = 1.0
    bundle = bundle_of(standing | {"keypoints": face}, "body_rotations", "body_translations")
    with pytest.raises(UserError, match="person 1: the body cannot be fitted: no frame has keypoi"):
        complete(bundle)


def test_what_nothing_can_be_solved_from_is_refused_before_any_work(standing):
    """As `generate` hands it over, unchecked: no person and no object was found in the clip."""
    nobody = standing | {
        "instance_ids": np.zeros((T, H, W), np.uint8),
        "keypoints": np.zeros((1, T, 18, 3), np.float32),
    }
    bundle = bundle_of(nobody, "body_rotations", "body_translations")
    with pytest.raises(UserError, match="have 2 problems") as refusal:
        complete(bundle)
    assert "no frame has a detection of 'box'" in str(refusal.value)
    assert "no frame has a detection of person 1" in str(refusal.value)


def test_a_contact_that_no_frame_has_is_named_and_left_out(standing):
    bundle = bundle_of(standing)
    states = np.ones((2, 4, T), np.float32)
    warn_of_unseen_contacts(bundle, states)
    states[:, 0] = 0.0
    with pytest.warns(
        UserWarning, match=r"contact never seen, and left out: Ada \(left_hand\) and box"
    ):
        warn_of_unseen_contacts(bundle, states)


def test_an_edge_counts_in_its_closest_frame_unless_it_is_never_near(monkeypatch):
    distances = np.array([[[0.8, 0.7, 0.6], [0.4, 0.2, 0.3], [0.9, 0.9, 0.9]]], np.float32)
    monkeypatch.setattr(contact_module, "_start_distances", lambda scene, starts: distances)
    made, always = make_scene(), np.array([False, False, True])
    states = contact_module.contact_states(made.scene, made.ground_truth, always, SceneSettings())
    np.testing.assert_array_equal(states, [[[0, 0, 0], [0, 1, 0], [1, 1, 1]]])
