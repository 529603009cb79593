"""Ray casting against closed forms: spheres, boxes, planes."""

import numpy as np
import pytest

from hoijax.errors import UserError
from hoijax.geometry import transforms
from hoijax.geometry.camera import PinholeCamera
from hoijax.rendering.raycast import RenderMesh, cast, corner_normals
from hoijax.rendering.shading import shade


def look_at(eye, target) -> np.ndarray:
    return transforms.look_at(np.asarray(eye), np.asarray(target))


CAMERA = PinholeCamera.from_field_of_view(40.0, 160, 120)


def sphere(center, radius, instance_id, **settings) -> RenderMesh:
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    vertices = np.asarray(mesh.vertices + np.asarray(center), np.float32)
    return RenderMesh(vertices, np.asarray(mesh.faces, np.int32), instance_id, **settings)


def box(center, size, instance_id, **settings) -> RenderMesh:
    import trimesh

    mesh = trimesh.creation.box(size)
    vertices = np.asarray(mesh.vertices + np.asarray(center), np.float32)
    return RenderMesh(vertices, np.asarray(mesh.faces, np.int32), instance_id, **settings)


def test_depth_of_a_sphere_is_the_closed_form():
    center, radius = np.array([0.1, 1.0, -0.2]), 0.4
    T_world_camera = look_at((1.0, 1.6, 2.0), center)
    image = cast([sphere(center, radius, 1)], CAMERA, T_world_camera)
    center_camera = T_world_camera[:3, :3].T @ (center - T_world_camera[:3, 3])
    rays = CAMERA.ray_directions().astype(np.float64)
    a, b = (rays**2).sum(-1), rays @ center_camera
    inside = b**2 - a * (center_camera @ center_camera - radius**2)
    expected = (b - np.sqrt(np.maximum(inside, 0))) / a
    sure = inside > 0.02 * a  # away from the silhouette, where the facets differ from the sphere
    assert sure.sum() > 500
    np.testing.assert_allclose(image.depth[sure], expected[sure], atol=3e-3)
    assert (image.instance_ids[sure] == 1).all()
    assert (image.depth[inside < -0.02 * a] == 0).all()
    np.testing.assert_allclose(image.points_camera[..., 2], image.depth)
    outward = image.points_camera[sure] - center_camera
    normals = image.normals_world[sure] @ T_world_camera[:3, :3]
    cosine = (outward * normals).sum(-1) / np.linalg.norm(outward, axis=-1)
    assert cosine.min() > 0.99


def test_the_nearer_mesh_wins_and_keeps_its_parts():
    parts = np.repeat(np.array([0, 1], np.int32), 6)
    near = box((0.0, 1.0, 0.5), (0.2, 0.2, 0.2), 2, face_parts=parts)
    image = cast([sphere((0, 1, 0), 0.5, 1), near], CAMERA, look_at((0, 1, 3), (0, 1, 0)))
    middle = image.instance_ids[60, 80], image.part_ids[60, 80]
    assert middle == (2, image.part_ids[60, 80])
    assert middle[1] in (0, 1)
    assert image.depth[60, 80] == pytest.approx(3 - 0.6, abs=1e-5)
    assert (image.part_ids[image.instance_ids != 2] == -1).all()
    assert {0, 1, 2} == set(np.unique(image.instance_ids).tolist())


def test_points_project_back_to_their_pixels():
    image = cast([sphere((0, 1, 0), 0.5, 1)], CAMERA, look_at((2, 2, 3), (0, 1, 0)))
    v, u = np.nonzero(image.instance_ids)
    projected = image.points_camera[v, u] @ CAMERA.matrix.T
    pixels = projected[:, :2] / projected[:, 2:]
    np.testing.assert_allclose(pixels, np.stack([u, v], -1) + 0.5, atol=1e-3)


def test_an_empty_list_of_meshes_is_an_empty_picture():
    image = cast([], CAMERA, look_at((0, 1, 3), (0, 1, 0)))
    assert not image.depth.any()
    assert not image.instance_ids.any()
    assert shade(image).shape == (120, 160, 3)


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (box((np.nan, 0, 0), (1, 1, 1), 1), "finite"),
        (box((0, 0, 0), (1, 1, 1), 300), "1..255"),
        (box((0, 0, 0), (1, 1, 1), 1, face_parts=np.full(12, 200, np.int32)), "128 parts"),
    ],
)
def test_bad_meshes_are_refused(mesh, message):
    with pytest.raises(UserError, match=message):
        cast([mesh], CAMERA, look_at((0, 1, 3), (0, 1, 0)))


def test_normals_are_smooth_on_a_sphere_and_flat_on_a_box():
    round_image = cast([sphere((0, 1, 0), 0.5, 1)], CAMERA, look_at((0, 1, 3), (0, 1, 0)))
    seen = round_image.hits.face_ids >= 0
    normals = round_image.scene.smooth_normals(round_image.hits.subset(seen))
    points = round_image.points_camera.reshape(-1, 3)[seen] * (1, -1, -1) + (0, 1, 3)
    outward = points - (0, 1, 0)
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    assert (normals * outward).sum(-1).min() > 0.9995
    flat = box((0, 1, 0), (1.0, 0.6, 0.3), 1)
    normals = corner_normals(flat.vertices_world, flat.faces)
    assert set(np.unique(np.abs(normals).round(6))) == {0.0, 1.0}


def test_the_ground_hides_what_lies_below_it_and_takes_shadows():
    eye = look_at((0.0, 1.2, 3.0), (0.0, 0.2, 0.0))
    hidden = shade(
        cast([box((0, -0.5, 0), (0.4, 0.4, 0.4), 1, color=(1.0, 0.0, 0.0))], CAMERA, eye)
    )
    empty = shade(cast([], CAMERA, eye))
    np.testing.assert_allclose(hidden, empty, atol=2)
    red = box((0, 0.2, 0), (0.4, 0.4, 0.4), 1, color=(1.0, 0.0, 0.0))
    image = shade(cast([red], CAMERA, eye)).astype(int)
    assert (image[..., 0] > image[..., 1] + 80).sum() > 100
    is_ground = cast([red], CAMERA, eye).instance_ids == 0
    darker = (empty.astype(int) - image).mean(-1)[is_ground]
    assert darker.max() > 30  # a shadow
    assert darker.min() > -3  # and nothing lit up


def test_an_open_mesh_is_lit_from_both_sides():
    corners = np.array([[-1, 0.1, 0], [1, 0.1, 0], [1, 2, 0], [-1, 2, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    eye = look_at((0.0, 1.0, 3.0), (0.0, 1.0, 0.0))
    front = shade(cast([RenderMesh(corners, faces, 1)], CAMERA, eye))
    back = shade(cast([RenderMesh(corners, faces[:, ::-1].copy(), 1)], CAMERA, eye))
    np.testing.assert_array_equal(front, back)
