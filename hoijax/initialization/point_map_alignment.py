"""Stage a: bring every frame's point map into the body's world (HOI-PAGE section 4a).

Unknown per frame: a similarity T_world_pointmap (log scale, 6D rotation, translation).
"""

from typing import Any

import flax.struct
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from hoijax.geometry.camera import project
from hoijax.geometry.descent import descend
from hoijax.geometry.nearest import nearest_indices
from hoijax.geometry.rotations import matrix_to_rotation_6d, rotation_6d_to_matrix
from hoijax.geometry.safe_math import geman_mcclure, masked_mean
from hoijax.programs import program

ROBUST_RHO = 0.2


@flax.struct.dataclass
class AlignmentData:
    """What stage a reads. All people of a frame share one point map."""

    points: Float[Array, "T M 3"]
    """Observed body points, point-map frame."""
    pixels: Float[Array, "T M 2"]
    mask: Bool[Array, "T M"]
    all_points: Float[Array, "T N 3"]
    """Observed points of every entity: they must fall on their own pixels."""
    all_pixels: Float[Array, "T N 2"]
    all_mask: Bool[Array, "T N"]
    vertices_world: Float[Array, "T V 3"]
    Ts_world_camera: Float[Array, "T 4 4"]
    intrinsics: Float[Array, "T 3 3"]


@flax.struct.dataclass
class AlignmentWeights:
    """Weights of stage a (traced)."""

    points: Float[Array, ""]
    """Published 1e3: body points to the nearest body vertex, robust mean squared distance (m^2)."""
    pixels: Float[Array, ""]
    """Published 1e-3: body pixels to the nearest projected vertex (px^2)."""
    rays: Float[Array, ""]
    """Ours: a point seen from the estimated camera falls on its own pixel (px^2). Published: 0."""
    smoothness: Float[Array, ""]
    """Ours: point-map drift is slow (squared change of scale and of metres). Published: 0."""


@flax.struct.dataclass
class Similarity:
    """Per-frame similarity, T_world_pointmap."""

    log_scale: Float[Array, " T"]
    rotation_6d: Float[Array, "T 6"]
    translation: Float[Array, "T 3"]

    def matrices(self) -> Float[Array, "T 4 4"]:
        """(T, 4, 4) matrices with the scale inside the rotation block."""
        linear = jnp.exp(self.log_scale)[:, None, None] * rotation_6d_to_matrix(self.rotation_6d)
        top = jnp.concatenate([linear, self.translation[..., None]], axis=-1)
        row = jnp.broadcast_to(jnp.asarray([0.0, 0.0, 0.0, 1.0]), (top.shape[0], 1, 4))
        return jnp.concatenate([top, row], axis=1)


def apply_inverse(
    similarity: Similarity, points_world: Float[Array, "T n 3"]
) -> Float[Array, "T n 3"]:
    """World points into the point-map frame."""
    rotation = rotation_6d_to_matrix(similarity.rotation_6d)
    shifted = (points_world - similarity.translation[:, None]) @ rotation
    return shifted * jnp.exp(-similarity.log_scale)[:, None, None]


def apply(similarity: Similarity, points: Float[Array, "T n 3"]) -> Float[Array, "T n 3"]:
    """Point-map points into the world."""
    rotation = rotation_6d_to_matrix(similarity.rotation_6d)
    scaled = points * jnp.exp(similarity.log_scale)[:, None, None]
    return scaled @ jnp.swapaxes(rotation, -1, -2) + similarity.translation[:, None]


@flax.struct.dataclass
class _Rays:
    """Observed points and pixels by component, and each point's share in its frame's mean."""

    points: Float[Array, "T 3 N"]
    pixels: Float[Array, "T 2 N"]
    shares: Float[Array, "T N"]
    center: Float[Array, ""]


@flax.struct.dataclass
class _Matches:
    """The body points' moments against their nearest vertices: squared distances sum up from these.

    While the matches stay, the mean of |s R p + t - q|^2 is a quadratic of the linear part and the
    shift, so that a step costs a few numbers a frame and not a pass over all points.
    """

    mean_point: Float[Array, "T 3"]
    mean_target: Float[Array, "T 3"]
    point_spread: Float[Array, " T"]
    target_spread: Float[Array, " T"]
    covariance: Float[Array, "T 3 3"]
    """Of targets (rows) and points (columns)."""
    seen: Float[Array, " T"]
    """One, or zero where a frame has no points."""
    pixel_vertices: Float[Array, "T M 3"] | None


def _shares(mask: Bool[Array, "T n"]) -> Float[Array, "T n"]:
    count = jnp.sum(mask, -1, keepdims=True, dtype=jnp.float32)
    return mask.astype(jnp.float32) / jnp.maximum(count, 1.0)


def _rays(data: AlignmentData) -> _Rays:
    sound = jnp.where(data.all_mask[..., None], data.all_points, 0.0)
    body = jnp.broadcast_to(data.mask[..., None], data.points.shape)
    return _Rays(
        jnp.swapaxes(sound, 1, 2),
        jnp.swapaxes(data.all_pixels, 1, 2),
        _shares(data.all_mask),
        masked_mean(data.points, body),
    )


