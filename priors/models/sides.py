"""Left and right of one person, the same over a clip.

A face that is blurred, covered or turned away leaves a keypoint network to guess from which side it sees a
person, and it guesses anew in each frame: shoulders, arms and legs change places. People do not. Of each
frame as it was read, and with its sides exchanged, the sequence that moves least is taken; of the two that
are each other's opposite, the one that agrees with more readings.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

__all__ = ["exchanged_sides", "with_steady_sides"]

OTHER_SIDE = np.array([0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16])
"""OpenPose-18 point on the other side of the body."""
LIMBS = np.array([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13])
NECK, HIPS = 1, (8, 11)
FARTHEST = 1.0
"""Of the torso's length: keypoints that move by more from frame to frame say no more."""
FADING = 0.8
"""Of its confidence: what is left of a place that was seen, a frame later."""
LOYALTY = 0.02
"""Of the torso's length: what it costs to exchange a frame's sides, a limb, beside what it moves less."""


def with_steady_sides(points: Float[ndarray, "T 18 C"]) -> Float[ndarray, "T 18 C"]:
    """OpenPose-18 (u, v, confidence, and more) with the sides of some frames exchanged."""
    exchanged = exchanged_sides(points)[:, None, None]
    return np.where(exchanged, points[:, OTHER_SIDE], points)


def exchanged_sides(points: Float[ndarray, "T 18 C"]) -> Bool[ndarray, " T"]:
    """In which frames left and right are the other way round than in most of the clip.

    The best of all sequences but for one thing: each of the two that reach a frame remembers where it last
    saw each limb surely, as frames in which sides are read anew are seldom sure of anything.
    """
    both = np.stack([points, points[:, OTHER_SIDE]], axis=1)[:, :, LIMBS, :3].astype(np.float64)
    frames = np.flatnonzero((both[:, 0, :, 2] > 0).any(axis=-1))
    exchanged = np.zeros(len(points), bool)
    hips = points[frames][:, HIPS, :2].mean(axis=1)
    torso = np.linalg.norm(points[frames, NECK, :2] - hips, axis=-1)
    if not (torso > 0).any():
        return exchanged
    length, came_from = float(np.median(torso)), []
    remembered, cost = np.zeros_like(both[0]), np.zeros(2)
    for t in frames:
        moved = np.linalg.norm(both[t, :, None, :, :2] - remembered[None, ..., :2], axis=-1)
        weights = np.minimum(both[t, :, None, :, 2], remembered[None, ..., 2])
        paths = cost + (weights * np.minimum(moved / length, FARTHEST)).sum(axis=-1)
        origin = paths.argmin(axis=1)  # of the sides now, by those before
        came_from.append(origin)
        cost = paths.min(axis=1) + np.array([0.0, LOYALTY * both[t, 0, :, 2].sum()])
        older = remembered[origin] * np.array([1.0, 1.0, FADING])
        remembered = np.where(both[t, ..., 2:] >= older[..., 2:], both[t], older)
    side = int(cost.argmin())
    for t, origin in zip(frames[::-1], came_from[::-1], strict=True):
        exchanged[t], side = bool(side), int(origin[side])
    return exchanged
