"""Projected triangles against rays."""

import numpy as np
import pytest
import trimesh

from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import look_at
from hoijax.rendering.rasterize import rasterize
from hoijax.rendering.raycast import RayScene, RenderMesh, cast

CAMERA = PinholeCamera.from_field_of_view(40.0, 96, 64)
FINE = PinholeCamera(2 * CAMERA.fx, 2 * CAMERA.fy, 2 * CAMERA.cx, 2 * CAMERA.cy, 192, 128)
T_WORLD_CAMERA = look_at(np.array([1.0, 1.5, 3.0]), np.array([0.0, 0.4, 0.0]))


@pytest.fixture(scope="module")
def scene():
    """A finely divided ball through a box of twelve triangles, and a floor that leaves the image."""
    ball = trimesh.creation.icosphere(5, 0.4)
    box = trimesh.creation.box((0.6, 0.9, 0.5))
    floor = np.array([[-3.0, 0, 1], [3, 0, 1], [0, 0, -9]])
    return RayScene(
        [
            RenderMesh(ball.vertices + np.array([0.3, 0.5, 0.0]), ball.faces, 1),
            RenderMesh(box.vertices + np.array([0.0, 0.45, 0.0]), box.faces, 2),
            RenderMesh(floor, np.array([[0, 1, 2]]), 3),
        ]
    )


def differing(a, b):
    """Pixels whose faces differ, of the pixels of an image."""
    return np.flatnonzero(a.hits.face_ids != b.hits.face_ids)


def test_hits_are_those_of_rays(scene):
    rays, found = cast(scene, CAMERA, T_WORLD_CAMERA), rasterize(scene, CAMERA, T_WORLD_CAMERA)
    assert set(np.unique(found.instance_ids)) == {0, 1, 2, 3}
    assert len(differing(rays, found)) <= 4  # on an edge it is one face or the other
    np.testing.assert_allclose(found.depth, rays.depth, atol=1e-3)
    same = (rays.hits.face_ids == found.hits.face_ids) & (rays.hits.face_ids >= 0)
    np.testing.assert_allclose(found.hits.barycentric[same], rays.hits.barycentric[same], atol=2e-3)


def test_hits_of_some_blocks_are_those_of_rays(scene):
    blocks = np.random.default_rng(0).random((64, 96)) < 0.3
    pixels = np.flatnonzero(blocks.repeat(2, axis=0).repeat(2, axis=1))
    rays = cast(scene, FINE, T_WORLD_CAMERA, pixels)
    found = rasterize(scene, FINE, T_WORLD_CAMERA, blocks)
    assert np.isin(found.pixels, pixels).all()
    assert (np.diff(found.pixels) > 0).all()
    assert len(differing(rays, found)) <= 8
    np.testing.assert_allclose(found.depth, rays.depth, atol=1e-3)


def test_what_reaches_behind_the_camera_is_seen_by_rays(scene):
    inside = look_at(np.array([0.1, 0.5, 0.1]), np.array([1.0, 0.5, 0.0]))
    rays, found = cast(scene, CAMERA, inside), rasterize(scene, CAMERA, inside)
    assert len(found.pixels) > 1000
    assert len(differing(rays, found)) == 0
    some = rasterize(scene, FINE, inside, np.arange(64 * 96).reshape(64, 96) % 7 == 0)
    assert (np.diff(some.pixels) > 0).all()


def test_nothing_is_seen_of_nothing():
    assert rasterize(RayScene([]), CAMERA, T_WORLD_CAMERA).pixels.size == 0
