"""Frames made small by averaging (host)."""

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

COLOR_SIDE = 192
"""Pixels along the longer side of `Observations.color_images`."""


def averaged(frames: UInt8[ndarray, "T H W 3"], h: int, w: int) -> Float[ndarray, "T {h} {w} 3"]:
    """Colors 0 to 1, each the mean of a small pixel's own block."""
    rows = np.linspace(0, frames.shape[1], h + 1).astype(int)
    columns = np.linspace(0, frames.shape[2], w + 1).astype(int)
    summed = np.add.reduceat(frames.astype(np.float64), rows[:-1], axis=1)
    summed = np.add.reduceat(summed, columns[:-1], axis=2)
    area = np.diff(rows)[:, None] * np.diff(columns)[None]
    return (summed / area[None, :, :, None] / 255.0).astype(np.float32)


def small_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) with a longer side of at most `COLOR_SIDE`."""
    factor = min(1.0, COLOR_SIDE / max(height, width))
    return max(round(factor * height), 1), max(round(factor * width), 1)


def color_images(frames: UInt8[ndarray, "T H W 3"]) -> UInt8[ndarray, "T h w 3"]:
    """A clip as `Observations.color_images` holds it."""
    h, w = small_size(*frames.shape[1:3])
    small = [averaged(frame[None], h, w) for frame in frames]
    return np.round(255.0 * np.concatenate(small)).astype(np.uint8)
