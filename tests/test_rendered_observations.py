"""Rendered observations: exact without noise, and degraded by what the noise model says."""

import dataclasses

import numpy as np
import pytest
import trimesh
from capsule_scene import capsule_truth, straight_walk, turns
from scipy.spatial.transform import Rotation

from hoijax.bundle.evidence import observation_value_problems
from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import compose_rigid, invert_rigid, look_at
from hoijax.objects.asset import asset_from_arrays
from priors.synthetic.observation_noise import (
    NoiseModel,
    blobs,
    bursts,
    smooth_over_pixels,
    smooth_over_time,
)
from priors.synthetic.rendered_observations import (
    RenderedGroundTruth,
    observe,
    observe_with_ground_truth,
)

FRAMES = 12
CAMERA = PinholeCamera.from_field_of_view(40.0, 160, 120)


def make_asset(size, name):
    mesh = trimesh.creation.box(size)
    parts = (mesh.triangles_center[:, 1] > 0.01).astype(np.int64)
    return asset_from_arrays(
        name, np.asarray(mesh.vertices), np.asarray(mesh.faces), parts, ("base", "top")
    )


@pytest.fixture(scope="module")
def scene() -> RenderedGroundTruth:
    """A capsule that walks, a box that turns and a thin rod."""
    walk = straight_walk(0.3, FRAMES)
    box = compose_rigid(turns(2.0, FRAMES), walk + np.array([0.6, 0.8, 0.2]))
    rod = compose_rigid(np.eye(3), walk + np.array([-0.5, 0.9, 0.3]))
    return capsule_truth(
        walk,
        0.2,
        assets=(make_asset((0.5, 0.4, 0.3), "box"), make_asset((0.02, 0.8, 0.02), "rod")),
        Ts_world_object=np.stack([box, rod]),
        camera=CAMERA,
        T_world_camera=look_at(np.array([1.0, 1.6, 3.0]), np.array([0.0, 0.8, 0.0])),
    )


def surface_distance(scene, rendered, o):
    """Distances to the box o's faces of all its observed points, aligned with the true similarity."""
    observed = rendered.observations
    T = np.asarray(invert_rigid(scene.Ts_world_object[o]) @ rendered.Ts_world_pointmap, np.float64)
    points = observed.object_points[o] @ T[:, :3, :3].swapaxes(-1, -2) + T[:, None, :3, 3]
    half = scene.assets[o].extents / 2
    outside = np.abs(points) - half
    far = np.linalg.norm(np.maximum(outside, 0), axis=-1)
    return np.where(far > 0, far, np.abs(outside).min(-1))[observed.object_point_mask[o]]


def test_without_noise_everything_is_exact(scene):
    rendered = observe_with_ground_truth(scene, NoiseModel.none(), 0)
    seen = rendered.observations
    assert seen.object_detected.all()
    for o in (0, 1):
        assert surface_distance(scene, rendered, o).max() < 1e-4
    np.testing.assert_allclose(rendered.Ts_world_pointmap, seen.Ts_world_camera, atol=1e-6)
    np.testing.assert_allclose(seen.body_rotations, scene.body_rotations, atol=1e-5)
    np.testing.assert_allclose(seen.body_translations, scene.body_translations)
    for points, pixels, mask in (
        (seen.object_points, seen.object_pixels, seen.object_point_mask),
        (seen.person_points, seen.person_pixels, seen.person_point_mask),
    ):
        image = points[mask] @ CAMERA.matrix.T
        np.testing.assert_allclose(image[:, :2] / image[:, 2:], pixels[mask], atol=1e-3)
    assert (seen.object_point_parts[seen.object_point_mask] >= 0).all()
    assert observation_value_problems(seen, (), ["box", "rod"], [2, 2]) == []


def test_samples_lie_in_their_masks_with_true_part_labels(scene):
    seen = observe(scene, NoiseModel.none(), 0)
    t = np.arange(FRAMES)[:, None]
    for o in (0, 1):
        mask = seen.object_point_mask[o]
        column, row = np.floor(seen.object_pixels[o]).astype(int).transpose(2, 0, 1)
        assert (seen.instance_ids[t, row, column][mask] == o + 2).all()
        T_object_camera = invert_rigid(scene.Ts_world_object[o]) @ scene.T_world_camera
        R, d = T_object_camera[:, :3, :3], T_object_camera[:, None, :3, 3]
        height = (seen.object_points[o] @ R.swapaxes(-1, -2) + d)[..., 1]
        sure = mask & (height > scene.assets[o].extents[1] / 2 - 1e-4)
        assert sure.any() or o == 1
        assert (seen.object_point_parts[o][sure] == 1).all()
    counts = (seen.instance_ids == 2).sum((1, 2))
    np.testing.assert_array_equal(seen.object_point_mask[0].sum(-1), np.minimum(counts, 1024))


