"""Observed-to-model fitting terms (HOI-PAGE L_fit), and the model-to-mask and outline terms (ours)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.geometry.bilinear import bilinear
from hoijax.geometry.camera import project
from hoijax.geometry.nearest import nearest_indices
from hoijax.geometry.point_transforms import to_world
from hoijax.geometry.safe_math import Scale, geman_mcclure
from hoijax.losses.curvature import (
    Curvature,
    LeastSquares,
    Residuals,
    declare_curvature,
    distance_rows,
    gram,
    robust_weight,
    to_world_axes,
)
from hoijax.scene.objects import WHOLE_UNSIGNED
from hoijax.scene.posed import PosedScene, present
from hoijax.scene.silhouettes import DIRECTION_COUNT, directions, farthest_along, off_outline

ROBUST_RHO = 0.2  # metres; published Geman-McClure scale on a frame's mean squared distance
POINT_RHO = 0.05  # metres; a point further off than this says little
MASK_RHO = 8.0  # pixels; a sample further outside the mask than this says little
EXTENT_RHO = 8.0  # units of `Outline.unit`; an outline further off than this says little
MASK_SAMPLES = 256
PIXEL_SAMPLES = 1024
PIXEL_COUNT = 256
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def object_points(posed: PosedScene, scale: Scale = ROBUST_RHO) -> tuple[Values, Mask]:
    """3D chamfer, observed points to the object: mean squared distance a frame, robust. (O, T)"""
    observed = posed.scene.observed
    distance = posed.object_distance(observed.points_world, WHOLE_UNSIGNED)
    count = jnp.maximum(jnp.sum(observed.point_mask, axis=-1, dtype=jnp.float32), 1)
    squared = jnp.where(observed.point_mask, distance**2, 0.0)
    return geman_mcclure(jnp.sum(squared, axis=-1) / count, scale), observed.detected


def object_points_curvature(posed: PosedScene, scale: Scale = ROBUST_RHO) -> Curvature:
    """Of `object_points`."""
    observed = posed.scene.observed
    rows = posed.scene.objects.first_grid + WHOLE_UNSIGNED
    distance, jacobian = distance_rows(posed, observed.points_world, rows)
    point_weight = _shares(observed.point_mask)
    mean = jnp.sum(point_weight * distance**2, axis=-1, keepdims=True)
    weight = point_weight * robust_weight(mean, scale)
    return _of_rows(posed, jacobian, weight)


def part_points(posed: PosedScene, scale: Scale = ROBUST_RHO) -> tuple[Values, Mask]:
    """3D chamfer of each part's labeled points to that part alone. (O, Q, T)"""
    observed = posed.scene.observed
    points = posed.to_asset(observed.points_world)
    owner = jnp.arange(posed.scene.object_count)
    squared = posed.scene.distance(points, observed.part_grids, owner) ** 2
    per_part = jnp.einsum("otn,otnq->oqt", squared, observed.part_shares)
    mask = jnp.swapaxes(jnp.any(observed.part_shares > 0.0, axis=2), 1, 2)
    return geman_mcclure(per_part, scale), mask & observed.detected[:, None]


def part_points_curvature(posed: PosedScene, scale: Scale = ROBUST_RHO) -> Curvature:
    """Of `part_points`."""
    observed = posed.scene.observed
    distance, jacobian = distance_rows(posed, observed.points_world, observed.part_grids)
    per_part = jnp.einsum("otn,otnq->otq", distance**2, observed.part_shares)
    weight = jnp.einsum("otnq,otq->otn", observed.part_shares, robust_weight(per_part, scale))
    return _of_rows(posed, jacobian, weight)


