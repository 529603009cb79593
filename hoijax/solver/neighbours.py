"""Neighbour lists: exact look-ups that change slowly, refreshed every few steps.

Pairwise minima and full body-to-SDF queries dominate a naive step. Here the *choice* (which vertex
is close enough to penetrate, which projected sample is nearest) is refreshed now and then, and the
*value* is computed at every step.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hoijax.losses.fit import PIXEL_COUNT, PIXEL_SAMPLES, project_samples
from hoijax.scene import WHOLE_SIGNED, Neighbours, PosedScene, Scene, Unknowns, pose_scene

ACTIVE_VERTICES = 1024


def empty_neighbours(scene: Scene) -> Neighbours:
    """Neighbours of the right shapes that nothing was chosen for yet; every contact counts."""
    o, t = scene.object_count, scene.frame_count
    p, _, v, _ = scene.body_vertices_world.shape
    pixels = min(PIXEL_COUNT, scene.observed.pixels.shape[2])
    nearest = jnp.zeros((o, t, pixels), jnp.int32)
    active = jnp.zeros((o, p, t, min(ACTIVE_VERTICES, v)), jnp.int32)
    states = jnp.ones((scene.edges.source.shape[0], t), jnp.float32)
    return Neighbours(active, nearest, nearest, states)


def refresh_pixels(scene: Scene, unknowns: Unknowns, neighbours: Neighbours) -> Neighbours:
    """Choose the nearest projected sample of every observed pixel (for the 2D chamfer terms)."""
    posed = pose_scene(scene, unknowns, neighbours)
    pixels = project_samples(posed, PIXEL_SAMPLES)
    observed = scene.observed.pixels[:, :, : neighbours.nearest_sample.shape[-1]]
    squared = jnp.sum(pixels**2, axis=-1)[:, :, None] - 2.0 * observed @ jnp.swapaxes(pixels, 2, 3)
    nearest = jnp.argmin(squared, axis=-1).astype(jnp.int32)
    shares = scene.observed.part_shares[:, :, : observed.shape[2]] > 0.0
    of_part = scene.observed.part_of_sample[:, :, :PIXEL_SAMPLES]
    allowed = jnp.einsum("otmq,oqs->otms", shares.astype(jnp.float32), of_part.astype(jnp.float32))
    part = jnp.argmin(jnp.where(allowed > 0.0, squared, jnp.inf), axis=-1).astype(jnp.int32)
    return replace(neighbours, nearest_sample=nearest, nearest_part_sample=part)


def refresh_vertices(scene: Scene, unknowns: Unknowns, neighbours: Neighbours) -> Neighbours:
    """Choose the body vertices with the smallest signed distance to each object."""
    posed = pose_scene(scene, unknowns, neighbours)
    active = jnp.stack(
        [
            _closest(posed, scene.body_vertices_world[p], neighbours.active_vertices.shape[-1])
            for p in range(scene.body_vertices_world.shape[0])
        ],
        axis=1,
    )
    return replace(neighbours, active_vertices=active)


def _closest(posed: PosedScene, vertices: Float[Array, "T V 3"], count: int) -> Int[Array, "O T A"]:
    objects = posed.scene.object_count
    distance = posed.object_distance(
        jnp.broadcast_to(vertices[None], (objects, *vertices.shape)), WHOLE_SIGNED
    )
    return jax.lax.top_k(-distance, count)[1].astype(jnp.int32)
