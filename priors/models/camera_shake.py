"""How a clip's camera turns, from how its background moves; and the clip as a camera that stands saw it.

Corners of a key frame are found again in every frame (pyramidal Lucas-Kanade), and most of them agree
on one homography (RANSAC; both OpenCV): the background's, for people and objects cover less of a
image than the scene does. A camera that turns in its place moves all of the background by one homography;
`priors.models.steady_background` then tells every frame from one image of the background.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.progress import Log, silent
from priors.models.background_corners import corners_of, found_again
from priors.models.object_cut import opencv
from priors.models.steady_background import refined_motions

__all__ = ["CameraShake", "estimate_shake", "steadied", "with_static_camera"]

STATIC = 0.003
"""Of the image's longer side: motion of the background below which the camera stands still."""
MAX_SHAKE = 0.1
"""The same: motion up to which a clip is steadied; more would leave too little of it in sight."""
FLOW_SIDE = 480
"""Pixels: longer side of the images in which corners are found again."""
MIN_CORNERS = 12
STILL, STILL_SHARE = 0.8, 0.2
"""Pixels that a corner may be away from its place, and least fraction of corners that are in theirs."""
FOUND_SHARE = 0.25
"""Least fraction of a key frame's corners that are found again."""
AGREE, AGREE_SHARE = 2.0, 0.4
"""The same for a homography, of the corners that are found again."""


def with_static_camera(
    frames: UInt8[ndarray, "T H W 3"],
    camera: str,
    *,
    bound_to_pixels: bool = False,
    log: Log = silent,
) -> tuple[UInt8[ndarray, "T H W 3"], Float[ndarray, "T 3 3"] | None]:
    """(frames as a camera that stands still would have seen them, how their pixels moved or None).

    All later stages think that the camera stands.

    camera: "auto", or "static" to leave the frames as they are. bound_to_pixels: masks or points of
    these very pixels are given, so that they cannot be moved. UserError where the camera moves too far.
    """
    if camera == "static":
        return frames, None
    try:
        opencv()
    except UserError as error:
        log(f"video: whether its camera stands still was not tested. {error}")
        return frames, None
    shake = estimate_shake(frames)
    if shake.is_static:
        return frames, None
    most = float(shake.displacement.max())
    how_far = f"{100 * most:.1f} % of the image" if np.isfinite(most) else "out of its first view"
    if bound_to_pixels or most > MAX_SHAKE:
        remedy = (
            "Steady the clip first, cut it to a part where the camera stands (--seconds START:END), or "
            "give --camera static to take it as standing."
        )
        if bound_to_pixels:
            log(f"video: its camera moves ({how_far}), all is solved as if it stood. {remedy}")
            return frames, None
        raise UserError(
            f"the clip's camera moves {how_far}; body and objects need a static one. {remedy}"
        )
    log(
        f"video: its camera moves {how_far}; steadied to frame {shake.reference}, its most usual view"
    )
    return steadied(frames, shake)[0], shake.motions


@dataclass(frozen=True)
class CameraShake:
    """The background's motion in pixels of the clip."""

    motions: Float[ndarray, "T 3 3"]
    """Homographies from the reference to each frame; NaN from where the background is lost."""
    displacement: Float[ndarray, " T"]
    """How far the middle half of the image is from the reference's, of its longer side; infinite where lost."""
    reference: int = 0
    """The frame from whose view the others are least away: the same one when the clip is played backwards. The
    first where the camera stands, or where the background is lost."""

    @property
    def is_static(self) -> bool:
        return bool(self.displacement.max() < STATIC)


def estimate_shake(frames: UInt8[ndarray, "T H W 3"]) -> CameraShake:
    """The background's motion over a clip."""
    cv2 = opencv()
    height, width = frames.shape[1:3]
    scale = min(1.0, FLOW_SIDE / max(height, width))

    def small(t: int) -> UInt8[ndarray, "h w"]:
        options = {"fx": scale, "fy": scale, "interpolation": cv2.INTER_AREA}
        return cv2.cvtColor(cv2.resize(frames[t], None, **options), cv2.COLOR_RGB2GRAY)

    key = before = small(0)
    corners = corners_of(key)
    T_key, T_before = np.eye(3), np.eye(3)
    motions = [np.eye(3)]
    for t in range(1, len(frames)):
        now = small(t)
        step = _registered(key, corners, now, T_before @ np.linalg.inv(T_key))
        if step is None:  # too little of the key frame is in sight: the last frame becomes it
            key, T_key = before, T_before
            corners = corners_of(key)
            step = _registered(key, corners, now, np.eye(3))
        if step is None:
            motions += [np.full((3, 3), np.nan)] * (len(frames) - t)
            break
        before, T_before = now, step @ T_key
        motions.append(T_before)
    to_small = np.diag([scale, scale, 1.0])
    whole = np.linalg.inv(to_small) @ np.stack(motions) @ to_small
    shake = CameraShake(whole, _displacement(whole, height, width) / max(height, width))
    if shake.is_static or not np.isfinite(whole).all():
        return shake
    images = np.stack([small(t) for t in range(len(frames))])
    whole = np.linalg.inv(to_small) @ refined_motions(images, np.stack(motions)) @ to_small
    return _from_usual_view(whole, height, width)