def robust_object_points(posed: PosedScene, scale: Scale = POINT_RHO) -> tuple[Values, Mask]:
    """Ours: as object_points with the robust kernel on each *point*. (O, T)

    The published kernel on a frame's mean lets a few stray points (mask leaks, depth edges) drag
    the whole frame.
    """
    observed = posed.scene.observed
    distance = posed.object_distance(observed.points_world, WHOLE_UNSIGNED)
    cost = jnp.where(observed.point_mask, geman_mcclure(distance**2, scale), 0.0)
    count = jnp.maximum(jnp.sum(observed.point_mask, axis=-1, dtype=jnp.float32), 1)
    return jnp.sum(cost, axis=-1) / count, observed.detected


def robust_object_points_curvature(posed: PosedScene, scale: Scale = POINT_RHO) -> Curvature:
    """Of `robust_object_points`."""
    observed = posed.scene.observed
    rows = posed.scene.objects.first_grid + WHOLE_UNSIGNED
    distance, jacobian = distance_rows(posed, observed.points_world, rows)
    weight = _shares(observed.point_mask) * robust_weight(distance**2, scale)
    return _of_rows(posed, jacobian, weight)


def robust_part_points(posed: PosedScene, scale: Scale = POINT_RHO) -> tuple[Values, Mask]:
    """Ours: labeled points to their part, robust by point: some labels are wrong. (O, T)

    Averaged over the labeled points of the frame, so that a part of which little is seen counts
    as little.
    """
    observed = posed.scene.observed
    points = posed.to_asset(observed.points_world)
    owner = jnp.arange(posed.scene.object_count)
    distance = posed.scene.distance(points, observed.part_grids, owner)
    labeled = jnp.any(observed.part_shares > 0.0, axis=-1)
    cost = jnp.where(labeled, geman_mcclure(distance**2, scale), 0.0)
    count = jnp.maximum(jnp.sum(labeled, axis=-1, dtype=jnp.float32), 1)
    return jnp.sum(cost, axis=-1) / count, observed.detected


def robust_part_points_curvature(posed: PosedScene, scale: Scale = POINT_RHO) -> Curvature:
    """Of `robust_part_points`."""
    observed = posed.scene.observed
    distance, jacobian = distance_rows(posed, observed.points_world, observed.part_grids)
    labeled = jnp.any(observed.part_shares > 0.0, axis=-1)
    weight = _shares(labeled) * robust_weight(distance**2, scale)
    return _of_rows(posed, jacobian, weight)


def _shares(mask: Bool[Array, "O T n"]) -> Float[Array, "O T n"]:
    """Weights of a mean over the set elements."""
    count = jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True, dtype=jnp.float32), 1.0)
    return mask.astype(jnp.float32) / count


def _of_rows(posed: PosedScene, jacobian: Array, weight: Float[Array, "O T n"]) -> Curvature:
    """Curvature of rows of `distance_rows` in the frames where the object was detected."""
    blocks = gram(jacobian, _where_detected(posed, weight))
    return Curvature(to_world_axes(blocks, posed.object_rotations))


def _where_detected(posed: PosedScene, weight: Float[Array, "O T n"]) -> Float[Array, "O T n"]:
    return jnp.where(posed.scene.observed.detected[..., None], weight, 0.0)


def project_samples(posed: PosedScene, count: int) -> Float[Array, "O T {count} 2"]:
    """Pixels of the first `count` surface samples, through the inverse alignment."""
    return project_world(posed, posed.samples_world(count))


def project_world(posed: PosedScene, points: Float[Array, "O T n 3"]) -> Float[Array, "O T n 2"]:
    """Pixels of world points, through the inverse alignment."""
    cameras = posed.scene.cameras
    linear = jnp.broadcast_to(cameras.Ts_pointmap_world[:, :3, :3], (*points.shape[:2], 3, 3))
    shift = jnp.broadcast_to(cameras.Ts_pointmap_world[:, :3, 3], (*points.shape[:2], 3))
    return project(to_world(linear, shift, points), cameras.intrinsics[None])


