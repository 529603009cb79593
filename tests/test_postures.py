"""What meshes are for, found from their shape, and the goals of motions that follow from it."""

import numpy as np
import pytest

from hoijax.objects.asset import Asset, asset_from_arrays
from priors.choreography.choreographer import choreograph, joint_transforms
from priors.choreography.dispatch import perform
from priors.choreography.exact_distance import signed_distance
from priors.choreography.grasp_candidates import grasp_candidates
from priors.choreography.grasps import two_hand_holds
from priors.choreography.hold_costs import HoldContext
from priors.choreography.hold_plans import HoldPreferences, plan_hold
from priors.choreography.keyframes import forward_of
from priors.choreography.person import make_person, skin_of
from priors.choreography.plan import Performance
from priors.choreography.pose_targets import FPS, HEAD, WRISTS
from priors.choreography.shapes import (
    SHELL,
    canopy_of,
    center_of_mass,
    instrument_of,
    opening_of,
)
from priors.language.script import script_from_text
from scripts.benchmarks.motion_meshes import CASES, Case, box, joined, lathe, rod

FRAMES, CHEST = 25, 9
BY_NAME = {case.name: case for case in CASES}


def asset_of(case: Case, rotation: np.ndarray | None = None) -> Asset:
    mesh = case.build()
    vertices = np.asarray(mesh.vertices) @ (np.eye(3) if rotation is None else rotation).T
    return asset_from_arrays(case.name, vertices, np.asarray(mesh.faces))


@pytest.mark.parametrize("name", ["mug", "bottle", "glass"])
def test_openings_are_found(name):
    case = BY_NAME[name]
    opening = opening_of(asset_of(case))
    np.testing.assert_allclose(opening.center, np.array(case.opening), atol=0.003)
    assert opening.radius == pytest.approx(case.ring, abs=0.004)


def test_an_opening_that_has_a_name_is_taken():
    parts = np.arange(12) < 2
    box = BY_NAME["brick"].build()
    spout = asset_from_arrays(
        "jug", np.asarray(box.vertices), np.asarray(box.faces), np.where(parts, 0, -1), ("spout",)
    )
    own = spout.vertices[np.unique(spout.faces[spout.face_parts == 0])]
    assert opening_of(spout).center[1] == pytest.approx(own[:, 1].max(), abs=1e-6)


