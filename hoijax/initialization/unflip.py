"""Paths without flips: a trajectory that jumps between near-symmetric twins, made continuous.

Seen from one side, a suitcase fits nearly as well turned by half a turn, and a path of per-frame
hypotheses may change from one twin to the other. No object turns by 60 degrees from one frame to
the next, and no local optimizer crosses such a jump: so the turn at the jump is taken as a near
symmetry of the object and undone on one side of it.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

FLIP_DEGREES = 60.0  # a quarter turn of a box that a mesh fits badly is less than 90
DISTINCT_DEGREES = 20.0  # mean over frames: closer tracks are the same


def angles_between(
    a: Float[ndarray, "*n 3 3"], b: Float[ndarray, "*n 3 3"]
) -> Float[ndarray, "*n"]:
    """Of rotations, radians."""
    trace = np.einsum("...ij,...ij->...", a, b)
    return np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0))


def unfold(rotations: Float[ndarray, "T 3 3"]) -> list[Float[ndarray, "T 3 3"]]:
    """Continuous variants of a track that flips: one for each of its two longest stretches.

    A variant keeps its stretch as it is and turns every other to follow on. A track without flips
    gives none.
    """
    flips = np.flatnonzero(angles_between(rotations[1:], rotations[:-1]) > np.radians(FLIP_DEGREES))
    if not len(flips):
        return []
    ends = np.concatenate([flips + 1, [len(rotations)]])
    starts = np.concatenate([[0], flips + 1])
    longest = np.argsort(starts - ends, kind="stable")[:2]
    return [_follow_on(rotations, starts, ends, int(stretch)) for stretch in longest]


def _follow_on(rotations: ndarray, starts: ndarray, ends: ndarray, longest: int) -> ndarray:
    track = rotations.copy()
    for k in range(longest + 1, len(starts)):
        first = starts[k]
        track[first : ends[k]] = rotations[first : ends[k]] @ (
            rotations[first].T @ track[first - 1]
        )
    for k in range(longest - 1, -1, -1):
        last = ends[k] - 1
        track[starts[k] : last + 1] = rotations[starts[k] : last + 1] @ (
            rotations[last].T @ track[last + 1]
        )
    return track


def is_new(
    track: Float[ndarray, "T 3 3"],
    others: list[Float[ndarray, "T 3 3"]],
    symmetries: Float[ndarray, "S 3 3"],
) -> bool:
    """Whether a track differs from all others by more than the object's symmetries explain."""
    for other in others:
        turned = np.einsum("tij,sjk->stik", other, symmetries)
        angles = angles_between(np.broadcast_to(track, turned.shape), turned)
        if angles.min(axis=0).mean() < np.radians(DISTINCT_DEGREES):
            return False
    return True
