"""What makes a body motion likely: shared by the body fit and by the losses of anchor motion.

Everything is written for one person, frames first, and returns one value a frame.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hoijax.geometry.camera import project
from hoijax.geometry.nearest import nearest_indices
from hoijax.geometry.safe_math import geman_mcclure, safe_min

FEET = (7, 8, 10, 11)
"""Joints that stand still while a foot is planted: ankles and toes' roots."""
FOOT_HEIGHTS = (0.09, 0.09, 0.03, 0.03)
"""Metres above the sole of these joints on a standing body, about."""
PLANTED_SOFTNESS = 0.02
PLANTED_MARGIN = 0.03
STANDING_RHO = 0.10  # metres: whoever is higher jumps, climbs or sits
SLIP_RHO = 0.36  # metres a second


def normalized_residuals(
    points_camera: Float[Array, "*batch n 3"],
    intrinsics: Float[Array, "*batch 3 3"],
    observed: Float[Array, "*batch n 3"],
) -> Float[Array, "*batch n"]:
    """Squared reprojection errors of keypoints (u, v, confidence), divided by the focal length.

    So they do not depend on the resolution: 0.01 is a centimetre at one metre. 0 where the
    confidence is 0.
    """
    pixels = project(points_camera, intrinsics)
    focal = 0.5 * (intrinsics[..., 0, 0] + intrinsics[..., 1, 1])[..., None, None]
    seen = observed[..., 2] > 0.0
    away = jnp.where(seen[..., None], pixels - observed[..., :2], 0.0) / focal
    return jnp.sum(away**2, axis=-1)


def keypoint_energy(
    squared: Float[Array, "*batch n"], confidence: Float[Array, "*batch n"], rho: Float[Array, ""]
) -> Float[Array, "*batch"]:
    """Eq. 5 of AnchorHOI: confidence-weighted Geman-McClure, mean over the keypoints."""
    cost = rho**2 * squared / (squared + rho**2)
    return jnp.mean(confidence * cost, axis=-1)


def surface_energy(
    points: Float[Array, "T m 3"],
    weights: Float[Array, "T m"],
    vertices: Float[Array, "T v 3"],
    nearest: Int[Array, "T m"],
    rho: float | Float[Array, ""],
) -> Float[Array, " T"]:
    """One-sided chamfer of seen points to the skin, robust by point; `weights` add up to one."""
    target = jnp.take_along_axis(vertices, nearest[..., None], axis=1, mode="clip")
    return jnp.sum(weights * geman_mcclure(jnp.sum((points - target) ** 2, axis=-1), rho), axis=-1)


def nearest_vertices(
    points: Float[Array, "T m 3"], vertices: Float[Array, "T v 3"]
) -> Int[Array, "T m"]:
    """Index of the nearest vertex of every point of the same frame."""
    return nearest_indices(points, vertices)


def bend(values: Float[Array, "T *rest"]) -> Float[Array, "T *rest"]:
    """Difference from the mid-point of the neighbors in time; zero in the first and last frame."""
    middle = values[1:-1] - 0.5 * (values[:-2] + values[2:])
    return jnp.pad(middle, ((1, 1), *((0, 0),) * (values.ndim - 1)))[: len(values)]


def step(values: Float[Array, "T *rest"]) -> Float[Array, "T *rest"]:
    """Difference from the frame before; zero in the first frame."""
    return jnp.pad(values[1:] - values[:-1], ((1, 0), *((0, 0),) * (values.ndim - 1)))


def planted_weights(feet: Float[Array, "T 4 3"]) -> Float[Array, "T 4"]:
    """How much a foot stands on the ground, in [0, 1], by its height. No gradient."""
    over = jax.lax.stop_gradient(feet[..., 1]) - jnp.asarray(FOOT_HEIGHTS) - PLANTED_MARGIN
    return jax.nn.sigmoid(-over / PLANTED_SOFTNESS)


def slip_energy(feet: Float[Array, "T 4 3"], fps: float | Float[Array, ""]) -> Float[Array, " T"]:
    """Squared horizontal speed, (m/s)^2, of feet that stand in this frame and the one before; mean over feet.

    Robust: a foot that is quicker than SLIP_RHO is low, but walks.
    """
    planted = planted_weights(feet)
    both = jnp.minimum(planted, jnp.pad(planted, ((1, 0), (0, 0)), mode="edge")[:-1])
    velocity = fps * step(feet)
    squared = velocity[..., 0] ** 2 + velocity[..., 2] ** 2
    return jnp.mean(both * geman_mcclure(squared, SLIP_RHO), axis=-1)


def standing_energy(heights: Float[Array, "T n"]) -> Float[Array, " T"]:
    """Squared height above the ground of the lowest of some points, robust: jumps are allowed.

    Where a camera's place is known, feet on the ground say how far away a person is: at one pixel, a
    foot four centimetres too high is a decimetre too near.
    """
    above = jnp.maximum(safe_min(heights), 0.0)
    return geman_mcclure(above**2, STANDING_RHO)


def ground_energy(lowest: Float[Array, "T n"]) -> Float[Array, " T"]:
    """Squared depth below the ground of the deepest of some heights."""
    return jnp.minimum(safe_min(lowest), 0.0) ** 2
