"""Families of errors: exact at strength zero, independent of each other, and wrong in the way they say."""

import copy

import jax
import numpy as np
import pytest
import trimesh
from capsule_scene import capsule_truth, straight_walk, turns
from scipy.spatial.transform import Rotation

from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import compose_rigid, look_at
from hoijax.objects.asset import asset_from_arrays
from priors.synthetic.erring_observations import observe_with_errors
from priors.synthetic.error_draft import ar1
from priors.synthetic.error_families import FAMILIES, tuned_families
from priors.synthetic.rendered_observations import RenderedGroundTruth

FRAMES = 16


@pytest.fixture(scope="module")
def scene() -> RenderedGroundTruth:
    """A capsule behind a box that turns."""
    mesh = trimesh.creation.box((0.4, 0.3, 0.25))
    labels = np.zeros(len(mesh.faces), np.int64)
    box = asset_from_arrays("box", mesh.vertices, mesh.faces, labels, ("whole",))
    walk = straight_walk(0.2, FRAMES)
    path = compose_rigid(turns(1.0, FRAMES), walk + np.array([0.3, 0.9, 0.3]))
    return capsule_truth(
        walk,
        0.3,
        assets=(box,),
        Ts_world_object=path[None],
        camera=PinholeCamera.from_field_of_view(45.0, 160, 120),
        T_world_camera=look_at(np.array([0.3, 1.4, 3.0]), np.array([0.0, 0.9, 0.0])),
    )


@pytest.fixture(autouse=True)
def _pictures_are_kept(scene):
    """What errs is what is observed of the pictures, which all errors share."""
    before = copy.deepcopy(scene.pictures)
    yield
    jax.tree.map(np.testing.assert_array_equal, vars(before), vars(scene.pictures))


def observed(scene, seed=0, **strengths):
    return observe_with_errors(scene, strengths, seed)


def test_without_errors_everything_is_exact(scene):
    o, assets = observed(scene)
    np.testing.assert_allclose(o.body_rotations, scene.body_rotations, atol=1e-6)
    np.testing.assert_allclose(o.body_translations, scene.body_translations, atol=1e-6)
    assert assets == scene.assets
    T = scene.T_world_camera
    world = o.object_points[0, 3][o.object_point_mask[0, 3]] @ T[:3, :3].T + T[:3, 3]
    T_object = scene.Ts_world_object[0, 3]
    local = np.abs((world - T_object[:3, 3]) @ T_object[:3, :3])
    outside = local - np.array([0.2, 0.15, 0.125])
    np.testing.assert_allclose(outside.max(axis=1), 0.0, atol=2e-3)  # on a face of the box


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_errs_and_the_more_the_stronger(scene, family):
    exact, assets = observed(scene)

    def size(strength):
        o, erring = observed(scene, **{family: strength})
        changed = [
            np.abs(
                np.asarray(getattr(o, name), float) - np.asarray(getattr(exact, name), float)
            ).sum()
            for name in ("body_rotations", "body_translations", "body_rest_joints", "keypoints")
        ]
        changed += [np.abs(o.intrinsics - exact.intrinsics).sum()]
        changed += [np.abs(o.Ts_world_camera - exact.Ts_world_camera).sum()]
        changed += [float((o.instance_ids != exact.instance_ids).sum())]
        changed += [np.abs(_mean_depths(o) - _mean_depths(exact)).sum()]
        changed += [np.abs(erring[0].vertices - assets[0].vertices).sum()]
        assert np.isfinite(changed).all()
        return sum(changed)

    weak, strong = size(0.5), size(2.0)
    assert strong > 0.0
    assert strong >= weak


def _mean_depths(o):
    """Sum of the seen depths and of their squares in every frame, of all entities."""
    z = np.concatenate([o.person_points[..., 2], o.object_points[..., 2]]).sum(axis=-1)
    return np.nan_to_num(z)


def test_switching_a_family_on_leaves_the_others_draws(scene):
    alone, _ = observed(scene, seed=3, body_lean=1.0)
    both, _ = observed(scene, seed=3, body_lean=1.0, keypoints_tails=1.0, depth_drift=1.0)
    np.testing.assert_array_equal(alone.body_rotations, both.body_rotations)
    again, _ = observed(scene, seed=4, body_lean=1.0)
    assert np.abs(again.body_rotations - alone.body_rotations).max() > 1e-3


def test_biases_are_the_same_in_all_frames(scene):
    lean, _ = observed(scene, body_lean=1.0)
    turns = (
        Rotation.from_rotvec(lean.body_rotations[0, :, 0])
        * Rotation.from_rotvec(scene.body_rotations[0, :, 0]).inv()
    )
    spread = (turns * turns[0].inv()).magnitude()
    np.testing.assert_allclose(spread, 0.0, atol=1e-3)
    assert 0.3 < np.degrees(turns[0].magnitude()) < 15.0
    depth, _ = observed(scene, body_depth=1.0)
    moved = depth.body_translations[0] - scene.body_translations[0]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:1], moved.shape), atol=1e-6)
    axis = scene.T_world_camera[:3, 2]
    assert abs(moved[0] @ axis) == pytest.approx(np.linalg.norm(moved[0]), rel=1e-5)
    assert 0.02 <= np.linalg.norm(moved[0]) <= 0.04


def test_a_lost_mask_is_one_stretch_and_hands_change_owner(scene):
    lost, _ = observed(scene, masks_lost=2.0)
    missing = np.flatnonzero(~lost.object_detected[0])
    assert len(missing) == 4
    assert np.ptp(missing) == 3
    exact, _ = observed(scene)
    hands, _ = observed(scene, masks_hands=1.0)
    changed = hands.instance_ids != exact.instance_ids
    assert changed.any()
    assert (exact.instance_ids[changed] > 0).all()  # between the two, never from the background


def test_drift_remembers():
    path = ar1(np.random.default_rng(0), (4000, 2), 0.9)
    lag = (path[1:] * path[:-1]).mean() / (path**2).mean()
    assert lag == pytest.approx(0.9, abs=0.03)
    assert path.std() == pytest.approx(1.0, abs=0.1)


def test_half_of_the_families_may_be_tuned_on():
    assert 2 * len(tuned_families()) == len(FAMILIES)


def test_unknown_families_and_strengths_are_refused(scene):
    with pytest.raises(UserError, match="no error family"):
        observed(scene, body_leans=1.0)
    with pytest.raises(UserError, match="between 0 and 4"):
        observed(scene, body_lean=-1.0)