def _from_usual_view(motions: Float[ndarray, "T 3 3"], height: int, width: int) -> CameraShake:
    """Motions from the first frame, told from the one that is nearest to all others."""
    places = _moved_places(motions, height, width)
    away = [np.linalg.norm(places - of, axis=-1).mean(-1).sum() for of in places]
    reference = int(np.argmin(away))
    motions = motions @ np.linalg.inv(motions[reference])
    motions[reference] = np.eye(3)
    displacement = _displacement(motions, height, width) / max(height, width)
    return CameraShake(motions, displacement, reference)


def steadied(
    frames: UInt8[ndarray, "T H W 3"], shake: CameraShake
) -> tuple[UInt8[ndarray, "T H W 3"], Bool[ndarray, "T H W"]]:
    """(frames as the camera of the reference would have seen them, pixels that it did see)."""
    cv2 = opencv()
    size = (frames.shape[2], frames.shape[1])
    known = np.ones(frames.shape[:3], bool)
    steady = frames.copy()
    for t, motion in enumerate(shake.motions):
        if np.array_equal(motion, np.eye(3)):
            continue
        options = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP}
        # Continued, not black: a person who leaves the view would seem to end at a black border.
        continued = {**options, "borderMode": cv2.BORDER_REPLICATE}
        steady[t] = cv2.warpPerspective(frames[t], motion, size, **continued)
        white = np.full(frames.shape[1:3], 255, np.uint8)
        known[t] = cv2.warpPerspective(white, motion, size, **options) == 255
    return steady, known


def _registered(
    key: UInt8[ndarray, "h w"],
    corners: Float[ndarray, "N 2"],
    now: UInt8[ndarray, "h w"],
    guess: Float[ndarray, "3 3"],
) -> Float[ndarray, "3 3"] | None:
    """Homography from a key frame to an image: none, or near a guess; None where few corners agree."""
    cv2 = opencv()
    if len(corners) < MIN_CORNERS:
        return np.eye(3)  # nothing to see that could move
    there, is_found = found_again(key, corners, now)
    still = is_found & (np.linalg.norm(there - corners, axis=1) < STILL)
    if still.mean() > STILL_SHARE:
        return np.eye(3)  # under a moving camera hardly any corner is where it was
    if not np.array_equal(guess, np.eye(3)):
        options = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP}
        at_key = cv2.warpPerspective(now, guess, now.shape[::-1], **options)
        there, is_found = found_again(key, corners, at_key)
    if is_found.sum() < max(MIN_CORNERS, FOUND_SHARE * len(corners)):
        return None
    cv2.setRNGSeed(0)
    rest, agree = cv2.findHomography(corners[is_found], there[is_found], cv2.RANSAC, AGREE)
    if rest is None or agree.mean() < AGREE_SHARE:
        return None
    return guess @ rest


def _displacement(
    motions: Float[ndarray, "T 3 3"], height: int, width: int
) -> Float[ndarray, " T"]:
    still = _moved_places(np.eye(3)[None], height, width)
    away = np.linalg.norm(_moved_places(motions, height, width) - still, axis=-1).mean(-1)
    return np.nan_to_num(away, nan=np.inf)


def _moved_places(
    motions: Float[ndarray, "T 3 3"], height: int, width: int
) -> Float[ndarray, "T 4 2"]:
    """Where the corners of the image's middle half are in every frame, pixels."""
    u, v = np.meshgrid([0.25 * width, 0.75 * width], [0.25 * height, 0.75 * height])
    there = motions @ np.stack([u.ravel(), v.ravel(), np.ones(4)])
    return np.swapaxes(there[:, :2] / there[:, 2:], 1, 2)
