"""Symmetries of known objects, and angles modulo them."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from hoijax.geometry.rotations import super_fibonacci_rotations
from hoijax.objects.asset import Asset, asset_from_arrays, load_asset
from hoijax.objects.symmetry import (
    ALIKE_BUCKET,
    ALIKE_DEGREES,
    continuous_axes,
    find_symmetries,
    symmetric_angle_degrees,
    without_alike,
)

pytestmark = pytest.mark.optimized


def turn(axis: str, degrees: float) -> np.ndarray:
    return Rotation.from_euler(axis, degrees, degrees=True).as_matrix()


def contains(group: np.ndarray, rotation: np.ndarray, degrees: float = 3.0) -> bool:
    angles = Rotation.from_matrix(group @ rotation.T).magnitude()
    return bool(np.degrees(angles.min()) < degrees)


def plain(mesh: trimesh.Trimesh) -> Asset:
    return asset_from_arrays("thing", np.asarray(mesh.vertices), mesh.faces)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "with_parts", "geometry"),
    [
        ("table", 2, 2),
        ("box", 2, 4),
        ("chair", 1, 1),
        ("broom", 2, 2),
        ("suitcase", 1, 1),
        ("skateboard", 2, 2),
    ],
)
def test_known_objects(name, with_parts, geometry):
    asset = load_asset(name)
    group = find_symmetries(asset)
    loose = find_symmetries(asset, respect_parts=False)
    assert (len(group), len(loose)) == (with_parts, geometry)
    assert np.allclose(group[0], np.eye(3))
    if with_parts > 1:
        assert contains(group, turn("y", 180.0))
    assert len(continuous_axes(group)) == 0


def test_barbell_turns_about_its_bar_and_flips():
    group = find_symmetries(load_asset("barbell"))
    assert len(group) == 48
    for degrees in (15.0, 90.0, 180.0, 345.0):
        assert contains(group, turn("x", degrees))
    assert contains(group, turn("y", 180.0))
    assert contains(group, turn("z", 180.0))
    assert not contains(group, turn("y", 90.0))
    assert np.allclose(np.abs(continuous_axes(group)), [[1.0, 0.0, 0.0]], atol=0.02)


def test_ball_has_every_rotation(rng):
    group = find_symmetries(load_asset("ball"))
    assert len(group) > 100
    assert len(continuous_axes(group)) > 1
    a, b = (
        Rotation.random(5, random_state=1).as_matrix(),
        Rotation.random(5, random_state=2).as_matrix(),
    )
    assert np.allclose(symmetric_angle_degrees(a, b, group), 0.0)


def test_cube_and_square_table_in_tilted_frames():
    tilt = Rotation.from_rotvec([0.4, -0.3, 0.9]).as_matrix()
    frame = np.eye(4)
    frame[:3, :3] = tilt
    cube = trimesh.creation.box(extents=[0.4, 0.4, 0.4]).subdivide().apply_transform(frame)
    group = find_symmetries(plain(cube))
    assert len(group) == 24
    assert contains(group, tilt @ turn("z", 90.0) @ tilt.T)
    slab = trimesh.creation.box(extents=[0.4, 0.4, 0.1]).apply_transform(frame)
    assert len(find_symmetries(plain(slab))) == 8


def test_can_in_a_tilted_frame_has_one_continuous_axis():
    tilt = Rotation.from_rotvec([0.4, -0.3, 0.9]).as_matrix()
    frame = np.eye(4)
    frame[:3, :3] = tilt
    can = trimesh.creation.cylinder(radius=0.1, height=0.5, sections=48).apply_transform(frame)
    group = find_symmetries(plain(can))
    assert len(group) == 48
    axes = continuous_axes(group)
    assert len(axes) == 1
    assert abs(axes[0] @ tilt[:, 2]) > 0.999


def test_a_handle_breaks_the_symmetry():
    mug = trimesh.creation.cylinder(radius=0.1, height=0.3, sections=48)
    handle = trimesh.creation.box(extents=[0.12, 0.02, 0.15])
    handle.apply_translation([0.14, 0.0, 0.0])
    mesh = trimesh.util.concatenate([mug, handle])
    assert len(find_symmetries(plain(mesh))) <= 2
    assert len(continuous_axes(find_symmetries(plain(mesh)))) == 0


def test_angles_modulo_discrete_and_continuous_symmetries(rng):
    ground_truth = Rotation.random(6, random_state=0).as_matrix()
    small = Rotation.from_rotvec(rng.normal(0.0, 0.05, (6, 3))).as_matrix()
    flip = np.stack([np.eye(3), turn("y", 180.0)])
    angle = symmetric_angle_degrees(ground_truth @ turn("y", 180.0) @ small, ground_truth, flip)
    assert np.allclose(angle, np.degrees(Rotation.from_matrix(small).magnitude()), atol=1e-3)

    spun = np.stack([turn("x", a) for a in np.arange(0.0, 360.0, 15.0)])
    off = turn("z", 4.0)
    for degrees in (0.0, 7.5, 101.0):
        angle = symmetric_angle_degrees(ground_truth @ off @ turn("x", degrees), ground_truth, spun)
        assert np.allclose(angle, 4.0, atol=1e-3)
    assert np.allclose(
        symmetric_angle_degrees(ground_truth @ turn("z", 90.0), ground_truth, spun), 90.0, atol=1e-3
    )
    only = np.eye(3)[None]
    assert np.allclose(
        symmetric_angle_degrees(ground_truth @ off, ground_truth, only), 4.0, atol=1e-3
    )


@pytest.mark.slow
def test_rotations_that_look_alike_are_tried_once():
    """Of a ball hardly any, of a cylinder a third, of what has no symmetry all; none is far from a kept one."""
    rotations = super_fibonacci_rotations(96)
    cylinder = find_symmetries(plain(trimesh.creation.cylinder(0.3, 1.0, sections=32)))
    counts = []
    for group in (find_symmetries(plain(trimesh.creation.icosphere(3))), cylinder, np.eye(3)[None]):
        kept = without_alike(rotations, group)
        counts.append(len(kept))
        repeated = np.repeat(rotations[:, None], len(kept), axis=1)
        away = symmetric_angle_degrees(repeated, np.repeat(kept[None], 96, axis=0), group).min(
            axis=1
        )
        assert away.max() < ALIKE_DEGREES + 1.0
    assert counts[0] == ALIKE_BUCKET
    assert counts[1] < 48
    assert counts[2] == 96
