"""Synthetic scenes of a person who opens or closes a part of an object: the hand moves the joint."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.affordance.graph import (
    WHOLE_PART,
    AffordanceEdge,
    AffordanceObject,
    AffordancePerson,
    PartAffordanceGraph,
    PartReference,
)
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import invert_rigid, look_at
from hoijax.objects.articulated.joints import PRISMATIC, Joint
from hoijax.objects.asset import Asset
from priors.choreography.choreographer import Choreography, choreograph
from priors.choreography.keyframes import interpolate_keyframes
from priors.choreography.motions.opening import JointMotion, perform_opening
from priors.language.opening import Opening
from priors.language.script import Action, Script

HELD_PARTS = ("handle", "grip", "knob", "latch", "bar")
"""Words in the names of parts that a hand opens a link by; without one it takes the far edge."""
FAR_EDGE = "far edge"
FAR_SHARE, FRONT = 0.9, 0.03
"""Of the largest distance from the hinge; metres behind the front of what slides."""
FROM_BEHIND, BEHIND_A_DOOR = np.radians(60.0), np.radians(30.0)
"""Between the camera and the person's back; a door would swing between them."""
LOOK_DOWN = np.radians(15.0)
LARGEST_SLIDE, LARGEST_TURN = 0.35, 1.2
"""Metres and radians: how far things are opened."""


def shut_values(joints: tuple[Joint, ...], frames: int) -> Float[ndarray, "D T"]:
    """Every joint at zero, or at the nearest value that it may take."""
    shut = [float(np.clip(0.0, joint.lower, joint.upper)) for joint in joints]
    return np.repeat(np.array(shut, np.float32)[:, None], frames, axis=1)


def joint_path(joint: Joint, closes: bool, frames: int) -> Float[ndarray, "T"]:
    """From shut (zero, or the nearest value that may be) towards the farther limit; back where it closes."""
    shut = float(np.clip(0.0, joint.lower, joint.upper))
    ends = np.array([joint.lower, joint.upper]) - shut
    end = ends[int(abs(ends[1]) >= abs(ends[0]))]
    largest = LARGEST_SLIDE if joint.kind == PRISMATIC else LARGEST_TURN
    opened = shut + float(np.clip(end, -largest, largest))
    values = [opened, shut] if closes else [shut, opened]
    return interpolate_keyframes(frames, [0.15 * frames, 0.85 * frames], values)


def held_part(link: Asset, joint: Joint) -> tuple[Asset, str, str]:
    """(the link, its part where the hand is, the name of that part in the graph)."""
    for name in link.part_names:
        if any(word in name.lower() for word in HELD_PARTS):
            return link, name, name
    axis = np.asarray(joint.axis, float) / np.linalg.norm(joint.axis)
    along = link.samples @ axis
    if joint.kind == PRISMATIC:
        is_far = along > along.max() - FRONT
    else:
        away = np.linalg.norm(link.samples - along[:, None] * axis, axis=1)
        is_far = away > FAR_SHARE * away.max()
    labels = np.where(is_far, len(link.part_names), link.sample_parts).astype(np.int32)
    marked = dataclasses.replace(link, part_names=(*link.part_names, FAR_EDGE), sample_parts=labels)
    far = link.sample_parts[is_far]
    known = far[far >= 0]
    named = link.part_names[int(np.bincount(known).argmax())] if len(known) else WHOLE_PART
    return marked, FAR_EDGE, named


def opening_script(text: str, objects: tuple[Asset, ...], opening: Opening, part: str) -> Script:
    """One person, one hand, the part that moves."""
    nodes = tuple(
        AffordanceObject(
            name=asset.name,
            parts=asset.part_names or (WHOLE_PART,),
            is_translational=i == opening.link,
            is_rotational=i == opening.link,
        )
        for i, asset in enumerate(objects)
    )
    hand = ("left_hand", "right_hand")[opening.hand]
    edge = AffordanceEdge(
        first=PartReference(entity="person 1", part=hand),
        second=PartReference(entity=objects[opening.link].name, part=part),
        is_continuous=True,
        is_rel_static=True,
    )
    people = (AffordancePerson(name="person 1", description="a person"),)
    graph = PartAffordanceGraph(objects=nodes, people=people, edges=(edge,), video_prompt=text)
    verb = "push" if opening.closes else "pull"
    action = Action(verb, "close" if opening.closes else "open", (0,), opening.link)
    return Script(text, graph, (action,), (), ignored=opening.ignored)


