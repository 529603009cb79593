"""Links found one by one come to poses that their joints allow, whatever the method."""

from itertools import product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoijax.geometry.transforms import compose_rigid
from hoijax.initialization.joints.hold import hold_joints
from hoijax.objects.articulated.loading import load_articulated
from hoijax.objects.articulated.urdf import read_urdf
from hoijax.objects.symmetry import find_symmetries
from priors.synthetic.articulated_scenes import _link_poses, joint_motion, observe_articulated

FRAMES = 6


def links_of(asset):
    return [link for link in asset.links if link is not None]


def truth(name, rng):
    asset = load_articulated(name, samples=256)
    values = joint_motion(asset.joints, FRAMES, 3)
    turns = Rotation.from_rotvec(rng.normal(0, 0.5, (FRAMES, 3))).as_matrix()
    roots = compose_rigid(turns, rng.normal(0, 0.5, (FRAMES, 3)))
    return asset, values, np.asarray(_link_poses(asset, asset.joints, values, roots), np.float64)


@pytest.mark.parametrize("name", ["scissors", "laptop", "drawer", "chest"])
def test_true_poses_stay_and_give_their_values(name, rng):
    asset, values, poses = truth(name, rng)
    R, x, found = hold_joints(
        asset.joints, links_of(asset), poses[None, ..., :3, :3], poses[None, ..., :3, 3]
    )
    np.testing.assert_allclose(found[0], values, atol=1e-3)
    np.testing.assert_allclose(compose_rigid(R, x)[0], poses, atol=1e-3)


@pytest.mark.parametrize("name", ["drawer", "laptop"])
def test_links_that_drifted_apart_are_brought_together(name, rng):
    asset, values, poses = truth(name, rng)
    noise = compose_rigid(
        Rotation.from_rotvec(rng.normal(0, 0.03, (2 * FRAMES, 3)))
        .as_matrix()
        .reshape(2, FRAMES, 3, 3),
        rng.normal(0, 0.01, (2, FRAMES, 3)),
    )
    noisy = poses @ noise
    R, x, found = hold_joints(
        asset.joints, links_of(asset), noisy[None, ..., :3, :3], noisy[None, ..., :3, 3]
    )
    held = compose_rigid(R, x)[0]
    (joint,) = asset.joints
    expected = held[joint.parent] @ joint.T_parent_joint
    relative = np.linalg.inv(expected) @ held[joint.child]
    axis = np.asarray(joint.axis)
    if name == "drawer":
        np.testing.assert_allclose(
            relative[:, :3, :3], np.tile(np.eye(3), (FRAMES, 1, 1)), atol=1e-4
        )
        np.testing.assert_allclose(relative[:, :3, 3], found[0, 0][:, None] * axis, atol=1e-4)
    else:
        np.testing.assert_allclose(relative[:, :3, 3], 0.0, atol=1e-4)
        np.testing.assert_allclose(
            relative[:, :3, :3] @ axis, np.tile(axis, (FRAMES, 1)), atol=1e-4
        )
    assert (found[0, 0] >= joint.lower - 1e-6).all()
    assert (found[0, 0] <= joint.upper + 1e-6).all()
    np.testing.assert_allclose(found[0, 0], values[0], atol=0.2)


def test_links_that_look_the_same_turned_are_turned_as_their_joint_needs(rng):
    """Base and lid of a laptop, each found as it looks from the other side: the pose is that of the truth."""
    asset, values, poses = truth("laptop", rng)
    links = links_of(asset)
    turned = np.tile(poses, (16, 1, 1, 1, 1))
    turns = [find_symmetries(link).astype(np.float64) for link in links]
    for k, (a, b) in enumerate(product(*turns)):
        for link, turn in enumerate((a, b)):
            center = np.asarray(links[link].center, np.float64)
            turned[k, link] = poses[link] @ compose_rigid(turn, center - turn @ center)
    R, x, found = hold_joints(asset.joints, links, turned[..., :3, :3], turned[..., :3, 3])
    np.testing.assert_allclose(found, np.tile(values, (16, 1, 1)), atol=1e-3)
    np.testing.assert_allclose(compose_rigid(R, x), np.tile(poses, (16, 1, 1, 1, 1)), atol=1e-3)


@pytest.mark.slow
def test_a_urdf_of_one_link_is_an_object_without_joints(tmp_path):
    path = tmp_path / "brick.urdf"
    path.write_text(
        '<robot name="box"><link name="base"><visual><geometry><box size="0.4 0.3 0.25"/></geometry>'
        "</visual></link></robot>"
    )
    asset = read_urdf(path, samples=512)
    bundle, ground_truth, values = observe_articulated("a person lifts a box", asset, frames=12)
    assert values.shape == (0, 12)
    assert bundle.joints == ()
    assert ground_truth.Ts_world_object.shape == (1, 12, 4, 4)
    T = ground_truth.Ts_world_object[0, 0]
    height = np.ptp((bundle.assets[0].vertices @ T[:3, :3].T)[:, 1])
    assert height == pytest.approx(0.25, abs=0.02)  # z up in the file, upright in the scene
