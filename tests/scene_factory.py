"""A small synthetic scene with everything a loss can read: two objects, two people, five frames.

The scene is built as arrays, without bundle and staging, so that every flag and mask can be set.
Objects stand at known poses that jitter over time; observations are noisy samples of them; the
unknowns returned are a few centimetres and degrees away from the poses that were observed.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation

from hoijax.geometry.bilinear import pack_corners
from hoijax.geometry.rotations import rotation_6d_to_matrix
from hoijax.geometry.transforms import compose_rigid, invert_rigid, look_at
from hoijax.losses.fit import PIXEL_SAMPLES
from hoijax.objects.asset import Asset, asset_from_arrays
from hoijax.objects.distance_grid import DistanceGrids, build_distance_grids
from hoijax.scene.objects import (
    FIRST_PART,
    WHOLE_UNSIGNED,
    Cameras,
    ContactEdges,
    ObjectConstants,
    ObservedObjects,
)
from hoijax.scene.scene import Neighbors, Scene, Unknowns

PEOPLE, OBJECTS, FRAMES = 2, 2, 5
POINTS, PIXELS, CONTACTS, VERTICES, ACTIVE = 24, 16, 6, 60, 40
PARTS = 4  # part axis, padded: the objects have two each
MISSED = (0, 2)  # object, frame without detection
WIDTH, HEIGHT = 64, 50
CELL = (4, 5)  # image pixels in a mask cell, (u, v): unequal, so that swapped axes show

# Rows of the contact table, by name.
SET, EITHER, THINGS, SINGLE, PADDING = range(5)


@dataclass(frozen=True)
class MadeScene:
    """A scene, an estimate of its poses with fitting neighbors, and what they were made from."""

    scene: Scene
    unknowns: Unknowns
    neighbors: Neighbors
    ground_truth: Unknowns
    assets: tuple[Asset, Asset]
    mask_images: np.ndarray
    """(O, T, h, w) mask distances before packing."""
    labels: np.ndarray
    """(O, T, N) part of each observed point, -1 none."""


def box(extents: tuple[float, float, float], middle: tuple[float, float, float]):
    mesh = trimesh.creation.box(extents)
    mesh.apply_translation(middle)
    return mesh


def two_part_asset(name: str, first: trimesh.Trimesh, second: trimesh.Trimesh) -> Asset:
    both = trimesh.util.concatenate([first, second])
    labels = np.repeat([0, 1], [len(first.faces), len(second.faces)])
    return asset_from_arrays(
        name,
        np.asarray(both.vertices),
        np.asarray(both.faces),
        labels,
        ("main", "extra"),
        samples=PIXEL_SAMPLES,
    )


def make_assets() -> tuple[Asset, Asset]:
    """A crate with a rim, a stick with a knob; no symmetries, centers away from their origins."""
    crate = two_part_asset(
        "crate", box((0.4, 0.3, 0.5), (0.1, 0.15, 0.0)), box((0.1, 0.2, 0.1), (0.25, 0.4, 0.15))
    )
    stick = two_part_asset(
        "stick", box((0.7, 0.06, 0.08), (0.0, 0.0, 0.0)), box((0.1, 0.25, 0.14), (0.33, 0.08, 0.0))
    )
    return crate, stick


def six_d(rotations: np.ndarray) -> np.ndarray:
    return np.concatenate([rotations[..., 0], rotations[..., 1]], axis=-1).astype(np.float32)


def stacked_grids(assets: tuple[Asset, ...], resolution: int) -> tuple[DistanceGrids, np.ndarray]:
    built = [build_distance_grids(asset, resolution=resolution) for asset in assets]
    first = np.cumsum([0, *(len(grids.corners) for grids in built[:-1])])
    table = DistanceGrids(
        jnp.asarray(np.concatenate([grids.corners for grids in built])),
        jnp.asarray(np.stack([grids.lower for grids in built])),
        jnp.asarray(np.stack([grids.spacing for grids in built])),
    )
    return table, first.astype(np.int32)


def make_cameras(rng: np.random.Generator) -> Cameras:
    """One camera; its point map drifts in scale and place from frame to frame."""
    T_camera_world = invert_rigid(look_at(np.array([0.4, 1.0, 2.2]), np.array([0.0, 0.2, 0.0])))
    drift = compose_rigid(
        Rotation.from_rotvec(0.05 * rng.normal(size=(FRAMES, 3))).as_matrix(),
        0.03 * rng.normal(size=(FRAMES, 3)),
    )
    drift[:, :3, :3] *= rng.uniform(0.9, 1.1, (FRAMES, 1, 1))
    intrinsics = np.array([[60.0, 0, WIDTH / 2], [0, 55.0, HEIGHT / 2], [0, 0, 1]], np.float32)
    return Cameras(
        Ts_pointmap_world=jnp.asarray(drift @ T_camera_world, jnp.float32),
        intrinsics=jnp.asarray(np.tile(intrinsics, (FRAMES, 1, 1))),
        cell_size=jnp.asarray(CELL, jnp.float32),
    )


def pixels_of(cameras: Cameras, points_world: np.ndarray) -> np.ndarray:
    """(..., T, n, 2) pixels of world points (..., T, n, 3), in float64."""
    T, K = (np.asarray(x, np.float64) for x in (cameras.Ts_pointmap_world, cameras.intrinsics))
    points = np.einsum("tij,...tnj->...tni", T[:, :3, :3], points_world) + T[:, None, :3, 3]
    homogeneous = np.einsum("tij,...tnj->...tni", K, points)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def make_poses(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(O, T, 3, 3), (O, T, 3): the crate sinks into the ground, the stick into the crate."""
    bases = Rotation.from_rotvec([[0.1, 0.4, 0.05], [0.3, -0.9, 0.2]])
    jitter = Rotation.from_rotvec(0.1 * rng.normal(size=(OBJECTS * FRAMES, 3)))
    rotations = np.stack(
        [(bases[o] * jitter[o * FRAMES : (o + 1) * FRAMES]).as_matrix() for o in range(OBJECTS)]
    )
    translations = np.array([[0.0, 0.22, 0.0], [0.1, 0.35, 0.1]])[:, None] + 0.03 * rng.normal(
        size=(OBJECTS, FRAMES, 3)
    )
    return rotations, translations


