"""Objects without depth: outlines of masks, where they put an object, and what a search makes of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scene_factory import make_scene, pixels_of
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation

from hoijax.bundle.evidence import observations_from
from hoijax.geometry.rotations import axis_angle_to_matrix, rotation_6d_to_matrix
from hoijax.initialization.outline_seeds import outline_positions
from hoijax.initialization.pose_search import residuals
from hoijax.initialization.starts import evidence_of, searched
from hoijax.losses.fit import EXTENT_RHO, model_extent
from hoijax.objects.asset import load_asset
from hoijax.scene.build_constants import MASK_CELL, NEAR_CELLS, mask_distances
from hoijax.scene.build_objects import with_space_for_points
from hoijax.scene.fragments import show_parts, tell_size, touch_depths, without_reach
from hoijax.scene.posed import pose_scene
from hoijax.scene.silhouettes import (
    BESIDE_POINTS,
    COMMON,
    DIRECTION_COUNT,
    HIDDEN,
    Outline,
    Silhouettes,
    build_outlines,
    directions,
    farthest_along,
    hull_points,
    mask_extents,
    off_outline,
    with_own_borders,
)

RIGHT, DOWN, LEFT = 0, DIRECTION_COUNT // 4, DIRECTION_COUNT // 2


def rectangle() -> np.ndarray:
    """Object 2 in rows 10 to 29 and columns 5 to 44."""
    ids = np.zeros((60, 80), np.uint8)
    ids[10:30, 5:45] = 2
    return ids


def test_extents_of_a_rectangle():
    found = mask_extents(rectangle(), 2)
    assert found is not None
    extents, beyond = found
    np.testing.assert_allclose(extents[[RIGHT, DOWN, LEFT]], [45, 30, -5])
    diagonal = DIRECTION_COUNT // 8
    assert extents[diagonal] == pytest.approx((44.5 + 29.5 + 0.5) / np.sqrt(2), abs=1e-4)
    np.testing.assert_array_equal(beyond, 1.0)


def test_an_occluder_and_the_edge_of_the_image_may_hide_more():
    ids = rectangle()
    ids[15:50, 45:52] = 1
    ids[10:30, 0:5] = 2
    found = mask_extents(ids, 2)
    assert found is not None
    _, beyond = found
    np.testing.assert_allclose(beyond[[RIGHT, LEFT]], [HIDDEN, 0.0])
    np.testing.assert_array_equal(beyond[[DOWN, 3 * DIRECTION_COUNT // 4]], 1.0)


def test_what_is_in_front_of_people_ends_where_its_mask_ends():
    ones = np.ones((1, 2, DIRECTION_COUNT), np.float32)
    beyond = ones * np.array([HIDDEN, 0.0] * (DIRECTION_COUNT // 2), np.float32)
    outline = Outline(ones, ones, beyond, ones[..., 0], ones[..., 0])
    own = with_own_borders(outline, np.array([[True, False]]))
    np.testing.assert_array_equal(own.goes_beyond[0, 0], [1.0, 0.0] * (DIRECTION_COUNT // 2))
    np.testing.assert_array_equal(own.goes_beyond[0, 1], beyond[0, 1])


def test_beside_points_an_outline_counts_a_sixth_and_says_nothing_of_what_is_hidden():
    """Frame 0 with points, frame 1 without, frame 2 undetected: a person stands on the object's right."""
    ids = rectangle()
    ids[15:50, 45:52] = 1
    sizes = {"P": 1, "O": 1, "T": 3, "H": 60, "W": 80, "M": 4}
    o = observations_from({"instance_ids": np.stack([ids] * 3)}, sizes)
    points, detected = np.zeros((1, 3, 4), bool), np.array([[True, True, False]])
    points[0, 0] = True
    o = dataclasses.replace(o, object_point_mask=points, object_detected=detected)
    outline = build_outlines(o, (load_asset("chair"),))
    assert outline is not None
    np.testing.assert_array_equal(outline.alone, [[0.0, 1.0, 0.0]])
    np.testing.assert_allclose(outline.falls_short[0, :, RIGHT], [BESIDE_POINTS, 1.0, 0.0])
    np.testing.assert_allclose(outline.goes_beyond[0, :, RIGHT], [0.0, HIDDEN, 0.0])
    np.testing.assert_allclose(outline.goes_beyond[0, :, LEFT], [BESIDE_POINTS, 1.0, 0.0])


def test_leaks_far_off_do_not_count_and_small_masks_say_nothing():
    ids = rectangle()
    ids[55:58, 70:75] = 2
    for clean, leaking in zip(mask_extents(rectangle(), 2), mask_extents(ids, 2), strict=True):
        np.testing.assert_array_equal(clean, leaking)
    assert mask_extents(np.where(np.arange(80) < 9, rectangle()[:12], 0), 2) is None


