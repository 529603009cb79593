"""Part contact and contact drift, one row per PAG edge (HOI-PAGE L_con = L_cc + L_cd)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.geometry.rotations import skew
from hoijax.geometry.safe_math import safe_min
from hoijax.losses.curvature import Curvature, declare_curvature
from hoijax.scene.posed import PosedScene, contact_points_in_target

SIDE_TEMPERATURE = 0.02  # metres: how sharply the closer side of a pair is preferred
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def edge_distances(posed: PosedScene) -> Float[Array, "E 2 T"]:
    """Distance of each side to its object part: mean over points for hands and feet, else the min."""
    edges = posed.scene.edges
    points = contact_points_in_target(posed)
    distance = jnp.maximum(posed.scene.distance(points, edges.grid, edges.target), 0.0)
    mean, nearest = jnp.mean(distance, axis=-1), safe_min(distance)
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
    mask = jnp.broadcast_to(edges.mask[:, None], squared.shape)
    return squared * _frame_weight(posed, squared), mask


def _frame_weight(posed: PosedScene, squared: Float[Array, "E T"]) -> Float[Array, "E T"]:
    """Contact state of each frame, or all weight on the best one."""
    frames = squared.shape[-1]
    # The best frame carries the weight of a whole clip, so that the mean over frames is its value.
    best = frames * jax.nn.one_hot(jnp.argmin(squared, axis=-1), frames)
    every_frame = posed.scene.edges.every_frame[:, None]
    return jnp.where(every_frame, posed.neighbors.contact_state, best)


def contact_drift(posed: PosedScene) -> tuple[Values, Mask]:
    """Slip of the contact points in the object's frame: none (a_s), else smooth. Mean over points. (E, T)"""
    edges = posed.scene.edges
    points = contact_points_in_target(posed)
    step = jnp.mean(jnp.sum((points[:, :, 1:] - points[:, :, :-1]) ** 2, axis=-1), axis=-1)
    middle = 0.5 * (points[:, :, :-2] + points[:, :, 2:])
    bend = jnp.mean(jnp.sum((points[:, :, 1:-1] - middle) ** 2, axis=-1), axis=-1)
    step = jnp.pad(step, ((0, 0), (0, 0), (1, 0)))
    bend = jnp.pad(bend, ((0, 0), (0, 0), (1, 1)))[..., : points.shape[2]]
    slip = jnp.where(edges.is_rel_static[:, None, None], step, bend)
    shares = side_shares(posed, edge_distances(posed))
    touching = _touching(posed)
    values = jnp.sum(shares[:, :, None] * slip, axis=1) * touching
    return values, jnp.broadcast_to(edges.mask[:, None], values.shape)


def _touching(posed: PosedScene) -> Float[Array, "E T"]:
    """1 where an edge is in contact in this frame and the one before."""
    state = posed.neighbors.contact_state
    return jnp.minimum(state, jnp.pad(state, ((0, 0), (1, 0)), mode="edge")[:, :-1])


def contact_curvature(posed: PosedScene) -> Curvature:
    """Of `contact`, for the objects at both ends of an edge."""
    edges = posed.scene.edges
    points = contact_points_in_target(posed)
    distance, slope = posed.scene.distance_with_gradient(points, edges.grid, edges.target)
    outside = jnp.maximum(distance, 0.0)
    count = distance.shape[-1]
    nearest = jax.nn.one_hot(jnp.argmin(outside, axis=-1), count)
    choice = jnp.where(edges.use_mean[:, None, None, None], 1.0 / count, nearest)
    choice = jnp.where(distance > 0.0, choice, 0.0)
    residual = jnp.sum(choice * outside, axis=-1)
    shares = side_shares(posed, residual)
    squared = jnp.sum(shares[:, :, None] * residual**2, axis=1)
    frames = jnp.where(edges.mask[:, None], _frame_weight(posed, squared), 0.0)
    weight = shares[:, :, None] * frames[:, None]
    ends = _ends(posed, points)
    turned = jnp.einsum("etij,estcj->estci", ends[0].rotations, slope)
    blocks = jnp.zeros((*posed.object_translations.shape[:2], 6, 6))
    for end in ends:
        rows = jnp.concatenate([jnp.cross(end.arms, turned), turned], axis=-1)
        row = jnp.einsum("estc,estcj->estj", choice, rows)
        both = 2.0 * jnp.einsum("est,esti,estj->etij", weight, row, row)
        blocks = blocks + jnp.einsum("eo,etij->otij", end.owner, both)
    return Curvature(blocks)


class _End(NamedTuple):
    """One end of every edge: which object it is (none for a body) and the arms of the points."""

    owner: Float[Array, "E O"]
    rotations: Float[Array, "E T 3 3"]
    arms: Float[Array, "E 2 T C 3"]


