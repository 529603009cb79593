"""Tracks held together where no single frame tells how an object is turned (host).

Refined frame by frame, a track leaves its turn wherever another one happens to fit that frame's mask better, and
no descent over the whole clip comes back from there. So every frame also tries how the object is turned in the
frames beside it, and the path through these that costs least, steps included, goes on.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.initialization.box_turns import TRIED, Hypotheses
from hoijax.initialization.tracks import Track, fill_gaps
from hoijax.initialization.trajectory_paths import PathCosts, cheapest_path

OFFSETS = (-2, -1, 0, 1, 2)
"""Frames whose turns are tried."""
HELD = TRIED // len(OFFSETS)
"""Tracks that are held together: the best ones."""


def held_together(
    tracks: list[Track],
    seen: Bool[ndarray, " T"],
    symmetries: Float[ndarray, "S 3 3"],
    refine: Callable[[Float[ndarray, "T H 3 3"], Float[ndarray, "T H 3"]], Hypotheses],
    costs: PathCosts,
) -> tuple[list[Track], float]:
    """The best `HELD` tracks, turned as in neighboring frames where that costs less: cheapest first, and the
    cost of the cheapest.

    tracks: best first. seen: frames that have a mask. refine: moves poses nearer to what every frame shows.
    What flips on its way pays for it.
    """
    frames, costs = np.flatnonzero(seen), dataclasses.replace(costs, cut=np.inf)
    tracks = tracks[:HELD]
    R, x, unary = refine(*_tried(tracks, frames))
    held, totals, rows = [], [], np.arange(len(frames))
    for k, (rotations, positions) in enumerate(tracks):
        own = slice(k * len(OFFSETS), (k + 1) * len(OFFSETS))
        found = R[frames, own], x[frames, own], unary[frames, own]
        path, total = cheapest_path(*found, frames, costs)
        turned, moved = rotations.copy(), positions.copy()
        turned[frames], moved[frames] = found[0][rows, path], found[1][rows, path]
        held.append(fill_gaps(turned, moved, seen, symmetries))
        totals.append(total)
    return [held[k] for k in np.argsort(totals, kind="stable")], min(totals)


def _tried(
    tracks: list[Track], frames: Int[ndarray, " F"]
) -> tuple[Float[ndarray, "T H 3 3"], Float[ndarray, "T H 3"]]:
    """Poses to refine, as many as `TRIED`: each track where it is, turned as in the seen frames beside."""
    beside = np.arange(len(frames))[:, None] + np.array(OFFSETS)
    turns = np.zeros((len(tracks[0][1]), len(OFFSETS)), np.int64)
    turns[frames] = frames[np.clip(beside, 0, len(frames) - 1)]
    rotations = np.concatenate([r[turns] for r, _ in tracks], axis=1)
    positions = np.repeat(np.stack([x for _, x in tracks], axis=1), len(OFFSETS), axis=1)
    again = np.arange(TRIED) % rotations.shape[1]
    return rotations[:, again].astype(np.float32), positions[:, again].astype(np.float32)