def observe(rng, assets, cameras, rotations, translations, first_grid, noise):
    """Noisy surface points with part labels, pixels and mask distances of the true poses."""
    centers = np.stack([asset.center for asset in assets])
    samples = np.stack([asset.samples for asset in assets]) - centers[:, None]
    parts = np.stack([asset.sample_parts for asset in assets])
    chosen = rng.integers(0, samples.shape[1], (OBJECTS, FRAMES, POINTS))
    o = np.arange(OBJECTS)[:, None, None]
    points = np.einsum("otij,otnj->otni", rotations, samples[o, chosen]) + translations[:, :, None]
    labels = np.where(rng.random(chosen.shape) < 0.7, parts[o, chosen], -1)
    mask = rng.random(chosen.shape) < 0.8
    detected = np.ones((OBJECTS, FRAMES), bool)
    detected[MISSED] = False
    mask &= detected[:, :, None]
    labels = np.where(mask, labels, -1)
    pixels = pixels_of(cameras, points) + noise * rng.normal(size=(*chosen.shape, 2))
    points = np.where(mask[..., None], points + noise * 0.01 * rng.normal(size=points.shape), 0.0)
    images = mask_images(pixels, detected)
    return (
        labels,
        images,
        ObservedObjects(
            points_world=jnp.asarray(points, jnp.float32),
            pixels=jnp.asarray(np.where(mask[..., None], pixels, 0.0), jnp.float32),
            point_mask=jnp.asarray(mask),
            part_shares=jnp.asarray(shares_of(labels)),
            part_grids=jnp.asarray(grids_of(labels, first_grid)),
            part_of_sample=jnp.asarray(parts[:, None] == np.arange(PARTS)[None, :, None]),
            detected=jnp.asarray(detected),
            mask_distance=jnp.asarray(pack_corners(images)),
        ),
    )


