"""Corners of a scene, and where they are in another image (both OpenCV)."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from priors.models.object_cut import opencv

__all__ = ["corners_of", "found_again"]

TILES, TILE_CORNERS = 6, 8
"""Corners are looked for in 6 x 6 tiles, so that a textured object does not outvote a plain scene."""


def found_again(
    key: UInt8[ndarray, "h w"], corners: Float[ndarray, "N 2"], now: UInt8[ndarray, "h w"]
) -> tuple[Float[ndarray, "N 2"], Bool[ndarray, " N"]]:
    """Where corners are in another image, and which lead back to where they came from."""
    cv2 = opencv()
    there, good, _ = cv2.calcOpticalFlowPyrLK(key, now, corners, None, maxLevel=3)
    back, good_back, _ = cv2.calcOpticalFlowPyrLK(now, key, there, None, maxLevel=3)
    returned = np.linalg.norm(back - corners, axis=1) < 1
    return there, (good.ravel() > 0) & (good_back.ravel() > 0) & returned


def corners_of(image: UInt8[ndarray, "h w"]) -> Float[ndarray, "N 2"]:
    """The sharpest corners of every tile."""
    cv2 = opencv()
    height, width = image.shape
    blocks = [np.zeros((0, 2), np.float32)]
    for rows in np.array_split(np.arange(height), TILES):
        for columns in np.array_split(np.arange(width), TILES):
            tile = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            corners = cv2.goodFeaturesToTrack(tile, TILE_CORNERS, 0.02, 5)
            if corners is not None:
                blocks.append(corners.reshape(-1, 2) + np.array([columns[0], rows[0]]))
    return np.concatenate(blocks).astype(np.float32)
