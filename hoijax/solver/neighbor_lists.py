"""Neighbor lists: exact look-ups that change slowly, refreshed every few steps.

Pairwise minima and full body-to-SDF queries dominate a naive step. Here the *choice* (which vertex
is close enough to penetrate, which projected sample is nearest) is refreshed now and then, and the
*value* is computed at every step.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hoijax.bodies.fitting.residuals import FEET, nearest_vertices
from hoijax.geometry.smallest import smallest_indices
from hoijax.losses.fit import PIXEL_COUNT, PIXEL_SAMPLES, project_samples
from hoijax.scene.bodies import MovingBodies
from hoijax.scene.objects import WHOLE_SIGNED
from hoijax.scene.posed import PosedScene, pose_scene
from hoijax.scene.scene import Neighbors, Scene, Unknowns

ACTIVE_VERTICES = 1024
ACTIVE_SAMPLES, CANDIDATE_SAMPLES = 48, 384  # of an object near a moving body, and tried
CHUNK = 16  # targets a scan iteration visits


def empty_neighbors(scene: Scene) -> Neighbors:
    """Neighbors of the right shapes that nothing was chosen for yet; every contact counts."""
    o, t = scene.object_count, scene.frame_count
    p, _, v, _ = scene.body_vertices_world.shape
    pixels = min(PIXEL_COUNT, scene.observed.pixels.shape[2])
    nearest = _filled(0, o, t, pixels)
    active = _filled(0, o, p, t, min(ACTIVE_VERTICES, v))
    states = jax.device_put(np.ones((scene.edges.source.shape[0], t), np.float32))
    neighbors = Neighbors(active, nearest, nearest, states)
    if scene.bodies is None:
        return neighbors
    points = 0 if scene.observed_people is None else scene.observed_people.points_world.shape[2]
    samples = min(ACTIVE_SAMPLES, scene.objects.samples.shape[1])
    return replace(
        neighbors,
        nearest_vertex=_filled(0, p, t, points),
        active_samples=_filled(0, o, p, t, samples),
        plants=_filled(-1, p, t, len(FEET)),
    )


def _filled(value: int, *shape: int) -> Int[Array, "..."]:
    """Without a program of its own, as `jnp.full` is."""
    return jax.device_put(np.full(shape, value, np.int32))


def first_neighbors(scene: Scene, states: Float[np.ndarray, "K E T"]) -> Neighbors:
    """Neighbors of all K candidates before anything was chosen, with their contact states."""
    empty = empty_neighbors(scene)
    batched = jax.tree.map(lambda x: np.tile(x, (len(states), *[1] * x.ndim)), empty)
    return jax.device_put(replace(batched, contact_state=np.asarray(states, np.float32)))


def refresh_all(
    scene: Scene, unknowns: Unknowns, neighbors: Neighbors, rarely: Bool[Array, ""]
) -> Neighbors:
    """`refresh_bodies`, and pixel neighbors always: for tables with 2D chamfer terms."""
    neighbors = refresh_pixels(scene, unknowns, neighbors)
    return refresh_bodies(scene, unknowns, neighbors, rarely)


def refresh_bodies(
    scene: Scene, unknowns: Unknowns, neighbors: Neighbors, rarely: Bool[Array, ""]
) -> Neighbors:
    """What may penetrate, only when `rarely`; of moving bodies the skin nearest to points always."""
    if scene.bodies is not None:
        return _refresh_moving(scene, scene.bodies, unknowns, neighbors, rarely)
    return jax.lax.cond(
        rarely, lambda n: refresh_vertices(scene, unknowns, n), lambda n: n, neighbors
    )


def _refresh_moving(
    scene: Scene,
    bodies: MovingBodies,
    unknowns: Unknowns,
    neighbors: Neighbors,
    rarely: Bool[Array, ""],
) -> Neighbors:
    posed = pose_scene(scene, unknowns, neighbors)
    if scene.observed_people is not None:
        points = scene.observed_people.points_world
        nearest = map(nearest_vertices, points, posed.body_vertices_world)
        neighbors = replace(neighbors, nearest_vertex=jnp.stack(list(nearest)))

    def again(n: Neighbors) -> Neighbors:
        samples = _active_samples(posed, bodies)
        return replace(n, active_vertices=_active_vertices(posed), active_samples=samples)

    return jax.lax.cond(rarely, again, lambda n: n, neighbors)


def refresh_pixels(scene: Scene, unknowns: Unknowns, neighbors: Neighbors) -> Neighbors:
    """Choose the nearest projected sample of every observed pixel (for the 2D chamfer terms)."""
    posed = pose_scene(scene, unknowns, neighbors)
    pixels = project_samples(posed, PIXEL_SAMPLES)
    count = neighbors.nearest_sample.shape[-1]
    shares = scene.observed.part_shares[:, :, :count]
    labels = jnp.where(jnp.any(shares > 0.0, axis=-1), jnp.argmax(shares, axis=-1), -2)
    nearest, of_part = nearest_two(
        scene.observed.pixels[:, :, :count],
        labels.astype(jnp.int32),
        pixels,
        scene.objects.sample_parts[:, :PIXEL_SAMPLES],
    )
    return replace(neighbors, nearest_sample=nearest, nearest_part_sample=of_part)


def nearest_two(
    queries: Float[Array, "O T m 2"],
    query_labels: Int[Array, "O T m"],
    targets: Float[Array, "O T s 2"],
    target_labels: Int[Array, "O s"],
) -> tuple[Int[Array, "O T m"], Int[Array, "O T m"]]:
    """Index of the nearest target of each query, and of the nearest with the query's own label.

    Squared distance and index share one int32: the bits of a float >= 0 sort like the float, and its
    lowest ten hold the index. One integer minimum then replaces an argmin, which XLA does not
    vectorize on CPU; targets whose squared distances agree to 1e-4 may swap. The scan keeps the
    queries' minima in cache while CHUNK targets at a time go by: no (m, s) array exists.
    """
    count = targets.shape[2]
    width = (count - 1).bit_length()
    low_bits = (1 << width) - 1
    x, y = queries[..., 0], queries[..., 1]
    chunks = -(-count // CHUNK)
    extra = chunks * CHUNK - count
    # Padding repeats the last target: its index is clipped below.
    targets = jnp.pad(targets, ((0, 0), (0, 0), (0, extra), (0, 0)), mode="edge")
    target_labels = jnp.pad(target_labels, ((0, 0), (0, extra)), mode="edge")
    o, t = targets.shape[:2]
    xs = jnp.transpose(targets.reshape(o, t, chunks, CHUNK, 2), (2, 3, 4, 0, 1))
    labels = jnp.transpose(target_labels.reshape(o, chunks, CHUNK), (1, 2, 0))
    far = jnp.full(x.shape, jnp.iinfo(jnp.int32).max)

    def visit(best, chunk):
        nearest, of_part = best
        position, label, first = chunk
        for k in range(CHUNK):
            dx, dy = x - position[k, 0][..., None], y - position[k, 1][..., None]
            bits = jax.lax.bitcast_convert_type(dx * dx + dy * dy, jnp.int32)
            key = (bits & ~low_bits) | jnp.minimum(first + k, count - 1)
            same_label = query_labels == label[k][:, None, None]
            nearest = jnp.minimum(nearest, key)
            of_part = jnp.minimum(of_part, jnp.where(same_label, key, far))
        return (nearest, of_part), None

    firsts = jnp.arange(chunks, dtype=jnp.int32) * CHUNK
    (nearest, of_part), _ = jax.lax.scan(visit, (far, far), (xs, labels, firsts))
    # A query whose label no target has points anywhere: keep it in range.
    return nearest & low_bits, jnp.minimum(of_part & low_bits, count - 1)


def refresh_vertices(scene: Scene, unknowns: Unknowns, neighbors: Neighbors) -> Neighbors:
    """Choose the body vertices with the smallest signed distance to each object."""
    posed = pose_scene(scene, unknowns, neighbors)
    return replace(neighbors, active_vertices=_active_vertices(posed))


def _active_vertices(posed: PosedScene) -> Int[Array, "O P T A"]:
    """The body vertices with the smallest signed distance to each object."""
    count = posed.neighbors.active_vertices.shape[-1]
    chosen = [_closest(posed, vertices, count) for vertices in posed.body_vertices_world]
    return jnp.stack(chosen, axis=1) if chosen else posed.neighbors.active_vertices


def _closest(posed: PosedScene, vertices: Float[Array, "T V 3"], count: int) -> Int[Array, "O T A"]:
    objects = posed.scene.object_count
    distance = posed.object_distance(
        jnp.broadcast_to(vertices[None], (objects, *vertices.shape)), WHOLE_SIGNED
    )
    return smallest_indices(distance, count)


def _active_samples(posed: PosedScene, bodies: MovingBodies) -> Int[Array, "O P T A"]:
    """The object samples with the smallest distance to each body."""
    before = posed.neighbors.active_samples
    assert before is not None
    assert posed.Ts_world_joint is not None
    o, p, t, active = before.shape
    index = jnp.broadcast_to(jnp.arange(CANDIDATE_SAMPLES), (o, p, t, CANDIDATE_SAMPLES))
    points = posed.chosen_samples_world(index)
    chosen = []
    for person, field in enumerate(bodies.fields):
        look_up = jax.vmap(jax.vmap(field.distance), in_axes=(0, None))
        distance = look_up(points[:, person], posed.Ts_world_joint[person])
        chosen.append(jax.lax.top_k(-distance, active)[1].astype(jnp.int32))
    return jnp.stack(chosen, axis=1)
