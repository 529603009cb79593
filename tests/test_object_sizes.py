"""Objects of another size than their meshes: meshes, scenes, and the size that a clip shows."""

import dataclasses
import io

import chex
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from lifted_box import lifted_box
from small_scene import INITS, SMALL
from trimesh.visual import ColorVisuals

import hoijax
from hoijax.errors import UserError
from hoijax.methods.joint.corrections import FOCAL_FACTOR, Corrections
from hoijax.methods.joint.method import METHOD
from hoijax.methods.joint.settings import BodyPassSettings, JointSettings
from hoijax.methods.joint.sizes import (
    FIXED,
    ScaleRange,
    known_scales,
    lowest_point,
    recorded_scales,
    scale_range,
)
from hoijax.objects.articulated.joints import Joint
from hoijax.objects.asset import asset_from_arrays, load_asset
from hoijax.objects.distance_grid import SIGNED, UNSIGNED, build_distance_grids, query
from hoijax.objects.grid_signs import SurfaceDistances
from hoijax.objects.resizing import resized
from hoijax.objects.symmetry import find_symmetries
from hoijax.programs.store import STORE
from hoijax.scene.resizing import resized_bundle, resized_scene
from hoijax.scene.scene import Scene


def sphere():
    mesh = trimesh.creation.icosphere(3, radius=0.2)
    return asset_from_arrays(
        "ball", mesh.vertices + np.array([0.3, 0.0, -0.1]), mesh.faces, samples=512
    )


def test_a_stretched_sphere_is_an_ellipsoid_about_the_origin():
    ball, factors = sphere(), np.array([0.5, 1.0, 2.0])
    egg = resized(ball, factors.tolist())
    np.testing.assert_allclose(egg.center, ball.center * factors, atol=1e-6)
    np.testing.assert_allclose(egg.extents, ball.extents * factors, atol=1e-6)
    local = (egg.samples - egg.center) / (0.2 * factors)
    np.testing.assert_allclose(np.linalg.norm(local, axis=1), 1.0, atol=0.01)
    normals = local / factors
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    assert np.sum(egg.sample_normals * normals, axis=1).min() > 0.95  # faces are flat
    assert resized(ball, 1.0) is ball


@pytest.mark.slow
def test_what_was_measured_of_a_mesh_holds_for_it_at_another_size(monkeypatch):
    monkeypatch.setattr(STORE, "folder", None)
    asset = load_asset("chair")
    build_distance_grids(asset, 12), find_symmetries(asset)
    larger = resized(asset, 1.137)
    with monkeypatch.context() as context:
        context.setattr(SurfaceDistances, "measure", None)  # nothing is measured anew
        found, turns = build_distance_grids(larger, 12), find_symmetries(larger)
    expected = build_distance_grids.__wrapped__(larger, 12)
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)
    folds = (grids.corners[..., 0].view(np.int32) & 1 for grids in (found, expected))
    np.testing.assert_array_equal(*folds)
    np.testing.assert_array_equal(turns, find_symmetries.__wrapped__(larger))


def test_colors_are_resized_with_the_mesh(tmp_path):
    mesh = trimesh.creation.box((0.2, 0.4, 0.6))
    mesh.visual = ColorVisuals(mesh, vertex_colors=[200, 10, 10, 255])
    mesh.export(tmp_path / "box.glb")
    box = hoijax.objects.asset.load_asset(tmp_path / "box.glb", has_appearance=True)
    large = resized(box, [2.0, 1.0, 0.5])
    assert large.appearance is not None
    looks = trimesh.load_scene(io.BytesIO(large.appearance), file_type="glb")
    np.testing.assert_allclose(looks.extents, [0.4, 0.4, 0.3], atol=1e-6)
    assert set(map(tuple, looks.to_mesh().visual.vertex_colors[:, :3])) == {(200, 10, 10)}


