"""Camera poses over time: estimates of a camera that stands still differ by noise only."""

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from hoijax.geometry.transforms import compose_rigid

SETTLED_METERS, SETTLED_RADIANS = 0.05, 0.03


def average_static_camera(
    Ts_world_camera: Float[np.ndarray, "T 4 4"],
) -> Float[np.ndarray, "T 4 4"]:
    """The mean pose in every frame where the estimates differ by noise only, else the estimates.

    The prompts of the video prior ask for a fixed camera; a camera that really moves goes further
    than SETTLED_METRES or SETTLED_RADIANS from its mean and is left alone.
    """
    rotations = Rotation.from_matrix(Ts_world_camera[:, :3, :3])
    mean, center = rotations.mean(), Ts_world_camera[:, :3, 3].mean(axis=0)
    away = np.linalg.norm(Ts_world_camera[:, :3, 3] - center, axis=-1).max()
    if (mean.inv() * rotations).magnitude().max() > SETTLED_RADIANS or away > SETTLED_METERS:
        return Ts_world_camera
    pose = compose_rigid(mean.as_matrix(), center)
    return np.broadcast_to(pose, Ts_world_camera.shape)
