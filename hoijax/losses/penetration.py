"""Nothing passes through anything: body in object, object in object, object in the ground."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.curvature import (
    Curvature,
    distance_rows,
    gram,
    moving_points,
    to_world_axes,
    twist_rows,
)
from hoijax.objects.distance_grid import DistanceGrids, query_with_gradient
from hoijax.rigid import to_local
from hoijax.scene import WHOLE_SIGNED, PosedScene

SOFT_DEPTH = 0.005  # metres: below this a depth counts as this deep where it is divided by
OBJECT_SAMPLES = 512
GROUND_SAMPLES = 512
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def penetration(posed: PosedScene) -> tuple[Values, Mask]:
    """Depth of body vertices inside each object, summed and divided by 1,000 vertices. (O, P, T)

    The published form divides by the number of vertices that penetrate at the moment, which makes
    one deep vertex cost more than a hundred; a fixed denominator does not. Only the vertices in
    the neighbour list are looked up: the rest are too far away to penetrate.
    """
    o, p, t, a = posed.neighbours.active_vertices.shape
    distance = posed.object_distance(_active_vertices(posed), WHOLE_SIGNED)
    depth = jnp.maximum(-distance, 0.0).reshape(o, t, p, a)
    values = jnp.moveaxis(jnp.sum(depth, axis=-1), 2, 1) / 1000.0
    return values, jnp.ones_like(values, dtype=bool)


def _active_vertices(posed: PosedScene) -> Float[Array, "O T n 3"]:
    """Neighbour-list vertices of all people, per object and frame."""
    index = posed.neighbours.active_vertices[..., None]
    vertices = jnp.take_along_axis(
        posed.scene.body_vertices_world[None], index, axis=3, mode="clip"
    )
    o, p, t, a = index.shape[:4]
    return jnp.moveaxis(vertices, 1, 2).reshape(o, t, p * a, 3)


def _linear_weight(distance: Array) -> Array:
    """Weight that makes a squared depth of the same slope: a depth is half of depth^2 / depth."""
    depth = jnp.maximum(-distance, 0.0)
    return jnp.where(depth > 0.0, 0.5 / jnp.maximum(depth, SOFT_DEPTH), 0.0)


def penetration_curvature(posed: PosedScene) -> Curvature:
    """Of `penetration`, as reweighted least squares."""
    rows = posed.scene.objects.first_grid + WHOLE_SIGNED
    distance, jacobian = distance_rows(posed, _active_vertices(posed), rows)
    blocks = gram(jacobian, _linear_weight(distance) / 1000.0)
    return Curvature(to_world_axes(blocks, posed.rotations))


def object_penetration(posed: PosedScene) -> tuple[Values, Mask]:
    """Mean depth of each object's surface samples inside every other object. (O, O, T)"""
    scene = posed.scene
    count = scene.object_count
    if count == 1:  # known from shapes: a lone object costs nothing
        nothing = jnp.zeros((1, 1, scene.frame_count))
        return nothing, nothing > 0.0
    points, owner = _samples_in_others(posed)
    distance = scene.distance(points, scene.objects.first_grid[:, None] + WHOLE_SIGNED, owner)
    depth = jnp.swapaxes(jnp.mean(jnp.maximum(-distance, 0.0), axis=-1), 0, 1)
    mask = ~jnp.eye(count, dtype=bool)[:, :, None]
    return depth, jnp.broadcast_to(mask, depth.shape)


def _samples_in_others(posed: PosedScene) -> tuple[Float[Array, "O O T n 3"], Array]:
    """Samples of object b (axis 1) in the asset frame of object a (axis 0), and the a of each."""
    count = posed.scene.object_count
    samples = posed.samples_world(OBJECT_SAMPLES)
    shape = (count, *samples.shape)
    others = jnp.broadcast_to(samples[None], shape)
    rotation = jnp.broadcast_to(posed.rotations[:, None], (*shape[:3], 3, 3))
    translation = jnp.broadcast_to(posed.translations[:, None], (*shape[:3], 3))
    local = to_local(rotation, translation, others)
    return local + posed.scene.objects.centres[:, None, None, None], jnp.arange(count)[:, None]


def object_penetration_curvature(posed: PosedScene) -> Curvature:
    """Of `object_penetration`, as reweighted least squares."""
    objects = posed.scene.objects
    count, frames = posed.translations.shape[:2]
    if count == 1:
        return Curvature(jnp.zeros((1, frames, 6, 6)))
    points, owner = _samples_in_others(posed)
    broad = owner[..., None, None]
    table = DistanceGrids(
        posed.scene.grids.corners,
        posed.scene.grids.lower[broad],
        posed.scene.grids.spacing[broad],
    )
    distance, slope = query_with_gradient(table, points, objects.first_grid[broad] + WHOLE_SIGNED)
    weight = _linear_weight(distance) / OBJECT_SAMPLES
    weight = weight * (1.0 - jnp.eye(count))[:, :, None, None]
    arm = points - objects.centres[:, None, None, None]
    blocks = jnp.zeros((count, frames, 6, 6))
    for b in range(count):  # few objects: unrolled
        blocks = blocks + gram(twist_rows(slope[:, b], arm[:, b], -slope[:, b]), weight[:, b])
    blocks = to_world_axes(blocks, posed.rotations)
    world = posed.samples_world(OBJECT_SAMPLES)
    slope_world = jnp.einsum("atij,abtnj->abtni", posed.rotations, slope)
    for a in range(count):
        blocks = blocks + gram(moving_points(posed, world, slope_world[a]), weight[a])
    return Curvature(blocks)


def ground(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared depth below y = 0 of the lowest sample; objects that never translate rest on it. (O, T)"""
    height = jnp.min(posed.samples_world(GROUND_SAMPLES)[..., 1], axis=-1)
    rests = ~posed.scene.objects.is_translational[:, None]
    gap = jnp.where(rests, height, jnp.minimum(height, 0.0))
    return gap**2, jnp.ones_like(height, dtype=bool)


def ground_curvature(posed: PosedScene) -> Curvature:
    """Of `ground`: the lowest sample is pushed up."""
    samples = posed.samples_world(GROUND_SAMPLES)
    lowest = jnp.argmin(samples[..., 1], axis=-1)[..., None, None]
    point = jnp.take_along_axis(samples, lowest, axis=2)
    rests = ~posed.scene.objects.is_translational[:, None, None]
    weight = (rests | (point[..., 1] < 0.0)).astype(jnp.float32)
    up = jnp.broadcast_to(jnp.asarray([0.0, 1.0, 0.0]), point.shape)
    return Curvature(gram(moving_points(posed, point, up), weight))