@pytest.mark.slow
def test_a_resized_scene_is_the_scene_of_the_resized_meshes():
    ball, box = sphere(), hoijax.load_object("box")
    scene = Scene.from_arrays([ball, box], frames=2)
    factors = [0.7, 1.3]
    scaled = resized_scene(scene, factors)
    points = jnp.asarray(np.random.default_rng(0).uniform(-0.4, 0.6, (64, 3)), jnp.float32)
    for o, (asset, factor) in enumerate(zip((ball, box), factors, strict=True)):
        exact = build_distance_grids(resized(asset, factor))
        for kind in (SIGNED, UNSIGNED):
            row = int(scene.objects.first_grid[o]) + kind
            got = scaled.distance(points, jnp.full(64, row), jnp.full(64, o))
            moved = points + (factor - 1.0) * asset.center  # a scene resizes about centers
            np.testing.assert_allclose(got, query(exact, moved, kind), atol=2e-5)
        np.testing.assert_allclose(
            np.ptp(scaled.objects.samples[o], axis=0),
            factor * np.ptp(np.asarray(scene.objects.samples[o]), axis=0),
            rtol=1e-5,
        )


@pytest.mark.parametrize(("vertex", "bounds"), [(0.034, 9.0), (-0.41, 9.0), (0.62, 0.3)])
def test_the_lowest_point_of_a_parabola_is_its_vertex(vertex, bounds):
    asked = []

    def energy(x):
        asked.append(x)
        return (x - vertex) ** 2 + 1.0

    found = lowest_point(energy, 0.1, (-bounds, bounds))
    assert found == pytest.approx(np.clip(vertex, -bounds, bounds), abs=1e-9)
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("fixed", FIXED),
        ("0.9", ScaleRange(0.9, 0.9)),
        ("0.8-1.2", ScaleRange(0.8, 1.2)),
        ("xyz", ScaleRange(0.6, 1.7, by_axis=True)),
    ],
)
def test_object_scale_is_understood(text, meant):
    assert scale_range(text) == meant


@pytest.mark.parametrize("text", ["", "big", "0", "1.2-0.8", "-1", "0.8-", "nan", "0.8-1e9"])
def test_object_scale_that_means_nothing_is_refused(text):
    with pytest.raises(UserError, match="--object-scale"):
        METHOD.settings(object_scale=text)


def test_published_bodies_keep_the_size_of_meshes():
    with pytest.raises(UserError, match="--object-scale fixed"):
        METHOD.settings("hoi-page", object_scale="solve")


@pytest.fixture(scope="module")
def lift():
    """A made lift, seen without errors."""
    return lifted_box()[0]


@pytest.mark.slow
@pytest.mark.thorough
def test_a_mesh_that_is_too_small_is_found_to_be(lift, monkeypatch):
    """The solver is given the box at 0.85 of its size, and no body pass."""
    small = resized_bundle(lift, np.full((1, 3), 0.85))
    exact = Corrections(small, np.asarray(small.observations.Ts_world_camera), {FOCAL_FACTOR: 1.0})
    monkeypatch.setattr("hoijax.methods.joint.method.corrections_of", lambda *_: exact)
    settings = METHOD.settings(
        **SMALL, inits=INITS, start="yaw", body_pass=BodyPassSettings(contact_rounds=0)
    )
    assert isinstance(settings, JointSettings)
    result = hoijax.solve(small, settings=settings)
    factor = result.run["object_scale"]["box"]
    assert abs(np.log(factor * 0.85)) < 0.05
    np.testing.assert_allclose(result.assets[0].extents, lift.assets[0].extents, rtol=0.05)
    np.testing.assert_allclose(recorded_scales(small, result.run), factor)
    again = METHOD.reopen(small, result, settings)
    np.testing.assert_allclose(again.bundle.assets[0].extents, result.assets[0].extents, rtol=1e-4)


@pytest.mark.slow
def test_a_factor_that_is_given_is_the_size(lift):
    larger = resized_bundle(lift, known_scales(lift, "1.2"))
    np.testing.assert_allclose(larger.assets[0].extents, 1.2 * lift.assets[0].extents, rtol=1e-5)
    assert (known_scales(lift, "solve") == 1.0).all()


def test_objects_on_joints_keep_their_size(lift):
    hinge = Joint("lid", "revolute", 0, 1, np.eye(4), np.array([1.0, 0.0, 0.0]), 0.0, 2.0)
    jointed = dataclasses.replace(lift, joints=(hinge,))
    with pytest.raises(hoijax.UserError, match="on joints keep the size"):
        known_scales(jointed, "0.9")
    assert (known_scales(jointed, "solve") == 1.0).all()
