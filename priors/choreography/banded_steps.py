"""Least squares over frames that smoothness joins: the smoothness, and one damped Gauss-Newton step.

The matrix is banded: a dense block for each frame, and diagonals between a frame and the next two. LAPACK
factors it in time linear in the frames.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from priors.choreography.joint_limits import JOINT_COUNT
from priors.choreography.pose_targets import FPS

DIFFERENCES = ((-1.0, 1.0), (1.0, -2.0, 1.0))
"""Of consecutive frames: velocity, acceleration (per frame, per frame squared)."""
VELOCITY, ACCELERATION = 0.3, 2.5
PELVIS_VELOCITY, PELVIS_ACCELERATION = 1.0, 25.0
BEYOND = 60.0
"""Weight of what exceeds a limit: of a radian a frame, or a frame squared."""
FASTEST_PELVIS, HARDEST_PELVIS = 2.0, 6.0  # m/s, m/s^2
_FASTEST = {
    "trunk": (0.6, 5.0), "neck": (1.6, 9.0), "collar": (1.0, 7.0), "leg": (8.0, 60.0),
    "arm": (5.5, 40.0), "wrist": (6.0, 45.0),
}  # fmt: skip
"""rad/s and rad/s^2 of an unknown, as people move who are at work: reaching, turning, swinging."""
_KINDS = (
    "trunk", "leg", "leg", "trunk", "leg", "leg", "trunk", "leg", "leg", "trunk", "leg", "leg", "neck",
    "collar", "collar", "neck", "arm", "arm", "arm", "arm", "wrist", "wrist",
)  # fmt: skip


def _of_unknowns(pelvis: float, joints: Float[ndarray, " 22"]) -> Float[ndarray, " 69"]:
    return np.concatenate([np.full(3, pelvis), np.repeat(joints, 3)])


WEIGHTS = (
    _of_unknowns(PELVIS_VELOCITY**2, np.full(JOINT_COUNT, VELOCITY**2)),
    _of_unknowns(PELVIS_ACCELERATION**2, np.full(JOINT_COUNT, ACCELERATION**2)),
)
"""Squared weights of the differences of each unknown."""
_LIMITS = np.array([_FASTEST[kind] for kind in _KINDS])
LIMITS = (
    _of_unknowns(FASTEST_PELVIS, _LIMITS[:, 0]) / FPS,
    _of_unknowns(HARDEST_PELVIS, _LIMITS[:, 1]) / FPS**2,
)
"""Of the differences of each unknown, per frame and per frame squared."""


@dataclass(frozen=True)
class Smoothness:
    """The cost of a clip's velocities and accelerations (sum of squares), and half its derivatives."""

    cost: float
    gradient: Float[ndarray, "T 69"]
    bands: list[Float[ndarray, "T 69"]]
    """Curvature of each unknown with itself in the same frame, the next, and the one after."""


def smoothness(x: Float[ndarray, "T 69"]) -> Smoothness:
    """Small everywhere by the weights; beyond a limit, what exceeds it costs by BEYOND."""
    frames, cost, gradient = len(x), 0.0, np.zeros_like(x)
    bands = [np.zeros_like(x) for _ in range(3)]
    for coefficients, weight, limit in zip(DIFFERENCES, WEIGHTS, LIMITS, strict=True):
        rows = [slice(i, frames - len(coefficients) + 1 + i) for i in range(len(coefficients))]
        change = sum(c * x[row] for c, row in zip(coefficients, rows, strict=True))
        beyond = change - np.clip(change, -limit, limit)
        cost += float(np.sum(weight * change**2 + BEYOND**2 * beyond**2))
        slope = weight * change + BEYOND**2 * beyond
        curvature = weight + BEYOND**2 * (beyond != 0.0)
        for i, first in enumerate(coefficients):
            gradient[rows[i]] += first * slope
            for j, second in enumerate(coefficients[i:]):
                bands[j][rows[i]] += first * second * curvature
    return Smoothness(cost, gradient, bands)


def independence(x: Float[ndarray, "T 69"]) -> Smoothness:
    """Of frames that have nothing to do with each other."""
    return Smoothness(0.0, np.zeros_like(x), [np.zeros_like(x) for _ in range(3)])


def no_columns(frames: int, n: int) -> Float[ndarray, "T n 4*n"]:
    """Of every frame the n columns of its block, and what lies below it: the next two frames' rows."""
    return np.zeros((frames, n, 4 * n))


def damped_step(
    blocks: Float[ndarray, "T n n"],
    gradient: Float[ndarray, "T n"],
    bands: list[Float[ndarray, "T n"]],
    columns: Float[ndarray, "T n 4*n"],
) -> Float[ndarray, "T n"]:
    """Solve (blocks on the diagonal + bands) step = -gradient by one banded Cholesky factorization.

    columns: room for the matrix, of `no_columns`; every step of a descent writes the same places.
    """
    from scipy.linalg import solveh_banded

    frames, n = gradient.shape
    columns[:, :, :n] = blocks
    index = np.arange(n)
    columns[:, index, index] += bands[0]
    for shift, band in enumerate(bands[1:], start=1):
        columns[:, index, shift * n + index] = band
    # LAPACK wants each column to begin at its diagonal: read along the slanted rows.
    size = columns.itemsize
    slanted = np.lib.stride_tricks.as_strided(
        columns, (frames, n, 3 * n), (4 * n * n * size, (4 * n + 1) * size, size), writeable=False
    )
    lower = slanted.reshape(frames * n, 3 * n)[:, : 2 * n + 1].T
    return solveh_banded(lower, -gradient.ravel(), lower=True, check_finite=False).reshape(
        frames, n
    )
