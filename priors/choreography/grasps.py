"""Where hands take hold of an object: grips round bar-like stretches, palms on flat or round surfaces.

numpy on the host. Works from surface samples alone, so any mesh will do; part labels narrow it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.objects.asset import Asset
from priors.choreography.exact_distance import signed_distance
from priors.choreography.keyframes import forward_of, left_of

NEIGHBORHOOD = 0.06  # metres: about half a hand
BAR_WIDTH = 0.065  # metres: what fingers can close around
CANDIDATES = 420
HAND_WIDTH = 0.11  # metres between two hands on one stem
STEM = 0.8  # cosine with the vertical from which a bar is a stem
HAND_CLEARANCE = 0.06  # metres between a flat hold and the floor: the hand's half width


@dataclass(frozen=True)
class Grasp:
    """One hand's hold on one object, in the object's mesh frame, metres."""

    point: Float[ndarray, "3"]
    """On the surface; for a bar, on its axis."""
    normal: Float[ndarray, "3"]
    """Outward surface normal; of a bar the side that the palm is on, zero where any will do."""
    axis: Float[ndarray, "3"]
    """Direction that the knuckles (little to index finger) take; along a bar."""
    radius: float
    """Of the bar, 0 for a palm on a surface."""

    @property
    def is_bar(self) -> bool:
        return self.radius > 0.0

    @property
    def has_side(self) -> bool:
        return bool(np.any(self.normal))


@dataclass(frozen=True)
class Candidates:
    """Possible holds, in the mesh frame."""

    point: Float[ndarray, "N 3"]
    normal: Float[ndarray, "N 3"]
    axis: Float[ndarray, "N 3"]
    """Bar direction, zero where the surface is no bar."""
    radius: Float[ndarray, "N"]
    crowding: Float[ndarray, "N"]
    """0 where there is room for a hand, towards 1 where something is in its way."""


def part_samples(asset: Asset, part: str | None) -> Int[ndarray, "n"]:
    """Indices of the surface samples of a part; of the whole surface where the part is not labelled."""
    if part is not None and part in asset.part_names:
        chosen = np.flatnonzero(asset.sample_parts == asset.part_names.index(part))
        if len(chosen) >= 8:
            return chosen
    return np.arange(len(asset.samples))


def grasp_candidates(asset: Asset, part: str | None, rng: np.random.Generator) -> Candidates:
    """Holds on a part. A sample whose neighborhood is thin in two directions lies on a bar."""
    from scipy.spatial import KDTree

    indices = part_samples(asset, part)
    points, normals = asset.samples[indices], asset.sample_normals[indices]
    # Half from anywhere, half from upright sides and rims, which are often a small share.
    order = rng.permutation(len(points))
    upright = order[np.abs(normals[order, 1]) < 0.7]
    chosen = np.unique(np.concatenate([order[: CANDIDATES // 2], upright[: CANDIDATES // 2]]))
    tree = KDTree(points)
    center, axis = points[chosen].astype(float), np.zeros((len(chosen), 3))
    radius = np.zeros(len(chosen))
    for row, near in enumerate(tree.query_ball_point(points[chosen], NEIGHBORHOOD)):
        if len(near) < 6:
            continue
        cloud = points[near].astype(float)
        directions = np.linalg.svd(cloud - cloud.mean(0), full_matrices=False)[2]
        along = cloud @ directions.T
        extent = np.ptp(along, axis=0)
        # Thin both ways and closed round: normals point to every side.
        around = np.ptp(normals[near] @ directions[1:].T, axis=0).min()
        if extent[1] < BAR_WIDTH and extent[0] > 0.06 and around > 1.5:
            middle = 0.5 * (along.min(0) + along.max(0))
            middle[0] = points[chosen[row]] @ directions[0]
            center[row], axis[row] = middle @ directions, directions[0]
            radius[row] = max(0.004, 0.25 * (extent[1] + extent[2]))
    normal = normals[chosen].astype(float)
    return Candidates(center, normal, axis, radius, _crowding(asset, center, normal, axis, radius))


def _crowding(
    asset: Asset, center: ndarray, normal: ndarray, axis: ndarray, radius: ndarray
) -> Float[ndarray, "N"]:
    """How much of a hand's place above a surface, or round a bar, is taken by the object itself."""
    angles = np.linspace(0.0, 2 * np.pi, 8, endpoint=False)
    is_bar = radius > 0.0
    pole = np.where(is_bar[:, None], axis, normal)
    first = np.cross(pole, np.eye(3)[np.argmin(np.abs(pole), axis=1)])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(pole, first)
    ring = np.cos(angles)[:, None, None] * first + np.sin(angles)[:, None, None] * second
    width = np.where(is_bar, radius + 0.022, 0.06)[:, None]
    shift = np.where(is_bar, 0.045, 0.014)[:, None] * pole
    rings = [center + width * ring + shift]
    rings.append(center + width * ring - shift if is_bar.any() else rings[0])
    both = np.concatenate(rings)  # a flat hold has nothing below the surface to look at
    both[8:, ~is_bar] = both[:8, ~is_bar]
    clear = signed_distance(asset, both.reshape(-1, 3)).reshape(16, -1)
    return np.clip((0.008 - clear) / 0.01, 0.0, 1.0).mean(axis=0)


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


