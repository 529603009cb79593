"""Geometry behind the point maps, on rendered depth with a known camera; the ground under a person."""

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera, unproject
from hoijax.geometry.transforms import look_at
from hoijax.rendering.raycast import RenderMesh, cast
from priors.models.ground import estimate_ground
from priors.models.point_maps import (
    assemble,
    depth_edges,
    given_intrinsics,
    intrinsics_from_focal,
    one_focal,
    solve_focal_shift,
    solve_shift,
    unproject_depth,
)
from priors.protocols import PointMaps

HEIGHT, WIDTH, FOCAL = 72, 96, 70.0
CAMERA = PinholeCamera(FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)
PERSON = 1


def mesh(made: trimesh.Trimesh, instance_id: int) -> RenderMesh:
    return RenderMesh(
        np.asarray(made.vertices, np.float32), np.asarray(made.faces, np.int32), instance_id
    )


def block(extents, middle, instance_id) -> RenderMesh:
    made = trimesh.creation.box(extents)
    made.apply_translation(middle)
    return mesh(made, instance_id)


def person(instance_id: int = PERSON, at=(0.0, 0.0)) -> list[RenderMesh]:
    """Two legs, a trunk and a head, 1.7 m."""
    x, z = at
    return [
        block((0.14, 0.8, 0.14), (x - 0.12, 0.4, z), instance_id),
        block((0.14, 0.8, 0.14), (x + 0.12, 0.4, z), instance_id),
        block((0.4, 0.65, 0.22), (x, 1.125, z), instance_id),
        block((0.18, 0.25, 0.2), (x, 1.575, z), instance_id),
    ]


FLOOR = block((12.0, 0.1, 12.0), (0.0, -0.05, 0.0), 2)
WALL = block((12.0, 5.0, 0.1), (0.0, 2.5, -3.0), 3)
TABLE = block((1.6, 0.05, 0.8), (1.3, 0.75, 0.4), 4)


def image(meshes, eye, target=(0.0, 0.9, 0.0)):
    return cast(meshes, CAMERA, look_at(np.array(eye), np.array(target)))


@pytest.fixture(scope="module")
def room():
    return image([*person(), FLOOR, WALL, TABLE], (0.8, 1.5, 3.2))


def maps_of(images, rng=None, noise: float = 0.0) -> PointMaps:
    """Point maps of rendered images, with noise along the rays as a share of the depth."""
    depth = np.stack([p.depth for p in images])
    valid = depth > 0
    if rng is not None:
        depth = depth * (1 + noise * rng.standard_normal(depth.shape))
    intrinsics = np.tile(CAMERA.matrix, (len(images), 1, 1))
    return PointMaps(unproject_depth(depth.astype(np.float32), intrinsics), valid, intrinsics)


# --- camera of a point map


@pytest.mark.parametrize("shift", [0.7, -0.7, 0.0])
def test_focal_and_shift_of_an_affine_point_map(room, shift):
    affine = room.points_camera - np.array([0, 0, shift], np.float32)
    focal, found = solve_focal_shift(affine, room.depth > 0)
    assert focal == pytest.approx(FOCAL, abs=1e-3)
    assert found == pytest.approx(shift, abs=1e-4)


def test_focal_does_not_depend_on_scale_and_survives_noise(room, rng):
    noisy = 0.31 * (room.points_camera - np.array([0, 0, 0.7], np.float32))
    noisy = noisy * (1 + 0.01 * rng.standard_normal((HEIGHT, WIDTH, 1))).astype(np.float32)
    focal, shift = solve_focal_shift(noisy.astype(np.float32), room.depth > 0)
    assert focal == pytest.approx(FOCAL, rel=0.02)
    assert shift == pytest.approx(0.31 * 0.7, rel=0.05)


def test_shift_under_a_given_camera_with_its_own_center(room):
    intrinsics = CAMERA.matrix.astype(np.float64)
    intrinsics[:2, 2] += (6.0, -4.0)  # the same depth seen through a shifted principal point
    points = unproject_depth(room.depth[None], intrinsics[None])[0]
    affine = points - np.array([0, 0, 0.4], np.float32)
    assert solve_shift(affine, room.depth > 0, intrinsics) == pytest.approx(0.4, abs=1e-4)


def test_a_point_map_that_no_camera_explains_has_no_focal(rng):
    noise = rng.standard_normal((24, 32, 3)).astype(np.float32)
    mirrored = -np.abs(noise)
    for points, valid in (
        (mirrored, np.ones((24, 32), bool)),
        (noise, np.zeros((24, 32), bool)),
    ):
        focal, shift = solve_focal_shift(points, valid)
        assert np.isnan(focal)
        assert np.isnan(shift)


