"""Masks hold poses and flesh: made backwards from a stout person with a leg that keypoints do not see."""

import re

import numpy as np
import pytest

from hoijax.bodies import load_body
from hoijax.bodies.fitting.outline import FilledMotion, fill_masks, outlines_of
from hoijax.bodies.keypoints import openpose18_from
from hoijax.bodies.kinematics import JOINT_NAMES
from hoijax.bodies.pose_prior import canonical_pose
from hoijax.geometry.camera import PinholeCamera
from hoijax.rendering.raycast import RenderMesh, cast

T, H, W, FOCAL = 3, 120, 90, 130.0
K = np.tile(np.array([[FOCAL, 0, W / 2], [0, FOCAL, H / 2], [0, 0, 1]], np.float32), (T, 1, 1))
CAMERA = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
PLACE = np.array([0.0, 0.9, -2.8], np.float32)
"""Of the pelvis; the camera is at the origin, moved up with the person's middle."""
STOUT = np.array([1.5, 0, 1, -1.5, 0, 1], np.float32)
LEFT_HIP, RIGHT_HIP, LEFT_LEG = 1, 2, [12, 13]
SIDES, OTHER = re.compile("left|right"), {"left": "right", "right": "left"}


@pytest.fixture(scope="module")
def scene():
    """(body, rest joints, camera, true pose, masks, keypoints without the left leg)."""
    body = load_body("anny")
    rest = np.asarray(body.shape(np.zeros(1, np.float32)).joints_rest)
    camera = CAMERA.copy()
    camera[1, 3] = PLACE[1]
    pose = canonical_pose().astype(np.float32)
    pose[LEFT_HIP] = (0.0, 0.0, 0.4)
    shaped = body.shape(STOUT).with_rest_joints(rest)
    posed = shaped.pose(pose, PLACE - rest[0])
    skin = np.asarray(posed.vertices_world)
    seen = openpose18_from(posed.joints_world, skin[np.asarray(body.face_vertices)])
    local = (np.asarray(seen) - camera[:3, 3]) @ camera[:3, :3]
    pixels = local[:, :2] / local[:, 2:] * FOCAL + K[0, :2, 2]
    keypoints = np.concatenate([pixels, np.ones((18, 1))], 1).astype(np.float32)
    keypoints[LEFT_LEG] = 0
    return body, rest, camera, pose, drawn(body, skin, camera), np.tile(keypoints, (T, 1, 1))


def drawn(body, skin, camera) -> np.ndarray:
    view = PinholeCamera(FOCAL, FOCAL, W / 2, H / 2, W, H)
    image = cast([RenderMesh(skin, np.asarray(body.faces), 1)], view, camera)
    return np.tile(image.instance_ids > 0, (T, 1, 1))


def average(scene, hip: int = LEFT_HIP) -> FilledMotion:
    """What the fit starts from: the leg hangs down, and the flesh is nobody's."""
    _, rest, _, pose, *_ = scene
    start = np.tile(pose, (T, 1, 1))
    start[:, hip] = 0
    return FilledMotion(start, np.tile(PLACE - rest[0], (T, 1)), np.zeros(1, np.float32))


def filled(scene, masks, others=None, hip: int = LEFT_HIP):
    body, rest, camera, _, _, keypoints = scene
    start = average(scene, hip)
    return fill_masks(
        start.rotations,
        start.translations,
        rest,
        outlines_of(masks, others, K),
        body=body,
        keypoints=keypoints,
        intrinsics=K,
        Ts_world_camera=np.tile(camera, (T, 1, 1)),
        fps=10.0,
        steps=100,
    )


def joints(scene, motion) -> np.ndarray:
    """(T, 22, 3) places of joints in the world."""
    body, rest, *_ = scene
    shaped = body.shape(motion.betas).with_rest_joints(rest)
    moved = zip(motion.rotations, motion.translations, strict=True)
    return np.stack([np.asarray(shaped.pose(*frame).joints_world)[:22] for frame in moved])


def iou(scene, motion, columns=slice(None)) -> float:
    body, rest, camera, _, masks, _ = scene
    shaped = body.shape(motion.betas).with_rest_joints(rest)
    posed = shaped.pose(motion.rotations[1], motion.translations[1])
    found = drawn(body, np.asarray(posed.vertices_world), camera)[0]
    found, wanted = found[:, columns], masks[0][:, columns]
    return float((found & wanted).sum() / (found | wanted).sum())


@pytest.mark.slow
def test_a_leg_without_keypoints_and_flesh_are_found(scene):
    masks = scene[4]
    after = filled(scene, masks)
    assert iou(scene, average(scene)) < 0.75
    assert iou(scene, after) > 0.87
    assert after.rotations[1, LEFT_HIP, 2] == pytest.approx(0.4, abs=0.2)


@pytest.mark.slow
def test_a_mirrored_clip_gives_the_mirrored_motion(scene):
    body, rest, camera, pose, masks, keypoints = scene
    swapped = keypoints[:, [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]]
    swapped = swapped * np.array([-1, 1, 1]) + np.array([W, 0, 0])
    other = [JOINT_NAMES.index(SIDES.sub(lambda m: OTHER[m[0]], name)) for name in JOINT_NAMES]
    turned = pose[other] * np.array([1, -1, -1], np.float32)
    mirrored = body, rest, camera, turned, masks[:, :, ::-1], swapped
    there = joints(scene, filled(scene, masks))
    here = joints(mirrored, filled(mirrored, mirrored[4], hip=RIGHT_HIP))
    undone = (here * np.array([-1, 1, 1]))[:, other[:22]]
    assert np.median(np.linalg.norm(undone - there, axis=-1)) < 0.03
    assert np.linalg.norm(here - there, axis=-1).max() > 0.1  # the clip is not its own mirror image


def test_what_hides_a_person_and_frames_without_a_mask_say_nothing(scene):
    hidden = np.zeros_like(scene[4])
    hidden[:, :, W // 2 :] = True
    masks = scene[4] & ~hidden
    masks[0] = False
    motion = filled(scene, masks, hidden)
    assert iou(scene, motion, slice(0, W // 2)) > 0.85
    assert iou(scene, motion) > iou(scene, average(scene))  # not slim where it is hidden
    assert np.abs(motion.translations[0] - motion.translations[1]).max() < 0.02


def test_a_mask_that_is_seen_nowhere_leaves_an_average_person(scene):
    motion = filled(scene, np.zeros_like(scene[4]))
    np.testing.assert_allclose(motion.betas, 0, atol=0.3)


def test_edges_beside_what_hides_a_person_do_not_count():
    person = np.zeros((1, 40, 40), bool)
    person[0, 10:30, 10:20] = True
    cover = np.zeros_like(person)
    cover[0, 10:30, 20:30] = True
    outlines = outlines_of(person, cover, K[:1])
    columns = np.asarray(outlines.edges)[0, np.asarray(outlines.weights)[0] > 0, 0]
    assert 10 < columns.min() < 11
    assert columns.max() < 19
    beside = np.asarray(outlines.beside)[0, ..., 0]
    assert beside[20, 25] == 0
    assert beside[20, 35] == pytest.approx(6 / FOCAL)