def choose_two_hands(
    asset: Asset, candidates: Candidates, context: HoldContext, facing: bool = False
) -> tuple[Grasp, Grasp, float]:
    """Left and right hold: opposite faces, or apart along a bar; each on its own side, in reach.

    facing: both palms on what faces the person, to push, instead of on opposite sides.
    Also their discomfort (lower is better), to compare ways to stand.
    """
    view = _seen_by(candidates, asset, context)
    cost = _single_cost(view, context) + 3.0 * candidates.crowding
    side, ahead, up = view.local.T
    gap = side[:, None] - side[None, :]
    is_bar = candidates.radius > 0.0
    apart = context.spread if facing else np.clip(gap, 0.12, 0.75)
    wanted = np.where(is_bar[:, None], context.spread, apart)
    pair = (
        cost[:, None] + cost[None, :] + 2.0 * np.abs(gap - wanted) + 8.0 * np.maximum(0.12 - gap, 0)
    )
    pair += 3.0 * np.abs(side[:, None] + side[None, :])  # symmetric about the middle
    pair += 2.0 * np.abs(ahead[:, None] - ahead[None, :]) + 2.0 * np.abs(up[:, None] - up[None, :])
    squeeze = np.einsum("ik,jk->ij", view.normal, view.normal) + 1.0
    outward = 2.0 - view.normal[:, None, 0] + view.normal[None, :, 0]
    if facing:
        away = 1.0 + view.normal[:, 1]
        placement = 2.0 * (away[:, None] + away[None, :])
        pair -= 1.5 * (up[:, None] + up[None, :])  # pushing low down is hard
    else:
        placement = 0.8 * squeeze + 0.8 * outward
    pair += np.where(is_bar[:, None] | is_bar[None, :], 0.0, placement)
    pair += 1.5 * (is_bar[:, None] != is_bar[None, :])
    if context.is_carried:
        pair = np.minimum(pair, _stacked(candidates, view, cost))
    left, right = np.unravel_index(int(np.argmin(pair)), pair.shape)
    return (
        _as_grasp(candidates, int(left), 0, context, asset.center),
        _as_grasp(candidates, int(right), 1, context, asset.center),
        float(pair[left, right]),
    )


def _stacked(
    candidates: Candidates, view: "_View", cost: Float[ndarray, "N"]
) -> Float[ndarray, "N N"]:
    """Cost of one hand above the other on the same upright stem, closed round it; inf elsewhere."""
    point, axis = candidates.point, candidates.axis
    between = point[:, None] - point[None, :]
    along = np.einsum("ijk,jk->ij", between, axis)
    aside = np.linalg.norm(between - along[..., None] * axis[None], axis=-1)
    stem = (view.steepness > STEM) & (candidates.radius > 0.0)
    on_one = stem[:, None] & stem[None, :] & (aside < 0.02)
    gap = np.abs(along)
    stacked = cost[:, None] + cost[None, :] + 8.0 * np.maximum(HAND_WIDTH - gap, 0.0) + gap
    stacked -= 0.1 * (view.local[None, :, 2] > view.local[:, None, 2])  # the right hand above
    return np.where(on_one, stacked, np.inf)


def choose_one_hand(
    asset: Asset,
    candidates: Candidates,
    hand: int,
    context: HoldContext,
    away_from: Float[ndarray, "3"] | None = None,
) -> tuple[Grasp, float]:
    """Hold of one hand (0 left, 1 right) and its discomfort.

    away_from (mesh frame): another hand's place to keep away from.
    """
    view = _seen_by(candidates, asset, context)
    sign = 1.0 - 2.0 * hand
    cost = _single_cost(view, context) + 3.0 * candidates.crowding
    cost += 0.6 * np.maximum(0.0, 0.1 - sign * view.local[:, 0])
    facing = sign * view.normal[:, 0] - 0.4 * view.normal[:, 1] - 0.5 * view.normal[:, 2]
    cost -= np.where(candidates.radius > 0, 0.6, 0.4 * facing)
    if away_from is not None:
        near = np.linalg.norm(candidates.point - away_from, axis=1)
        cost += 6.0 * np.maximum(0.0, context.spread - near)
    best = int(np.argmin(cost))
    return _as_grasp(candidates, best, hand, context, asset.center), float(cost[best])


