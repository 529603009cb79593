"""What carries people: which part, which way it faces, where its surface lies."""

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from hoijax.objects.asset import Asset
from priors.choreography.grasp_candidates import part_samples
from priors.choreography.keyframes import yaw_matrix
from priors.choreography.plan import Performance, Touch
from priors.language.script import Action

LEVEL = 0.05  # metres within which a surface is one seat


def touches_with(performance: Performance, action: Action, *parts: str) -> list[Touch]:
    touches = performance.touches_of(action.people[0], action.object)
    return [t for t in touches if t.body_part in parts]


def seat_samples(asset: Asset, part: str) -> Int[ndarray, "n"]:
    """Samples of a part that face up; where it is the whole mesh, those of its largest level surface."""
    rows = part_samples(asset, part)
    up = rows[asset.sample_normals[rows, 1] > 0.8]
    if len(up) < 8:
        return rows
    if part in asset.part_names:
        return up
    height = asset.samples[up, 1]
    level = height[np.argmax(np.sum(np.abs(height[:, None] - height) < LEVEL, axis=1))]
    return up[np.abs(height - level) < LEVEL]


def front_yaw(performance: Performance, object_index: int, part: str) -> float:
    """Yaw of the object's own front in its mesh frame: away from what stands behind the seat."""
    asset = performance.asset(object_index)
    seat = asset.samples[seat_samples(asset, part)]
    level = np.quantile(seat[:, 1], 0.9)
    above = asset.samples[asset.samples[:, 1] > level + 0.12]
    if len(above) > 20:
        away = seat.mean(0) - above.mean(0)
        if np.hypot(away[0], away[2]) > 0.05:
            yaw = float(np.arctan2(away[0], away[2]))
            return 0.5 * np.pi * round(yaw / (0.5 * np.pi))  # along a side
    wide = asset.extents[0] >= asset.extents[2]
    choices = [0.0, np.pi] if wide else [0.5 * np.pi, -0.5 * np.pi]
    return float(performance.rng.choice(choices))


def support_surface(
    performance: Performance, object_index: int, part: str, yaw: float
) -> tuple[float, float, float, float]:
    """Of an upward-facing part, in axes turned so that z is `yaw`: height, back, front, middle x.

    Relative to the asset's center.
    """
    asset = performance.asset(object_index)
    rows = seat_samples(asset, part)
    local = (asset.samples[rows] - asset.center) @ yaw_matrix(np.array([yaw]))[0]
    top = local[local[:, 1] > np.quantile(local[:, 1], 0.75) - 0.04]
    height = float(np.median(top[:, 1]))
    return height, float(top[:, 2].min()), float(top[:, 2].max()), float(top[:, 0].mean())


def supporting_part(performance: Performance, action: Action) -> str:
    touches = touches_with(performance, action, "hips", "left_foot", "right_foot")
    return touches[0].part if touches else performance.script.graph.objects[action.object].parts[0]
