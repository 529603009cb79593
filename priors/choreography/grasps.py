"""Which of an object's holds the hands take: the two that carry its weight between them, within easy reach.

numpy on the host. A grip round a bar, over the edge of a plate, or a palm on a flat or round surface.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.objects.asset import Asset
from priors.choreography.grasp_candidates import Candidates
from priors.choreography.hold_costs import PARALLEL, HoldContext, one_hand_costs, pair_costs
from priors.choreography.keyframes import forward_of, left_of

UNLIKE = 0.12  # metres between holds that are two choices


@dataclass(frozen=True)
class Grasp:
    """One hand's hold on one object, in the object's mesh frame, metres."""

    point: Float[ndarray, "3"]
    """On the surface; for a bar, on its axis."""
    normal: Float[ndarray, "3"]
    """Outward surface normal; of a bar or an edge the side that the palm is on, zero where any will do."""
    axis: Float[ndarray, "3"]
    """Direction that the knuckles (little to index finger) take; along a bar."""
    radius: float
    """Of the bar, half the thickness at an edge, 0 for a palm on a surface."""
    is_edge: bool = False
    """Fingers go below a plate, or behind it; the hand may lean either way round its edge."""

    @property
    def is_bar(self) -> bool:
        return self.radius > 0.0

    @property
    def has_side(self) -> bool:
        return bool(np.any(self.normal))


def two_hand_holds(
    asset: Asset,
    candidates: Candidates,
    context: HoldContext,
    facing: bool = False,
    count: int = 1,
) -> list[tuple[Grasp, Grasp, float]]:
    """Left and right hold: opposite sides, or apart along a bar, with the weight between them; in reach.

    facing: both palms on what faces the person, to push, instead of on opposite sides.
    Up to `count` that are unlike each other, each with its discomfort (lower is better).
    """
    pair = pair_costs(asset, candidates, context, facing)
    holds = []
    for _ in range(count):
        left, right = np.unravel_index(int(np.argmin(pair)), pair.shape)
        least = float(pair[left, right])
        if not np.isfinite(least):
            break
        both = (_as_grasp(candidates, int(i), hand, context, asset.center)
                for hand, i in enumerate((left, right)))  # fmt: skip
        holds.append((*both, least))
        pair[np.ix_(_like(candidates, int(left)), _like(candidates, int(right)))] = np.inf
    return holds


def _like(candidates: Candidates, index: int) -> Bool[ndarray, "N"]:
    """Holds of one kind at about the same place; farther along one side they are still alike."""
    on_one_side = candidates.normal @ candidates.normal[index] > PARALLEL
    apart = np.linalg.norm(candidates.point - candidates.point[index], axis=1)
    near = apart < UNLIKE * (1.0 + on_one_side)
    is_bar, is_edge = candidates.is_bar, candidates.is_edge
    return near & (is_bar == is_bar[index]) & (is_edge == is_edge[index])


def one_hand_holds(
    asset: Asset,
    candidates: Candidates,
    hand: int,
    context: HoldContext,
    count: int = 1,
    away_from: Float[ndarray, "3"] | None = None,
) -> list[tuple[Grasp, float]]:
    """Holds of one hand (0 left, 1 right): up to `count` that are unlike each other, with their discomfort.

    away_from (mesh frame): another hand's place to keep away from.
    """
    cost = one_hand_costs(asset, candidates, hand, context, away_from)
    holds = []
    for _ in range(count):
        best = int(np.argmin(cost))
        if not np.isfinite(cost[best]):
            break
        grasp = _as_grasp(candidates, best, hand, context, asset.center)
        holds.append((grasp, float(cost[best])))
        cost[_like(candidates, best)] = np.inf
    return holds


def _as_grasp(
    candidates: Candidates, index: int, hand: int, context: HoldContext, middle: ndarray
) -> Grasp:
    """Fix the knuckle direction: thumbs towards each other on a bar across, up on a bar upright.

    Over the edge of a plate: the fingers below, the thumb on top.
    middle: the asset's center in its mesh frame.
    """
    left, forward = left_of(context.heading), forward_of(context.heading)
    medial = -left if hand == 0 else left
    if candidates.is_edge[index]:
        return _over_edge(candidates, index, hand, context)
    if candidates.radius[index] > 0.0:
        axis_world = context.rotation @ candidates.axis[index]
        liking = 0.8 * medial + 0.6 * forward + np.array([0.0, 1.2, 0.0])
        sign = 1.0 if axis_world @ liking >= 0 else -1.0
        axis = sign * candidates.axis[index]
        return Grasp(candidates.point[index], np.zeros(3), axis, float(candidates.radius[index]))
    normal = context.rotation @ candidates.normal[index]
    # Fingers go on in the arm's direction, up or down where the surface faces the person.
    palm_point = context.rotation @ (candidates.point[index] - middle) + context.center
    arm = palm_point - context.shoulders + 0.17 * medial
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


def _over_edge(candidates: Candidates, index: int, hand: int, context: HoldContext) -> Grasp:
    """The palm on the edge; fingers below the plate, or behind it where the edge is upright."""
    axis_world = context.rotation @ candidates.axis[index]
    palm = context.rotation @ -candidates.normal[index]
    fingers = np.cross(axis_world, palm) if hand == 0 else np.cross(palm, axis_world)
    liking = -fingers[1] + 0.5 * (fingers @ forward_of(context.heading)) + 0.3 * axis_world[1]
    axis = candidates.axis[index] * (1.0 if liking >= 0.0 else -1.0)
    return Grasp(
        candidates.point[index],
        candidates.normal[index],
        axis,
        float(candidates.radius[index]),
        is_edge=True,
    )
