"""Twelve parts, contact candidates, hand poses, OpenPose keypoints, on the body that ships."""

import jax.numpy as jnp
import numpy as np
import pytest

from hoijax.bodies import (
    BODY_PARTS,
    JOINT_NAMES,
    OPENPOSE_18,
    RELAXED_HAND_POSE,
    contact_candidates,
    load_body,
    openpose18,
    openpose18_from,
    part_vertex_indices,
)
from hoijax.errors import UserError


@pytest.fixture(scope="module")
def body():
    return load_body("anny")


def joint(body, name):
    return body.joints_template[JOINT_NAMES.index(name)]


def test_the_twelve_parts_cover_the_limbs_and_mirror(body):
    assert len(BODY_PARTS) == 12
    counts = {part: int((body.part_ids == i).sum()) for i, part in enumerate(BODY_PARTS)}
    for part, count in counts.items():
        assert count > 100, part
        if part.startswith("left_"):
            assert counts["right_" + part[5:]] == pytest.approx(count, rel=0.03)
            x = body.template[body.part_ids == BODY_PARTS.index(part), 0]
            assert x.mean() > 0.05
    hand = body.template[body.part_ids == BODY_PARTS.index("left_hand")]
    assert hand[:, 0].min() > joint(body, "left_wrist")[0] - 0.04
    foot = body.template[body.part_ids == BODY_PARTS.index("right_foot")]
    assert foot[:, 1].max() < joint(body, "right_ankle")[1] + 0.06
    assert (body.part_ids == -1).sum() > 500  # the trunk belongs to no part


@pytest.mark.parametrize("part", BODY_PARTS)
def test_samples_belong_to_the_part_and_spread(body, part):
    chosen = part_vertex_indices(body, part, 64)
    assert chosen.shape == (64,)
    assert (body.part_ids[chosen] == BODY_PARTS.index(part)).all()
    np.testing.assert_array_equal(chosen, part_vertex_indices(body, part, 64))
    members = body.template[body.part_ids == BODY_PARTS.index(part)]
    far = np.linalg.norm(members[:, None] - body.template[chosen][None], axis=-1).min(1).max()
    assert far < 0.35 * np.linalg.norm(np.ptp(members, axis=0)) / 2
    many = part_vertex_indices(body, part, 5000)
    assert many.shape == (5000,)
    assert set(np.unique(many)) == set(np.flatnonzero(body.part_ids == BODY_PARTS.index(part)))


def test_unknown_part_is_refused(body):
    with pytest.raises(UserError, match="left_hand, right_hand"):
        part_vertex_indices(body, "left_tentacle", 8)
    with pytest.raises(UserError, match="unknown body part"):
        contact_candidates(body, "chest", 8)


def test_contact_candidates_are_where_contact_happens(body):
    def points(part):
        chosen = contact_candidates(body, part, 80)
        assert chosen.shape == (80,)
        return body.template[chosen]

    palm = points("left_hand")
    assert np.median(palm[:, 1]) < joint(body, "left_middle1")[1]  # under the knuckles
    assert (palm[:, 0] > joint(body, "left_wrist")[0]).all()
    assert (points("right_hand")[:, 0] < joint(body, "right_wrist")[0]).all()
    assert (points("left_foot")[:, 1] < body.template[:, 1].min() + 0.03).all()
    seat = points("hips")
    assert (seat[:, 1] < joint(body, "pelvis")[1]).all()
    assert np.median(seat[:, 2]) < joint(body, "left_hip")[2]  # behind
    assert np.median(points("right_leg")[:, 2]) > joint(body, "right_knee")[2]  # before
    assert (points("head")[:, 1] > joint(body, "head")[1]).all()


def test_finger_poses_curl_into_the_palm_and_mirror(body):
    assert RELAXED_HAND_POSE.shape == (30, 3)
    rotations = jnp.zeros((55, 3)).at[25:].set(RELAXED_HAND_POSE)
    joints = np.asarray(body.shape(jnp.zeros(10)).pose(rotations, jnp.zeros(3)).joints_world)
    np.testing.assert_allclose(joints[25:40] * [-1, 1, 1], joints[40:], atol=2e-3)
    tips, flat = joints[[27, 30, 33, 36]], body.joints_template[[27, 30, 33, 36]]
    knuckles = body.joints_template[[25, 28, 31, 34]]
    assert (tips[:, 1] < flat[:, 1] - 0.01).all()
    assert (
        np.linalg.norm(tips - knuckles, axis=1).mean()
        < np.linalg.norm(flat - knuckles, axis=1).mean()
    )


def test_openpose_keypoints_have_the_right_sides(body):
    shaped = body.shape(jnp.zeros(10))
    posed = shaped.pose(jnp.zeros((55, 3)), jnp.zeros(3))
    points = dict(zip(OPENPOSE_18, np.asarray(openpose18(posed, body)), strict=True))
    for name, point in points.items():
        if name.startswith("left"):
            assert point[0] > 0.02, name
            np.testing.assert_allclose(points["right" + name[4:]], point * [-1, 1, 1], atol=5e-3)
    assert points["nose"][2] == np.asarray(posed.vertices_world)[:, 2][body.part_ids == 10].max()
    assert points["left_eye"][1] > points["nose"][1]
    assert points["left_ear"][2] < points["left_eye"][2]
    np.testing.assert_allclose(
        points["neck"], (points["left_shoulder"] + points["right_shoulder"]) / 2, atol=1e-6
    )
    face = shaped.subset(body.face_vertices).pose(jnp.zeros((55, 3)), jnp.zeros(3)).vertices_world
    np.testing.assert_allclose(
        openpose18_from(posed.joints_world, face), openpose18(posed, body), atol=1e-6
    )