def _matches(similarity: Similarity, data: AlignmentData, use_pixels: bool) -> _Matches:
    """Nearest vertices under the current similarity."""

    def at(index: Int[Array, "T M"]) -> Float[Array, "T M 3"]:
        return jnp.take_along_axis(data.vertices_world, index[..., None], axis=1)

    pixel_vertices = None
    if use_pixels:
        projected = project(apply_inverse(similarity, data.vertices_world), data.intrinsics)
        pixel_vertices = at(nearest_indices(data.pixels, projected))
    weight = _shares(data.mask)[..., None]
    points = jnp.where(data.mask[..., None], data.points, 0.0)
    targets = at(nearest_indices(apply(similarity, data.points), data.vertices_world))
    mean_point, mean_target = jnp.sum(weight * points, 1), jnp.sum(weight * targets, 1)
    points, targets = points - mean_point[:, None], targets - mean_target[:, None]
    return _Matches(
        mean_point,
        mean_target,
        jnp.sum(weight * points**2, (1, 2)),
        jnp.sum(weight * targets**2, (1, 2)),
        jnp.einsum("tni,tnj->tij", weight * targets, points, precision="highest"),
        jnp.sum(weight, (1, 2)),
        pixel_vertices,
    )


def _squared_distance(
    linear: Float[Array, "T 3 3"], similarity: Similarity, matches: _Matches
) -> Float[Array, " T"]:
    """Mean squared distance of a frame's body points to their matches."""
    moved = jnp.sum(linear * matches.mean_point[:, None], -1) + similarity.translation
    spread = jnp.exp(2.0 * similarity.log_scale) * matches.point_spread + matches.target_spread
    turned = jnp.sum(linear * matches.covariance, (1, 2))
    off = jnp.sum((moved - matches.mean_target) ** 2, -1)
    return spread - 2.0 * turned + matches.seen * off


def _off_rays(
    linear: Float[Array, "T 3 3"], similarity: Similarity, data: AlignmentData, rays: _Rays
) -> Float[Array, ""]:
    """Squared pixels between points, seen from the estimated camera, and where they were seen."""
    rotation, position = data.Ts_world_camera[:, :3, :3], data.Ts_world_camera[:, :3, 3]
    # One affine map from point map to camera, by component: a product with a 3 x 3 matrix is slower.
    inner = jnp.sum(rotation[:, :, :, None] * linear[:, :, None, :], 1)
    shift = jnp.sum(rotation * (similarity.translation - position)[:, :, None], 1)
    in_camera = [
        sum(inner[:, i, j, None] * rays.points[:, j] for j in range(3)) + shift[:, i, None]
        for i in range(3)
    ]
    pixels = project(jnp.stack(in_camera, axis=-1), data.intrinsics)
    off = (pixels[..., 0] - rays.pixels[:, 0]) ** 2 + (pixels[..., 1] - rays.pixels[:, 1]) ** 2
    return jnp.mean(jnp.sum(rays.shares * off, -1))


def _loss(
    similarity: Similarity,
    data: AlignmentData,
    rays: _Rays,
    matches: _Matches,
    weights: AlignmentWeights,
) -> Float[Array, ""]:
    rotation = rotation_6d_to_matrix(similarity.rotation_6d)
    linear = jnp.exp(similarity.log_scale)[:, None, None] * rotation
    squared = _squared_distance(linear, similarity, matches)
    points = jnp.mean(geman_mcclure(squared, ROBUST_RHO))
    pixels = jnp.asarray(0.0)
    if matches.pixel_vertices is not None:
        projected = project(apply_inverse(similarity, matches.pixel_vertices), data.intrinsics)
        off = jnp.sum((projected - data.pixels) ** 2, axis=-1)
        pixels = jnp.mean(jnp.sum(jnp.where(data.mask, _shares(data.mask) * off, 0.0), -1))
    middle = jnp.sum(linear * rays.center, -1) + similarity.translation
    drift = jnp.sum(jnp.diff(middle, axis=0) ** 2) + jnp.sum(jnp.diff(similarity.log_scale) ** 2)
    smoothness = drift / data.points.shape[0]
    return (
        weights.points * points
        + weights.pixels * pixels
        + weights.rays * _off_rays(linear, similarity, data, rays)
        + weights.smoothness * smoothness
    )


@program(static=("steps", "refresh_every", "use_pixels"))
def align_point_maps(
    data: AlignmentData,
    weights: AlignmentWeights,
    learning_rate: Float[Array, ""] | float,
    *,
    steps: int = 300,
    refresh_every: int = 10,
    use_pixels: bool = True,
) -> Similarity:
    """Adam from T_world_camera (scale 1); nearest vertices are refreshed every few steps.

    use_pixels: False leaves the 2D chamfer out (its nearest vertices cost half of the run).
    """
    frames = data.points.shape[0]
    start = Similarity(
        jnp.zeros(frames),
        matrix_to_rotation_6d(data.Ts_world_camera[:, :3, :3]),
        data.Ts_world_camera[:, :3, 3],
    )
    rays = _rays(data)

    def loss(similarity: Similarity, matches: _Matches, _: Array) -> Float[Array, ""]:
        return _loss(similarity, data, rays, matches, weights)

    def rate(index: Any) -> Array:
        return learning_rate * (0.02 + 0.98 * 0.5 * (1.0 + jnp.cos(jnp.pi * (index / steps))))

    return descend(
        loss,
        start,
        optax.adam(rate),
        max(steps // refresh_every, 1) * refresh_every,
        refresh=lambda similarity: _matches(similarity, data, use_pixels),
        refresh_every=refresh_every,
    )[0]
