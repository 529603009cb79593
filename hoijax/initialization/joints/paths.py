"""The best path of a joint through a grid of values: second-order dynamic programming."""

import numpy as np
from jaxtyping import Float, Int

STEP_COST, BEND_COST = 1e-6, 2e-5
"""Of moving on by one value of the grid from frame to frame, and of changing that step by one, squared;
points 1 and 4 mm off cost as much."""
STEP_SHARE, BEND_SHARE = 0.05, 0.3
"""Of squared metres by which the corners of a link step, and change their steps, beside those of points."""


def best_path(
    cost: Float[np.ndarray, "T n"], corners: Float[np.ndarray, "T n p 3"]
) -> Int[np.ndarray, " T"]:
    """Indices of the cheapest path under its frames' costs and its motion's (second-order Viterbi).

    corners: points of the moved link in the world, for every value in every frame. Steps cost little and
    changes of speed more, of the value and of the link itself: where a link is hidden, it keeps on moving
    as it did, or stands still while what hangs on it moves.
    """
    frames, n = cost.shape
    if frames < 3:
        return cost.argmin(axis=1)
    value = np.arange(n)
    flat = corners.reshape(frames, n, -1) / np.sqrt(corners.shape[2])
    flat = (flat - flat.mean(axis=(0, 1))).astype(np.float64)
    square = np.sum(flat**2, axis=-1)
    inner = np.einsum("tap,tbp->tab", flat[:-1], flat[1:])
    skip = np.einsum("tap,tbp->tab", flat[:-2], flat[2:])
    moved = square[:-1, :, None] + square[1:, None] - 2.0 * inner
    step = STEP_COST * (value[:, None] - value) ** 2 + STEP_SHARE * moved
    bending = BEND_COST * (value[:, None, None] - 2 * value[:, None] + value) ** 2
    best = cost[0][:, None] + cost[1] + step[0]  # of paths that end in values (a, b)
    back = []
    for t in range(2, frames):
        bend = square[t - 2][:, None, None] + 4.0 * square[t - 1][:, None] + square[t]
        bend = bend - 4.0 * (inner[t - 2][:, :, None] + inner[t - 1])
        bend = bend + 2.0 * skip[t - 2][:, None]
        through = best[:, :, None] + bending + BEND_SHARE * bend
        back.append(through.argmin(axis=0))
        best = through.min(axis=0) + cost[t] + step[t - 1]
    path = [int(x) for x in np.unravel_index(best.argmin(), best.shape)][::-1]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1], path[-2]]))
    return np.array(path[::-1])
