"""Windows of images: what is measured about a mask is measured near it (host)."""

import numpy as np
from jaxtyping import Bool, Float, Integer
from numpy import ndarray
from scipy.ndimage import distance_transform_edt


def window_around(mask: Bool[ndarray, "H W"], margin: int) -> tuple[slice, slice]:
    """(rows, columns) of the smallest window that holds a mask and `margin` pixels around it, as far as the
    image goes; an empty window for an empty mask."""
    window = []
    for axis, size in enumerate(mask.shape):
        at = np.flatnonzero(mask.any(axis=1 - axis))
        low, high = (max(at[0] - margin, 0), min(at[-1] + 1 + margin, size)) if len(at) else (0, 0)
        window.append(slice(int(low), int(high)))
    return window[0], window[1]


def distances_near(
    mask: Bool[ndarray, "H W"], pixels: Integer[ndarray, "n 2"], reach: float
) -> Float[ndarray, " n"]:
    """Pixels from each (row, column) to the nearest of a mask; infinite beyond `reach`, or for an empty mask."""
    rows, columns = window_around(mask, int(np.ceil(reach)))
    low, high = [rows.start, columns.start], [rows.stop, columns.stop]
    inside = ((pixels >= low) & (pixels < high)).all(axis=1)
    distances = np.full(len(pixels), np.inf)
    if inside.any():
        away = np.asarray(distance_transform_edt(~mask[rows, columns]))
        distances[inside] = away[tuple((pixels[inside] - low).T)]
    return distances
