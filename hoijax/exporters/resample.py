"""Clips at another frame rate, trimmed, looped: positions linearly, rotations by slerp."""

import dataclasses

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.exporters.clip import Clip, PersonClip
from hoijax.geometry.transforms import compose_rigid

LARGEST_FPS = 1000.0


def resample_clip(clip: Clip, fps: float) -> Clip:
    """The clip at `fps`, of the same duration to within a frame; it never extrapolates.

    Raises UserError unless 0 < fps <= 1000.
    """
    if not 0.0 < fps <= LARGEST_FPS:
        raise UserError(f"--fps must be above 0 and at most {LARGEST_FPS:g}, got {fps}.")
    if fps == clip.fps:
        return clip
    return _sampled(clip, resampled_times(clip.frame_count, clip.fps, fps), fps)


def trim_clip(clip: Clip, start: float = 0.0, end: float | None = None) -> Clip:
    """Frames from `start` to `end` seconds, both included. Raises UserError when none is left."""
    duration = (clip.frame_count - 1) / clip.fps
    end = duration if end is None else end
    first, last = int(np.ceil(start * clip.fps - 1e-6)), int(np.floor(end * clip.fps + 1e-6))
    if not 0 <= first <= last < clip.frame_count:
        raise UserError(
            f"cannot keep {start:g} s to {end:g} s: the clip has {duration:g} s. "
            "Give 0 <= start <= end <= its duration."
        )
    return _sampled(clip, np.arange(first, last + 1).astype(np.float64), clip.fps)


def loop_clip(clip: Clip, seconds: float = 0.5) -> Clip:
    """A clip that repeats without a jump: its end blends into its beginning over `seconds`.

    The last round(seconds * fps) frames are dropped and mixed into as many first ones, so the clip is
    that much shorter, and its last frame is followed by its first as it was followed before. The
    mix is a weighted mean of places and a slerp of rotations: contacts may slide in it. Raises
    UserError when the blend takes more than half of the clip, or less than a frame.
    """
    blend = round(seconds * clip.fps)
    if not 1 <= blend <= clip.frame_count // 2:
        raise UserError(
            f"a loop over {seconds:g} s mixes {blend} frames of {clip.frame_count}: give at least "
            f"{1 / clip.fps:.2g} s and at most {clip.frame_count // 2 / clip.fps:.2g} s."
        )
    count = clip.frame_count - blend
    # frame 0 of the loop is what followed frame kept - 1: the tail's first, all tail, no head
    fraction = np.zeros(count)
    fraction[:blend] = 1.0 - np.arange(blend) / blend
    head = np.arange(count)
    tail = np.where(head < blend, count + head, head)

    def mixed_places(values: ndarray) -> ndarray:
        weight = fraction.reshape(-1, *(1,) * (values.ndim - 1))
        return values[head] * (1.0 - weight) + values[tail] * weight

    def mixed_rotations(values: ndarray) -> ndarray:
        return slerp(values[head], values[tail], fraction)

    return _mapped(clip, mixed_places, mixed_rotations, clip.fps)


def _sampled(clip: Clip, times: Float[ndarray, "U"], fps: float) -> Clip:
    return _mapped(
        clip,
        lambda values: resample_positions(values, times),
        lambda values: resample_rotations(values, times),
        fps,
    )


def _mapped(clip: Clip, places, rotations, fps: float) -> Clip:
    """The clip with functions of arrays (T, ...) applied to all places and all axis-angles."""
    from scipy.spatial.transform import Rotation

    def person(who: PersonClip) -> PersonClip:
        return dataclasses.replace(
            who,
            joint_rotations=rotations(who.joint_rotations.astype(np.float64)).astype(np.float32),
            translations=places(who.translations.astype(np.float64)).astype(np.float32),
        )

    people = tuple(person(who) for who in clip.people)
    count, frames = clip.Ts_world_object.shape[:2]
    matrices = clip.Ts_world_object.astype(np.float64).swapaxes(0, 1)
    vectors = Rotation.from_matrix(matrices[..., :3, :3].reshape(-1, 3, 3)).as_rotvec()
    vectors = rotations(vectors.reshape(frames, count, 3))
    turned = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix()
    turned = turned.reshape(len(vectors), count, 3, 3)
    poses = compose_rigid(turned, places(matrices[..., :3, 3])).swapaxes(0, 1)
    values = clip.joint_values
    if values is not None:
        values = places(values.T.astype(np.float64)).T.astype(np.float32)
    moved = np.ascontiguousarray(poses)
    return Clip(fps, people, clip.assets, moved, clip.joints, values)


def resampled_times(frames: int, fps: float, target_fps: float) -> Float[ndarray, "U"]:
    """Fractional source frames of the clip at `target_fps`; starts at 0 and never extrapolates."""
    duration = (frames - 1) / fps
    count = int(np.floor(duration * target_fps + 1e-6)) + 1
    return np.minimum(np.arange(count) * (fps / target_fps), frames - 1)


def resample_positions(
    positions: Float[ndarray, "T *rest"], times: Float[ndarray, "U"]
) -> Float[ndarray, "U *rest"]:
    """Linear interpolation along the first axis."""
    before, after, fraction = _neighbors(len(positions), times)
    fraction = fraction.reshape(-1, *(1,) * (positions.ndim - 1))
    return positions[before] * (1 - fraction) + positions[after] * fraction


def resample_rotations(
    axis_angles: Float[ndarray, "T *rest 3"], times: Float[ndarray, "U"]
) -> Float[ndarray, "U *rest 3"]:
    """Slerp of axis-angle rotations along the first axis; exact at whole frames."""
    before, after, fraction = _neighbors(len(axis_angles), times)
    return slerp(axis_angles[before], axis_angles[after], fraction)


def slerp(
    start: Float[ndarray, "T *rest 3"],
    end: Float[ndarray, "T *rest 3"],
    fraction: Float[ndarray, "T"],
) -> Float[ndarray, "T *rest 3"]:
    """Axis-angle rotations `fraction` of the way from start to end, along the shorter arc."""
    from scipy.spatial.transform import Rotation

    first, last = (
        Rotation.from_rotvec(start.reshape(-1, 3)),
        Rotation.from_rotvec(end.reshape(-1, 3)),
    )
    fractions = np.broadcast_to(fraction.reshape(-1, *(1,) * (start.ndim - 1)), start.shape)
    step = Rotation.from_rotvec(fractions.reshape(-1, 3) * (first.inv() * last).as_rotvec())
    result = (first * step).as_rotvec().reshape(start.shape)
    whole = fraction == 0.0
    result[whole] = start[whole]  # keep angles beyond pi as they were given
    return result


def _neighbors(frames: int, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    nearest = np.rint(times)
    times = np.where(np.abs(times - nearest) < 1e-6, nearest, times)
    before = np.clip(np.floor(times).astype(np.int64), 0, frames - 1)
    after = np.clip(np.ceil(times).astype(np.int64), 0, frames - 1)
    return before, after, times - before
