"""A pose from keypoints in space: directions of bones, and hinges that say how limbs are turned (host).

Every limb has two bones and a hinge between them. The first bone's direction and the hinge's axis, which
is normal to both bones, are a whole rotation; where a limb is straight or half unseen, the hinge is where
the smallest turn from the rest pose leaves it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import median_filter
from scipy.spatial.transform import Rotation

from hoijax.bodies.keypoints import OPENPOSE_18
from hoijax.bodies.pose_prior import standing_reference

_INDEX = {name: i for i, name in enumerate(OPENPOSE_18)}
HINGE_FROM = 0.26
"""Sine of the bend from which on the bones alone say where a hinge is."""
MEDIAN_FRAMES = 5


@dataclass(frozen=True)
class _Limb:
    keypoints: tuple[str, str, str]
    first: int
    """Joint of the first bone; the hinge is `second`."""
    second: int
    along: tuple[int, int, int]
    """The bones' direction at rest."""
    hinge: tuple[int, int, int]
    """Axis about which the limb bends in the positive sense, at rest."""


_LIMBS = (
    _Limb(("left_hip", "left_knee", "left_ankle"), 1, 4, (0, -1, 0), (1, 0, 0)),
    _Limb(("right_hip", "right_knee", "right_ankle"), 2, 5, (0, -1, 0), (1, 0, 0)),
    _Limb(("left_shoulder", "left_elbow", "left_wrist"), 16, 18, (1, 0, 0), (0, -1, 0)),
    _Limb(("right_shoulder", "right_elbow", "right_wrist"), 17, 19, (-1, 0, 0), (0, 1, 0)),
)


def lifted_pose(keypoints_world: Float[ndarray, "T 18 3"]) -> Float[ndarray, "T 22 3"] | None:
    """Axis-angles of root and body joints, T-pose zero; None where no frame shows a trunk.

    keypoints_world: metres, NaN where unknown. What no frame shows of a limb is that of a standing
    body; what other frames show is taken from the nearest of them.
    """
    points = _steady(keypoints_world)
    root = _root(points)
    seen = np.asarray(np.isfinite(root).all(axis=(1, 2)))
    if not seen.any():
        return None
    root = root[_nearest(seen)]
    pose = np.repeat(standing_reference()[None], len(points), axis=0).astype(np.float64)
    pose[:, 0] = Rotation.from_matrix(root).as_rotvec()
    for limb in _LIMBS:
        start, middle, end = (points[:, _INDEX[name]] for name in limb.keypoints)
        first = np.einsum("tji,tj->ti", root, middle - start)
        second = np.einsum("tji,tj->ti", root, end - middle)
        known = np.isfinite(first).all(axis=1)
        if not known.any():
            continue
        rotations, bend = _bent(limb, _unit(first[known]), _unit(second[known]))
        nearest = _nearest(known, compact=True)
        pose[:, limb.first] = rotations.as_rotvec()[nearest]
        pose[:, limb.second] = bend[nearest, None] * np.array(limb.hinge)
    return pose.astype(np.float32)


def _steady(points: ndarray) -> ndarray:
    """Short gaps closed and single outliers taken out of every keypoint's path."""
    out = np.full_like(points, np.nan)
    frames = np.arange(len(points))
    for k in range(points.shape[1]):
        good = np.flatnonzero(np.isfinite(points[:, k]).all(axis=1))
        if len(good) == 0:
            continue
        path = np.stack([np.interp(frames, good, x) for x in points[good, k].T], axis=-1)
        path = median_filter(path, size=(min(MEDIAN_FRAMES, len(path)), 1), mode="nearest")
        near = np.abs(frames[:, None] - good).min(axis=1) <= MEDIAN_FRAMES
        out[near, k] = path[near]
    return out


def _root(points: ndarray) -> ndarray:
    """Frame of the pelvis: x across the hips to the left, y up the trunk. NaN where it is not seen."""
    left, right, neck = (points[:, _INDEX[name]] for name in ("left_hip", "right_hip", "neck"))
    up = _unit(neck - 0.5 * (left + right))
    across = left - right
    x = _unit(across - np.sum(across * up, axis=-1, keepdims=True) * up)
    return np.stack([x, up, np.cross(x, up)], axis=-1)


def _bent(limb: _Limb, first: ndarray, second: ndarray) -> tuple[Rotation, ndarray]:
    """Turn of the first bone's joint, and radians by which the hinge is bent. Unit directions."""
    along, hinge = np.array(limb.along, float), np.array(limb.hinge, float)
    second = np.where(np.isfinite(second), second, first)
    plain = _swing(along, first).apply(hinge)
    normal = np.cross(first, second)
    sure = (np.linalg.norm(normal, axis=-1) > HINGE_FROM) & (np.sum(normal * plain, axis=-1) > 0)
    axis = _unit(np.where(sure[:, None], normal, plain))
    bend = np.arctan2(np.sum(normal * axis, axis=-1), np.sum(first * second, axis=-1))
    now = np.stack([first, axis, np.cross(first, axis)], axis=-1)
    rest = np.stack([along, hinge, np.cross(along, hinge)], axis=-1)
    return Rotation.from_matrix(now @ rest.T), np.maximum(bend, 0.0)


def _swing(a: ndarray, b: ndarray) -> Rotation:
    """Smallest rotation from the unit vector a to each of b; about any axis where they are opposite."""
    axis = np.cross(a, b)
    sine, cosine = np.linalg.norm(axis, axis=-1), b @ a
    other = _unit(np.cross(a, np.roll(a, 1)))
    axis = np.where(sine[:, None] > 1e-6, axis / np.maximum(sine, 1e-6)[:, None], other)
    return Rotation.from_rotvec(np.arctan2(sine, cosine)[:, None] * axis)


def _unit(x: ndarray) -> ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)


def _nearest(known: ndarray, *, compact: bool = False) -> ndarray:
    """Index of the nearest known frame of every frame; compact: counted among the known ones."""
    good = np.flatnonzero(known)
    nearest = np.argmin(np.abs(np.arange(len(known))[:, None] - good), axis=1)
    return nearest if compact else good[nearest]
