"""How uncomfortable it is to hold an object somewhere: out of reach, off balance, slipping, palms turned away."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.objects.asset import Asset
from priors.choreography.grasp_candidates import Candidates
from priors.choreography.keyframes import forward_of, left_of
from priors.choreography.shapes import center_of_mass

WIDEST = 0.9  # metres between two hands that hold opposite sides with ease
PARALLEL = 0.97  # cosine of two holds on one bar
TIPPING, TOPPLING, HANGING, LEVER, SLIPPING = 3.0, 2.5, 1.0, 3.0, 0.6
"""Discomfort of a metre from the weight: ahead of both hands, above and below them, aside of one grip; and of a
hand that holds by friction alone: round an upright bar, on top."""
FAR = 0.3  # metres ahead of the hands at which weight counts twice
STACKED = 0.4  # of the slipping of two hands above each other, which lock by tilting
WRIST_LEVER, EASY_LEVER = 0.15, 1.5
"""Metres beside one hand at which it keeps a small thing level, and discomfort of a metre of them."""
UNEVEN = 0.5  # discomfort of a squared difference of directions of two edges, mirrored
OPEN_PALM, HAND_SPAN = 1.5, 0.1
"""Discomfort of a thing that hangs from one flat palm, and metres that a hand closes over anyway."""
ALONG_ARM, ELBOW = 1.0, np.array([0.2, 0.05, -0.2])
"""Discomfort of closing round what points along the forearm, and a bent elbow: aside, ahead, up of the chest."""
HAND_WIDTH = 0.11  # metres between two hands on one stem
STEM = 0.8  # cosine with the vertical from which a bar is a stem
HAND_CLEARANCE = 0.06  # metres between a flat hold and the floor: the hand's half width


@dataclass(frozen=True)
class HoldContext:
    """The person's view of an object while it is taken and held."""

    rotation: Float[ndarray, "3 3"]
    """Object axes in the world when taken."""
    center: Float[ndarray, "3"]
    """World position of the asset's center when taken."""
    heading: float
    """Of the person, radians."""
    shoulders: Float[ndarray, "3"]
    """World point between the shoulders."""
    spread: float = 0.42
    """Wanted distance between two hands, metres."""
    floor: float = 0.0
    """Height of the object's lowest point."""
    high: float = 0.0
    """How much comfort a metre higher up brings."""
    longest: float = 10.0
    """How far below the hand the object may reach, metres."""
    is_carried: bool = True
    """Else it stays on the ground: nobody pulls a cart by one of its posts."""


def pair_costs(
    asset: Asset, candidates: Candidates, context: HoldContext, facing: bool
) -> Float[ndarray, "N N"]:
    """Discomfort of every pair of a left (row) and a right hold."""
    view = _seen_by(candidates, asset, context)
    cost = _single_cost(view, context) + 3.0 * candidates.crowding
    side, ahead, up = view.local.T
    gap = side[:, None] - side[None, :]
    apart = context.spread if facing else np.clip(gap, 0.12, WIDEST)
    wanted = np.where(_on_one_bar(candidates), context.spread, apart)
    pair = (
        cost[:, None] + cost[None, :] + 2.0 * np.abs(gap - wanted) + 8.0 * np.maximum(0.12 - gap, 0)
    )
    pair += 2.0 * np.abs(ahead[:, None] - ahead[None, :]) + 2.0 * np.abs(up[:, None] - up[None, :])
    middle = view.center_of_mass[0] if context.is_carried else 0.0
    pair += 3.0 * np.abs(side[:, None] + side[None, :] - 2.0 * middle)  # symmetric about the weight
    is_bar, is_edge = candidates.is_bar, candidates.is_edge
    is_firm = is_bar | (is_edge & (not facing))
    facing_cost = np.where(is_firm[:, None] & is_firm[None, :], 0.0, _facing_cost(view, facing))
    pair += np.where(is_bar[:, None] | is_bar[None, :], 0.0, facing_cost)
    if not facing:
        both = is_edge[:, None] & is_edge[None, :]
        pair += np.where(both, UNEVEN * _unevenness(view), 0.0)
    pair += 1.5 * (is_bar[:, None] != is_bar[None, :])
    if context.is_carried:
        weak = SLIPPING * np.where(is_bar, view.steepness**2, _on_top(view))
        pair += _imbalance(view) + weak[:, None] + weak[None, :]
        pair = np.minimum(pair, _stacked(candidates, view, cost + STACKED * weak))
    return pair


