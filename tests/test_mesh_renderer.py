"""The differentiable renderer against ray casting, finite differences, and put to use: pulling meshes home."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from hoijax.bodies import JOINT_NAMES, load_body
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import look_at
from hoijax.rendering.raycast import RenderMesh, cast
from hoijax.rendering.soft_raster import join_samples, pad_samples, render, sample_mesh

SIZE = 96
CAMERA = PinholeCamera.from_field_of_view(40.0, SIZE, SIZE)
T_WORLD_CAMERA = look_at(np.array([1.2, 1.5, 2.6]), np.array([0.2, 0.85, 0.0]))
BOX_PLACE = np.array([0.45, 0.25, 0.3], np.float32)


def one_hot(faces, color, instance):
    row = [*color, *(1.0 if i == instance else 0.0 for i in range(2))]
    return np.tile(np.array(row, np.float32), (len(faces), 1))


def box(size):
    import trimesh

    mesh = trimesh.creation.box(size)
    return np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32)


@pytest.fixture(scope="module")
def scene():
    """A walking body behind a box: samples, vertices, and what rays see."""
    shaped = load_body("anny").shape(jnp.zeros(10))
    rotations = np.zeros((55, 3), np.float32)
    for name, rotation in {
        "left_shoulder": (0, 0, -1.2),
        "right_shoulder": (0, -0.6, 0.9),
        "left_hip": (-0.6, 0, 0),
        "right_knee": (0.8, 0, 0),
    }.items():
        rotations[JOINT_NAMES.index(name)] = rotation
    body = np.asarray(jax.jit(shaped.pose)(rotations, jnp.array([0.0, 0.82, 0.0])).vertices_world)
    corners, box_faces = box((0.3, 0.5, 0.25))
    corners = corners + BOX_PLACE
    faces = np.asarray(shaped.faces)
    samples = join_samples(
        [
            sample_mesh(
                np.asarray(shaped.vertices_rest), faces, one_hot(faces, (0.8, 0.6, 0.5), 0), 0.02
            ),
            sample_mesh(corners, box_faces, one_hot(box_faces, (0.1, 0.2, 0.9), 1), 0.02),
        ],
        [len(body), len(corners)],
    )
    seen = cast(
        [RenderMesh(body, faces, 1), RenderMesh(corners, box_faces, 2)], CAMERA, T_WORLD_CAMERA
    )
    return samples, jnp.asarray(np.concatenate([body, corners])), seen


@jax.jit
def image_of(samples, vertices, T_world_camera):
    return render(samples, vertices, CAMERA.matrix, T_world_camera, (SIZE, SIZE))


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def test_points_that_fill_up_are_not_seen(scene):
    samples, vertices, _ = scene
    more = pad_samples(samples, 4096)
    assert len(more.share) % 4096 == 0
    assert len(more.share) > len(samples.share)
    plain, filled = (image_of(s, vertices, T_WORLD_CAMERA) for s in (samples, more))
    chex.assert_trees_all_close(plain, filled, atol=1e-4)


def test_agrees_with_ray_casting(scene):
    samples, vertices, seen = scene
    image = image_of(samples, vertices, T_WORLD_CAMERA)
    mask, ground_truth = np.asarray(image.coverage) > 0.5, seen.instance_ids > 0
    assert overlap(mask, ground_truth) > 0.97
    for instance in (0, 1):
        share = np.asarray(image.features[..., 3 + instance])
        assert overlap(mask & (share > 0.5), seen.instance_ids == instance + 1) > 0.93
    # Inside: not where one pixel holds an edge with something far behind it.
    spread = ndimage.maximum_filter(seen.depth, 3) - ndimage.minimum_filter(seen.depth, 3)
    inside = mask & ground_truth & (spread < 0.15)
    error = np.abs(np.asarray(image.depth) - seen.depth)[inside]
    assert inside.sum() > 0.6 * ground_truth.sum()
    assert error.mean() < 0.01
    colors = np.asarray(image.over(jnp.zeros(5)))[inside]
    expected = np.where((seen.instance_ids == 1)[inside][:, None], (0.8, 0.6, 0.5), (0.1, 0.2, 0.9))
    assert np.abs(colors[:, :3] - expected).mean() < 0.03


def test_coverage_is_the_projected_area():
    """A square of 7.5 x 5.25 pixels anywhere between pixels covers 39.375 of them."""
    corners = np.array([[0, 0, 0], [0.75, 0, 0], [0.75, 0.525, 0], [0, 0.525, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    samples = sample_mesh(corners, faces, np.ones((2, 1), np.float32), 0.04)
    T = look_at(np.array([0.3, 0.2, 1.0]), np.array([0.3, 0.2, 0.0]))
    intrinsics = np.array([[10, 0, 16.3], [0, 10, 15.8], [0, 0, 1]], np.float32)
    small = jax.jit(lambda vertices: render(samples, vertices, intrinsics, T, (32, 32)))
    image = small(jnp.asarray(corners))
    # Saturation takes off a little where the tiling is uneven.
    np.testing.assert_allclose(image.coverage.sum(), 39.375, rtol=0.04)
    np.testing.assert_allclose(
        np.asarray(image.depth)[np.asarray(image.coverage) > 0.9], 1.0, atol=1e-5
    )
    away = small(jnp.asarray(corners * np.array([-1, 1, 1], np.float32)))
    assert away.coverage.sum() == 0.0  # mirrored: it faces the other way


def test_nothing_in_view_and_behind_the_camera_is_empty_and_finite(scene):
    samples, vertices, _ = scene

    def total(vertices):
        image = render(samples, vertices, CAMERA.matrix, T_WORLD_CAMERA, (SIZE, SIZE))
        return jnp.sum(image.coverage) + jnp.sum(image.depth) + jnp.sum(image.features)

    ahead = T_WORLD_CAMERA[:3, 2]
    run = jax.jit(jax.value_and_grad(total))
    for shift in (
        -8.0 * ahead,
        50.0 * T_WORLD_CAMERA[:3, 0],
        -2.6 * ahead,
    ):  # the last: around the eye
        value, slope = run(vertices + jnp.asarray(shift))
        assert np.isfinite(value)
        assert np.isfinite(slope).all()
    assert run(vertices - 8.0 * jnp.asarray(ahead))[0] == 0.0


@pytest.mark.parametrize("kind", ["silhouette", "color", "depth"])
def test_gradients_against_differences(scene, kind):
    """Of a loss against another image, when the whole scene moves, turns and grows."""
    samples, vertices, _ = scene
    target = image_of(samples, vertices + jnp.array([0.03, -0.02, 0.02]), T_WORLD_CAMERA)

    spread = ndimage.maximum_filter(target.depth, 5) - ndimage.minimum_filter(target.depth, 5)
    calm = jnp.asarray((spread < 0.12) & (np.asarray(target.coverage) > 0.9))

    def loss(move):
        turned = vertices + jnp.cross(jnp.broadcast_to(move[3:6], vertices.shape), vertices)
        image = render(
            samples,
            turned * (1.0 + move[6]) + move[:3],
            CAMERA.matrix,
            T_WORLD_CAMERA,
            (SIZE, SIZE),
        )
        if kind == "silhouette":
            return jnp.mean((image.coverage - target.coverage) ** 2)
        if kind == "color":
            return jnp.mean((image.over(jnp.ones(5)) - target.over(jnp.ones(5))) ** 2)
        sure = calm & (jnp.abs(jax.lax.stop_gradient(image.depth - target.depth)) < 0.06)
        return jnp.mean(jnp.where(sure, (image.depth - target.depth) ** 2, 0.0))

    loss = jax.jit(loss)
    slope = np.asarray(jax.jit(jax.grad(loss))(jnp.zeros(7)))
    # The nearest depth of a pixel is held fixed in the gradient, and points hop from pixel to pixel.
    step = 2e-3
    moves = step * np.eye(7, dtype=np.float32)
    expected = np.array([loss(m) - loss(-m) for m in moves]) / (2 * step)
    cosine = slope @ expected / np.linalg.norm(slope) / np.linalg.norm(expected)
    assert cosine > 0.95, (slope, expected)
    assert 0.7 < np.linalg.norm(slope) / np.linalg.norm(expected) < 1.4, (slope, expected)


@pytest.mark.slow
def test_a_moved_box_returns_to_its_mask(scene):
    """5 cm off to the side and below, driven by its own visible mask alone, as a solver would."""
    samples, vertices, seen = scene
    is_box = jnp.arange(len(vertices)) >= len(vertices) - 8
    target = jnp.asarray(seen.instance_ids == 2, jnp.float32)

    def loss(offset):
        moved = vertices + jnp.where(is_box[:, None], offset, 0.0)
        image = render(samples, moved, CAMERA.matrix, T_WORLD_CAMERA, (SIZE, SIZE))
        return jnp.mean((image.coverage * image.features[..., 4] - target) ** 2)

    right, down = jnp.asarray(T_WORLD_CAMERA[:3, 0]), jnp.asarray(T_WORLD_CAMERA[:3, 1])

    @jax.jit
    def descend(offset):
        def step(state, index):
            offset, moment = state
            slope = jax.grad(loss)(offset)
            moment = 0.8 * moment + slope / (jnp.linalg.norm(slope) + 1e-9)
            rate = 0.002 * (1.0 - index)
            return (offset - rate * moment, moment), None

        return jax.lax.scan(step, (offset, jnp.zeros(3)), jnp.linspace(0.0, 1.0, 60))[0][0]

    end = descend(0.04 * right + 0.03 * down)
    sideways = np.array([end @ right, end @ down])
    assert np.linalg.norm(sideways) < 0.012, sideways
    assert loss(end) < 0.3 * loss(0.04 * right + 0.03 * down)
