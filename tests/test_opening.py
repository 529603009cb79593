"""Drawers, doors and lids: sentences about joints, and the hand that goes with them."""

import re

import numpy as np
import pytest

from hoijax.bodies.parts import BODY_PARTS
from hoijax.errors import UserError
from hoijax.objects.articulated.joints import FIXED
from hoijax.objects.articulated.loading import load_articulated
from priors.choreography.exact_distance import signed_distance
from priors.choreography.person import make_person, skin_of
from priors.language.opening import read_opening
from priors.synthetic.articulated_scenes import (
    _link_poses,
    _standing,
    observe_articulated,
    scene_objects,
)
from priors.synthetic.opened_scenes import held_part, joint_path, opened_scene, shut_values

FRAMES = 16


def opening_of(text: str, name: str):
    objects, joints = scene_objects(load_articulated(name, samples=512))
    moving = [i + 1 for i, joint in enumerate(joints) if joint.kind != FIXED]
    return read_opening(text, name, objects, moving)


@pytest.mark.parametrize(
    ("text", "name", "summary"),
    [
        ("a person opens the drawer", "drawer", "open drawer drawer, right hand"),
        ("a person pulls the drawer slowly open", "drawer", "open .* hand. Ignored: slowly"),
        ("a woman closes the door with the left hand", "door", "close door leaf, left hand$"),
        ("a person lifts the lid of the chest", "chest", "open chest lid, right hand$"),
        ("a man shuts the laptop", "laptop", "close laptop lid"),
    ],
)
def test_sentences_about_joints(text, name, summary):
    opening = opening_of(text, name)
    assert opening is not None
    said = opening.summary(scene_objects(load_articulated(name, samples=64))[0][opening.link].name)
    assert re.search(summary, said), said


def test_sentences_about_something_else():
    assert opening_of("a person carries the laptop", "laptop") is None
    assert opening_of("a person carries an open laptop", "laptop") is None
    for text, says in (
        ("a person does not open the drawer", "'not'"),
        ("a person opens the drawer and sits", "'sit': one person opens"),
        ("two people open the drawer", "several people"),
    ):
        with pytest.raises(UserError, match=says):
            opening_of(text, "drawer")


@pytest.mark.parametrize(
    ("text", "name", "travel"),
    [
        ("a person opens the drawer", "drawer", 0.3),
        ("a person closes the door with the left hand", "door", -1.2),
        ("a person opens the laptop", "laptop", 1.2),
    ],
)
@pytest.mark.slow
def test_the_hand_stays_on_what_it_opens(text, name, travel):
    asset = load_articulated(name, samples=1024)
    objects, joints = scene_objects(asset)
    opening = opening_of(text, name)
    assert opening is not None
    values = shut_values(joints, FRAMES)
    values[opening.link - 1] = joint_path(joints[opening.link - 1], opening.closes, FRAMES)
    assert values[opening.link - 1, -1] - values[opening.link - 1, 0] == pytest.approx(travel)
    Ts = _link_poses(asset, joints, values, _standing(asset, objects, FRAMES))
    script, scene = opened_scene(text, objects, joints, opening, Ts, seed=0)
    np.testing.assert_allclose(scene.Ts_world_object, Ts, atol=1e-5)
    assert np.ptp(scene.Ts_world_object[0], axis=0).max() == 0.0  # the body stands still
    assert scene.contact.all()
    person = make_person(scene.betas[0])
    skin = skin_of(person, scene.joint_rotations[0], scene.translation[0])
    part = script.graph.edges[0].first.part
    hand = np.asarray(person.body.part_ids) == BODY_PARTS.index(part)
    link = objects[opening.link]
    for t in range(0, FRAMES, 5):
        T = Ts[opening.link, t]
        gap = signed_distance(link, (skin[t, hand] - T[:3, 3]) @ T[:3, :3]).min()
        assert -0.02 < gap < 0.015


def test_without_a_handle_the_hand_is_at_the_far_edge():
    objects, joints = scene_objects(load_articulated("laptop", samples=1024))
    marked, part, named = held_part(objects[1], joints[0])
    far = marked.samples[marked.sample_parts == marked.part_names.index(part)]
    assert named == "screen"
    assert far[:, 2].min() > 0.19  # of a lid of 23 cm, hinged at zero
    objects, joints = scene_objects(load_articulated("drawer", samples=1024))
    assert held_part(objects[1], joints[0])[1:] == ("handle", "handle")


@pytest.mark.slow
def test_an_opened_door_is_a_bundle_with_a_joint():
    """Only the leaf moves, by the joint, and the hand touches it."""
    door = load_articulated("door", samples=256)
    bundle, truth, values = observe_articulated("a person opens the door", door, frames=12)
    moves = [node.is_translational for node in bundle.affordance.objects]
    assert moves == [False, True]
    assert [edge.second.entity for edge in bundle.affordance.edges] == ["door leaf"]
    assert values.shape == (1, 12)
    assert np.ptp(np.asarray(truth.Ts_world_object)[0], axis=0).max() < 1e-6
    assert bundle.observations.object_detected.mean() > 0.8
