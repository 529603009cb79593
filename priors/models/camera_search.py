"""Where a camera stands that sees known points of a world at known pixels."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from hoijax.errors import UserError
from hoijax.geometry.transforms import compose_rigid

__all__ = ["camera_of_world"]

FRAMES = 24
"""Frames, spread over the clip, that the search looks at."""
HEADINGS = 8


def camera_of_world(
    points: Float[ndarray, "T N 3"],
    pixels: Float[ndarray, "T N 3"],
    intrinsics: Float[ndarray, "T 3 3"],
) -> Float[ndarray, "4 4"]:
    """T_world_camera of one camera for all frames, from points (world, y up) and (u, v, confidence).

    Level starts all around the points, each refined by robust least squares; the best is taken.
    UserError where nothing is seen.
    """
    from scipy.optimize import least_squares

    frames = np.unique(np.linspace(0, len(points) - 1, min(FRAMES, len(points))).astype(int))
    points, seen, k = points[frames], pixels[frames], intrinsics[frames]
    weight = np.sqrt(np.where(seen[..., 2] > 0.3, seen[..., 2], 0.0))[..., None]
    if not weight.any():
        raise UserError("no keypoint says where the camera stands that sees the body of the file.")
    focal = np.stack([k[:, 0, 0], k[:, 1, 1]], -1)[:, None]
    center = points.reshape(-1, 3).mean(0)
    sizes = np.ptp(points[..., 1], axis=1).mean() / np.maximum(
        np.ptp(seen[..., 1], axis=1).mean(), 1
    )
    distance = float(focal.mean() * sizes)

    def error(pose: ndarray) -> ndarray:
        local = Rotation.from_rotvec(pose[:3]).apply((points - center).reshape(-1, 3)) + pose[3:]
        local = local.reshape(points.shape)
        depth = np.maximum(local[..., 2:], 0.1)
        off = local[..., :2] / depth * focal + k[:, None, :2, 2] - seen[..., :2]
        return (weight * off / focal).ravel()

    best = None
    level = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
    for heading in np.arange(HEADINGS) * (2 * np.pi / HEADINGS):
        start = level * Rotation.from_rotvec([0.0, heading, 0.0])
        begun = np.concatenate([start.as_rotvec(), [0.0, 0.0, distance]])
        solution = least_squares(error, begun, loss="soft_l1", f_scale=0.01, max_nfev=60)
        if best is None or solution.cost < best.cost:
            best = solution
    assert best is not None
    rotation = Rotation.from_rotvec(best.x[:3]).inv()
    return compose_rigid(rotation.as_matrix(), center - rotation.apply(best.x[3:])).astype(
        np.float64
    )