def _ends(posed: PosedScene, points_target: Float[Array, "E 2 T C 3"]) -> tuple[_End, _End]:
    """Target and source of every edge; arms are world vectors from the object's center."""
    edges, count = posed.scene.edges, posed.scene.object_count
    rotations = posed.object_rotations[edges.target]
    centered = points_target - posed.scene.objects.centers[edges.target][:, None, None, None]
    arms = jnp.einsum("etij,estcj->estci", rotations, centered)
    source = jnp.minimum(edges.source, count - 1)
    between = posed.object_translations[edges.target] - posed.object_translations[source]
    target_owner = jax.nn.one_hot(edges.target, count)
    source_owner = jax.nn.one_hot(edges.source, count)  # a body is no object: all zero
    return (
        _End(target_owner, rotations, arms),
        _End(source_owner, posed.object_rotations[source], arms + between[:, None, :, None]),
    )


def contact_drift_curvature(posed: PosedScene) -> Curvature:
    """Of `contact_drift`, with the turn between neighboring frames left out of the coupling."""
    edges = posed.scene.edges
    points = contact_points_in_target(posed)
    shares = side_shares(posed, edge_distances(posed))
    touching = jnp.where(edges.mask[:, None], _touching(posed), 0.0)
    weight = shares[:, :, None] * touching[:, None]
    # Coefficients of frames t - 1, t, t + 1 in the slip of frame t.
    slips = jnp.asarray([[-1.0, 1.0, 0.0], [-0.5, 1.0, -0.5]])
    slip = slips[jnp.where(edges.is_rel_static, 0, 1)]
    total = None
    for end in _ends(posed, points):
        blocks = _banded(end.arms, weight, slip, edges.is_rel_static)
        placed = [jnp.einsum("eo,etij->otij", end.owner, block) for block in blocks]
        total = placed if total is None else [a + b for a, b in zip(total, placed, strict=True)]
    assert total is not None
    return Curvature(*total)


def _banded(
    arms: Float[Array, "E 2 T C 3"],
    weight: Float[Array, "E 2 T"],
    slip: Float[Array, "E 3"],
    is_step: Bool[Array, " E"],
) -> list[Float[Array, "E frames 6 6"]]:
    """Blocks on the diagonal and beside it of a weighted sum of squared slips."""
    frames = arms.shape[2]
    middle = jnp.arange(frames)
    # A bend needs both neighbors, a step only the frame before.
    complete = (middle > 0) & ((middle < frames - 1) | is_step[:, None])
    weight = jnp.where(complete[:, None], weight, 0.0)
    blocks = []
    for offset in range(3):
        count = max(frames - offset, 0)
        pair = 2.0 * _mean_product(arms[:, :, :count], arms[:, :, offset:])
        products = jnp.zeros((*weight.shape[:2], count))
        for first in range(3 - offset):
            # The earlier frame of the pair stands at place `first` of the slip of frame t.
            product = weight * (slip[:, first] * slip[:, first + offset])[:, None, None]
            shifted = _shift(product, 1 - first)
            products = products + shifted[..., :count]
        blocks.append(jnp.einsum("est,estij->etij", products, pair))
    return blocks


def _mean_product(
    a: Float[Array, "*batch C 3"], b: Float[Array, "*batch C 3"]
) -> Float[Array, "*batch 6 6"]:
    """Mean over the points of A^T B, where A = [skew(a), -I] moves a point with arm a by a twist.

    skew(a)^T skew(b) = (a . b) I - b a^T: nothing but moments of the arms is needed.
    """
    count = a.shape[-2]
    outer = jnp.stack([jnp.mean(b[..., i : i + 1] * a, axis=-2) for i in range(3)], axis=-2)
    dot = outer[..., 0, 0] + outer[..., 1, 1] + outer[..., 2, 2]
    eye = jnp.eye(3)
    rotational = dot[..., None, None] * eye - outer
    mean_a, mean_b = (skew(jnp.sum(x, axis=-2) / count) for x in (a, b))
    top = jnp.concatenate([rotational, mean_a], axis=-1)
    bottom = jnp.concatenate([-mean_b, jnp.broadcast_to(eye, mean_b.shape)], axis=-1)
    return jnp.concatenate([top, bottom], axis=-2)


def _shift(values: Float[Array, "*batch T"], by: int) -> Float[Array, "*batch T"]:
    """values[t + by] at t, zero where there is none."""
    if by > 0:
        return jnp.pad(values[..., by:], [(0, 0)] * (values.ndim - 1) + [(0, by)])
    if by < 0:
        return jnp.pad(values[..., :by], [(0, 0)] * (values.ndim - 1) + [(-by, 0)])
    return values


# By hand: derived, they take three and four times as long.
declare_curvature(contact, contact_curvature)
declare_curvature(contact_drift, contact_drift_curvature)
