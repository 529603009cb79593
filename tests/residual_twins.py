"""Every loss with a curvature written by hand, as least squares: what the curvature is derived from.

Together with the residuals that losses declare themselves, the oracle of `test_curvature.py`.
"""

import jax
import jax.numpy as jnp

from hoijax.geometry.rotations import slerp_midpoint
from hoijax.geometry.safe_math import safe_min
from hoijax.losses import contacts, fit, penetrations, smoothness
from hoijax.losses.contacts import edge_distances, side_shares
from hoijax.losses.curvature import LeastSquares, Residuals, robust_weight
from hoijax.scene.objects import WHOLE_SIGNED, WHOLE_UNSIGNED
from hoijax.scene.posed import contact_points_in_target


def _detected(posed, weights):
    return jnp.where(posed.scene.observed.detected[..., None], weights, 0.0)


def _shares(mask):
    counted = mask.astype(jnp.float32)
    return counted / jnp.maximum(jnp.sum(counted, axis=-1, keepdims=True), 1.0)


def _to_parts(posed):
    observed = posed.scene.observed
    owner = jnp.arange(posed.scene.object_count)
    return posed.scene.distance(posed.to_asset(observed.points_world), observed.part_grids, owner)


def object_points(posed):
    observed = posed.scene.observed
    distance = posed.object_distance(observed.points_world, WHOLE_UNSIGNED)
    shares = _shares(observed.point_mask)
    mean = jnp.sum(shares * distance**2, axis=-1, keepdims=True)
    weights = shares * robust_weight(mean, fit.ROBUST_RHO)
    return Residuals(distance, _detected(posed, weights))


def part_points(posed):
    shares, distance = posed.scene.observed.part_shares, _to_parts(posed)
    per_part = jnp.einsum("otn,otnq->otq", distance**2, shares)
    weights = jnp.einsum("otnq,otq->otn", shares, robust_weight(per_part, fit.ROBUST_RHO))
    return Residuals(distance, _detected(posed, weights))


def robust_object_points(posed):
    observed = posed.scene.observed
    distance = posed.object_distance(observed.points_world, WHOLE_UNSIGNED)
    weights = _shares(observed.point_mask) * robust_weight(distance**2, fit.POINT_RHO)
    return Residuals(distance, _detected(posed, weights))


def robust_part_points(posed):
    distance = _to_parts(posed)
    labeled = jnp.any(posed.scene.observed.part_shares > 0.0, axis=-1)
    weights = _shares(labeled) * robust_weight(distance**2, fit.POINT_RHO)
    return Residuals(distance, _detected(posed, weights))


def _bent_or_stepped(moves, bend, step):
    rest = [(0, 0)] * (bend.ndim - 2)
    bend = jnp.pad(bend, [(0, 0), (1, 1), *rest])
    step = jnp.pad(step, [(0, 0), (1, 0), *rest]) * jnp.sqrt(smoothness.STATIC_FACTOR)
    rows = jnp.where(moves.reshape(-1, *[1] * (bend.ndim - 1)), bend, step)
    return rows.reshape(*rows.shape[:2], -1)


def translation_smoothness(posed):
    t = posed.object_translations
    bend, step = smoothness.bends(posed), t[:, 1:] - t[:, :-1]
    rows = _bent_or_stepped(posed.scene.objects.is_translational, bend, step)
    return Residuals(rows, jnp.ones_like(rows))


def rotation_smoothness(posed):
    r = posed.object_rotations
    bend, step = r[:, 1:-1] - slerp_midpoint(r[:, :-2], r[:, 2:]), r[:, 1:] - r[:, :-1]
    rows = _bent_or_stepped(posed.scene.objects.is_rotational, bend, step)
    return Residuals(rows, jnp.full_like(rows, 0.5))  # chordal: half the squared difference


def _depth_weights(distance):
    depth = jnp.maximum(-distance, 0.0)
    return jnp.where(depth > 0.0, 0.5 / jnp.maximum(depth, penetrations.SOFT_DEPTH), 0.0)


