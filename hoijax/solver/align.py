"""Stage a: bring every frame's point map into the body's world (HOI-PAGE section 4a).

Unknown per frame: a similarity T_world_pointmap (log scale, 6D rotation, translation).
"""

from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from hoijax.camera import project
from hoijax.numerics import geman_mcclure, masked_mean
from hoijax.rotations import matrix_to_rotation_6d, rotation_6d_to_matrix

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


CHUNK = 16  # targets a scan iteration visits


def _nearest(queries: Float[Array, "T m d"], targets: Float[Array, "T v d"]) -> Int[Array, "T m"]:
    """Index of the nearest target, the first where several are equally near.

    A scan keeps the queries' minima in cache while CHUNK targets at a time go by: no (m, v) array
    exists. An argmin, which XLA does not vectorise on CPU, took 14 times as long.
    """
    extra = -targets.shape[1] % CHUNK
    padded = jnp.pad(targets, ((0, 0), (0, extra), (0, 0)), mode="edge")
    frames, count, axes = padded.shape
    chunks = jnp.transpose(padded.reshape(frames, -1, CHUNK, axes), (1, 2, 3, 0))

    def visit(best, chunk):
        smallest, index = best
        targets, first = chunk
        for k in range(CHUNK):
            squared = sum((queries[..., a] - targets[k, a, :, None]) ** 2 for a in range(axes))
            index = jnp.where(squared < smallest, first + k, index)
            smallest = jnp.minimum(smallest, squared)
        return (smallest, index), None

    shape = queries.shape[:2]
    start = jnp.full(shape, jnp.inf), jnp.zeros(shape, jnp.int32)
    firsts = jnp.arange(count // CHUNK, dtype=jnp.int32) * CHUNK
    (_, index), _ = jax.lax.scan(visit, start, (chunks, firsts))
    return index


def _loss(
    similarity: Similarity,
    data: AlignmentData,
    nearest: tuple[Array, Array | None],
    weights: AlignmentWeights,
) -> Float[Array, ""]:
    def mean(values: Array, mask: Array) -> Array:
        count = jnp.sum(mask, -1, dtype=values.dtype)
        return jnp.sum(jnp.where(mask, values, 0.0), -1) / jnp.maximum(count, 1)

    target = jnp.take_along_axis(data.vertices_world, nearest[0][..., None], axis=1)
    squared = jnp.sum((apply(similarity, data.points) - target) ** 2, axis=-1)
    points = jnp.mean(geman_mcclure(mean(squared, data.mask), ROBUST_RHO))
    pixels = jnp.asarray(0.0)
    if nearest[1] is not None:
        vertex = jnp.take_along_axis(data.vertices_world, nearest[1][..., None], axis=1)
        projected = project(apply_inverse(similarity, vertex), data.intrinsics)
        pixels = jnp.mean(mean(jnp.sum((projected - data.pixels) ** 2, axis=-1), data.mask))
    rotation = jnp.swapaxes(data.Ts_world_camera[:, :3, :3], 1, 2)
    in_camera = (
        apply(similarity, data.all_points) - data.Ts_world_camera[:, None, :3, 3]
    ) @ jnp.swapaxes(rotation, 1, 2)
    off_ray = jnp.sum((project(in_camera, data.intrinsics) - data.all_pixels) ** 2, axis=-1)
    rays = jnp.mean(mean(off_ray, data.all_mask))
    centre = masked_mean(data.points, jnp.broadcast_to(data.mask[..., None], data.points.shape))
    middle = apply(similarity, jnp.broadcast_to(centre, (data.points.shape[0], 1, 3)))[:, 0]
    drift = jnp.sum(jnp.diff(middle, axis=0) ** 2) + jnp.sum(jnp.diff(similarity.log_scale) ** 2)
    smoothness = drift / data.points.shape[0]
    return (
        weights.points * points
        + weights.pixels * pixels
        + weights.rays * rays
        + weights.smoothness * smoothness
    )


@partial(jax.jit, static_argnames=("steps", "refresh_every", "use_pixels"))
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
    adam = optax.scale_by_adam()

    def refresh(carry, first):
        similarity, _ = carry
        nearest_pixel = None
        if use_pixels:
            projected = project(apply_inverse(similarity, data.vertices_world), data.intrinsics)
            nearest_pixel = _nearest(data.pixels, projected)
        nearest = (_nearest(apply(similarity, data.points), data.vertices_world), nearest_pixel)

        def step(carry, index):
            similarity, moments = carry
            gradient = jax.grad(_loss)(similarity, data, nearest, weights)
            with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer
                updates, moments = adam.update(gradient, moments)
            rate = learning_rate * (0.02 + 0.98 * 0.5 * (1.0 + jnp.cos(jnp.pi * (index / steps))))
            moved = jax.tree.map(lambda x, u: x - rate * u, similarity, updates)
            return (moved, moments), None

        carry, _ = jax.lax.scan(step, carry, first + jnp.arange(refresh_every))
        return carry, None

    rounds = jnp.arange(max(steps // refresh_every, 1)) * refresh_every
    moments = adam.init(start)  # pyright: ignore[reportArgumentType]  # any pytree will do
    (similarity, _), _ = jax.lax.scan(refresh, (start, moments), rounds)
    return similarity