def test_one_focal_is_a_median_that_ignores_failures():
    assert one_focal(np.array([70.0, np.nan, 71.0, 400.0, 69.0]), HEIGHT) == pytest.approx(70.5)
    ordinary = one_focal(np.full(3, np.nan), HEIGHT)
    assert ordinary == pytest.approx(0.5 * HEIGHT / np.tan(np.radians(55 / 2)))


def test_unprojection_is_the_camera_modules(room):
    intrinsics = np.array([[[71.0, 0, 40.0], [0, 65.0, 30.0], [0, 0, 1]]], np.float32)
    ours = unproject_depth(room.depth[None], intrinsics)[0].reshape(-1, 3)
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    pixels = np.stack([u, v], -1).reshape(-1, 2).astype(np.float32)
    theirs = unproject(*map(jnp.asarray, (pixels, room.depth.reshape(-1), intrinsics[0])))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    true = unproject_depth(room.depth[None], CAMERA.matrix[None])[0]
    np.testing.assert_allclose(true[room.depth > 0], room.points_camera[room.depth > 0], atol=1e-4)


# --- edges and validity


def test_edges_are_where_depth_jumps():
    depth = np.full((1, 9, 12), 2.0, np.float32)
    depth[:, :, 6:] = 2.5
    valid = np.ones(depth.shape, bool)
    edges = depth_edges(depth, valid)
    assert edges[0, :, 5:7].all()
    assert not edges[0, :, :5].any()
    assert not edges[0, :, 7:].any()
    assert not depth_edges(np.where(depth > 2.2, 2.02, depth).astype(np.float32), valid).any()


def test_pixels_beside_invalid_ones_are_edges_and_invalid_depth_is_never_read():
    depth = np.full((1, 7, 7), 2.0, np.float32)
    depth[0, 3, 3] = np.nan
    valid = np.isfinite(depth)
    expected = np.zeros((7, 7), bool)
    expected[2:5, 2:5] = True
    expected[3, 3] = False
    np.testing.assert_array_equal(depth_edges(depth, valid)[0], expected)