def test_fat_masks_count_a_third_and_what_may_be_hidden_not_at_all():
    ones = jnp.ones(DIRECTION_COUNT)
    unit = jnp.asarray(1.5)
    alone = jnp.asarray(1.0)
    off, weight = off_outline(ones * 7.0, Outline(ones * 10.0, ones, ones, unit, alone))
    np.testing.assert_allclose(off, -2.0 * COMMON, rtol=1e-5)
    np.testing.assert_array_equal(weight, 1.0)
    _, weight = off_outline(ones * 12.0, Outline(ones * 10.0, ones, 0.0 * ones, unit, alone))
    np.testing.assert_array_equal(weight, 0.0)


def test_the_hull_reaches_as_far_as_the_mesh():
    asset = load_asset("chair")
    rays = np.random.default_rng(0).normal(size=(200, 3))
    vertices = asset.vertices - asset.center
    mesh, hull = (points @ rays.T for points in (vertices, hull_points(asset)))
    np.testing.assert_allclose(hull.max(axis=0), mesh.max(axis=0), rtol=0.02)


@pytest.fixture(scope="module")
def outlined():
    """The synthetic scene with outlines of the true poses, without noise; (made, true rotations, positions)."""
    made = make_scene(resolution=24, noise=0.0)
    scene = made.scene
    rotation = np.asarray(rotation_6d_to_matrix(made.ground_truth.object_rotation_6d))
    position = np.asarray(made.ground_truth.object_translation)
    hull = np.asarray(scene.objects.samples)
    extents = []
    for o in range(len(hull)):
        posed = np.einsum("tij,nj->tni", rotation[o], hull[o]) + position[o][:, None]
        extents.append((pixels_of(scene.cameras, posed) @ directions().T).max(axis=1))
    reach = jnp.asarray(np.stack(extents), jnp.float32)
    ones = jnp.ones_like(reach)
    unit = jnp.full(reach.shape[:2], 1.5)
    possible = jnp.ones(scene.edges.points.shape[:3])
    silhouettes = Silhouettes(
        jnp.asarray(hull, jnp.float32),
        Outline(reach, ones, ones, unit, jnp.ones_like(unit)),
        possible,
    )
    scene = dataclasses.replace(scene, silhouettes=silhouettes)
    return dataclasses.replace(made, scene=scene), rotation, position


def test_what_reaches_farthest_is_found_on_both_sides_of_the_image(rng):
    points = rng.normal(size=(4, 192, 2)).astype(np.float32) * [300.0, 2.0]
    points += np.array([[0.0, 0.0], [900.0, 500.0], [-700.0, 3.0], [1e-3, -1e-3]])[:, None]
    found = np.asarray(farthest_along(jnp.asarray(points, jnp.float32)))
    along = points @ directions().T
    reach = np.take_along_axis(along, found[:, None], axis=1)[:, 0]
    size = np.abs(along).max(axis=1)
    assert (reach <= along.max(axis=1)).all()
    assert (along.max(axis=1) - reach <= size * 2.0**-14).all()
    assert (found == along.argmax(axis=1)).mean() > 0.95


def test_an_outline_tells_how_far_away_the_object_is(outlined):
    made, rotation, position = outlined
    for o in range(len(rotation)):
        found = outline_positions(made.scene, o, rotation[o][:, None])[:, 0]
        camera = np.linalg.inv(np.asarray(made.scene.cameras.Ts_pointmap_world))[:, :3, 3]
        depth = np.linalg.norm(position[o] - camera, axis=-1)
        away = np.linalg.norm(found - position[o], axis=-1)
        assert np.max(away / depth) < 0.02


