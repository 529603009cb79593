"""What moves while the shutter is open is longer in its image than it is: masks are shortened again.

A mask holds about half of what a blurred edge covers. Of a ball in flight, taken by its size to be nearer than
it is, that makes several percent of its distance.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from priors.models.object_cut import opencv

__all__ = ["without_blur"]

SMEAR = 0.25
"""Of the way in a frame: half of what a shutter that is open for half of the time sees. (Measured on a filmed
ball: its mask is longer along its way by 0.23 of that, and as wide as when it rests.)"""
MIN_END, MAX_END = 0.5, 0.1
"""Pixels at each end below which nothing is done, and of the square root of the area that is taken at most."""
STEADY = 0.5
"""Of the way: how far the ways before and after a frame may be apart; at a bounce nothing is known."""


def without_blur(masks: Bool[ndarray, "T h w"]) -> Bool[ndarray, "T h w"]:
    """One object's masks, shortened at both ends along the way that it moves in the image."""
    centers = np.array([_center(mask) for mask in masks])
    sharp = masks.copy()
    for t in range(1, len(masks) - 1):
        before, after = centers[t] - centers[t - 1], centers[t + 1] - centers[t]
        way = 0.5 * (before + after)
        speed = float(np.linalg.norm(way))
        if not np.linalg.norm(after - before) < STEADY * speed:  # nan: not seen
            continue
        end = min(0.5 * SMEAR * speed, MAX_END * float(np.sqrt(masks[t].sum())))
        if end >= MIN_END:
            sharp[t] &= _moved(masks[t], end * way / speed) & _moved(masks[t], -end * way / speed)
    return sharp


def _center(mask: Bool[ndarray, "h w"]) -> Float[ndarray, " 2"]:
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()]) if len(rows) else np.full(2, np.nan)


def _moved(mask: Bool[ndarray, "h w"], shift: Float[ndarray, " 2"]) -> Bool[ndarray, "h w"]:
    """A mask moved by a part of a pixel; beyond the image it goes on."""
    cv2 = opencv()
    matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
    size = mask.shape[::-1]
    moved = cv2.warpAffine(
        mask.astype(np.float32), matrix, size, None, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    )
    return moved > 0.5
