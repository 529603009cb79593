"""Colors of a clip tell apart turns that look alike otherwise."""

import dataclasses

import numpy as np
import pytest
import trimesh
from trimesh.visual import ColorVisuals

from hoijax.bundle.write import read_bundle, write_bundle
from hoijax.geometry.rotations import matrix_to_rotation_6d
from hoijax.geometry.transforms import invert_rigid
from hoijax.methods.choice import FITS_ALIKE, turned, unlikelihood
from hoijax.methods.color_evidence import ColorMatch, has_colors, match_colors
from hoijax.objects import find_symmetries
from hoijax.objects.specs import load_objects
from hoijax.rendering.small_images import color_images
from hoijax.runtime import on_device
from hoijax.scene.objects import Cameras
from hoijax.scene.scene import Unknowns
from priors.synthetic.erring_observations import erring_bundle
from priors.synthetic.from_text import BODY, scene_of_text
from scripts.benchmarks.colors import painted_box


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """The file of a box each of whose sides has a color; a half turn about any axis keeps its shape."""
    return painted_box(tmp_path_factory.mktemp("painted") / "box.glb")


@pytest.fixture(scope="module")
def clip(painted):
    """(bundle without errors, ground truth) of a lift of the painted box."""
    text = "a person lifts a box"
    scene, script, fps = scene_of_text(text, load_objects([f"box={painted}"]), frames=12, seed=0)
    return erring_bundle(scene, script.graph, prompt=text, fps=fps, body=BODY, strengths={}, seed=4)


def compared(bundle, truth, turns, symmetries=None) -> ColorMatch:
    """The match of candidates at the truth, turned."""
    (asset,) = bundle.assets
    T = truth.Ts_world_object[0]
    rotations = np.stack([T[:, :3, :3] @ turn for turn in turns])[:, None]
    centers = T[:, :3, 3] + T[:, :3, :3] @ asset.center
    poses = Unknowns(
        matrix_to_rotation_6d(on_device(rotations.astype(np.float32))),
        on_device(np.broadcast_to(centers, (len(turns), 1, *centers.shape)).astype(np.float32)),
    )
    Ts = on_device(invert_rigid(truth.Ts_world_camera).astype(np.float32))
    cameras = Cameras(
        Ts, on_device(bundle.observations.intrinsics), on_device(np.ones(2, np.float32))
    )
    groups = [find_symmetries(asset)] if symmetries is None else [symmetries]
    return match_colors(bundle.observations, cameras, bundle.assets, poses, groups)


@pytest.mark.slow
def test_the_symmetric_turn_that_shows_the_colors_of_the_clip_is_found(clip):
    bundle, truth = clip
    group = find_symmetries(bundle.assets[0])
    assert len(group) == 4
    match = compared(bundle, truth, group)
    assert (match.unexplained < 0.3).all()
    np.testing.assert_allclose(match.turns[:, 0] @ group, np.tile(np.eye(3), (4, 1, 1)), atol=1e-5)


@pytest.mark.slow
def test_exposure_and_white_balance_do_not_matter(clip):
    bundle, truth = clip
    o = bundle.observations
    dark = (o.color_images * [0.5, 0.6, 0.7]).astype(np.uint8)
    bundle = dataclasses.replace(bundle, observations=dataclasses.replace(o, color_images=dark))
    group = find_symmetries(bundle.assets[0])
    match = compared(bundle, truth, group)
    np.testing.assert_allclose(match.turns[:, 0] @ group, np.tile(np.eye(3), (4, 1, 1)), atol=1e-5)


@pytest.mark.slow
def test_among_turns_that_are_no_symmetry_the_true_one_explains_most(clip):
    bundle, truth = clip
    quarter = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    match = compared(bundle, truth, [quarter, np.eye(3), quarter.T], np.eye(3)[None])
    assert match.unexplained.argmin() == 1
    unlikely = unlikelihood(np.array([1.0, 1.0 + FITS_ALIKE, 1.1]), match)
    assert unlikely.argmin() == 1  # against a loss that is a little lower
    assert unlikelihood(np.array([1.0, 1.1, np.nan]), None).argmin() == 0


@pytest.mark.slow
def test_a_mesh_of_one_color_says_nothing(clip):
    bundle, truth = clip
    grey = bundle.assets[0].appearance
    scene = trimesh.load_scene(trimesh.util.wrap_as_stream(grey), file_type="glb")
    for mesh in scene.geometry.values():
        mesh.visual = ColorVisuals(mesh, vertex_colors=[90, 90, 200, 255])
    plain = dataclasses.replace(bundle.assets[0], appearance=scene.export(file_type="glb"))
    without = dataclasses.replace(bundle, assets=(plain,))
    assert not compared(without, truth, [np.eye(3)]).is_known
    none = dataclasses.replace(bundle.assets[0], appearance=None)
    assert not has_colors(bundle.observations, (none,))


def test_poses_are_turned_about_centers(rng):
    """Centers stay where they are."""
    R = np.linalg.qr(rng.normal(size=(2, 1, 3, 3, 3)))[0].astype(np.float32)
    t = rng.normal(size=(2, 1, 3, 3)).astype(np.float32)
    center, turns = np.array([0.3, -0.2, 0.1]), np.linalg.qr(rng.normal(size=(2, 1, 3, 3)))[0]
    after, moved = turned(R, t, turns, center[None])
    np.testing.assert_allclose(after, R @ turns[:, :, None], atol=1e-6)
    np.testing.assert_allclose(after @ center + moved, R @ center + t, atol=1e-5)


@pytest.mark.slow
def test_images_are_stored_and_may_be_missing(clip, tmp_path):
    bundle, _ = clip
    again = read_bundle(write_bundle(tmp_path / "b", bundle))
    np.testing.assert_array_equal(again.observations.color_images, bundle.observations.color_images)
    o = dataclasses.replace(bundle.observations, color_images=None)
    bare = read_bundle(write_bundle(tmp_path / "c", dataclasses.replace(bundle, observations=o)))
    assert bare.observations.color_images.shape == (12, 0, 0, 3)
    assert bare.absent == ()


def test_small_images_are_means():
    frames = np.arange(4 * 400 * 300 * 3, dtype=np.uint32).reshape(4, 400, 300, 3) % 251
    small = color_images(frames.astype(np.uint8))
    assert small.shape == (4, 192, 144, 3)
    assert abs(float(small.mean()) - float(frames.mean())) < 1.0
