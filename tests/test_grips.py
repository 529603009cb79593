"""How far off a carried object is, by hands that stay where they hold it."""

import dataclasses

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from hoijax.physics.grips import grip_offset
from hoijax.physics.rigid_motion import rigid_motion
from hoijax.physics.support import find_support
from hoijax.physics.verdict import Weight, by_object, judge
from hoijax.results.protocols.mesh_motion import MeshMotion

T, HALF = 24, 0.2
CENTER = np.array([0.0, 1.0, 0.0])
PHASE = np.linspace(0, 2 * np.pi, T)
WAYS = np.stack([0.5 * np.sin(PHASE), 0.5 * np.cos(PHASE), 0.1 * np.sin(2 * PHASE)], axis=1)
"""Rotation vectors of the carried box."""
ALONG_PALMS = np.array([0, 0, 0.05])
"""Metres off: where it turns about the line between the palms, both still touch it."""


def carried(ways: np.ndarray = WAYS, regrips: bool = False) -> MeshMotion:
    """A box at a height of 1 m between two palms that turn with it; regrips: the left one, half way."""
    box = trimesh.creation.box(extents=[2 * HALF] * 3)
    palm = np.array([[0, y, z] for y in (-0.05, 0.05) for z in (-0.05, 0.05)])
    palms = np.concatenate([palm + np.array([side * (HALF + 0.005), 0, 0]) for side in (-1, 1)])
    torso = trimesh.creation.box(extents=[0.4, 1.7, 0.4])
    rotations = Rotation.from_rotvec(ways).as_matrix()
    slide = np.zeros((T, 8, 3))
    slide[T // 2 :, :4, 2] = 0.05 * regrips
    hands = (palms + slide) @ rotations.swapaxes(1, 2) + CENTER
    joints = np.tile([0.0, 1.0, -1.0], (T, 22, 1))
    joints[:, 20], joints[:, 21] = hands[:, :4].mean(axis=1), hands[:, 4:].mean(axis=1)
    trunk = np.tile(torso.vertices + np.array([0, 0.85, -1]), (T, 1, 1))
    return MeshMotion(
        fps=10.0,
        object_name="box",
        body_vertices=np.concatenate([trunk, hands], axis=1),
        body_faces=np.asarray(torso.faces),
        object_vertices=box.vertices @ rotations.swapaxes(1, 2) + CENTER,
        object_faces=np.asarray(box.faces),
        body_joints=joints,
        body_parts=np.array([11] * 8 + [0] * 4 + [1] * 4),
    )


def offset_of(motion: MeshMotion, step: tuple[float, float, float]) -> np.ndarray:
    """Found for the motion's object moved by `step`, touched as it truly is."""
    rigid = rigid_motion(motion, 5.0)
    contacts = find_support(motion, rigid).contacts
    off = dataclasses.replace(motion, object_vertices=motion.object_vertices + np.array(step))
    found, told = grip_offset((off,), rigid_motion(off, 5.0), contacts, off.fps)
    assert told.all()
    return found


@pytest.mark.parametrize("step", [(0.0, 0.0, 0.0), (0.05, 0.0, 0.0), (-0.02, 0.03, 0.04)])
def test_the_step_is_found_where_the_object_turns(step):
    np.testing.assert_allclose(offset_of(carried(), step), step, atol=1e-2)


def test_along_the_axis_that_it_turns_about_nothing_is_known():
    upright = carried(WAYS * [0, 1, 0])
    found = offset_of(upright, (0.05, 0.05, 0.0))
    np.testing.assert_allclose(found, [0.05, 0, 0], atol=5e-3)
    np.testing.assert_allclose(offset_of(carried(0 * WAYS), (0.05, 0.0, 0.0)), 0, atol=1e-9)


def test_hands_that_take_another_hold_do_not_make_an_offset():
    assert np.linalg.norm(offset_of(carried(regrips=True), (0.0, 0.0, 0.0))) < 0.015


def test_the_verdict_does_not_hold_what_is_off_along_its_surface():
    motion = carried(WAYS * [0.5, 0, 0])
    off = dataclasses.replace(motion, object_vertices=motion.object_vertices + ALONG_PALMS)
    right, wrong = judge(motion, Weight(5.0)), judge(off, Weight(5.0))
    assert right.values["explained_share@1cm"] == 1
    assert right.values["grip_offset_cm"] < 0.5
    assert wrong.values["explained_share@1cm"] == 0
    assert wrong.values["grip_offset_cm"] == pytest.approx(5, abs=0.5)
    assert "cm from where the hands hold it" in wrong.sentence


def test_everybody_who_carries_counts_and_what_lies_on_the_ground_does_not():
    motion = carried(WAYS * [0.5, 0, 0])
    off = dataclasses.replace(motion, object_vertices=motion.object_vertices + ALONG_PALMS)
    far = dataclasses.replace(
        off, body_vertices=off.body_vertices + 3, body_joints=motion.joints + 3
    )
    (pair,) = by_object([far, off])
    assert judge(pair, Weight(5.0)).values["grip_offset_cm"] > 4
    low = off.object_vertices[..., 1].min()
    down = [0, -low, 0]
    lying = dataclasses.replace(
        off,
        object_vertices=off.object_vertices + down,
        body_vertices=off.body_vertices + down,
        body_joints=motion.joints + down,
    )
    values = judge(lying, Weight(5.0)).frames["grip_offset_m"]
    assert values[np.argmin(lying.object_vertices[..., 1].min(axis=1))] == 0