def test_the_true_similarity_undoes_the_drift(scene):
    rendered = observe_with_ground_truth(
        scene, dataclasses.replace(NoiseModel(), missed_share=0.0), 1
    )
    aligned = surface_distance(scene, rendered, 0)
    unaligned = surface_distance(
        scene,
        dataclasses.replace(rendered, Ts_world_pointmap=rendered.observations.Ts_world_camera),
        0,
    )
    assert np.median(aligned) < 0.012
    assert np.median(unaligned) > 0.015
    scale = np.linalg.norm(rendered.Ts_world_pointmap[:, :3, 0], axis=-1)
    assert 0.005 < scale.std() < 0.04


def test_the_same_seed_gives_the_same_and_another_seed_something_else(scene):
    first, again, other = (observe(scene, NoiseModel(), seed) for seed in (3, 3, 4))
    for name in first.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.object_points, other.object_points)


def test_noise_sources_have_their_own_streams(scene):
    plain = observe(scene, NoiseModel(), 3)
    changed = observe(
        scene, dataclasses.replace(NoiseModel(), keypoint_jitter_pixels=9.0, missed_share=0.0), 3
    )
    np.testing.assert_array_equal(plain.body_rotations, changed.body_rotations)
    np.testing.assert_array_equal(plain.Ts_world_camera, changed.Ts_world_camera)
    assert not np.array_equal(plain.keypoints, changed.keypoints)


def test_missed_frames_are_empty_everywhere(scene):
    seen = observe(scene, dataclasses.replace(NoiseModel(), missed_share=0.4), 5)
    missed = ~seen.object_detected
    assert missed.any()
    assert seen.object_detected.any()
    assert not seen.object_point_mask[missed].any()
    assert (seen.object_points[missed] == 0).all()
    for o, t in np.argwhere(missed & ((seen.instance_ids == 2).sum((1, 2)) == 0)[None]):
        if o == 0:
            assert (seen.instance_ids[t] != 2).all()
    gone = ~seen.person_point_mask.any(-1)
    assert (seen.keypoints[gone][..., 2] == 0).all()
    for name in seen.__dataclass_fields__:
        assert np.isfinite(getattr(seen, name)).all(), name


def test_a_thin_rod_survives_erosion_and_the_edge_filter(scene):
    seen = observe(scene, dataclasses.replace(NoiseModel(), missed_share=0.0), 0)
    assert seen.object_detected[1].all()
    assert seen.object_point_mask[1].sum(-1).min() >= 10


def test_erosion_takes_the_rim_of_a_mask(scene):
    off = NoiseModel.none()
    seen = observe(scene, dataclasses.replace(off, erode=True), 0)
    t, n = np.nonzero(seen.object_point_mask[0])
    column, row = np.floor(seen.object_pixels[0, t, n]).astype(int).T
    neighbors = [
        seen.instance_ids[t, row + dv, column + du] for dv in (-1, 0, 1) for du in (-1, 0, 1)
    ]
    assert np.mean(np.all(np.array(neighbors) == 2, axis=0)) > 0.97  # the rest are thin tips


