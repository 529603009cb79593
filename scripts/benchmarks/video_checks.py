"""What can be checked of a motion without a truth: free fall, and the same clip mirrored, reversed, thinned."""

import itertools

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bodies.kinematics import BODY_JOINT_COUNT, JOINT_NAMES

__all__ = ["VARIANTS", "fall_accelerations", "hint_of_variant", "motion_apart", "variant_of"]

BESIDE_TOUCH = 2
"""Frames on both sides of a touch that are not free."""
MIN_FRAMES, MIN_RISE = 5, 0.15
"""Of a flight: frames that are left, and metres between its lowest and highest."""
VARIANTS = ("mirrored", "reversed", "half rate")


def fall_accelerations(heights: Float[ndarray, " T"], fps: float) -> Float[ndarray, " n"]:
    """Downward m/s^2 of every flight between two touches, which are the path's lowest frames around."""
    lowest = np.flatnonzero((heights[1:-1] <= heights[:-2]) & (heights[1:-1] < heights[2:])) + 1
    accelerations = []
    for begin, end in itertools.pairwise(lowest):
        frames = np.arange(begin + BESIDE_TOUCH, end - BESIDE_TOUCH + 1)
        if len(frames) >= MIN_FRAMES and np.ptp(heights[begin : end + 1]) >= MIN_RISE:
            accelerations.append(-2.0 * np.polyfit(frames / fps, heights[frames], 2)[0])
    return np.array(accelerations)


def variant_of(frames: ndarray, name: str) -> ndarray:
    """A clip mirrored, played backwards, or with every second frame left out."""
    if name == "mirrored":
        return np.ascontiguousarray(frames[:, :, ::-1])
    return np.ascontiguousarray(frames[::-1] if name == "reversed" else frames[::2])


def hint_of_variant(hint: str, name: str, width: int, count: int) -> str:
    """FRAME:x,y,w,h for the variant of a clip of so many columns and frames."""
    frame, box = hint.split(":")
    x, y, w, h = (float(number) for number in box.split(","))
    at = int(frame)
    if name == "mirrored":
        x = width - x - w
    elif name == "reversed":
        at = count - 1 - at
    else:
        at //= 2
    return f"{at}:{x:g},{y:g},{w:g},{h:g}"


def motion_apart(
    joints: Float[ndarray, "T 55 3"],
    centers: Float[ndarray, "T 3"],
    variant_joints: Float[ndarray, "t 55 3"],
    variant_centers: Float[ndarray, "t 3"],
    name: str,
) -> tuple[float, float]:
    """Median metres between a motion and its variant undone: (joints, center of the object).

    The camera looks along z with x = 0 in the middle of its image, so that a mirrored clip has mirrored x.
    """
    if name == "half rate":
        joints, centers = joints[::2], centers[::2]
    elif name == "reversed":
        variant_joints, variant_centers = variant_joints[::-1], variant_centers[::-1]
    else:
        mirror = np.array([-1.0, 1.0, 1.0])
        variant_joints = (variant_joints * mirror)[:, _swapped()]
        variant_centers = variant_centers * mirror
    body = np.linalg.norm(joints - variant_joints, axis=-1)[:, :BODY_JOINT_COUNT]
    return float(np.median(body)), float(
        np.median(np.linalg.norm(centers - variant_centers, axis=-1))
    )


def _swapped() -> list[int]:
    """Every joint's index on the other side."""
    names = list(JOINT_NAMES)
    other = {"left": "right", "right": "left"}
    sides = [(name.split("_")[0], name) for name in names]
    return [names.index(n.replace(s, other[s], 1) if s in other else n) for s, n in sides]