def shares_of(labels: np.ndarray) -> np.ndarray:
    one_hot = labels[..., None] == np.arange(PARTS)
    return (one_hot / np.maximum(one_hot.sum(axis=2, keepdims=True), 1)).astype(np.float32)


def grids_of(labels: np.ndarray, first_grid: np.ndarray) -> np.ndarray:
    row = np.where(labels >= 0, FIRST_PART + labels, WHOLE_UNSIGNED)
    return (first_grid[:, None, None] + row).astype(np.int32)


def mask_images(pixels: np.ndarray, detected: np.ndarray) -> np.ndarray:
    """(O, T, h, w) pixels to a mask made of the cells that some observed pixel falls in."""
    h, w = HEIGHT // CELL[1], WIDTH // CELL[0]
    images = np.zeros((OBJECTS, FRAMES, h, w), np.float32)
    for o, t in np.argwhere(detected):
        cells = np.floor(pixels[o, t] / CELL).astype(int)
        cells = cells[((cells >= 0) & (cells < (w, h))).all(axis=1)]
        filled = np.zeros((h, w), bool)
        filled[cells[:, 1], cells[:, 0]] = True
        images[o, t] = np.asarray(distance_transform_edt(~filled)) * CELL[0]
    return images


def make_edges(rng: np.random.Generator, translations: np.ndarray, first_grid) -> ContactEdges:
    """One edge of every kind: see the names of the rows."""
    targets = np.array([0, 0, 0, 1, 0])
    points = 0.15 * rng.normal(size=(5, 2, FRAMES, CONTACTS, 3))
    points += translations[targets][:, None, :, None]
    points[THINGS] -= translations[1][None, :, None]  # in the frame of its source, the stick
    points[PADDING] = 0.0
    slots = [[True, True], [True, True], [True, False], [False, True], [False, False]]
    return ContactEdges(
        points=jnp.asarray(points, jnp.float32),
        slot_mask=jnp.asarray(slots),
        select_side=jnp.asarray([False, True, False, False, False]),
        source=jnp.asarray([OBJECTS, OBJECTS, 1, OBJECTS, 0], jnp.int32),
        target=jnp.asarray(targets, jnp.int32),
        grid=jnp.asarray(first_grid[targets] + [2, 1, 3, 3, 0], jnp.int32),
        use_mean=jnp.asarray([True, False, False, True, False]),
        every_frame=jnp.asarray([True, False, True, False, True]),
        is_rel_static=jnp.asarray([True, False, False, True, True]),
        mask=jnp.asarray([True, True, True, True, False]),
    )


def neighbors_of(rng, scene: Scene, rotations, translations, labels) -> Neighbors:
    """Nearest projected samples by brute force; a random choice of body vertices."""
    samples = np.asarray(scene.objects.samples, np.float64)
    posed = np.einsum("otij,onj->otni", rotations, samples) + translations[:, :, None]
    projected = pixels_of(scene.cameras, posed)[:, :, :PIXEL_SAMPLES]
    observed = np.asarray(scene.observed.pixels, np.float64)[:, :, :PIXELS]
    squared = np.sum((observed[:, :, :, None] - projected[:, :, None]) ** 2, axis=-1)
    own_part = labels[:, :, :PIXELS, None] == np.asarray(scene.objects.sample_parts)[:, None, None]
    of_part = np.argmin(np.where(own_part, squared, np.inf), axis=-1)
    active = rng.permuted(
        np.broadcast_to(np.arange(VERTICES), (OBJECTS, PEOPLE, FRAMES, VERTICES)), axis=-1
    )[..., :ACTIVE]
    states = np.array([[1, 1, 0, 1, 1], [1] * 5, [0, 1, 1, 1, 0], [1] * 5, [1] * 5])
    return Neighbors(
        jnp.asarray(active, jnp.int32),
        jnp.asarray(np.argmin(squared, axis=-1), jnp.int32),
        jnp.asarray(of_part, jnp.int32),
        jnp.asarray(states, jnp.float32),
    )


