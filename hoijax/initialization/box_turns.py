"""Quarter turns of the best tracks, where nothing but its mask tells how an object is turned (host).

Seen without depth, a box fits its mask nearly as well turned by 90 degrees about an edge, somewhat nearer or
farther away. Which of these is right shows over the whole clip, in contact and on the ground, and only the
descent knows all of that: so the turns of the best tracks that fit best are among the starts.
"""

import itertools
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.initialization.tracks import Track, fill_gaps
from hoijax.initialization.trajectory_paths import PathCosts
from hoijax.initialization.unflip import angles_between, is_new
from hoijax.scene.silhouettes import Silhouettes

Hypotheses = tuple[Float[ndarray, "T H 3 3"], Float[ndarray, "T H 3"], Float[ndarray, "T H"]]
"""(rotations, positions, costs) in every frame."""
TRIED = 48
"""Tracks that are refined: as many always, so that one program serves."""


def tells_by_outline(silhouettes: Silhouettes, o: int) -> bool:
    """Whether most frames that show object `o` show no more than its outline."""
    outline = silhouettes.outline
    shown = np.asarray(outline.falls_short)[o].any(axis=-1)
    return bool(2 * np.asarray(outline.alone)[o].sum() > shown.sum())


def with_box_turns(
    hull: Float[ndarray, "N 3"],
    tracks: list[Track],
    seen: Bool[ndarray, " T"],
    symmetries: Float[ndarray, "S 3 3"],
    refine: Callable[[Float[ndarray, "T H 3 3"], Float[ndarray, "T H 3"]], Hypotheses],
    costs: PathCosts,
) -> list[Track]:
    """Tracks of an object and their quarter turns, refined in every frame: distinct ones, best first.

    hull: farthest points of its mesh. tracks: best first. seen: frames that have a mask. What flips on its way pays for it.
    """
    tried = _tried(tracks, box_turns(hull), symmetries)
    rotations, positions = (
        np.stack([tried[k % len(tried)][i] for k in range(TRIED)], axis=1).astype(np.float32)
        for i in range(2)
    )
    R, x, unary = refine(rotations, positions)
    refined = [fill_gaps(R[:, k], x[:, k], seen, symmetries) for k in range(len(tried))]
    totals = [unary[seen, k].sum() + _steps(*track, costs) for k, track in enumerate(refined)]
    chosen: list[Track] = []
    for k in np.argsort(totals, kind="stable"):
        if is_new(refined[k][0], [r for r, _ in chosen], symmetries):
            chosen.append(refined[k])
    return chosen


def box_turns(hull: Float[ndarray, "N 3"]) -> Float[ndarray, "24 3 3"]:
    """Rotations that map the axes of the smallest box around some points onto one another."""
    from trimesh.bounds import oriented_bounds

    with np.errstate(invalid="ignore"):  # of what is flat
        T_box_hull, _ = oriented_bounds(hull)
    axes = T_box_hull[:3, :3]
    turns = [
        np.eye(3)[list(order)] * np.array(signs)[:, None]
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]
    return axes.T @ np.stack([turn for turn in turns if np.linalg.det(turn) > 0.0]) @ axes


def _tried(
    tracks: list[Track], turns: Float[ndarray, "24 3 3"], symmetries: Float[ndarray, "S 3 3"]
) -> list[Track]:
    """The tracks, then turned ones that look otherwise: up to `TRIED`."""
    tried = tracks[:TRIED]
    for rotations, positions in tracks:
        for turn in turns:
            if len(tried) == TRIED:
                return tried
            if is_new(rotations @ turn, [r for r, _ in tried], symmetries):
                tried.append((rotations @ turn, positions))
    return tried


def _steps(
    rotations: Float[ndarray, "T 3 3"], positions: Float[ndarray, "T 3"], costs: PathCosts
) -> float:
    """Cost of all steps from frame to frame, as `trajectory_paths.transition` without its bound."""
    angles = angles_between(rotations[1:], rotations[:-1])
    moved = np.sum(np.diff(positions, axis=0) ** 2, axis=-1)
    return float((costs.rotation * angles**2 + costs.translation * moved).sum())
