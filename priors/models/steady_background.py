"""How a camera turned and zoomed, each frame told from one image of the background, not from the frame before.

Homographies that are handed on from frame to frame drift, and where a person hides the scene nothing holds
them: of a clip played backwards they differ by pixels. The median of the steadied frames shows the scene
without those who move in it, whatever the order of the frames, and a turn and a zoom (4 numbers) reach
beyond the corners that are seen.
"""

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from hoijax.bundle.evidence import guessed_intrinsics
from hoijax.geometry.thinning import thinned
from priors.models.background_corners import corners_of, found_again
from priors.models.object_cut import opencv

__all__ = ["refined_motions"]

ROUNDS = 3
PLATE_FRAMES = 64
"""Of the median; more say little more."""
LENGTHS = (1.0, 100.0)
"""Focal lengths that are tried, times the usual one; by the second a turn shifts an image that is cut from a larger."""
OUTLIER = 0.5
"""Pixels: Cauchy's scale of what a corner is off."""
MAX_RESIDUAL = 1.0
"""Pixels, in the median over corners: a camera that moves otherwise keeps its homography."""
MIN_CORNERS = 12


def refined_motions(
    images: UInt8[ndarray, "T h w"], motions: Float[ndarray, "T 3 3"]
) -> Float[ndarray, "T 3 3"]:
    """Homographies from the reference to each frame, those of a camera that turns and zooms, where one does."""
    length, shape = None, images.shape[1:]
    for _ in range(ROUNDS):
        seen = _matches(images, motions)
        fits = {
            factor: [_fitted(*pair, factor, shape) for pair in seen]
            for factor in (LENGTHS if length is None else (length,))
        }
        length = min(fits, key=lambda factor: sum(off for _, off in fits[factor]))
        motions = np.stack(
            [
                fitted if off < MAX_RESIDUAL else before
                for before, (fitted, off) in zip(motions, fits[length], strict=True)
            ]
        )
    return motions


_Points = Float[ndarray, "N 2"]


def _matches(
    images: UInt8[ndarray, "T h w"], motions: Float[ndarray, "T 3 3"]
) -> list[tuple[_Points, _Points]]:
    """Corners of the scene in the reference and in each frame, by motions that are about right."""
    cv2 = opencv()
    options = {
        "flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        "borderMode": cv2.BORDER_REPLICATE,
    }

    def steady(t: int) -> UInt8[ndarray, "h w"]:
        return cv2.warpPerspective(images[t], motions[t], images.shape[:0:-1], **options)

    plate = [steady(int(t)) for t in thinned(np.arange(len(images)), PLATE_FRAMES)]
    background = np.median(plate, axis=0).astype(np.uint8)
    corners, matches = corners_of(background), []
    for t, motion in enumerate(motions):
        there, is_found = found_again(background, corners, steady(t))
        matches.append((corners[is_found].astype(float), _moved(motion, there[is_found])))
    return matches


def _fitted(
    here: _Points, there: _Points, length: float, shape: tuple[int, ...]
) -> tuple[Float[ndarray, "3 3"], float]:
    """(robust motion that takes points of the reference to those of a frame, pixels that it is off in the median)."""
    if len(here) < MIN_CORNERS:
        return np.eye(3), MAX_RESIDUAL

    def off(turn: ndarray) -> Float[ndarray, "N 2"]:
        return _moved(_motion(turn, length, shape), here) - there

    turn = least_squares(lambda x: off(x).ravel(), np.zeros(4), loss="cauchy", f_scale=OUTLIER).x
    residual = float(np.median(np.linalg.norm(off(turn), axis=-1)))
    return _motion(turn, length, shape), residual


def _motion(
    turn: Float[ndarray, " 4"], length: float, shape: tuple[int, ...]
) -> Float[ndarray, "3 3"]:
    """Homography of a camera that turns (pitch and yaw over the focal length, roll) and zooms (log of a factor)."""
    K = guessed_intrinsics(*shape).astype(float)
    K[[0, 1], [0, 1]] *= length
    zoomed = K.copy()
    zoomed[[0, 1], [0, 1]] *= np.exp(turn[3])
    rotation = Rotation.from_rotvec(turn[:3] / (length, length, 1.0)).as_matrix()
    return zoomed @ rotation @ np.linalg.inv(K)


def _moved(motion: Float[ndarray, "3 3"], points: Float[ndarray, "N 2"]) -> Float[ndarray, "N 2"]:
    there = points @ motion[:, :2].T + motion[:, 2]
    return there[:, :2] / there[:, 2:]