def test_body_noise_has_the_stated_size():
    rng = np.random.default_rng(0)
    frames, people = 60, 4
    scene = RenderedGroundTruth(
        person_vertices_world=np.zeros((people, frames, 3, 3), np.float32),
        person_faces=np.zeros((0, 3), np.int32),
        keypoints_world=np.zeros((people, frames, 18, 3), np.float32),
        body_rotations=rng.normal(0, 0.5, (people, frames, 55, 3)).astype(np.float32),
        body_translations=np.zeros((people, frames, 3), np.float32),
        body_betas=np.zeros((people, 10), np.float32),
        body_rest_joints=np.zeros((people, 55, 3), np.float32),
        assets=(),
        Ts_world_object=np.zeros((0, frames, 4, 4), np.float32),
        camera=PinholeCamera.from_field_of_view(40.0, 16, 12),
        T_world_camera=look_at(np.array([0.0, 1.0, 3.0]), np.zeros(3)),
        edge_contact=np.zeros((0, frames), bool),
    )
    seen = observe(scene, NoiseModel(), 0)
    error = Rotation.from_rotvec(scene.body_rotations.reshape(-1, 3)).inv() * Rotation.from_rotvec(
        seen.body_rotations.reshape(-1, 3)
    )
    angle = np.degrees(error.magnitude()).reshape(people, frames, 55)
    assert np.sqrt((angle**2).mean()) == pytest.approx(2.0, rel=0.1)
    assert np.abs(np.diff(angle, axis=1)).mean() < 0.5 * angle.mean()  # smooth
    offset = np.linalg.norm(seen.body_translations, axis=-1)
    assert np.sqrt((offset**2).mean()) == pytest.approx(0.02, rel=0.35)
    assert not seen.person_point_mask.any()
    assert seen.object_points.shape == (0, frames, 1024, 3)


def test_part_labels_go_wrong_as_often_as_stated(scene):
    noise = dataclasses.replace(
        NoiseModel.none(), part_mislabel_share=0.2, part_unlabeled_share=0.3
    )
    exact, seen = observe(scene, NoiseModel.none(), 0), observe(scene, noise, 0)
    mask = exact.object_point_mask[0]
    np.testing.assert_array_equal(exact.object_pixels[0], seen.object_pixels[0])
    labels, ground_truth = seen.object_point_parts[0][mask], exact.object_point_parts[0][mask]
    assert np.mean(labels == -1) == pytest.approx(0.3, abs=0.1)
    assert np.mean((labels != ground_truth) & (labels >= 0)) == pytest.approx(0.2 * 0.7, abs=0.07)


def test_keypoints_jitter_drop_and_lose_confidence_when_hidden(scene):
    exact = observe(scene, NoiseModel.none(), 0).keypoints[0]
    assert set(np.unique(exact[..., 2])) <= {np.float32(0.4), np.float32(0.9)}
    noise = dataclasses.replace(
        NoiseModel.none(), keypoint_jitter_pixels=3.0, keypoint_dropout=0.25
    )
    seen = observe(scene, noise, 0).keypoints[0]
    kept = seen[..., 2] > 0.5
    assert np.mean(seen[..., 2] == 0) == pytest.approx(0.25, abs=0.09)
    spread = (seen - exact)[kept][:, :2].std()
    assert spread == pytest.approx(3.0, rel=0.15)


def test_random_fields_have_unit_variance_and_the_stated_correlation():
    rng = np.random.default_rng(0)
    over_time = smooth_over_time(rng, (400, 30), 5.0)
    assert over_time.std() == pytest.approx(1.0, rel=0.05)
    assert (over_time[1:] * over_time[:-1]).mean() > 0.9
    over_pixels = smooth_over_pixels(rng, (40, 60, 80), 8.0)
    assert over_pixels.std() == pytest.approx(1.0, rel=0.05)
    assert np.diff(over_pixels, axis=1).std() < 0.3  # white noise: 1.4
    assert abs((over_pixels[:, 30:] * over_pixels[:, :30]).mean()) < 0.1
    assert blobs(rng, (40, 60, 80), 8.0, 0.1).mean() == pytest.approx(0.1, abs=0.02)
    missed = bursts(rng, (2000, 50), 0.05, 3.0)
    assert missed.mean() == pytest.approx(0.05, abs=0.007)
    starts = (missed[:, 1:] & ~missed[:, :-1]).sum()
    assert missed[:, 1:].sum() / starts == pytest.approx(3.0, abs=0.4)


def test_disagreeing_arrays_are_refused(scene):
    with pytest.raises(UserError, match="1 objects and 12 frames"):
        observe(dataclasses.replace(scene, assets=scene.assets[:1]), NoiseModel(), 0)
    broken = dataclasses.replace(scene)
    object.__setattr__(broken, "edge_contact", np.zeros((1, 3), bool))  # past the shape checks
    with pytest.raises(UserError, match="edge_contact has 3"):
        observe(broken, NoiseModel(), 0)
