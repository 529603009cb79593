"""Motion at another frame rate: positions linearly, rotations along the shorter arc (slerp)."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def resampled_times(frames: int, fps: float, target_fps: float) -> Float[ndarray, "U"]:
    """Fractional source frames of the clip at `target_fps`; starts at 0 and never extrapolates."""
    duration = (frames - 1) / fps
    count = int(np.floor(duration * target_fps + 1e-6)) + 1
    return np.minimum(np.arange(count) * (fps / target_fps), frames - 1)


def resample_positions(
    positions: Float[ndarray, "T *rest"], times: Float[ndarray, "U"]
) -> Float[ndarray, "U *rest"]:
    """Linear interpolation along the first axis."""
    before, after, share = _neighbours(len(positions), times)
    share = share.reshape(-1, *(1,) * (positions.ndim - 1))
    return positions[before] * (1 - share) + positions[after] * share


def resample_rotations(
    axis_angles: Float[ndarray, "T *rest 3"], times: Float[ndarray, "U"]
) -> Float[ndarray, "U *rest 3"]:
    """Slerp of axis-angle rotations along the first axis; exact at whole frames."""
    from scipy.spatial.transform import Rotation

    before, after, share = _neighbours(len(axis_angles), times)
    start = Rotation.from_rotvec(axis_angles[before].reshape(-1, 3))
    end = Rotation.from_rotvec(axis_angles[after].reshape(-1, 3))
    share = np.broadcast_to(
        share.reshape(-1, *(1,) * (axis_angles.ndim - 1)), axis_angles[before].shape
    ).reshape(-1, 3)
    turned = start * Rotation.from_rotvec(share * (start.inv() * end).as_rotvec())
    result = turned.as_rotvec().reshape(len(times), *axis_angles.shape[1:])
    whole = np.flatnonzero(before == after)
    result[whole] = axis_angles[before[whole]]  # keep angles beyond pi as they were given
    return result


def _neighbours(frames: int, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    nearest = np.rint(times)
    times = np.where(np.abs(times - nearest) < 1e-6, nearest, times)
    before = np.clip(np.floor(times).astype(np.int64), 0, frames - 1)
    after = np.clip(np.ceil(times).astype(np.int64), 0, frames - 1)
    return before, after, times - before
