"""What a human skeleton allows, without learned weights: joint limits and a Gaussian mixture of poses.

Axis-angle components in radians, local to the parent, T-pose zero, of the first 22 SMPL-X joints;
the left side is written, the right side mirrored (y and z change sign).

There are two sets of numbers. JOINT_LOWER, JOINT_UPPER and JOINT_STIFFNESS are for who animates: common
clinical ranges of motion, read as boxes, with the trunk's bend spread over its joints. FIT_LOWER,
FIT_UPPER and PRIOR_STIFFNESS are for who fits somebody seen: capture puts most of a trunk's bend into its
lowest joint, and axis-angle components mix where a bent limb is also twisted (an elbow bent by 100
degrees and turned by 60 about the forearm has 50 about the third axis). Limits that ignore this cost more
than all evidence together.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.bodies.kinematics import BODY_JOINT_COUNT, JOINT_PARENTS

BODY_PARENTS = JOINT_PARENTS[:BODY_JOINT_COUNT]
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
_FIT_DEGREES = _DEGREES | {
    "spine1": ((-30, 75), (-30, 30), (-30, 30)),
    "spine2": ((-25, 45), (-25, 25), (-25, 25)),
    "spine3": ((-20, 40), (-25, 25), (-20, 20)),
    "knee": ((1, 150), (-25, 25), (-25, 25)),
    "ankle": ((-45, 45), (-30, 30), (-30, 30)),
    "neck": ((-45, 40), (-45, 45), (-30, 30)),
    "head": ((-45, 40), (-45, 45), (-30, 30)),
    "collar": ((-20, 20), (-45, 30), (-25, 40)),
    "elbow": ((-85, 85), (-150, -1), (-55, 55)),
    "wrist": ((-80, 80), (-40, 40), (-80, 80)),
}
_PRIOR_STIFFNESS = _STIFFNESS | {
    "spine1": (0.5, 1.0, 1.5),
    "spine2": (1.25, 1.0, 1.5),
    "spine3": (1.25, 1.25, 1.5),
    "knee": (0.3, 2.0, 2.0),
    "ankle": (1.5, 1.5, 1.5),
    "collar": (2.5, 0.9, 1.5),
    "elbow": (0.24, 0.25, 1.5),
}
"""Trunk, collars and elbows looser, for the reasons above. Knees and ankles stiffer than someone does who
animates them: what is seen of a body at a distance would rather bend its knees than stand where it is."""
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


def _limits(degrees: dict[str, tuple]) -> tuple[np.ndarray, np.ndarray]:
    ranges = np.radians(np.array([degrees[kind] for kind in _KINDS], np.float32))
    lower, upper = mirror_right(ranges[..., 0]), mirror_right(ranges[..., 1])
    return np.minimum(lower, upper), np.maximum(lower, upper)


JOINT_LOWER, JOINT_UPPER = _limits(_DEGREES)
FIT_LOWER, FIT_UPPER = _limits(_FIT_DEGREES)
JOINT_STIFFNESS = np.array([_STIFFNESS[kind] for kind in _KINDS], np.float32)
PRIOR_STIFFNESS = np.array([_PRIOR_STIFFNESS[kind] for kind in _KINDS], np.float32)


def standing_reference() -> np.ndarray:
    """(22, 3) relaxed standing pose: arms down and slightly bent, knees soft."""
    pose = np.zeros((BODY_JOINT_COUNT, 3), np.float32)
    pose[[1, 2], 0] = -0.06
    pose[[4, 5], 0] = 0.12
    pose[[7, 8], 0] = -0.06
    pose[[16, 17]] = (0.0, -0.15, -1.2)
    pose[[18, 19], 1] = -0.25
    return mirror_right(pose)


def canonical_pose() -> np.ndarray:
    """(55, 3) standing with the arms half raised: no part of the body hides or touches another."""
    pose = np.zeros((55, 3), np.float32)
    pose[:BODY_JOINT_COUNT] = standing_reference()
    pose[16, 2], pose[17, 2] = -0.7, 0.7
    return pose


def seated_reference() -> np.ndarray:
    """(22, 3) upright sitting: thighs level, shins down."""
    pose = standing_reference()
    pose[[1, 2], 0] = -1.45
    pose[[4, 5], 0] = 1.45
    pose[[7, 8], 0] = 0.0
    return pose


def crouched_reference() -> np.ndarray:
    """(22, 3) deep crouch, the trunk bent forward: picking something up."""
    pose = standing_reference()
    pose[[1, 2], 0] = -1.5
    pose[[4, 5], 0] = 1.9
    pose[[7, 8], 0] = -0.4
    pose[[3, 6, 9], 0] = 0.25
    return pose


def reaching_reference() -> np.ndarray:
    """(22, 3) standing with both arms forward and the elbows bent: holding something."""
    pose = np.zeros((BODY_JOINT_COUNT, 3), np.float32)
    pose[[1, 2], 0] = -0.06
    pose[[4, 5], 0] = 0.12
    pose[[7, 8], 0] = -0.06
    pose[[16, 17]] = (0.0, -0.9, -0.9)
    pose[[18, 19], 1] = -0.9
    return mirror_right(pose)


REFERENCE_POSES: Float[np.ndarray, "R 22 3"] = np.stack(
    [standing_reference(), reaching_reference(), seated_reference(), crouched_reference()]
)
"""Centers of the prior: standing, holding, sitting, crouching. The root's row is not used."""


def prior_centers(
    frames: int, estimate: Float[np.ndarray, "T 22 3"] | None = None
) -> Float[np.ndarray, "T R 22 3"]:
    """The reference poses in every frame and, last, a pose that somebody else estimated there."""
    centers = np.broadcast_to(REFERENCE_POSES, (frames, *REFERENCE_POSES.shape))
    if estimate is None:
        return centers
    return np.concatenate([centers, estimate[:, None].astype(np.float32)], axis=1)


_FREE_ROOT = np.concatenate([np.zeros((1, 3)), np.ones((21, 3))]).astype(np.float32)


def limit_excess(pose: Float[Array, "*batch 22 3"]) -> Float[Array, "*batch"]:
    """Squared radians by which joints leave their ranges, summed over joints; the root is free."""
    beyond = pose - jnp.clip(pose, FIT_LOWER, FIT_UPPER)
    return jnp.sum(_FREE_ROOT * beyond**2, axis=(-1, -2))


def pose_energy(
    pose: Float[Array, "*batch 22 3"],
    references: Float[Array, "*#batch R 22 3"] | Float[np.ndarray, "R 22 3"] = REFERENCE_POSES,
) -> Float[Array, "*batch"]:
    """Negative logarithm of an equal mixture of Gaussians around the reference poses; about 0 at one.

    Each component of a joint has the standard deviation 0.35 rad / sqrt(PRIOR_STIFFNESS): a stiff
    ankle strays less than a shoulder. Smooth, so that a pose may pass from one center to another.
    """
    precision = PRIOR_STIFFNESS * _FREE_ROOT / 0.35**2
    away = pose[..., None, :, :] - references
    energies = 0.5 * jnp.sum(precision * away**2, axis=(-1, -2))
    return -jax.nn.logsumexp(-energies, axis=-1)
