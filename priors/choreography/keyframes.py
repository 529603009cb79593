"""Keyframes, smooth interpolation and headings; numpy. Yaw 0 faces +z, positive turns left (y up)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def minimum_jerk(u: Float[ndarray, "*n"]) -> Float[ndarray, "*n"]:
    """0 to 1 with zero velocity and acceleration at both ends (Flash and Hogan 1985)."""
    u = np.clip(u, 0.0, 1.0)
    return u**3 * (10.0 - 15.0 * u + 6.0 * u * u)


def ramp(frames: int, start: float | int, end: float | int) -> Float[ndarray, "T"]:
    """0 before frame `start`, 1 after `end`, minimum jerk between."""
    return minimum_jerk((np.arange(frames) - start) / max(end - start, 1e-6))


def interpolate_keyframes(
    frames: int, times: Sequence[float | int], values: Sequence | ndarray, *, stops: bool = False
) -> Float[ndarray, "T ..."]:
    """Values at every frame through keyframes; constant outside.

    stops: come to rest at every keyframe (minimum jerk); otherwise pass through monotonically
    (PCHIP: no overshoot), at rest only at both ends.
    """
    from scipy.interpolate import PchipInterpolator

    times_array, values_array = np.asarray(times, float), np.asarray(values, float)
    t = np.clip(np.arange(frames, dtype=float), times_array[0], times_array[-1])
    if len(times_array) == 1:
        return np.repeat(values_array, frames, axis=0)
    if stops or len(times_array) == 2:
        k = np.clip(np.searchsorted(times_array, t, side="right") - 1, 0, len(times_array) - 2)
        u = minimum_jerk((t - times_array[k]) / (times_array[k + 1] - times_array[k]))
        u = u.reshape(-1, *[1] * (values_array.ndim - 1))
        return values_array[k] + u * (values_array[k + 1] - values_array[k])
    # Time is warped at both ends so that the path starts and ends at rest.
    span = times_array[-1] - times_array[0]
    ease = min(0.25 * span, 5.0)
    padded_times = np.concatenate([[times_array[0] - ease], times_array, [times_array[-1] + ease]])
    padded = np.concatenate([values_array[:1], values_array, values_array[-1:]])
    return PchipInterpolator(padded_times, padded, axis=0)(t)


def smooth_noise(rng: np.random.Generator, frames: int, size: int) -> Float[ndarray, "T n"]:
    """Slow seeded wander, about unit amplitude, zero in the first frame."""
    t = np.arange(frames)[:, None] / max(frames - 1, 1)
    total = np.zeros((frames, size))
    for cycles in (0.7, 1.3, 2.1):
        phase, gain = rng.uniform(0, 2 * np.pi, size), rng.normal(size=size) / cycles
        total += gain * (np.sin(2 * np.pi * cycles * t + phase) - np.sin(phase))
    return 0.6 * total


def forward_of(yaw: float) -> Float[ndarray, "3"]:
    """Unit vector a person with this heading faces."""
    return np.array([np.sin(yaw), 0.0, np.cos(yaw)])


def left_of(yaw: float) -> Float[ndarray, "3"]:
    """Unit vector to the left of a person with this heading."""
    return np.array([np.cos(yaw), 0.0, -np.sin(yaw)])


def yaw_matrix(yaw: Float[ndarray, "*n"]) -> Float[ndarray, "*n 3 3"]:
    """Rotation about the vertical; maps +z to `forward_of(yaw)`."""
    return euler_matrix(yaw, np.zeros_like(yaw), np.zeros_like(yaw))


def euler_matrix(
    yaw: Float[ndarray, "*n"], pitch: Float[ndarray, "*n"], roll: Float[ndarray, "*n"]
) -> Float[ndarray, "*n 3 3"]:
    """R_y(yaw) R_x(pitch) R_z(roll): heading, then nose down, then lean to the left."""
    from scipy.spatial.transform import Rotation

    yaw, pitch, roll = np.broadcast_arrays(yaw, pitch, roll)
    angles = np.stack([yaw.ravel(), pitch.ravel(), roll.ravel()], axis=-1)
    return Rotation.from_euler("YXZ", angles).as_matrix().reshape(*yaw.shape, 3, 3)
