"""Keypoints that masks contradict lose confidence.

Networks put limbs that have left the image somewhere inside it, often on bare floor. A keypoint of a
person lies on the person's mask, or behind what hides the person.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.ndimage import distance_transform_edt

__all__ = ["doubted"]

AWAY = 0.08
"""Of the square root of the mask's area: a keypoint so far off the mask is half as sure. For a whole person
about the width of a wrist; hands and shoes are often missing from masks."""


def doubted(
    keypoints: Float[ndarray, "T J 3"],
    person: Bool[ndarray, "T H W"],
    others: Bool[ndarray, "T H W"],
) -> Float[ndarray, "T J 3"]:
    """The keypoints (u, v, confidence), less sure the farther they are from where the person may be.

    others: what may hide the person. Frames without a mask of the person stay.
    """
    keypoints = np.array(keypoints)
    height, width = person.shape[1:]
    for points, mask, cover in zip(keypoints, person, others, strict=True):
        if not mask.any():
            continue
        away = np.asarray(distance_transform_edt(~(mask | cover)))
        columns = np.clip(points[:, 0], 0, width - 1).astype(int)
        rows = np.clip(points[:, 1], 0, height - 1).astype(int)
        share = away[rows, columns] / (AWAY * np.sqrt(mask.sum()))
        points[:, 2] /= 1.0 + share**2
    return keypoints
