"""Frames and the pinhole camera: round trips, numpy by hand, and gradients behind the camera."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoijax.geometry.camera import NEAR, PinholeCamera, project, unproject
from hoijax.geometry.transforms import (
    Z_UP_FROM_Y_UP,
    compose_rigid,
    invert_rigid,
    look_at,
    transform_points,
)

CAMERA = PinholeCamera(fx=500.0, fy=480.0, cx=310.0, cy=250.0, width=640, height=480)


def random_rigid(rng: np.random.Generator, *shape: int) -> np.ndarray:
    rotation = Rotation.random(int(np.prod(shape)), rng).as_matrix().reshape(*shape, 3, 3)
    return compose_rigid(rotation, rng.normal(size=(*shape, 3)))


def test_compose_and_invert_rigid(rng):
    T = random_rigid(rng, 2, 5)
    assert T.dtype == np.float32
    np.testing.assert_array_equal(T[..., 3, :], np.broadcast_to([0, 0, 0, 1], (2, 5, 4)))
    np.testing.assert_allclose(invert_rigid(T) @ T, np.broadcast_to(np.eye(4), T.shape), atol=1e-5)
    np.testing.assert_allclose(invert_rigid(T), np.linalg.inv(T), atol=1e-5)


def test_transform_points_applies_the_homogeneous_matrix(rng):
    T, points = random_rigid(rng, 2, 5), rng.normal(size=(2, 5, 7, 3))
    T[..., :3, :3] *= 1.7  # similarities too
    homogeneous = np.concatenate([points, np.ones((2, 5, 7, 1))], axis=-1)
    expected = np.einsum("...ij,...nj->...ni", T, homogeneous)[..., :3]
    found = transform_points(jnp.asarray(T), jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_adjacent_names_cancel(rng):
    T_world_camera, T_camera_object = random_rigid(rng, 1)[0], random_rigid(rng, 1)[0]
    points_object = jnp.asarray(rng.normal(size=(9, 3)), jnp.float32)
    step = transform_points(jnp.asarray(T_camera_object), points_object)
    twice = transform_points(jnp.asarray(T_world_camera), step)
    once = transform_points(jnp.asarray(T_world_camera @ T_camera_object), points_object)
    np.testing.assert_allclose(twice, once, atol=1e-5)


def test_z_up_keeps_handedness_and_turns_up_to_up():
    np.testing.assert_allclose(np.linalg.det(Z_UP_FROM_Y_UP), 1.0)
    np.testing.assert_array_equal(Z_UP_FROM_Y_UP @ [0, 1, 0], [0, 0, 1])
    np.testing.assert_array_equal(Z_UP_FROM_Y_UP @ [0, 0, 1], [0, -1, 0])


@pytest.mark.parametrize(
    ("eye", "target"), [([0, 1.5, 4], [0, 1, 0]), ([2, 0.3, -1], [-1, 2.0, 0.5])]
)
def test_look_at_is_an_upright_opencv_camera(eye, target):
    T = look_at(np.array(eye), np.array(target))
    rotation = T[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-6)
    np.testing.assert_allclose(T[:3, 3], eye, atol=1e-6)
    inside = invert_rigid(T) @ np.array([*target, 1.0])
    np.testing.assert_allclose(inside[:2], 0.0, atol=1e-5)  # the target lies straight ahead
    assert inside[2] > 0.0
    assert rotation[1, 0] == pytest.approx(0.0, abs=1e-6)  # the x axis is level
    assert rotation[1, 1] < 0.0  # and the y axis points down


def test_a_point_to_the_right_and_above_lands_right_and_above():
    T = look_at(np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 0.0]))
    # Looking along -z with y up, +x of the world is to the right.
    point = transform_points(jnp.asarray(invert_rigid(T)), jnp.asarray([[0.5, 1.4, 0.0]]))
    u, v = np.asarray(project(point, jnp.asarray(CAMERA.matrix)))[0]
    assert u > CAMERA.cx
    assert v < CAMERA.cy


def test_project_by_hand(rng):
    points = rng.uniform([-1, -1, 1], [1, 1, 4], (3, 20, 3)).astype(np.float32)
    homogeneous = points @ CAMERA.matrix.T
    expected = homogeneous[..., :2] / homogeneous[..., 2:]
    intrinsics = jnp.broadcast_to(jnp.asarray(CAMERA.matrix), (3, 3, 3))
    np.testing.assert_allclose(project(jnp.asarray(points), intrinsics), expected, rtol=1e-5)


def test_unproject_goes_back(rng):
    points = jnp.asarray(rng.uniform([-1, -1, 1], [1, 1, 4], (20, 3)), jnp.float32)
    intrinsics = jnp.asarray(CAMERA.matrix)
    back = unproject(project(points, intrinsics), points[:, 2], intrinsics)
    np.testing.assert_allclose(back, points, atol=1e-5)


def test_points_behind_the_camera_have_finite_pixels_and_gradients():
    points = jnp.asarray([[0.1, 0.2, 0.0], [0.1, 0.2, -2.0], [0.0, 0.0, NEAR]])
    intrinsics = jnp.asarray(CAMERA.matrix)
    pixels, slopes = jax.jit(jax.value_and_grad(lambda p: jnp.sum(project(p, intrinsics))))(points)
    assert np.isfinite(pixels)
    assert np.isfinite(slopes).all()
    # They are projected as if they lay at NEAR, so depth no longer matters.
    np.testing.assert_array_equal(np.asarray(slopes)[:2, 2], 0.0)
    as_near = project(points.at[:, 2].set(NEAR), intrinsics)
    np.testing.assert_array_equal(project(points, intrinsics), as_near)


def test_ray_directions_pass_through_pixel_centers():
    small = PinholeCamera(fx=50.0, fy=48.0, cx=3.0, cy=2.0, width=6, height=4)
    rays = small.ray_directions()
    assert rays.shape == (4, 6, 3)
    pixels = np.asarray(project(jnp.asarray(rays.reshape(-1, 3)), jnp.asarray(small.matrix)))
    u, v = np.meshgrid(np.arange(6) + 0.5, np.arange(4) + 0.5)
    np.testing.assert_allclose(pixels, np.stack([u, v], axis=-1).reshape(-1, 2), atol=1e-5)


def test_field_of_view():
    camera = PinholeCamera.from_field_of_view(60.0, 640, 480)
    assert camera.fx == camera.fy
    assert (camera.cx, camera.cy) == (320, 240)
    edge = np.degrees(np.arctan2(240.0, camera.fy))
    np.testing.assert_allclose(edge, 30.0, atol=1e-9)
