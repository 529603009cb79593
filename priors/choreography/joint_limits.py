"""The skeleton's ranges and rest poses (from `hoijax.bodies.pose_prior`), and where its mass is."""

import numpy as np

from hoijax.bodies.kinematics import BODY_JOINT_COUNT as JOINT_COUNT
from hoijax.bodies.pose_prior import (
    BODY_PARENTS,
    JOINT_LOWER,
    JOINT_STIFFNESS,
    JOINT_UPPER,
    seated_reference,
    standing_reference,
)

__all__ = [
    "BODY_PARENTS",
    "JOINT_COUNT",
    "JOINT_LOWER",
    "JOINT_STIFFNESS",
    "JOINT_UPPER",
    "MASSES",
    "MASS_JOINTS",
    "seated_reference",
    "standing_reference",
]

# Segment masses (Winter 2009, rounded), lumped at joints: they place the center of mass.
MASS_JOINTS = (0, 6, 9, 15, 4, 5, 1, 2, 18, 19, 20, 21, 7, 8)
_RAW_MASSES = (0.14, 0.14, 0.20, 0.08, 0.09, 0.09, 0.06, 0.06, 0.035, 0.035, 0.015, 0.015, 0.03,
               0.03)  # fmt: skip
MASSES = (np.array(_RAW_MASSES) / sum(_RAW_MASSES)).astype(np.float32)
