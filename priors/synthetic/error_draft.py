"""Observations in the making, on which error families err one after the other."""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from hoijax.objects.asset import Asset


@dataclass
class Draft:
    """Observations in the making, everything still exact before the first family errs.

    Point maps are depth images along the rays of the true camera; `label_images` has 0 background,
    then people, then objects.
    """

    depth: ndarray  # (T, H, W) metres, 0 where nothing was hit
    label_images: ndarray  # (T, H, W)
    keypoints: ndarray  # (P, T, 18, 3)
    intrinsics: ndarray  # (T, 3, 3), as reported
    Ts_world_camera: ndarray  # (T, 4, 4), as reported
    point_scale: ndarray  # (T,) of the point map
    point_shift: ndarray  # (T, 3) metres, camera axes
    rotations: ndarray  # (P, T, 55, 3) axis-angle
    translations: ndarray  # (P, T, 3)
    rest_joints: ndarray  # (P, 55, 3)
    assets: tuple[Asset, ...]  # the meshes the solver is given
    people: int

    @property
    def frames(self) -> int:
        return len(self.depth)


def ar1(rng: np.random.Generator, shape: tuple[int, ...], memory: float) -> ndarray:
    """Unit-variance first-order autoregression along the first axis: drift that remembers."""
    draws = rng.standard_normal(shape)
    out = np.empty(shape)
    out[0] = draws[0]
    for t in range(1, shape[0]):
        out[t] = memory * out[t - 1] + np.sqrt(1.0 - memory**2) * draws[t]
    return out
