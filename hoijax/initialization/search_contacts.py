"""What the search of poses knows of an object without depth beside its image: contact and the ground.

An outline gives a depth for every turn of the object; which of them is right, the hands say. Contact may
be apart in a frame, so a distance beyond a hand's breadth costs no more than that (`ROBUST`).
"""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hoijax.geometry.point_transforms import rotated
from hoijax.losses.curvature import twist_rows
from hoijax.objects.distance_grid import DistanceGrids, query_with_gradient
from hoijax.scene.scene import Scene

CONTACT_SIGMA, GROUND_SIGMA = 0.05, 0.03  # metres
POINT_STRIDE = 2
"""Every second contact point of a body part is enough to tell a pose."""


@flax.struct.dataclass
class ContactParts:
    """Which body parts touch which part of one object (E edges, of which others have weight 0)."""

    grid: Int[Array, " E"]
    weight: Float[Array, " E"]
    slot_mask: Bool[Array, "E 2"]
    select_side: Bool[Array, " E"]
    use_mean: Bool[Array, " E"]


def contact_parts(scene: Scene, o: int | Int[Array, ""]) -> ContactParts:
    """Edges between a body and object `o`."""
    edges = scene.edges
    is_own = edges.mask & (edges.source == scene.object_count) & (edges.target == o)
    selected = is_own.astype(jnp.float32)
    weight = selected / jnp.maximum(jnp.sum(selected), 1.0)
    return ContactParts(edges.grid, weight, edges.slot_mask, edges.select_side, edges.use_mean)


def contact_points(scene: Scene) -> Float[Array, "T E 2 C 3"]:
    """Points of the body parts in every frame, in the world."""
    return jnp.moveaxis(scene.edges.points[:, :, :, ::POINT_STRIDE], 2, 0)


def contact_terms(
    parts: ContactParts,
    points_world: Float[Array, "E 2 C 3"],
    grids: DistanceGrids,
    center: Float[Array, " 3"],
    rotation: Float[Array, "3 3"],
    translation: Float[Array, " 3"],
) -> tuple[Float[Array, " r"], Float[Array, "r 6"], Float[Array, " r"]]:
    """Distances of both sides of every edge, as `losses.contacts.edge_distances`; derivatives; weights."""
    arm = rotated(points_world - translation, rotation.T)
    rows = jnp.broadcast_to(parts.grid[:, None, None], arm.shape[:3])
    distance, slope = query_with_gradient(grids, arm + center, rows)
    outside = jnp.maximum(distance, 0.0)
    # Points inside are all at 0 and push nobody: only there may several be nearest.
    is_nearest = (outside <= jnp.min(outside, axis=-1, keepdims=True)).astype(jnp.float32)
    is_nearest = is_nearest / jnp.maximum(jnp.sum(is_nearest, axis=-1, keepdims=True), 1.0)
    choice = jnp.where(parts.use_mean[:, None, None], 1.0 / outside.shape[-1], is_nearest)
    residual = jnp.sum(choice * outside, axis=-1)
    pushes = jnp.where(distance > 0.0, choice, 0.0)
    # In the object's axes: a few sums are turned, not every row.
    twist = twist_rows(slope, arm, -slope)
    sums = [jnp.sum(pushes * twist[..., i], axis=-1) for i in range(6)]
    turned = [rotated(jnp.stack(axes, axis=-1), rotation) for axes in (sums[:3], sums[3:])]
    jacobian = jnp.concatenate(turned, axis=-1)
    score = jnp.where(parts.slot_mask, residual, jnp.inf)
    closer = jax.nn.one_hot(jnp.argmin(score, axis=-1), 2)
    there = parts.slot_mask.astype(jnp.float32)
    equal = there / jnp.maximum(jnp.sum(there, axis=-1, keepdims=True), 1.0)
    shares = jnp.where(parts.select_side[:, None], closer, equal)
    weight = parts.weight[:, None] * shares
    return (
        residual.reshape(-1) / CONTACT_SIGMA,
        jacobian.reshape(-1, 6) / CONTACT_SIGMA,
        weight.reshape(-1),
    )


def ground_terms(
    hull: Float[Array, "h 3"], rotation: Float[Array, "3 3"], translation: Float[Array, " 3"]
) -> tuple[Float[Array, " 1"], Float[Array, "1 6"], Float[Array, " 1"]]:
    """How far the object's lowest point is below the ground, its derivative and weight."""
    arm = hull @ rotation.T
    lowest = arm[jnp.argmin(arm[:, 1])]
    height = lowest[1] + translation[1]
    up = jnp.asarray([0.0, 1.0, 0.0])
    row = jnp.concatenate([jnp.cross(lowest, up), up])
    is_below = (height < 0.0).astype(jnp.float32)
    residual = jnp.minimum(height, 0.0)
    return residual[None] / GROUND_SIGMA, is_below * row[None] / GROUND_SIGMA, jnp.ones(1)