def body_in_object(posed):
    o, p, t, a = posed.neighbors.active_vertices.shape
    person, frame = jnp.arange(p)[None, :, None, None], jnp.arange(t)[None, None, :, None]
    chosen = posed.neighbors.active_vertices
    points = posed.body_vertices_world[person, frame, chosen]
    points = jnp.moveaxis(points, 1, 2).reshape(o, t, p * a, 3)
    distance = posed.object_distance(points, WHOLE_SIGNED)
    return Residuals(distance, _depth_weights(distance) / 1000.0)


def object_in_object(posed):
    samples = posed.samples_world(penetrations.OBJECT_SAMPLES)
    distance = jnp.stack(
        [
            posed.object_distance(jnp.broadcast_to(cloud, samples.shape), WHOLE_SIGNED)
            for cloud in samples
        ]
    )  # (whose samples, in whom, T, n)
    other = ~jnp.eye(len(samples), dtype=bool)[:, :, None, None]
    return Residuals(distance, jnp.where(other, _depth_weights(distance), 0.0) / samples.shape[2])


def ground(posed):
    height = safe_min(posed.samples_world(penetrations.GROUND_SAMPLES)[..., 1])[..., None]
    rests = ~posed.scene.objects.is_translational[:, None, None]
    return Residuals(height, (rests | (height < 0.0)).astype(jnp.float32))


def part_contact(posed):
    edges, distance = posed.scene.edges, edge_distances(posed)
    shares = jnp.where(edges.mask[:, None], side_shares(posed, distance), 0.0)[:, :, None]
    squared = jnp.sum(shares * distance**2, axis=1)
    frames = squared.shape[-1]
    best = frames * jax.nn.one_hot(jnp.argmin(squared, axis=-1), frames)
    counts = jnp.where(edges.every_frame[:, None], posed.neighbors.contact_state, best)
    weights = jnp.broadcast_to(shares * counts[:, None], distance.shape)
    return Residuals(jnp.swapaxes(distance, 1, 2), jnp.swapaxes(weights, 1, 2))


def contact_drift(posed):
    edges, state = posed.scene.edges, posed.neighbors.contact_state
    points = jnp.moveaxis(contact_points_in_target(posed), 2, 1)  # (E, T, 2, C, 3)
    bend = points[:, 1:-1] - 0.5 * (points[:, :-2] + points[:, 2:])
    step = points[:, 1:] - points[:, :-1]
    rest = [(0, 0)] * 3
    bend, step = jnp.pad(bend, [(0, 0), (1, 1), *rest]), jnp.pad(step, [(0, 0), (1, 0), *rest])
    rows = jnp.where(edges.is_rel_static[:, None, None, None, None], step, bend)
    touching = jnp.minimum(state, jnp.concatenate([state[:, :1], state[:, :-1]], axis=1))
    shares = jnp.where(edges.mask[:, None], side_shares(posed, edge_distances(posed)), 0.0)
    weights = (touching[:, :, None] * shares[:, None])[..., None, None] / points.shape[3]
    flat = (*rows.shape[:2], -1)
    return Residuals(rows.reshape(flat), jnp.broadcast_to(weights, rows.shape).reshape(flat))


def _of_objects(residuals, ties_frames=False):
    return LeastSquares(residuals, ties_frames=ties_frames, by_object=True)


BY_HAND = {
    fit.object_points: _of_objects(object_points),
    fit.part_points: _of_objects(part_points),
    fit.robust_object_points: _of_objects(robust_object_points),
    fit.robust_part_points: _of_objects(robust_part_points),
    smoothness.translation_smoothness: _of_objects(translation_smoothness, ties_frames=True),
    smoothness.rotation_smoothness: _of_objects(rotation_smoothness, ties_frames=True),
    penetrations.penetration: _of_objects(body_in_object),
    penetrations.object_penetration: LeastSquares(object_in_object, ties_frames=False),
    penetrations.ground: _of_objects(ground),
    contacts.contact: LeastSquares(part_contact, ties_frames=False),
    contacts.contact_drift: LeastSquares(contact_drift),
}
"""Losses with a curvature written by hand, and the same derived."""
DERIVED = (fit.object_pixels, fit.part_pixels, fit.model_mask)
"""Losses whose own curvature is derived."""