def _off_pixels(posed: PosedScene, nearest: Array) -> Float[Array, "O T M 2"]:
    """Pixels to the chosen samples: choosing before posing moves a quarter of the points."""
    chosen = jax.vmap(lambda samples, index: samples[index])(posed.scene.objects.samples, nearest)
    pixels = project_world(
        posed, to_world(posed.object_rotations, posed.object_translations, chosen)
    )
    return pixels - posed.scene.observed.pixels[:, :, : nearest.shape[-1]]


def object_pixels(posed: PosedScene) -> tuple[Values, Mask]:
    """2D chamfer, observed pixels to the nearest projected sample, in squared pixels. (O, T)"""
    observed = posed.scene.observed
    squared = jnp.sum(_off_pixels(posed, posed.neighbors.nearest_sample) ** 2, axis=-1)
    mask = observed.point_mask[:, :, : squared.shape[-1]]
    count = jnp.maximum(jnp.sum(mask, axis=-1, dtype=jnp.float32), 1)
    return jnp.sum(jnp.where(mask, squared, 0.0), axis=-1) / count, observed.detected


def part_pixels(posed: PosedScene) -> tuple[Values, Mask]:
    """2D chamfer of each part's labeled pixels to that part's samples. (O, Q, T)"""
    squared = jnp.sum(_off_pixels(posed, posed.neighbors.nearest_part_sample) ** 2, axis=-1)
    shares = _pixel_shares(posed, squared.shape[-1])
    per_part = jnp.einsum("otn,otnq->oqt", squared, shares)
    mask = jnp.swapaxes(jnp.any(shares > 0.0, axis=2), 1, 2)
    return per_part, mask & posed.scene.observed.detected[:, None]


def _pixel_shares(posed: PosedScene, count: int) -> Float[Array, "O T {count} Q"]:
    """Weight of each pixel in the mean of its part."""
    shares = posed.scene.observed.part_shares[:, :, :count]
    return shares / jnp.maximum(jnp.sum(shares, axis=2, keepdims=True), 1e-6)


def object_pixels_residuals(posed: PosedScene) -> Residuals:
    """Of `object_pixels`: two for every pixel."""
    off = _off_pixels(posed, posed.neighbors.nearest_sample)
    return _of_pixels(posed, off, _shares(posed.scene.observed.point_mask[:, :, : off.shape[2]]))


def part_pixels_residuals(posed: PosedScene) -> Residuals:
    """Of `part_pixels`: two for every pixel."""
    off = _off_pixels(posed, posed.neighbors.nearest_part_sample)
    return _of_pixels(posed, off, jnp.sum(_pixel_shares(posed, off.shape[2]), axis=-1))


def _of_pixels(
    posed: PosedScene, off: Float[Array, "O T M 2"], weights: Float[Array, "O T M"]
) -> Residuals:
    weights = _where_detected(posed, weights)[..., None]
    shape = (*off.shape[:2], -1)
    return Residuals(off.reshape(shape), jnp.broadcast_to(weights, off.shape).reshape(shape))


def model_mask(posed: PosedScene, scale: Scale = MASK_RHO) -> tuple[Values, Mask]:
    """Projected samples must fall on the object's mask or behind an occluder: robust px^2. (O, T)

    The published one-sided chamfer lets an object grow past what was seen; this is the other side.
    """
    cost = geman_mcclure(outside_mask(posed) ** 2, scale)
    return jnp.mean(cost, axis=-1), posed.scene.observed.detected


def outside_mask(posed: PosedScene) -> Float[Array, "O T n"]:
    """Pixels of projected samples to the object's mask or an occluder."""
    cells = project_samples(posed, MASK_SAMPLES) / posed.scene.cameras.cell_size - 0.5
    return jax.vmap(jax.vmap(bilinear))(posed.scene.observed.mask_distance, cells)


