"""Which way is up, from the upright edges of a scene: door posts, shelves, corners of rooms, boxes.

The images of upright edges all lead to one point, the vanishing point of the vertical. A camera's pitch and
roll say where it is; those to which most edges lead are taken (edges: OpenCV's line segment detector).
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.geometry.thinning import thinned
from priors.models.object_cut import opencv

__all__ = ["up_of_scene"]

SIDE = 640
"""Pixels: longer side of the image in which edges are found."""
PLATE_FRAMES = 15
SHORTEST, LONGEST = 0.03, 0.25
"""Of the image's height: shorter edges are not counted, of longer ones no more than this."""
STEEPEST = 40.0
"""Degrees from the image's vertical: other edges are not upright."""
ANGLE = 1.0
"""Degrees that an edge may be off; short ones more, by a pixel over their length."""
PITCHES, ROLLS = 40, 10
"""Degrees that are tried to either side."""
USUAL_PITCH, USUAL_ROLL = 20.0, 4.0
"""Degrees: Gaussian prior, against half an image's height of edges."""
LEAST, LEAST_SHARE = 0.4, 0.3
"""Image heights of edges that agree, and their share of all steep ones: fewer of nine agree by chance."""


def up_of_scene(
    frames: UInt8[ndarray, "T H W 3"],
    moving: Bool[ndarray, "T H W"],
    intrinsics: Float[ndarray, "T 3 3"],
) -> Float[ndarray, " 3"] | None:
    """Unit vector up in the axes (x right, y down) of a camera that stands still; None where edges do not tell.

    moving: people and objects, whose edges do not count. None also without OpenCV.
    """
    try:
        points, along, length = _steep_edges(frames, moving, intrinsics[0])
    except UserError:
        return None
    if not len(length):
        return None
    best = np.zeros(2)
    for reach, step in ((np.array([PITCHES, ROLLS]), 1.0), (np.ones(2), 0.1)):
        around = [np.arange(-r, r + step / 2, step) for r in reach]
        angles = best + np.stack(np.meshgrid(*around, indexing="ij"), -1)
        agreeing = _agreeing(_up(np.radians(angles)), points, along, length)
        unusual = ((angles / [USUAL_PITCH, USUAL_ROLL]) ** 2).sum(-1)
        score = agreeing - 0.25 * unusual
        best = angles[np.unravel_index(score.argmax(), score.shape)]
    found = float(agreeing.ravel()[score.argmax()])
    if found < max(LEAST, LEAST_SHARE * float(np.minimum(length, LONGEST).sum())):
        return None
    return _up(np.radians(best))


def _up(angles: Float[ndarray, "*n 2"]) -> Float[ndarray, "*n 3"]:
    """Up in the axes of a camera that looks down by a pitch and leans to the right by a roll (radians)."""
    pitch, roll = angles[..., 0], angles[..., 1]
    level = np.cos(pitch)
    return np.stack([-np.sin(roll) * level, -np.cos(roll) * level, -np.sin(pitch)], -1)


def _steep_edges(
    frames: UInt8[ndarray, "T H W 3"],
    moving: Bool[ndarray, "T H W"],
    camera: Float[ndarray, "3 3"],
) -> tuple[Float[ndarray, "N 2"], Float[ndarray, "N 2"], Float[ndarray, " N"]]:
    """(middle on the camera's plane z = 1, direction, length in image heights) of edges of the background."""
    cv2 = opencv()
    height, width = frames.shape[1:3]
    scale = min(1.0, SIDE / max(height, width))
    chosen = thinned(np.arange(len(frames)), PLATE_FRAMES)
    plate = np.median(frames[chosen], axis=0).astype(np.uint8)
    hidden = moving[chosen].mean(0) > 0.5
    small = cv2.resize(plate, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    found = cv2.createLineSegmentDetector().detect(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))[0]
    if found is None:
        return np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0)
    first, last = np.moveaxis(found.reshape(-1, 2, 2).astype(float) / scale, 1, 0)
    length, middle = np.linalg.norm(last - first, axis=1), (first + last) / 2
    along = (last - first) / np.maximum(length, 1e-9)[:, None]
    columns, rows = (np.clip(middle.astype(int), 0, [width - 1, height - 1])).T
    steep = np.abs(along[:, 1]) > np.cos(np.radians(STEEPEST))
    keep = steep & (length > SHORTEST * height) & ~hidden[rows, columns]
    plane = (middle - camera[:2, 2]) / [camera[0, 0], camera[1, 1]]
    return plane[keep], along[keep], length[keep] / height


def _agreeing(
    up: Float[ndarray, "*n 3"],
    points: Float[ndarray, "N 2"],
    along: Float[ndarray, "N 2"],
    length: Float[ndarray, " N"],
) -> Float[ndarray, "*n"]:
    """Image heights of edges that lead to the vanishing point of each direction."""
    leading = up[..., None, :2] - up[..., None, 2:] * points
    leading /= np.maximum(np.linalg.norm(leading, axis=-1, keepdims=True), 1e-9)
    off = np.abs(leading[..., 0] * along[:, 1] - leading[..., 1] * along[:, 0])
    tolerance = np.hypot(np.radians(ANGLE), 1.0 / (SIDE * length))
    return (np.minimum(length, LONGEST) * np.exp(-0.5 * (off / tolerance) ** 2)).sum(-1)