def one_hand_costs(
    asset: Asset,
    candidates: Candidates,
    hand: int,
    context: HoldContext,
    away_from: Float[ndarray, "3"] | None,
) -> Float[ndarray, "N"]:
    """Discomfort of every hold of one hand, as in `grasps.one_hand_holds`."""
    view = _seen_by(candidates, asset, context)
    sign = 1.0 - 2.0 * hand
    cost = _single_cost(view, context) + 3.0 * candidates.crowding
    cost += 0.6 * np.maximum(0.0, 0.1 - sign * view.local[:, 0])
    facing = sign * view.normal[:, 0] - 0.4 * view.normal[:, 1] - 0.5 * view.normal[:, 2]
    cost -= np.where(candidates.is_bar, 0.6, np.where(candidates.is_edge, 0.0, 0.4 * facing))
    cost += ALONG_ARM * _along_forearm(view, sign)
    if away_from is not None:
        near = np.linalg.norm(candidates.point - away_from, axis=1)
        cost += 6.0 * np.maximum(0.0, context.spread - near)
    elif context.is_carried:
        lever = _lever(view)
        cost += LEVER * np.maximum(lever - WRIST_LEVER, 0.0) + EASY_LEVER * lever
        cost += TOPPLING * np.maximum(view.center_of_mass[2] - view.local[:, 2] - 0.05, 0.0)
        cost += OPEN_PALM * (candidates.is_flat & (_width(candidates, asset) > HAND_SPAN))
    return cost


def _facing_cost(view: "_View", facing: bool) -> Float[ndarray, "N N"]:
    """Of palms: they face each other from both sides, or both face ahead to push."""
    if facing:
        away, up = 1.0 + view.normal[:, 1], view.local[:, 2]
        low = 1.5 * (up[:, None] + up[None, :])  # pushing low down is hard
        return 2.0 * (away[:, None] + away[None, :]) - low
    squeeze = np.einsum("ik,jk->ij", view.normal, view.normal) + 1.0
    outward = 2.0 - view.normal[:, None, 0] + view.normal[None, :, 0]
    return 0.8 * squeeze + 0.8 * outward


def _unevenness(view: "_View") -> Float[ndarray, "N N"]:
    """Of two edges that fingers are below: squared difference of one's direction and the mirrored other's."""
    mirrored = view.normal * [-1.0, 1.0, 1.0]
    return 2.0 - 2.0 * mirrored @ view.normal.T


def _on_one_bar(candidates: Candidates) -> Bool[ndarray, "N N"]:
    """Pairs that lie along one straight bar or edge."""
    axis = candidates.axis
    between = candidates.point[:, None] - candidates.point[None, :]
    along = np.einsum("ijk,ik->ij", between, axis)
    aside = np.linalg.norm(between - along[..., None] * axis[:, None], axis=-1)
    parallel = np.abs(axis @ axis.T) > PARALLEL
    is_bar, is_edge = candidates.is_bar, candidates.is_edge
    alike = (is_bar[:, None] & is_bar[None, :]) | (is_edge[:, None] & is_edge[None, :])
    return alike & parallel & (aside < 0.03)


def _on_top(view: "_View") -> Float[ndarray, "N"]:
    """How far a palm, or fingers over an edge, come from above: 0 beside or below, 1 on top."""
    return np.clip(2.0 * view.normal[:, 2] - 0.6, 0.0, 1.0)


def _imbalance(view: "_View") -> Float[ndarray, "N N"]:
    """The weight tips forward or back of the hands, or over them where it is higher up."""
    _, ahead, up = (0.5 * (axis[:, None] + axis[None, :]) for axis in view.local.T)
    _, mass_ahead, mass_up = view.center_of_mass
    off = np.abs(mass_ahead - ahead)
    cost = TIPPING * off * (1.0 + off / FAR) + HANGING * np.maximum(up - mass_up - 0.1, 0.0)
    return cost + TOPPLING * np.maximum(mass_up - up - 0.05, 0.0)