def uncovered_pixels(posed: PosedScene, count: int) -> Float[Array, "O T N"]:
    """Pixels from what was seen of each object to the nearest of `count` projected samples."""
    seen, samples = posed.scene.observed.pixels, project_samples(posed, count)
    frames = (-1, *seen.shape[2:]), (-1, *samples.shape[2:])
    nearest = nearest_indices(seen.reshape(frames[0]), samples.reshape(frames[1]))
    nearest = nearest.reshape(*seen.shape[:3], 1)
    return jnp.linalg.norm(jnp.take_along_axis(samples, nearest, axis=2) - seen, axis=-1)


def metres_per_pixel(posed: PosedScene) -> Float[Array, "O T"]:
    """At each object's center."""
    cameras, places = posed.scene.cameras, posed.object_translations
    rows = cameras.Ts_pointmap_world[:, 2]
    depth = jnp.sum(rows[:, :3] * places, axis=-1) + rows[:, 3]
    return jnp.maximum(depth, 0.0) / cameras.intrinsics[:, 0, 0]


def model_mask_residuals(posed: PosedScene, scale: Scale = MASK_RHO) -> Residuals:
    """Of `model_mask`: one for every sample."""
    outside = outside_mask(posed)
    weights = robust_weight(outside**2, scale) / MASK_SAMPLES
    return Residuals(outside, _where_detected(posed, weights))


def model_extent(posed: PosedScene, scale: Scale = EXTENT_RHO) -> tuple[Values, Mask]:
    """The mesh reaches as far as its mask along every direction: robust squared units, mean of directions. (O, T)

    Where an occluder may hide the rest of the object it may reach farther.
    """
    off, weight = _off_extent(posed)
    cost = jnp.mean(weight * geman_mcclure(off**2, scale), axis=-1)
    return cost, posed.scene.observed.detected


def model_extent_residuals(posed: PosedScene, scale: Scale = EXTENT_RHO) -> Residuals:
    """Of `model_extent`: one for every direction."""
    off, weight = _off_extent(posed)
    detected = posed.scene.observed.detected[..., None]
    weight = jnp.where(detected, weight * robust_weight(off**2, scale), 0.0)
    return Residuals(off, weight / DIRECTION_COUNT)


def _off_extent(posed: PosedScene) -> tuple[Float[Array, "O T K"], Float[Array, "O T K"]]:
    """Units that the mesh reaches too far (negative: too little), and weights."""
    silhouettes = present(posed.scene.silhouettes, "outlines of objects")
    shape = (*posed.object_translations.shape[:2], *silhouettes.hull.shape[1:])
    hull = jnp.broadcast_to(silhouettes.hull[:, None], shape)
    # Only what reaches farthest is in the derivative.
    farthest = farthest_along(jax.lax.stop_gradient(_hull_pixels(posed, hull)))
    pixels = _hull_pixels(posed, jnp.take_along_axis(hull, farthest[..., None], axis=2))
    reach = jnp.sum(pixels * jnp.asarray(directions()), axis=-1)
    return off_outline(reach, silhouettes.outline)


def _hull_pixels(posed: PosedScene, points: Float[Array, "O T n 3"]) -> Float[Array, "O T n 2"]:
    return project_world(posed, to_world(posed.object_rotations, posed.object_translations, points))


# By hand where that is measured faster: a distance comes with its gradient from one look-up.
declare_curvature(object_points, object_points_curvature)
declare_curvature(part_points, part_points_curvature)
declare_curvature(robust_object_points, robust_object_points_curvature)
declare_curvature(robust_part_points, robust_part_points_curvature)
_OF_OBJECTS = {"ties_frames": False, "by_object": True}
declare_curvature(object_pixels, LeastSquares(object_pixels_residuals, **_OF_OBJECTS))
declare_curvature(part_pixels, LeastSquares(part_pixels_residuals, **_OF_OBJECTS))
declare_curvature(model_mask, LeastSquares(model_mask_residuals, **_OF_OBJECTS))
declare_curvature(model_extent, LeastSquares(model_extent_residuals, **_OF_OBJECTS))