def make_scene(seed: int = 0, resolution: int = 10, noise: float = 1.0) -> MadeScene:
    """The scene of this module.

    resolution: cells per axis of the distance grids. noise: of the observations, in cm and pixels.
    """
    rng = np.random.default_rng(seed)
    assets = make_assets()
    grids, first_grid = stacked_grids(assets, resolution)
    cameras = make_cameras(rng)
    rotations, translations = make_poses(rng)
    labels, images, observed = observe(
        rng, assets, cameras, rotations, translations, first_grid, noise
    )
    centers = np.stack([asset.center for asset in assets])
    objects = ObjectConstants(
        centers=jnp.asarray(centers),
        samples=jnp.asarray(np.stack([a.samples for a in assets]) - centers[:, None]),
        sample_parts=jnp.asarray(np.stack([asset.sample_parts for asset in assets])),
        first_grid=jnp.asarray(first_grid),
        is_translational=jnp.asarray([True, False]),
        is_rotational=jnp.asarray([False, True]),
    )
    bodies = 0.25 * rng.normal(size=(PEOPLE, FRAMES, VERTICES, 3)) + [0.05, 0.3, 0.05]
    edges = make_edges(rng, translations, first_grid)
    scene = Scene(grids, objects, observed, cameras, jnp.asarray(bodies, jnp.float32), edges)
    away = Rotation.from_rotvec(0.08 * rng.normal(size=(OBJECTS * FRAMES, 3))).as_matrix()
    estimate = away.reshape(OBJECTS, FRAMES, 3, 3) @ rotations
    moved = translations + 0.03 * rng.normal(size=translations.shape)
    # Columns of any length and not quite orthogonal: the 6D map has a gradient along both.
    six = six_d(estimate) + 0.05 * rng.normal(size=(OBJECTS, FRAMES, 6)).astype(np.float32)
    return MadeScene(
        scene=scene,
        unknowns=Unknowns(jnp.asarray(six), jnp.asarray(moved, jnp.float32)),
        neighbors=neighbors_of(rng, scene, estimate, moved, labels),
        ground_truth=Unknowns(
            jnp.asarray(six_d(rotations)), jnp.asarray(translations, jnp.float32)
        ),
        assets=assets,
        mask_images=images,
        labels=labels,
    )


def as_numpy(tree):
    """Every array of a pytree as numpy; floats in float64."""

    def convert(x):
        x = np.asarray(x)
        return x.astype(np.float64) if x.dtype == np.float32 else x

    return jax.tree.map(convert, tree)


def starts_around(made: MadeScene, count: int) -> Unknowns:
    """Starts 12 degrees and 6 cm off the ground truth, each candidate and object in another direction."""
    rng = np.random.default_rng(3)
    rotations = np.asarray(rotation_6d_to_matrix(made.ground_truth.object_rotation_6d))
    off = rng.normal(size=(count, OBJECTS, 1, 3))
    off *= np.radians(12.0) / np.linalg.norm(off, axis=-1, keepdims=True)
    away = rng.normal(size=(count, OBJECTS, 1, 3))
    away *= 0.06 / np.linalg.norm(away, axis=-1, keepdims=True)
    turned = Rotation.from_rotvec(off.reshape(-1, 3)).as_matrix().reshape(*off.shape, 3)
    return Unknowns(
        jnp.asarray(six_d(turned @ rotations)),
        jnp.asarray(np.asarray(made.ground_truth.object_translation) + away, jnp.float32),
    )
