"""What a human skeleton allows, on the first 22 SMPL-X joints: ranges, stiffness, masses, rest pose.

Axis-angle components in radians, local to the parent, T-pose zero; left side written, right side
mirrored (y and z change sign). Ranges follow common clinical ranges of motion, read as boxes.
"""

import numpy as np

JOINT_COUNT = 22
BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)

_DEGREES = {
    "pelvis": ((-60, 90), (-40, 40), (-30, 30)),
    "hip": ((-125, 25), (-40, 40), (-15, 50)),
    "spine1": ((-12, 35), (-18, 18), (-14, 14)),
    "knee": ((1, 145), (-6, 6), (-4, 4)),
    "spine2": ((-12, 30), (-18, 18), (-14, 14)),
    "ankle": ((-40, 45), (-20, 20), (-18, 18)),
    "spine3": ((-12, 25), (-14, 14), (-10, 10)),
    "toes": ((-45, 10), (-1, 1), (-1, 1)),
    "neck": ((-30, 35), (-35, 35), (-18, 18)),
    "collar": ((-8, 8), (-22, 10), (-6, 28)),
    "head": ((-30, 35), (-35, 35), (-18, 18)),
    "shoulder": ((-80, 80), (-125, 40), (-88, 95)),
    "elbow": ((-45, 45), (-142, -1), (-3, 3)),
    "wrist": ((-40, 40), (-22, 30), (-65, 65)),
}
_STIFFNESS = {
    "pelvis": (1.0, 2.0, 2.0),
    "hip": (0.25, 0.8, 0.5),
    "spine1": (2.5, 2.0, 3.0),
    "knee": (0.15, 4.0, 4.0),
    "spine2": (2.5, 2.0, 3.0),
    "ankle": (0.2, 0.8, 0.8),
    "spine3": (2.5, 2.5, 3.0),
    "toes": (4.0, 20.0, 20.0),
    "neck": (1.5, 1.0, 2.0),
    "collar": (5.0, 3.0, 3.0),
    "head": (1.5, 1.0, 2.0),
    "shoulder": (0.5, 0.4, 0.5),
    "elbow": (0.8, 0.25, 6.0),
    "wrist": (0.8, 1.5, 0.7),
}
_KINDS = (
    "pelvis", "hip", "hip", "spine1", "knee", "knee", "spine2", "ankle", "ankle", "spine3", "toes",
    "toes", "neck", "collar", "collar", "head", "shoulder", "shoulder", "elbow", "elbow", "wrist",
    "wrist",
)  # fmt: skip
RIGHT_JOINTS = (2, 5, 8, 11, 14, 17, 19, 21)
_MIRROR = np.array([1.0, -1.0, -1.0], np.float32)


def mirror_right(left_values: np.ndarray) -> np.ndarray:
    """(22, 3) axis-angles written as for the left side -> right joints mirrored in x."""
    values = np.array(left_values, np.float32)
    values[list(RIGHT_JOINTS)] *= _MIRROR
    return values


def _limits() -> tuple[np.ndarray, np.ndarray]:
    ranges = np.radians(np.array([_DEGREES[kind] for kind in _KINDS], np.float32))
    lower, upper = mirror_right(ranges[..., 0]), mirror_right(ranges[..., 1])
    return np.minimum(lower, upper), np.maximum(lower, upper)


JOINT_LOWER, JOINT_UPPER = _limits()
JOINT_STIFFNESS = np.array([_STIFFNESS[kind] for kind in _KINDS], np.float32)

# Segment masses (Winter 2009, rounded), lumped at joints: they place the centre of mass.
MASS_JOINTS = (0, 6, 9, 15, 4, 5, 1, 2, 18, 19, 20, 21, 7, 8)
_RAW_MASSES = (0.14, 0.14, 0.20, 0.08, 0.09, 0.09, 0.06, 0.06, 0.035, 0.035, 0.015, 0.015, 0.03,
               0.03)  # fmt: skip
MASSES = (np.array(_RAW_MASSES) / sum(_RAW_MASSES)).astype(np.float32)


def standing_reference() -> np.ndarray:
    """(22, 3) relaxed standing pose: arms down and slightly bent, knees soft."""
    pose = np.zeros((JOINT_COUNT, 3), np.float32)
    pose[[1, 2], 0] = -0.06
    pose[[4, 5], 0] = 0.12
    pose[[7, 8], 0] = -0.06
    pose[[16, 17]] = (0.0, -0.15, -1.2)
    pose[[18, 19], 1] = -0.25
    return mirror_right(pose)


def seated_reference() -> np.ndarray:
    """(22, 3) upright sitting: thighs level, shins down."""
    pose = standing_reference()
    pose[[1, 2], 0] = -1.45
    pose[[4, 5], 0] = 1.45
    pose[[7, 8], 0] = 0.0
    return pose