@pytest.mark.parametrize("name", ["guitar", "banjo", "ukulele"])
@pytest.mark.parametrize("turned", [False, True])
def test_strings_and_neck_are_found_however_the_instrument_lies(name, turned):
    case = BY_NAME[name]
    assert case.neck is not None
    rotation = (
        np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]) if turned else np.eye(3)
    )
    made = instrument_of(asset_of(case, rotation))
    np.testing.assert_allclose(made.along, rotation @ [0.0, 1.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(made.front, rotation @ [0.0, 0.0, 1.0], atol=1e-9)
    assert np.linalg.norm(made.strings - rotation @ np.array(case.strings)) < 0.04
    start, end = rotation @ np.array(case.neck[0]), rotation @ np.array(case.neck[1])
    share = (made.neck - start) @ (end - start) / np.sum((end - start) ** 2)
    assert 0.2 < share < 0.8
    assert np.linalg.norm(made.neck - start - share * (end - start)) < 0.02


def test_umbrellas_have_a_canopy_and_other_things_have_none():
    canopy = canopy_of(asset_of(BY_NAME["umbrella"]))
    assert canopy is not None
    assert canopy.rim == pytest.approx(0.65, abs=0.01)
    assert canopy.radius == pytest.approx(0.013, abs=0.003)
    for name in ("lamp", "broom", "crate", "guitar", "ball"):
        assert canopy_of(asset_of(BY_NAME[name])) is None


def test_two_hands_close_round_a_stem(rng):
    lamp = asset_of(BY_NAME["lamp"])
    context = HoldContext(np.eye(3), np.array([0.0, 1.1, 0.35]), 0.0, np.array([0.0, 1.35, 0.05]))
    left, right, _ = two_hand_holds(lamp, grasp_candidates(lamp, None, rng), context)[0]
    for grasp in (left, right):
        assert grasp.is_bar
        assert np.hypot(grasp.point[0], grasp.point[2]) < 0.01
    assert abs(left.point[1] - right.point[1]) > 0.1


def test_one_sits_with_the_back_to_the_back_of_a_chair_without_parts():
    chair = asset_of(BY_NAME["chair"])
    script = script_from_text("a person sits on a chair", [chair])
    for seed in range(2):
        people = [make_person(np.zeros(10, np.float32))]
        rng = np.random.default_rng(seed)
        performance = Performance(script, (chair,), people, FRAMES, FPS, rng)
        perform(performance)
        forward = performance.objects[0].rotation[0] @ [0.0, 0.0, 1.0]
        np.testing.assert_allclose(forward, forward_of(performance.tracks[0].heading[0]), atol=1e-6)


@pytest.mark.parametrize(("name", "hand"), [("glass", None), ("banjo", 1)])
@pytest.mark.slow
def test_goals_are_reached_and_nothing_whips(name, hand):
    """Lips on the rim, a palm at the strings: within 2 cm."""
    case, asset = BY_NAME[name], asset_of(BY_NAME[name])
    script = script_from_text(case.text, [asset])
    scene = choreograph(script, [asset], frames=FRAMES)
    person = make_person(scene.betas[0])
    skin = skin_of(person, scene.joint_rotations[0], scene.translation[0]).astype(float)
    T = scene.Ts_world_object[0].astype(float)
    local = (skin - T[:, None, :3, 3]) @ T[:, :3, :3]
    rest = np.asarray(person.shaped.vertices_rest)
    if hand is None:
        lips = int(np.argmin(np.linalg.norm(rest - person.rest_joints[HEAD] - person.lips, axis=1)))
        off = local[:, lips] - np.array(case.opening)
        goal = np.hypot(np.hypot(off[:, 0], off[:, 2]) - case.ring, off[:, 1]).min()
    else:
        ids = np.asarray(person.body.part_ids)
        goal = np.median(
            np.linalg.norm(local[:, ids == hand] - np.array(case.strings), axis=-1).min(axis=1)
        )
    assert goal < 0.02
    face = int(np.argmax(rest[:, 1]))
    assert np.linalg.norm(np.diff(skin[:, face], axis=0), axis=-1).max() < 1.5 / FPS
    assert signed_distance(asset, local[:: FRAMES // 4].reshape(-1, 3)).min() > -0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", ["frisbee", "brick"])
def test_a_thrower_does_not_lunge_after_what_is_thrown(name):
    """Hands swing out where they let go: they once followed the flight, and pulled the trunk along.

    A plate's rim was held along the forearm, before the middle of the body: an arm at full length.
    """
    thing = asset_of(BY_NAME[name])
    script = script_from_text(BY_NAME[name].text, [thing])
    made = choreograph(script, [thing], frames=FRAMES)
    person = make_person(made.betas[0])
    joints = joint_transforms(person, made.joint_rotations[0], made.translation[0])[..., :3, 3]
    flight = made.Ts_world_object[0, :, :3, 3]
    assert np.ptp(flight[:, [0, 2]], axis=0).max() > 0.8
    steps = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
    assert steps[:, [CHEST, HEAD]].max() < 0.10
    assert steps[:, WRISTS].max() > 0.08  # the arms do it


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chair", "bench", "crate"])
def test_two_hands_take_opposite_places_about_the_weight(name):
    """Once a chair without parts was lifted by one leg."""
    thing = asset_of(BY_NAME[name])
    script = script_from_text(f"a person lifts a {name}", [thing])
    people = [make_person(np.zeros(10, np.float32))]
    performance = Performance(script, (thing,), people, FRAMES, FPS, np.random.default_rng(0))
    perform(performance)
    left, right = sorted(performance.tracks[0].holds, key=lambda hold: hold.hand)
    rotation = performance.objects[0].rotation[0]
    ahead = forward_of(float(performance.tracks[0].heading[0]))
    aside = np.cross([0.0, 1.0, 0.0], ahead)
    mass = center_of_mass(thing)
    sides = [float(rotation @ (hold.grasp.point - mass) @ aside) for hold in (left, right)]
    assert sides[0] > 0.05
    assert sides[1] < -0.05
    assert abs(sum(sides)) < 0.5 * (sides[0] - sides[1])
    heights = [float((hold.grasp.point - mass)[1]) for hold in (left, right)]
    assert min(heights) > -0.3  # not by the legs
    middle = 0.5 * (left.grasp.point + right.grasp.point)
    assert abs(float(rotation @ (middle - mass) @ ahead)) < 0.3  # nor by one end


@pytest.mark.slow
def test_a_plant_is_lifted_by_its_pot():
    pot, *stems = (
        lathe([(0.0, 0.0), (0.12, 0.0), (0.16, 0.28), (0.15, 0.28), (0.0, 0.26)]),
        *(rod((0.0, 0.26, 0.0), (0.25 * np.cos(t), 0.8, 0.25 * np.sin(t)), 0.01) for t in range(6)),
    )
    mesh = joined(pot, *stems)
    plant = asset_from_arrays("plant", np.asarray(mesh.vertices), np.asarray(mesh.faces))
    assert center_of_mass(plant)[1] < 0.2 < plant.samples[:, 1].mean()
    plan = plan_hold(
        make_person(np.zeros(10, np.float32)),
        plant,
        np.random.default_rng(0),
        {0: "", 1: ""},
        HoldPreferences(from_ground=True),
    )
    assert all(grasp.point[1] < 0.29 for grasp in plan.grasps.values())


def test_the_weight_is_where_the_volume_is():
    """Two boxes, one within the other's side: by their volumes, the wall by its area."""
    big, small = box((0.4, 0.4, 0.4), (0.0, 0.2, 0.0)), box((0.1, 0.4, 0.1), (0.0, 0.6, 0.0))
    mesh = joined(big, small)
    asset = asset_from_arrays("post", np.asarray(mesh.vertices), np.asarray(mesh.faces))
    volumes, areas = np.array([0.064, 0.004]), np.array([0.96, 0.18])
    weights = volumes + SHELL * areas
    expected = weights @ [0.2, 0.6] / weights.sum()
    np.testing.assert_allclose(center_of_mass(asset), [0.0, expected, 0.0], atol=0.012)
    top = np.asarray(big.faces)[np.asarray(big.triangles_center)[:, 1] < 0.399]
    crate = asset_from_arrays("crate", np.asarray(big.vertices), top)  # without a lid
    assert center_of_mass(crate)[1] == pytest.approx(0.16, abs=0.045)


def test_edges_of_plates_are_holds(rng):
    """Half the thickness inside of the rim of a disc, on its middle plane, facing outward."""
    stool = asset_of(next(case for case in CASES if case.text == "a person sits on a stool"))
    candidates = grasp_candidates(stool, None, rng)
    rim = candidates.is_edge & (np.abs(candidates.point[:, 1] - 0.455) < 0.003)
    assert rim.sum() > 40
    level = candidates.point[rim][:, [0, 2]]
    assert np.median(np.abs(np.linalg.norm(level, axis=1) - 0.175)) < 0.006
    assert np.median(np.sum(candidates.normal[rim][:, [0, 2]] * level, axis=1)) > 0.95 * 0.175


@pytest.mark.slow
def test_who_puts_a_thing_down_and_goes_has_time_to_rise():
    asset = asset_of(BY_NAME["crate"])
    text = "a person picks up a crate, puts it down and walks away"
    scene = choreograph(script_from_text(text, [asset]), [asset], frames=49, seed=0)
    person = make_person(scene.betas[0])
    joints = joint_transforms(person, scene.joint_rotations[0], scene.translation[0])
    head = joints[:, HEAD, :3, 3]
    assert np.ptp(head[:, 1]) > 0.4, "bends down to it"
    assert np.linalg.norm(np.diff(head, axis=0), axis=1).max() < 0.155