def test_assembled_maps_hold_no_sky_and_no_silhouettes(room):
    depth = room.depth[None].copy()
    depth[0, :3] = np.inf
    depth[0, 3:6] = 500.0
    intrinsics = CAMERA.matrix[None]
    maps = assemble(depth, np.ones(depth.shape, bool), intrinsics, edge=0.1)
    assert not maps.valid[0, :7].any()
    assert np.isfinite(maps.points).all()
    assert (maps.points[~maps.valid] == 0).all()
    np.testing.assert_allclose(
        maps.points[0][maps.valid[0]], room.points_camera[maps.valid[0]], atol=1e-4
    )
    person_pixels = room.instance_ids == PERSON
    rim = person_pixels & ~(
        np.roll(person_pixels, 1, 1) & np.roll(person_pixels, -1, 1)
    )  # left and right ends of its rows: behind lies the wall
    rim[: HEIGHT // 6] = rim[-HEIGHT // 3 :] = False
    assert rim.sum() > 30
    assert maps.valid[0][rim].mean() < 0.05
    assert maps.valid[0].mean() > 0.6


def test_intrinsics_that_cannot_be_are_refused():
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    good = intrinsics_from_focal(np.array([50.0, 50.0]), 8, 8)
    np.testing.assert_array_equal(given_intrinsics(good, frames), good)
    with pytest.raises(UserError, match="2 frames"):
        given_intrinsics(good[:1], frames)
    with pytest.raises(UserError, match="positive focal"):
        given_intrinsics(-good, frames)


# --- ground

VIEWS = {
    "eye level": (0.6, 1.5, 3.0),
    "from above": (1.4, 2.8, 2.4),
    "from below the hips": (-0.8, 0.5, 3.2),
    "far": (0.0, 1.7, 5.5),
}


def errors(found, T_world_camera) -> tuple[float, float]:
    """(angle between the two up directions in degrees, height error in metres)."""
    cosine = found.T_world_camera[1, :3] @ T_world_camera[1, :3]
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return float(angle), abs(found.height - float(T_world_camera[1, 3]))


@pytest.mark.parametrize("view", VIEWS)
def test_ground_of_a_rendered_room(view, rng):
    shots = [image([*person(at=(0.1 * t, 0.0)), FLOOR, WALL, TABLE], VIEWS[view]) for t in range(3)]
    masks = np.stack([shot.instance_ids == PERSON for shot in shots])
    found = estimate_ground(maps_of(shots, rng, noise=0.01), masks)
    angle, height = errors(found, shots[0].T_world_camera)
    print(f"{view}: up direction {angle:.2f} degrees off, height {100 * height:.1f} cm off")
    assert found.source == "plane"
    assert angle < 1.0
    assert height < 0.04


def test_a_table_top_is_not_the_ground(rng):
    """More pixels show the table than the floor; but the person's legs go below it."""
    table = block((3.0, 0.05, 2.6), (0.85, 0.72, 0.4), 4)
    shot = image([*person(at=(-1.2, 0.9)), FLOOR, table], (0.0, 1.9, 3.0), (0.0, 0.8, 0.0))
    # The person stands beside the table: legs are in view.
    table_seen, floor_seen = ((shot.instance_ids == i).sum() for i in (4, 2))
    assert table_seen > floor_seen
    found = estimate_ground(maps_of([shot], rng, noise=0.005), shot.instance_ids[None] == PERSON)
    angle, height = errors(found, shot.T_world_camera)
    print(f"beside a table: {angle:.2f} degrees, {100 * height:.1f} cm")
    assert angle < 1.5
    assert height < 0.05


def test_a_wall_alone_is_no_ground_and_the_person_stands_for_it():
    """No floor in the image: a level camera, and the lowest point of the person on the ground."""
    shot = image([*person(), WALL], (0.4, 1.1, 3.0), (0.4, 1.1, 0.0))
    found = estimate_ground(maps_of([shot]), shot.instance_ids[None] == PERSON)
    angle, height = errors(found, shot.T_world_camera)
    print(f"level camera: {angle:.2f} degrees, {100 * height:.1f} cm")
    assert found.source == "level"
    assert angle < 1e-3
    assert height < 0.05


def test_furniture_alone_is_no_ground_either():
    """No floor in the image, a table top lower than the person's middle: too small to stand on."""
    shot = image([*person(at=(-1.0, 0.5)), TABLE], (0.0, 1.9, 3.0))
    assert (shot.instance_ids == 4).sum() > 200
    assert estimate_ground(maps_of([shot]), shot.instance_ids[None] == PERSON).source == "level"


def test_ground_under_leaning_cameras_and_drifting_depth(rng):
    """Twelve cameras at random, leaning up to 4 degrees; depth wrong by 1.5 % in wide waves, and by
    another 2 % from frame to frame."""
    from scipy.ndimage import gaussian_filter

    found = []
    for _ in range(12):
        eye = (rng.uniform(-2, 2), rng.uniform(0.5, 2.3), rng.uniform(2.6, 4.5))
        T_world_camera = look_at(np.array(eye), np.array([0.0, rng.uniform(0.6, 1.1), 0.0]))
        lean = np.radians(rng.uniform(-4, 4))
        T_world_camera[:3, :2] = T_world_camera[:3, :2] @ np.array(
            [[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]], np.float32
        )
        shots = [
            cast([*person(at=(0.2 * t, 0.0)), FLOOR, WALL], CAMERA, T_world_camera)
            for t in range(2)
        ]
        depth = np.stack([shot.depth for shot in shots])
        waves = gaussian_filter(rng.standard_normal(depth.shape), (0, 10, 10))
        depth = depth * (1 + 0.015 * waves / waves.std())
        depth *= np.exp(0.02 * rng.standard_normal((2, 1, 1)))
        intrinsics = np.tile(CAMERA.matrix, (2, 1, 1))
        maps = assemble(depth.astype(np.float32), depth > 0, intrinsics, edge=0.1)
        ground = estimate_ground(maps, np.stack([s.instance_ids == PERSON for s in shots]))
        assert ground.source == "plane"
        found.append(errors(ground, T_world_camera))
    angles, heights = np.array(found).T
    print(
        f"up direction {np.median(angles):.2f} degrees off (worst {angles.max():.2f}), "
        f"height {100 * np.median(heights):.1f} cm (worst {100 * heights.max():.1f})"
    )
    assert np.median(angles) < 1.0
    assert angles.max() < 4.0
    assert np.median(heights) < 0.06
    assert heights.max() < 0.2


def test_ground_is_the_same_again_and_its_pose_is_rigid(room, rng):
    maps = maps_of([room], rng, noise=0.01)
    masks = room.instance_ids[None] == PERSON
    first, second = (estimate_ground(maps, masks) for _ in range(2))
    np.testing.assert_array_equal(first.T_world_camera, second.T_world_camera)
    rotation = first.T_world_camera[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-6)
    assert first.pitch == pytest.approx(np.degrees(np.arcsin(-room.T_world_camera[1, 2])), abs=1.0)
    sole = first.T_world_camera @ np.append(maps.points[masks][:, :3].max(0), 1.0)
    assert sole[1] > -0.2


def test_ground_needs_a_person(room):
    maps = maps_of([room])
    with pytest.raises(UserError, match="no point of known depth"):
        estimate_ground(maps, np.zeros(maps.valid.shape, bool))
    with pytest.raises(UserError, match="masks of shape"):
        estimate_ground(maps, np.zeros((1, 2, 2), bool))