def opened_scene(
    text: str,
    objects: tuple[Asset, ...],
    joints: tuple[Joint, ...],
    opening: Opening,
    Ts_world_link: Float[ndarray, "L T 4 4"],
    seed: int,
) -> tuple[Script, Choreography]:
    """The person whose hand goes with a link that moves as given."""
    joint = joints[opening.link - 1]
    link, part, named = held_part(objects[opening.link], joint)
    script = opening_script(text, objects, opening, named)
    T_world_joint = Ts_world_link[opening.link, 0]
    motion = JointMotion(
        np.asarray(Ts_world_link, float),
        opening.link,
        part,
        opening.hand,
        T_world_joint[:3, :3] @ np.asarray(joint.axis, float),
        T_world_joint[:3, 3].astype(float),
        joint.kind == PRISMATIC,
        opening.closes,
    )
    marked = (*objects[: opening.link], link, *objects[opening.link + 1 :])
    frames = Ts_world_link.shape[1]
    plan = functools.partial(perform_opening, motion=motion)
    scene = choreograph(script, marked, frames=frames, seed=seed, plan=plan)
    return script, _seen_from_the_side(scene, objects, motion)


def _seen_from_the_side(
    scene: Choreography, objects: tuple[Asset, ...], motion: JointMotion
) -> Choreography:
    """With the camera on the side of the hand, behind the person: from the front the object hides them."""
    pelvis = scene.translation[0] + scene.rest_joints[0, 0]
    person = [np.add(pelvis, [0.0, up, 0.0]) for up in (-1.0, 0.0, 0.9)]
    links = [
        link.vertices @ Ts[t, :3, :3].T + Ts[t, :3, 3]
        for link, Ts in zip(objects, scene.Ts_world_object, strict=True)
        for t in (0, -1)
    ]
    cloud = np.concatenate([*person, *links])
    target = 0.5 * (cloud.min(axis=0) + cloud.max(axis=0))
    part = scene.Ts_world_object[motion.link].mean(axis=0)
    held = part[:3, :3] @ objects[motion.link].center + part[:3, 3]
    back = (pelvis.mean(axis=0) - held) * [1.0, 0.0, 1.0]
    back = back / np.linalg.norm(back)
    right = np.cross([0.0, 1.0, 0.0], back) * (1.0 if motion.hand == 1 else -1.0)
    around = BEHIND_A_DOOR if motion.turns_upright else FROM_BEHIND
    level = np.cos(around) * back + np.sin(around) * right
    direction = np.cos(LOOK_DOWN) * level + np.sin(LOOK_DOWN) * np.array([0.0, 1.0, 0.0])
    T_world_camera = stand_back(scene.camera, target, direction, cloud)
    if T_world_camera is None:
        return scene
    return dataclasses.replace(scene, T_world_camera=T_world_camera.astype(np.float32))


def stand_back(
    camera: PinholeCamera,
    target: Float[ndarray, "3"],
    direction: Float[ndarray, "3"],
    cloud: Float[ndarray, "N 3"],
) -> Float[ndarray, "4 4"] | None:
    """T_world_camera that looks at a target, as near as all points allow; None where 20 m do not do."""
    reach = 0.45 * np.array([camera.width / camera.fx, camera.height / camera.fy])
    for distance in np.arange(0.8, 20.0, 0.1):
        T = look_at(target + distance * direction, target)
        seen = cloud @ invert_rigid(T)[:3, :3].T + invert_rigid(T)[:3, 3]
        if (np.abs(seen[:, :2]) < reach * seen[:, 2:]).all():
            return T
    return None
