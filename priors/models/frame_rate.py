"""Motion between frames: a clip's measurements at another rate, and answers back at the clip's own."""

import dataclasses

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from hoijax.importers.body_tracks import BodyTrack, RootMotion

__all__ = ["keypoints_at", "rotations_at", "times_at_rate", "track_at_rate", "values_at"]

SAME_RATE = 0.01
"""Of a rate: 29.97 frames a second are 30."""


def times_at_rate(frames: int, fps: float, rate: float) -> Float[ndarray, " N"]:
    """Times, in frames of a clip at `fps`, of as many samples at `rate` as the clip has time for."""
    count = int(np.floor((frames - 1) * rate / fps + 1e-6)) + 1
    return np.arange(count) * (fps / rate)


def values_at(
    values: Float[ndarray, "T *C"], times: Float[ndarray, " N"]
) -> Float[ndarray, "N *C"]:
    """Linear between frames; the last frame's after the end."""
    first, second, fraction = _neighbors(len(values), times)
    fraction = fraction.reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)
    return (1 - fraction) * values[first] + fraction * values[second]


def keypoints_at(
    keypoints: Float[ndarray, "T J 3"], times: Float[ndarray, " N"]
) -> Float[ndarray, "N J 3"]:
    """(u, v, confidence) between frames; a point that one frame lacks is where the other saw it."""
    first, second, fraction = _neighbors(len(keypoints), times)
    weights = np.stack([1 - fraction, fraction])[..., None].astype(keypoints.dtype)
    weights = weights * np.stack([keypoints[first, :, 2], keypoints[second, :, 2]])
    total = weights.sum(0)
    pixels = np.stack([keypoints[first, :, :2], keypoints[second, :, :2]])
    mean = (weights[..., None] * pixels).sum(0) / np.maximum(total, 1e-9)[..., None]
    return np.concatenate([mean, total[..., None]], -1)


def rotations_at(
    rotations: Float[ndarray, "T J 3"], times: Float[ndarray, " N"]
) -> Float[ndarray, "N J 3"]:
    """Rotation vectors between frames, along the shortest arc."""
    first, second, fraction = _neighbors(len(rotations), times)
    start = Rotation.from_rotvec(rotations[first].reshape(-1, 3).astype(np.float64))
    end = Rotation.from_rotvec(rotations[second].reshape(-1, 3).astype(np.float64))
    arc = (start.inv() * end).as_rotvec() * np.repeat(fraction, rotations.shape[1])[:, None]
    turned = (start * Rotation.from_rotvec(arc)).as_rotvec()
    return turned.reshape(len(times), -1, 3).astype(rotations.dtype)


def track_at_rate(track: BodyTrack, fps: float) -> BodyTrack:
    """A track that says its own rate (AMASS: often 120 frames a second), at a clip's."""
    if track.fps is None or abs(track.fps / fps - 1) < SAME_RATE:
        return track
    times = times_at_rate(len(track.joint_rotations), track.fps, fps)

    def root(motion: RootMotion | None) -> RootMotion | None:
        if motion is None:
            return None
        return dataclasses.replace(
            motion,
            orientations=rotations_at(motion.orientations[:, None], times)[:, 0],
            translations=values_at(motion.translations, times),
        )

    return dataclasses.replace(
        track,
        joint_rotations=rotations_at(track.joint_rotations, times),
        camera=root(track.camera),
        world=root(track.world),
        fps=fps,
    )


def _neighbors(count: int, times: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """(frame before, frame after, share of the way) of every time."""
    times = np.clip(times, 0, count - 1)
    first = np.floor(times).astype(int)
    return first, np.minimum(first + 1, count - 1), times - first
