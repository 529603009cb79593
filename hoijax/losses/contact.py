"""Part contact and contact drift, one row per PAG edge (HOI-PAGE L_con = L_cc + L_cd)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.scene import PosedScene, edge_points_in_target

SIDE_TEMPERATURE = 0.02  # metres: how sharply the closer side of a pair is preferred
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def edge_distances(posed: PosedScene) -> Float[Array, "E 2 T"]:
    """Distance of each side to its object part: mean over points for hands and feet, else the min."""
    edges = posed.scene.edges
    points = edge_points_in_target(posed)
    distance = jnp.maximum(posed.scene.distance(points, edges.grid, edges.target), 0.0)
    mean, nearest = jnp.mean(distance, axis=-1), jnp.min(distance, axis=-1)
    return jnp.where(edges.use_mean[:, None, None], mean, nearest)


def side_shares(posed: PosedScene, distances: Float[Array, "E 2 T"]) -> Float[Array, "E 2"]:
    """How much each side of a pair counts: equal shares for a set, the closer one where one is named."""
    edges = posed.scene.edges
    score = -jnp.mean(jax.lax.stop_gradient(distances), axis=-1) / SIDE_TEMPERATURE
    score = jnp.where(edges.slot_mask, score, -jnp.inf)
    closer = jax.nn.softmax(score, axis=-1)
    there = edges.slot_mask.astype(jnp.float32)
    equal = there / jnp.maximum(jnp.sum(there, axis=-1, keepdims=True), 1)
    shares = jnp.where(edges.select_side[:, None], closer, equal)
    return jnp.where(edges.slot_mask, shares, 0.0)


def contact(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared part distance: in every frame in contact, or in the best frame only. (E, T)"""
    edges = posed.scene.edges
    distances = edge_distances(posed)
    shares = side_shares(posed, distances)
    squared = jnp.sum(shares[:, :, None] * distances**2, axis=1)
    frames = squared.shape[-1]
    # The best frame carries the weight of a whole clip, so that the mean over frames is its value.
    best = frames * jax.nn.one_hot(jnp.argmin(squared, axis=-1), frames)
    frame_weight = jnp.where(edges.every_frame[:, None], posed.neighbours.contact_state, best)
    return squared * frame_weight, jnp.broadcast_to(edges.mask[:, None], squared.shape)


def contact_drift(posed: PosedScene) -> tuple[Values, Mask]:
    """Slip of the contact points in the object's frame: none (a_s), else smooth. Mean over points. (E, T)"""
    edges = posed.scene.edges
    points = edge_points_in_target(posed)
    step = jnp.mean(jnp.sum((points[:, :, 1:] - points[:, :, :-1]) ** 2, axis=-1), axis=-1)
    middle = 0.5 * (points[:, :, :-2] + points[:, :, 2:])
    bend = jnp.mean(jnp.sum((points[:, :, 1:-1] - middle) ** 2, axis=-1), axis=-1)
    step = jnp.pad(step, ((0, 0), (0, 0), (1, 0)))
    bend = jnp.pad(bend, ((0, 0), (0, 0), (1, 1)))
    slip = jnp.where(edges.is_rel_static[:, None, None], step, bend)
    shares = side_shares(posed, edge_distances(posed))
    state = posed.neighbours.contact_state
    touching = jnp.minimum(state, jnp.pad(state, ((0, 0), (1, 0)), mode="edge")[:, :-1])
    values = jnp.sum(shares[:, :, None] * slip, axis=1) * touching
    return values, jnp.broadcast_to(edges.mask[:, None], values.shape)
