"""What BlazePose reads of a person in a square: landmarks, depths, mask, and the square of the next image."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from priors.models.packaged import MASK_BYTE, Region, mask_box

__all__ = [
    "CIRCLE_MARGIN",
    "OTHER_SIDE",
    "Pose",
    "body_region",
    "of_both",
    "sides_differ",
    "unmirrored",
]

CIRCLE_MARGIN = 1.25  # side of the crop over the diameter of the body's circle
HIPS, REACH = 33, 34  # the two landmarks that place the next square
LEFT_SHOULDER, RIGHT_SHOULDER = 11, 12
BODY = slice(11, 33)
OTHER_SIDE = np.array(
    [
        0,
        4,
        5,
        6,
        1,
        2,
        3,
        8,
        7,
        10,
        9,
        *(i + 1 - 2 * (i % 2 == 0) for i in range(11, 33)),
        *range(33, 39),
    ]
)
"""BlazePose landmark on the other side of the body; the last six place the square."""
AGREEMENT = 0.03
"""Of the square's side: readings of the image and its mirror image that are so far apart are half as sure. On
five rendered clips a keypoint with a confidence of 0.6 is then 1.8 % of the image's height off in the median,
one of 0.9 is 1.0 %; with twice as much 3.1 and 1.2 %."""
NECK, OPENPOSE_HIPS = 1, (8, 11)
HIPS_INWARD, HIPS_DOWN = 0.41, 0.13
"""BlazePose marks hips wider and higher than the joints of SMPL bodies: shares of the way to their
middle, and of the way from the neck to it. Fitted to six rendered clips of Anny; leaving one out, the
error of its hips falls from 7-18 to 4-7 pixels of a 250 pixel person."""
OPENPOSE_FROM_LANDMARKS = np.array(
    [0, -1, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7]
)
"""BlazePose landmark of every OpenPose-18 point; -1, the neck, is the middle of the shoulders."""


@dataclass(frozen=True)
class Pose:
    """One person in one image."""

    landmarks: Float[ndarray, "39 3"]
    """u, v in pixels; confidence (visible and inside the image) in [0, 1]."""
    depths: Float[ndarray, " 39"]
    """Metres behind the middle of the hips, along the view, of a person of the size that the network takes."""
    presence: float
    """Probability that the square shows a person."""
    mask: UInt8[ndarray, "H W"]
    """Probability that a pixel shows the person, of 255: those of a long clip are held at once."""

    @property
    def openpose(self) -> Float[ndarray, "18 3"]:
        """OpenPose-18; the neck is as sure as the less sure shoulder, the hips are the joints."""
        return self.lifted_openpose[:, :3]

    @property
    def lifted_openpose(self) -> Float[ndarray, "18 4"]:
        """The same with depths, metres behind the middle of the hips along the view."""
        landmarks = np.concatenate([self.landmarks, self.depths[:, None]], axis=-1)
        points = landmarks[OPENPOSE_FROM_LANDMARKS]
        shoulders = landmarks[[LEFT_SHOULDER, RIGHT_SHOULDER]]
        points[NECK], points[NECK, 2] = shoulders.mean(0), shoulders[:, 2].min()
        sure, hips = points[:, 2].copy(), points[list(OPENPOSE_HIPS)]
        middle = hips.mean(0)
        down = HIPS_DOWN * (middle - points[NECK])
        points[list(OPENPOSE_HIPS)] = hips + HIPS_INWARD * (middle - hips) + down
        points[:, 2] = sure
        return points

    @property
    def next_region(self) -> Region:
        """The square of this person in the next image."""
        return body_region(self.landmarks[HIPS, :2], self.landmarks[REACH, :2])

    @property
    def box(self) -> Float[ndarray, " 4"]:
        """Box of the mask, or of the sure landmarks where the mask is empty."""
        mask = self.mask > MASK_BYTE
        if mask.any():
            return mask_box(mask)
        sure = self.landmarks[:33, :2][self.landmarks[:33, 2] >= np.median(self.landmarks[:33, 2])]
        return np.concatenate([sure.min(0), sure.max(0)])


def unmirrored(points: Float[ndarray, "39 3"], size: int) -> Float[ndarray, "39 3"]:
    """Landmarks of a mirrored square in the square itself: left ones were right ones."""
    return points[OTHER_SIDE] * (-1.0, 1.0, 1.0) + (size, 0.0, 0.0)


def sides_differ(one: Float[ndarray, "39 3"], two: Float[ndarray, "39 3"]) -> bool:
    """Whether two readings agree but for what is left and what is right."""
    sure = np.minimum(one[BODY, 2], two[BODY, 2])
    apart, exchanged = (
        float(np.sum(sure * np.linalg.norm(one[BODY, :2] - other[BODY, :2], axis=-1)))
        for other in (two, two[OTHER_SIDE])
    )
    return exchanged < 0.5 * apart


def of_both(
    one: Float[ndarray, "39 3"], two: Float[ndarray, "39 3"], size: int
) -> Float[ndarray, "39 3"]:
    """The mean of two readings by their confidence; where they disagree, they are less sure."""
    weights = np.stack([one[:, 2], two[:, 2]])[..., None] + 1e-6
    apart = np.linalg.norm(one[:, :2] - two[:, :2], axis=-1) / (AGREEMENT * size)
    mean = (weights * np.stack([one, two])[..., :2]).sum(axis=0) / weights.sum(axis=0)
    confidence = 0.5 * (one[:, 2] + two[:, 2]) / (1.0 + apart**2)
    return np.concatenate([mean, confidence[:, None]], -1)


def body_region(hips: Float[ndarray, " 2"], reach: Float[ndarray, " 2"]) -> Region:
    """The square around a body, turned so that the body stands upright in it.

    `reach` is the point on the body's circle above its middle: the circle's radius and direction.
    """
    up = np.asarray(reach, np.float64) - hips
    radius = float(np.linalg.norm(up))
    return Region(
        np.asarray(hips, np.float64),
        max(2 * CIRCLE_MARGIN * radius, 1.0),
        float(np.arctan2(up[0], -up[1])),
    )
