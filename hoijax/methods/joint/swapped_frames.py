"""Frames of an estimated body whose pose cannot be: left and right exchanged, or a jump there and back (host).

Recoveries take a person's left for their right for some frames, or lose the pose for a single one.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from hoijax.bodies.kinematics import exchanged_sides
from hoijax.bundle.write import Observations
from hoijax.methods.joint.body_problem import MOVING_JOINTS

BODY = slice(1, MOVING_JOINTS)
"""Joints of the body but for the pelvis."""
SWAP_COST = 0.02
"""Radians (mean over joints) that a frame must gain in smoothness to count as exchanged."""
JUMP_RADIANS = 0.35
"""A frame whose joints turn so far (mean) from both neighbors, while these agree, is a mistake."""


def without_swapped_frames(o: Observations) -> tuple[Observations, int]:
    """Frames with left and right exchanged are exchanged back, single frames in which the pose jumps away and
    back are taken from their neighbors; how many both are.
    """
    rotations = np.array(o.body_rotations, np.float32)
    if o.frame_count < 3:
        return o, 0
    exchanged = exchanged_sides(rotations)
    swapped = np.stack([_swapped(*both) for both in zip(rotations, exchanged, strict=True)])
    rotations = np.where(swapped[..., None, None], exchanged, rotations)
    before, here, after = (rotations[:, t, BODY] for t in (slice(-2), slice(1, -1), slice(2, None)))
    away = np.minimum(_turned(before, here), _turned(here, after))
    wrong = (away > JUMP_RADIANS) & (_turned(before, after) < 0.5 * away)
    for p, t in zip(*np.nonzero(wrong), strict=True):
        first, last = Rotation.from_rotvec(before[p, t]), Rotation.from_rotvec(after[p, t])
        half = Rotation.from_rotvec(0.5 * (first.inv() * last).as_rotvec())
        rotations[p, t + 1, BODY] = (first * half).as_rotvec()
    return dataclasses.replace(o, body_rotations=rotations), int(swapped.sum() + wrong.sum())


def _turned(a: Float[ndarray, "*a J 3"], b: Float[ndarray, "*b J 3"]) -> Float[ndarray, "*n"]:
    """Mean over joints of the angle between two poses."""
    a, b = np.broadcast_arrays(a, b)
    first, last = (Rotation.from_rotvec(x.reshape(-1, 3)) for x in (a, b))
    angles = (first.inv() * last).magnitude()
    return angles.reshape(a.shape[:-1]).mean(axis=-1)


def _swapped(
    given: Float[ndarray, "T 55 3"], exchanged: Float[ndarray, "T 55 3"]
) -> Bool[ndarray, " T"]:
    """The frames of one person that are to be exchanged for the smoothest path (Viterbi)."""
    poses = np.stack([given, exchanged])[:, :, BODY]
    steps = _turned(poses[:, None, :-1], poses[None, :, 1:])
    cost, came_from = np.array([0.0, SWAP_COST]), []
    for t in range(steps.shape[-1]):
        ways = cost[:, None] + steps[..., t]
        came_from.append(ways.argmin(axis=0))
        cost = ways.min(axis=0) + np.array([0.0, SWAP_COST])
    path = [int(cost.argmin())]
    for origin in reversed(came_from):
        path.append(int(origin[path[-1]]))
    return np.array(path[::-1], bool)
