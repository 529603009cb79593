"""When feet stand: the most likely split of a tracked foot's path into plants and swings (host).

A foot that stands does not move, a foot that swings may do anything; the path alone says which. A plant
costs how far the path strays from its mean place (and above the floor), a swing a constant per frame,
and a dynamic programme finds the cheapest split. Deciding whole plants at once is hysteresis over time:
no single noisy frame flips a state. Heels and toes are split separately, so a heel may rise while its
toe stands.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

PATH_SIGMA = 0.02  # metres that a tracked foot strays while it stands
RISE_SIGMA = 0.02  # metres above the floor likewise
SWING_COST = 1.5  # of a frame in which the foot is not known to stand: 1.7 sigma
PLANT_COST = 3.0  # of a plant, however long
SHORTEST_PLANT = 2  # frames
FLOOR_QUANTILE = 0.2  # of a point's heights: the floor it stands on


def foot_plants(feet_world: Float[ndarray, "T N 3"]) -> Int[ndarray, "T N"]:
    """Number of the plant that each foot point is in, counted from 0 for every point; -1: it swings."""
    return np.stack([_split(path) for path in np.moveaxis(feet_world, 1, 0)], axis=1)


def _split(path: Float[ndarray, "T 3"]) -> Int[ndarray, " T"]:
    frames = len(path)
    costs = _plant_costs(path)
    swinging, standing = np.full(frames + 1, np.inf), np.full(frames + 1, np.inf)
    begins, stood_before = np.zeros(frames + 1, int), np.zeros(frames + 1, bool)
    swinging[0] = 0.0  # ends are frame counts: cost of the first `end` frames
    for end in range(1, frames + 1):
        stood_before[end] = standing[end - 1] < swinging[end - 1]
        swinging[end] = min(swinging[end - 1], standing[end - 1]) + SWING_COST
        if end >= SHORTEST_PLANT:
            total = swinging[: end - SHORTEST_PLANT + 1] + costs[: end - SHORTEST_PLANT + 1, end]
            begins[end] = int(np.argmin(total))
            standing[end] = total[begins[end]]
    plants: list[tuple[int, int]] = []
    end, stands = frames, bool(standing[frames] < swinging[frames])
    while end > 0:
        if stands:
            plants.append((int(begins[end]), end))
            end, stands = int(begins[end]), False
        else:
            stands = bool(stood_before[end])
            end -= 1
    numbers = np.full(frames, -1)
    for number, (begin, end) in enumerate(reversed(plants)):
        numbers[begin:end] = number
    return numbers


def _plant_costs(path: Float[ndarray, "T 3"]) -> Float[ndarray, "begin end"]:
    """Cost of a plant from frame `begin` up to but without `end`."""
    path = path.astype(np.float64)
    flat = path[:, [0, 2]] - path[:, [0, 2]].mean(axis=0)
    rise = np.maximum(path[:, 1] - np.quantile(path[:, 1], FLOOR_QUANTILE), 0.0)
    first = _running(flat)
    second = _running((flat**2).sum(axis=1))
    high = _running(rise**2)
    count = np.arange(len(path) + 1)
    length = np.maximum(count[None, :] - count[:, None], 1)
    moved = ((first[None] - first[:, None]) ** 2).sum(axis=-1) / length
    strays = np.maximum(second[None] - second[:, None] - moved, 0.0)
    rises = high[None] - high[:, None]
    return 0.5 * strays / PATH_SIGMA**2 + 0.5 * rises / RISE_SIGMA**2 + PLANT_COST


def _running(values: Float[ndarray, "T *rest"]) -> Float[ndarray, "n *rest"]:
    """Sum of everything before each frame, and of all."""
    return np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
