"""The 18 OpenPose keypoints of a posed body."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.bodies.kinematics import JOINT_NAMES, AnyArray
from hoijax.bodies.skinned_body import PosedBody, SkinnedBody

OPENPOSE_18: tuple[str, ...] = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
    "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
"""OpenPose's COCO-18 order. The neck is the middle of the shoulders, as OpenPose trains it."""

_FROM_COCO = np.array([0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3])
"""COCO-17 index of every OpenPose-18 point; -1, the neck, is the middle of the shoulders."""
_COCO_SHOULDERS = (5, 6)
_LIMBS = np.array([JOINT_NAMES.index(name) for name in OPENPOSE_18[2:14]])
_SHOULDERS = np.array([JOINT_NAMES.index(f"{side}_shoulder") for side in ("left", "right")])


def openpose18(posed: PosedBody, body: SkinnedBody) -> Float[Array, "18 3"]:
    """OpenPose keypoints (world, metres) of a fully posed body: limbs from joints, face from vertices."""
    return openpose18_from(posed.joints_world, posed.vertices_world[body.face_vertices])


def openpose18_from(
    joints_world: Float[AnyArray, "*B joints 3"], face_world: Float[AnyArray, "*B 5 3"]
) -> Float[Any, "*B 18 3"]:
    """The same from joints and the posed `body.face_vertices`, which `shaped.subset` poses cheaply.

    Of numpy arrays in numpy, as each operation of JAX on its own is a program.
    """
    xp: Any = np if isinstance(joints_world, np.ndarray) else jnp
    neck = xp.mean(joints_world[..., _SHOULDERS, :], axis=-2, keepdims=True)
    nose, eyes_and_ears = face_world[..., :1, :], face_world[..., 1:, :]
    return xp.concatenate([nose, neck, joints_world[..., _LIMBS, :], eyes_and_ears], axis=-2)


def openpose18_from_coco(coco: Float[np.ndarray, "*B 17 3"]) -> Float[np.ndarray, "*B 18 3"]:
    """OpenPose-18 from COCO-17 (u, v, confidence in [0, 1]); the neck is as sure as the less sure
    shoulder."""
    points = np.asarray(coco)[..., _FROM_COCO, :]
    shoulders = np.asarray(coco)[..., _COCO_SHOULDERS, :]
    points[..., 1, :2] = shoulders[..., :2].mean(-2)
    points[..., 1, 2] = shoulders[..., 2].min(-1)
    points[..., 2] = np.clip(points[..., 2], 0, 1)
    return points.astype(np.float32)