@dataclass(frozen=True)
class _View:
    """Candidates in the person's axes: x left, y ahead, z up from the point between the shoulders."""

    local: Float[ndarray, "N 3"]
    normal: Float[ndarray, "N 3"]
    """Left, ahead, up components."""
    height: Float[ndarray, "N"]
    """World height."""
    bottom: Float[ndarray, "N"]
    """Height above the object's lowest point."""
    is_bar: ndarray
    steepness: Float[ndarray, "N"]
    """Of a bar: 0 level, 1 upright."""


def _seen_by(candidates: Candidates, asset: Asset, context: HoldContext) -> _View:
    axes = np.stack([left_of(context.heading), forward_of(context.heading), [0.0, 1.0, 0.0]])
    world = (candidates.point - asset.center) @ context.rotation.T + context.center
    normal = candidates.normal @ context.rotation.T
    local = (world - context.shoulders) @ axes.T
    steepness = np.abs((candidates.axis @ context.rotation.T)[:, 1])
    return _View(
        local,
        normal @ axes.T,
        world[:, 1],
        world[:, 1] - context.floor,
        candidates.radius > 0,
        steepness,
    )


def _single_cost(view: _View, context: HoldContext) -> Float[ndarray, "N"]:
    """Out of reach, too near the floor, facing away from the palm's easy side, far from the body."""
    reach = np.linalg.norm(view.local * [1.0, 1.0, 0.5], axis=1)
    cost = 3.0 * np.maximum(0.0, reach - 0.55) + 0.3 * reach
    cost += 3.0 * np.maximum(0.0, view.local[:, 1] - 0.33)  # leaning over to reach it
    cost += 6.0 * np.maximum(0.0, HAND_CLEARANCE * np.where(view.is_bar, 0.7, 1.3) - view.bottom)
    cost += 4.0 * np.maximum(0.0, view.bottom - context.longest) - context.high * view.local[:, 2]
    if context.longest < 5.0:  # hanging from the hand: a level handle
        cost += np.where(view.is_bar, 1.0 * view.steepness, 0.5)
    upside_down = np.maximum(0.0, -view.normal[:, 2] - 0.3)
    return cost + np.where(view.is_bar, 0.0, 3.0 * upside_down)


def _as_grasp(
    candidates: Candidates, index: int, hand: int, context: HoldContext, middle: ndarray
) -> Grasp:
    """Fix the knuckle direction: thumbs towards each other on a bar across, up on a bar upright.

    middle: the asset's center in its mesh frame.
    """
    left, forward = left_of(context.heading), forward_of(context.heading)
    medial = -left if hand == 0 else left
    if candidates.radius[index] > 0.0:
        axis_world = context.rotation @ candidates.axis[index]
        liking = 0.8 * medial + 0.6 * forward + np.array([0.0, 1.2, 0.0])
        sign = 1.0 if axis_world @ liking >= 0 else -1.0
        axis = sign * candidates.axis[index]
        return Grasp(candidates.point[index], np.zeros(3), axis, float(candidates.radius[index]))
    normal = context.rotation @ candidates.normal[index]
    # Fingers go on in the arm's direction, up or down where the surface faces the person.
    place = context.rotation @ (candidates.point[index] - middle) + context.center
    arm = place - context.shoulders + 0.17 * medial
    fingers = arm / max(float(np.linalg.norm(arm)), 1e-6) + 0.35 * forward
    fingers = fingers - (fingers @ normal) * normal
    if np.linalg.norm(fingers) < 0.4:
        fingers = np.array([0.0, 1.0, 0.0]) - normal[1] * normal + 0.3 * medial
        fingers = fingers - (fingers @ normal) * normal
    fingers /= np.linalg.norm(fingers)
    palm = -normal
    axis_world = np.cross(palm, fingers) if hand == 0 else np.cross(fingers, palm)
    return Grasp(
        candidates.point[index],
        candidates.normal[index],
        context.rotation.T @ axis_world,
        0.0,
    )
