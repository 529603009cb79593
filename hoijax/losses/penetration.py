"""Nothing passes through anything: body in object, object in object, object in the ground."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.rigid import to_local
from hoijax.scene import WHOLE_SIGNED, PosedScene

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
    scene = posed.scene
    index = posed.neighbours.active_vertices[..., None]
    vertices = jnp.take_along_axis(scene.body_vertices_world[None], index, axis=3, mode="clip")
    o, p, t, a = index.shape[:4]
    by_frame = jnp.moveaxis(vertices, 1, 2).reshape(o, t, p * a, 3)
    distance = posed.object_distance(by_frame, WHOLE_SIGNED)
    depth = jnp.maximum(-distance, 0.0).reshape(o, t, p, a)
    values = jnp.moveaxis(jnp.sum(depth, axis=-1), 2, 1) / 1000.0
    return values, jnp.ones_like(values, dtype=bool)


def object_penetration(posed: PosedScene) -> tuple[Values, Mask]:
    """Mean depth of each object's surface samples inside every other object. (O, O, T)"""
    scene = posed.scene
    count = scene.object_count
    if count == 1:  # known from shapes: a lone object costs nothing
        nothing = jnp.zeros((1, 1, scene.frame_count))
        return nothing, nothing > 0.0
    samples = posed.samples_world(OBJECT_SAMPLES)
    shape = (count, *samples.shape)
    others = jnp.broadcast_to(samples[:, None], shape)
    rotation = jnp.broadcast_to(posed.rotations[None], (*shape[:3], 3, 3))
    translation = jnp.broadcast_to(posed.translations[None], (*shape[:3], 3))
    points = to_local(rotation, translation, others) + scene.objects.centres[None, :, None, None]
    owner = jnp.arange(count)[None]
    distance = scene.distance(points, scene.objects.first_grid[None] + WHOLE_SIGNED, owner)
    depth = jnp.mean(jnp.maximum(-distance, 0.0), axis=-1)
    mask = ~jnp.eye(count, dtype=bool)[:, :, None]
    return depth, jnp.broadcast_to(mask, depth.shape)


def ground(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared depth below y = 0 of the lowest sample; objects that never translate rest on it. (O, T)"""
    height = jnp.min(posed.samples_world(GROUND_SAMPLES)[..., 1], axis=-1)
    rests = ~posed.scene.objects.is_translational[:, None]
    gap = jnp.where(rests, height, jnp.minimum(height, 0.0))
    return gap**2, jnp.ones_like(height, dtype=bool)
