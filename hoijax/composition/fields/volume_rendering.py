"""Volume rendering (Max 1995; Mildenhall et al. 2020) with static shapes, and its regularizers.

Every function takes keywords only. R rays of S samples; `depths` and `deltas` are metres along unit
directions; densities are per metre.
"""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = [
    "RenderedRays",
    "box_interval",
    "camera_rays",
    "composite",
    "distortion",
    "opacity_entropy",
    "orientation",
    "sample_depths",
]


@flax.struct.dataclass
class RenderedRays:
    """What R rays see."""

    color: Float[Array, "R 3"]
    """Linear RGB over the background."""
    opacity: Float[Array, " R"]
    """Share of the light that comes from the field, not from behind it."""
    depth: Float[Array, " R"]
    """Mean distance along the ray of what is seen, metres; 0 where nothing is."""


def camera_rays(
    *,
    intrinsics: Float[Array, "3 3"],
    T_world_camera: Float[Array, "4 4"],
    size: tuple[int, int],
) -> tuple[Float[Array, "R 3"], Float[Array, "R 3"]]:
    """Origins and unit directions (world) through the pixel centers of a (height, width) image, by row."""
    height, width = size
    u = jnp.arange(width, dtype=jnp.float32) + 0.5
    v = jnp.arange(height, dtype=jnp.float32) + 0.5
    x = (u - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (v - intrinsics[1, 2]) / intrinsics[1, 1]
    grid = jnp.stack(
        [
            jnp.broadcast_to(x, (height, width)),
            jnp.broadcast_to(y[:, None], (height, width)),
            jnp.ones((height, width)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    directions = jnp.sum(grid[:, None, :] * T_world_camera[:3, :3], axis=-1)
    directions = directions / jnp.linalg.norm(directions, axis=-1, keepdims=True)
    return jnp.broadcast_to(T_world_camera[:3, 3], directions.shape), directions


def box_interval(
    *,
    origins: Float[Array, "R 3"],
    directions: Float[Array, "R 3"],
    lower: Float[Array, " 3"],
    upper: Float[Array, " 3"],
) -> tuple[Float[Array, " R"], Float[Array, " R"]]:
    """Distances at which rays enter and leave an axis-aligned box; both 0 where they miss it."""
    small = jnp.abs(directions) < 1e-9
    inverse = 1.0 / jnp.where(small, 1e-9, directions)
    first, second = (lower - origins) * inverse, (upper - origins) * inverse
    enter = jnp.maximum(jnp.max(jnp.minimum(first, second), axis=-1), 0.0)
    leave = jnp.min(jnp.maximum(first, second), axis=-1)
    hit = leave > enter
    return jnp.where(hit, enter, 0.0), jnp.where(hit, leave, 0.0)


def sample_depths(
    *,
    near: Float[Array, " R"],
    far: Float[Array, " R"],
    count: int,
    key: Array | None,
) -> tuple[Float[Array, "R S"], Float[Array, "R S"]]:
    """Depths of `count` samples between near and far, and the length that each stands for.

    Middles of equal stretches; with a key, a random place in every stretch (stratified).
    """
    length = (far - near)[:, None] / count
    position = jnp.arange(count, dtype=jnp.float32)[None] + 0.5
    if key is not None:
        position = position + jax.random.uniform(
            key, (near.shape[0], count), minval=-0.5, maxval=0.5
        )
    return near[:, None] + length * position, jnp.broadcast_to(length, (near.shape[0], count))


def composite(
    *,
    density: Float[Array, "R S"],
    color: Float[Array, "R S 3"],
    depths: Float[Array, "R S"],
    deltas: Float[Array, "R S"],
    background: Float[Array, "R 3"],
) -> tuple[RenderedRays, Float[Array, "R S"]]:
    """Colors, opacities and depths of rays, and the weights of their samples (sum: the opacity)."""
    thickness = density * deltas
    before = jnp.cumsum(thickness, axis=-1) - thickness
    weights = jnp.exp(-before) * -jnp.expm1(-thickness)
    opacity = jnp.sum(weights, axis=-1)
    seen = jnp.sum(weights[..., None] * color, axis=1)
    reach = jnp.sum(weights * depths, axis=-1)
    empty = opacity < 1e-6
    rendered = RenderedRays(
        color=seen + (1.0 - opacity)[:, None] * background,
        opacity=opacity,
        depth=jnp.where(empty, 0.0, reach / jnp.where(empty, 1.0, opacity)),
    )
    return rendered, weights


def opacity_entropy(*, opacity: Float[Array, " R"]) -> Float[Array, ""]:
    """Mean binary entropy of opacities, bits: rays should see something solid or nothing."""
    p = jnp.clip(opacity, 1e-4, 1.0 - 1e-4)
    return jnp.mean(-(p * jnp.log2(p) + (1.0 - p) * jnp.log2(1.0 - p)))


def distortion(
    *, weights: Float[Array, "R S"], depths: Float[Array, "R S"], deltas: Float[Array, "R S"]
) -> Float[Array, ""]:
    """Spread of the light along rays, metres, mean over rays (mip-NeRF 360, eq. 15, unnormalized).

    Sum over pairs of samples w_i w_j |t_i - t_j| plus each sample's own spread, in one pass: depths ascend.
    """
    mass, moment = jnp.cumsum(weights, axis=-1), jnp.cumsum(weights * depths, axis=-1)
    pairs = 2.0 * jnp.sum(weights * (depths * (mass - weights) - (moment - weights * depths)), -1)
    return jnp.mean(pairs + jnp.sum(weights**2 * deltas, axis=-1) / 3.0)


def orientation(
    *,
    weights: Float[Array, "R S"],
    normals: Float[Array, "R S 3"],
    directions: Float[Array, "R 3"],
) -> Float[Array, ""]:
    """Mean over rays of the light from surfaces that face away (Ref-NeRF, eq. 11); outward normals.

    The weights are taken as given: only the normals are told to turn.
    """
    away = jnp.maximum(jnp.sum(normals * directions[:, None], axis=-1), 0.0)
    return jnp.mean(jnp.sum(jax.lax.stop_gradient(weights) * away**2, axis=-1))