def _stacked(
    candidates: Candidates, view: "_View", cost: Float[ndarray, "N"]
) -> Float[ndarray, "N N"]:
    """Cost of one hand above the other on the stem that carries the weight; inf elsewhere."""
    point, axis = candidates.point, candidates.axis
    between = point[:, None] - point[None, :]
    along = np.einsum("ijk,jk->ij", between, axis)
    aside = np.linalg.norm(between - along[..., None] * axis[None], axis=-1)
    stem = (view.steepness > STEM) & candidates.is_bar
    on_one = stem[:, None] & stem[None, :] & (aside < 0.02)
    gap = np.abs(along)
    stacked = cost[:, None] + cost[None, :] + 8.0 * np.maximum(HAND_WIDTH - gap, 0.0) + gap
    lever = _lever(view)
    stacked += LEVER * (lever[:, None] + lever[None, :])
    stacked -= 0.1 * (view.local[None, :, 2] > view.local[:, None, 2])  # the right hand above
    return np.where(on_one, stacked, np.inf)


def _lever(view: "_View") -> Float[ndarray, "N"]:
    """Level distance from the weight, metres."""
    return np.linalg.norm((view.local - view.center_of_mass)[:, :2], axis=1)


def _width(candidates: Candidates, asset: Asset) -> Float[ndarray, "N"]:
    """Of the whole object along the surface, where it is least: what a palm there has to close over."""
    across = np.argmax(np.abs(candidates.normal), axis=1)
    return np.where(np.eye(3, dtype=bool)[across], np.inf, asset.extents).min(axis=1)


def _along_forearm(view: "_View", sign: float) -> Float[ndarray, "N"]:
    """How far a bar or an edge points along the forearm that comes to it: fingers close across an arm.

    sign: 1 of the left arm, -1 of the right. 0 across, 1 along; 0 where there is neither.
    """
    forearm = view.local - np.array([sign, 1.0, 1.0]) * ELBOW
    forearm /= np.maximum(np.linalg.norm(forearm, axis=1, keepdims=True), 1e-6)
    return np.sum(forearm * view.axis, axis=1) ** 2


@dataclass(frozen=True)
class _View:
    """Candidates in the person's axes: x left, y ahead, z up from the point between the shoulders."""

    local: Float[ndarray, "N 3"]
    normal: Float[ndarray, "N 3"]
    """Left, ahead, up components."""
    axis: Float[ndarray, "N 3"]
    """Of a bar or an edge, in the same components; zero where there is neither."""
    height: Float[ndarray, "N"]
    """World height."""
    bottom: Float[ndarray, "N"]
    """Height above the object's lowest point."""
    is_bar: Bool[ndarray, "N"]
    is_flat: Bool[ndarray, "N"]
    steepness: Float[ndarray, "N"]
    """Of a bar: 0 level, 1 upright."""
    center_of_mass: Float[ndarray, "3"]
    """In the same axes."""


def _seen_by(candidates: Candidates, asset: Asset, context: HoldContext) -> _View:
    axes = np.stack([left_of(context.heading), forward_of(context.heading), [0.0, 1.0, 0.0]])
    points = np.concatenate([candidates.point, center_of_mass(asset)[None]])
    world = (points - asset.center) @ context.rotation.T + context.center
    normal = candidates.normal @ context.rotation.T
    local = (world - context.shoulders) @ axes.T
    axis = candidates.axis @ context.rotation.T
    height = world[:-1, 1]
    return _View(
        local=local[:-1],
        normal=normal @ axes.T,
        axis=axis @ axes.T,
        height=height,
        bottom=height - context.floor,
        is_bar=candidates.is_bar,
        is_flat=candidates.is_flat,
        steepness=np.abs(axis[:, 1]),
        center_of_mass=local[-1],
    )


def _single_cost(view: _View, context: HoldContext) -> Float[ndarray, "N"]:
    """Out of reach, too near the floor, facing away from the palm's easy side, far from the body."""
    reach = np.linalg.norm(view.local * [1.0, 1.0, 0.5], axis=1)
    cost = 3.0 * np.maximum(0.0, reach - 0.55) + 0.3 * reach
    cost += 3.0 * np.maximum(0.0, view.local[:, 1] - 0.33)  # leaning over to reach it
    cost += 6.0 * np.maximum(0.0, HAND_CLEARANCE * np.where(view.is_bar, 0.7, 1.3) - view.bottom)
    cost += 4.0 * np.maximum(0.0, view.bottom - context.longest) - context.high * view.local[:, 2]
    if context.longest < 5.0:  # hanging from the hand: a level handle
        cost += np.where(view.is_flat, 0.5, 1.0 * view.steepness)
    upside_down = np.maximum(0.0, -view.normal[:, 2] - 0.3)
    return cost + np.where(view.is_bar, 0.0, 3.0 * upside_down)