def test_a_mask_too_small_for_what_touches_it_shows_a_part(outlined):
    """In frame 1 the mask is a fifth of itself: the object is no farther away for that."""
    made, rotation, position = outlined
    silhouettes = made.scene.silhouettes
    whole = silhouettes.outline
    extents, back = np.array(whole.extents), np.roll(whole.extents, DIRECTION_COUNT // 2, axis=-1)
    extents[:, 1] = (0.6 * extents - 0.4 * back)[:, 1]
    worn = whole.replace(extents=jnp.asarray(extents))
    given = made.scene.edges, made.scene.cameras, np.asarray(silhouettes.contact_possible) > 0.0
    hulls = np.asarray(silhouettes.hull)
    touched = [np.isfinite(touch_depths(*given, o, len(hulls))).all() for o in range(len(hulls))]
    assert any(touched)
    assert not show_parts(whole, hulls, *given).any()
    parts = show_parts(worn, hulls, *given)
    np.testing.assert_array_equal(parts[:, 1], touched)
    assert not np.delete(parts, 1, axis=1).any()
    outline = without_reach(worn, parts)
    assert not tell_size(outline)[touched, 1].any()
    scene = made.scene.replace(silhouettes=silhouettes.replace(outline=outline))
    for o in np.flatnonzero(touched).tolist():
        found = outline_positions(scene, o, rotation[o][:, None])[1, 0]
        camera = np.linalg.inv(np.asarray(scene.cameras.Ts_pointmap_world[1]))[:3, 3]
        assert np.linalg.norm(found - position[o, 1]) < 0.3 * np.linalg.norm(found - camera)


def test_model_extent_against_numpy(outlined):
    made, rotation, _ = outlined
    extent = jax.jit(model_extent)
    values, mask = extent(pose_scene(made.scene, made.ground_truth, made.neighbors))
    np.testing.assert_allclose(values, 0.0, atol=1e-4)
    posed = pose_scene(made.scene, made.unknowns, made.neighbors)
    values, mask = extent(posed)
    np.testing.assert_array_equal(mask, made.scene.observed.detected)
    hull = np.asarray(made.scene.silhouettes.hull)
    for o in range(len(rotation)):
        R, t = (np.asarray(x[o]) for x in (posed.object_rotations, posed.object_translations))
        pixels = pixels_of(made.scene.cameras, np.einsum("tij,nj->tni", R, hull[o]) + t[:, None])
        off = (pixels @ directions().T).max(1) - np.asarray(
            made.scene.silhouettes.outline.extents[o]
        )
        off /= np.asarray(made.scene.silhouettes.outline.unit[o])[:, None]
        off -= (1 - COMMON) * off.mean(axis=1, keepdims=True)
        expected = (EXTENT_RHO**2 * off**2 / (off**2 + EXTENT_RHO**2)).mean(axis=1)
        np.testing.assert_allclose(values[o], expected, rtol=2e-3, atol=1e-3)


@pytest.mark.slow
def test_derivatives_of_the_search_without_depth(outlined):
    """Residuals of mask, outline, ground and contact by a turn about the center and a shift."""
    made, rotation, position = outlined
    thing = searched(made.scene, 0, 32)
    frame = jax.tree.map(lambda x: x[1], evidence_of(made.scene, 0, 16))
    turn = Rotation.from_rotvec([0.2, -0.1, 0.3]).as_matrix()
    R = jnp.asarray(turn @ rotation[0][1], jnp.float32)
    t = jnp.asarray(position[0][1] - [0.0, position[0][1][1] + 0.1, 0.0], jnp.float32)

    def moved(twist):
        return residuals(thing, frame, axis_angle_to_matrix(twist[:3]) @ R, t + twist[3:])[0]

    residual, jacobian, weight = jax.jit(residuals)(thing, frame, R, t)
    expected = jax.jit(jax.jacrev(moved))(jnp.zeros(6))
    assert np.isfinite(np.asarray(residual)).all()
    counted = np.asarray(weight) > 0.0
    assert counted[-9:].any()
    np.testing.assert_allclose(
        np.asarray(jacobian).T[counted],
        np.asarray(expected)[counted],
        atol=2e-3 * float(np.abs(expected).max()),
    )


def test_distances_are_exact_near_masks_and_good_to_a_cell_far_away():
    """A small mask in a large image, in whose corner it is measured from cell to cell only."""
    ids = np.zeros((1, 202, 400), np.uint8)
    ids[0, 90:107, 30:41], ids[0, 60:121, 20:33] = 2, 1
    found = mask_distances(ids, 1, 1)[0, 0]
    height, width = (MASK_CELL * size for size in found.shape)
    mask = np.pad(ids[0] > 0, ((0, height - 202), (0, width - 400)))
    pixels = np.maximum(np.asarray(distance_transform_edt(~mask)) - 1.0, 0.0)
    expected = pixels.reshape(-1, MASK_CELL, found.shape[1], MASK_CELL).mean(axis=(1, 3))
    near = expected < MASK_CELL * (NEAR_CELLS - 1)
    assert near.any()
    assert (~near).any()
    np.testing.assert_allclose(found[near], expected[near], atol=1e-4)
    assert np.abs(found - expected).max() < MASK_CELL


def test_a_scene_without_points_makes_space_for_them(outlined):
    """A dragged pose enters as points; those that are added are unseen."""
    seen = outlined[0].scene.observed
    few = jax.tree.map(lambda x: x, seen).replace(
        **{
            name: getattr(seen, name)[:, :, :1]
            for name in ("points_world", "pixels", "point_mask", "part_shares", "part_grids")
        }
    )
    more = with_space_for_points(few, 8)
    assert more.points_world.shape == (*seen.points_world.shape[:2], 8, 3)
    assert not np.asarray(more.point_mask)[:, :, 1:].any()
    assert with_space_for_points(more, 8) is more
