"""Where an object touches nothing and falls, told from its path (host)."""

import itertools

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.geometry.transforms import GRAVITY

MIN_FRAMES, MIN_RISE = 5, 0.1
"""Of a flight: frames strictly between two touches, and metres between its lowest and highest."""
SHARE = (0.5, 1.5)
"""Of gravity: what a path that is called a flight falls at. Half of it tells falling from hanging."""
MISFIT = 0.15
"""Of its rise: root mean square distance of a flight from its parabola."""


def drops(
    heights: Float[ndarray, "O T"], touched: Bool[ndarray, "O T"], fps: float
) -> Float[ndarray, "O T"]:
    """Metres that the mean of its two neighbors lies below an object in free flight, g dt^2 / 2; else 0.

    heights: of the objects' centers, y up. touched: frames in which something is known to touch them. What
    falls freely has no lowest point on its way, so a flight lies between two touches or low points; it must
    fall about as gravity asks, which a thing that is carried does not.
    """
    lowered = np.zeros(heights.shape, np.float32)
    drop = 0.5 * float(np.linalg.norm(GRAVITY)) / fps**2
    for height, held, row in zip(heights, touched, lowered, strict=True):
        for begin, end in _between_touches(height, held):
            if _falls(height[begin : end + 1], fps):
                row[begin + 1 : end] = drop
    return lowered


def _between_touches(height: Float[ndarray, " T"], held: Bool[ndarray, " T"]):
    """(first, last frame) of stretches without a touch and without a lowest point."""
    last = len(height) - 1
    low = np.flatnonzero((height[1:-1] <= height[:-2]) & (height[1:-1] < height[2:])) + 1
    borders = np.unique(np.concatenate([[-1], low, np.flatnonzero(held), [last + 1]]))
    for before, after in itertools.pairwise(borders):
        if after - before > MIN_FRAMES:
            yield before + 1, after - 1


def _falls(height: Float[ndarray, " t"], fps: float) -> bool:
    """Whether a path is a parabola about as steep as gravity's."""
    rise = np.ptp(height)
    if rise < MIN_RISE:
        return False
    time = np.arange(len(height)) / fps
    parabola = np.polyfit(time, height, 2)
    low, high = SHARE
    acceleration = -2.0 * parabola[0] / float(np.linalg.norm(GRAVITY))
    misfit = np.sqrt(np.mean((np.polyval(parabola, time) - height) ** 2))
    return bool(low < acceleration < high and misfit < MISFIT * rise)
