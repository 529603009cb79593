"""The 22 body joints of a whole clip: where they are, and how that changes with the unknowns; numpy.

Unknowns of a frame (69): pelvis position in the world, and the axis-angle of the first 22 SMPL-X
joints local to their parents; the root's is relative to the planned heading.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.geometry.rows import cross
from priors.choreography.joint_limits import BODY_PARENTS, JOINT_COUNT

UNKNOWN_COUNT = 3 + 3 * JOINT_COUNT


def _ancestors() -> Bool[ndarray, "22 22"]:
    """Whether the second joint is the first or above it."""
    above = np.eye(JOINT_COUNT, dtype=bool)
    for joint, parent in enumerate(BODY_PARENTS):
        if parent >= 0:
            above[joint] |= above[parent]
    return above


ANCESTORS = _ancestors()


@dataclass(frozen=True)
class Chain:
    """The joints of T frames in the world, metres."""

    rotations: Float[ndarray, "T 22 3 3"]
    positions: Float[ndarray, "T 22 3"]
    spins: Float[ndarray, "T 22 3 3"]
    """Columns: the angular velocities that the joint's three unknowns bring."""

    def at(self, frames: Int[ndarray, " F"]) -> "Chain":
        """Some of its frames."""
        return Chain(self.rotations[frames], self.positions[frames], self.spins[frames])

    def turned(
        self, vectors: Float[ndarray, "T K 3"], joints: Int[ndarray, " K"] | Int[ndarray, "T K"]
    ) -> Float[ndarray, "T K 3 69"]:
        """Jacobian of vectors that turn with their joints: each spin of an ancestor, cross the vector."""
        spins = np.swapaxes(self.spins, -1, -2)[:, None]
        change = cross(spins, vectors[:, :, None, None])
        change = np.where(ANCESTORS[joints][..., None, None], change, 0.0)
        return _with_pelvis(change, 0.0)

    def moved(
        self, points: Float[ndarray, "T K 3"], joints: Int[ndarray, " K"] | Int[ndarray, "T K"]
    ) -> Float[ndarray, "T K 3 69"]:
        """Jacobian of points that are fixed to their joints."""
        arms = points[:, :, None] - self.positions[:, None]
        change = cross(np.swapaxes(self.spins, -1, -2)[:, None], arms[:, :, :, None])
        change = np.where(ANCESTORS[joints][..., None, None], change, 0.0)
        return _with_pelvis(change, 1.0)

    def mean_moved(
        self, joints: Int[ndarray, " K"], weights: Float[ndarray, " K"]
    ) -> Float[ndarray, "T 3 69"]:
        """Jacobian of a weighted mean of joints: a spin turns all that hangs on its joint together."""
        weights = weights.astype(float)
        below = weights * ANCESTORS[joints].T
        arms = below @ self.positions[:, joints] - below.sum(axis=1)[:, None] * self.positions
        change = cross(np.swapaxes(self.spins, -1, -2), arms[:, :, None])
        return _with_pelvis(change[:, None], float(weights.sum()))[:, 0]


def _with_pelvis(
    change: Float[ndarray, "T K 22 3 3"], by_pelvis: float
) -> Float[ndarray, "T K 3 69"]:
    """Changes by joint, unknown and coordinate, and what the pelvis position adds, as one Jacobian."""
    frames, count = change.shape[:2]
    by_joint = change.reshape(frames, count, 3 * JOINT_COUNT, 3)
    pelvis = np.broadcast_to(by_pelvis * np.eye(3), (frames, count, 3, 3))
    return np.swapaxes(np.concatenate([pelvis, by_joint], axis=2), -1, -2)


def body_transforms(
    unknowns: Float[ndarray, "T 69"],
    heading: Float[ndarray, "T 3 3"],
    rest_joints: Float[ndarray, "22 3"],
) -> Chain:
    """World rotations and positions of the 22 body joints in every frame."""
    from scipy.spatial.transform import Rotation

    frames = len(unknowns)
    turns = unknowns[:, 3:].reshape(frames, JOINT_COUNT, 3)
    local = Rotation.from_rotvec(turns.reshape(-1, 3)).as_matrix().reshape(frames, -1, 3, 3)
    above = np.empty((frames, JOINT_COUNT, 3, 3))
    rotations, positions = np.empty_like(above), np.empty((frames, JOINT_COUNT, 3))
    for joint, parent in enumerate(BODY_PARENTS):
        above[:, joint] = heading if parent < 0 else rotations[:, parent]
        rotations[:, joint] = above[:, joint] @ local[:, joint]
        offset = rest_joints[joint] - rest_joints[parent]
        step = rotations[:, parent] @ offset if parent >= 0 else unknowns[:, :3]
        positions[:, joint] = step + (positions[:, parent] if parent >= 0 else 0.0)
    return Chain(rotations, positions, above @ _left_jacobian(turns))


def _left_jacobian(turns: Float[ndarray, "T 22 3"]) -> Float[ndarray, "T 22 3 3"]:
    """d exp(w) = [J dw]x exp(w): 1 + (1 - cos a) / a^2 [w]x + (a - sin a) / a^3 [w]x^2, with a = |w|."""
    angle = np.linalg.norm(turns, axis=-1)[..., None, None]
    small = angle < 1e-4
    a = np.where(small, 1.0, angle)
    first = np.where(small, 0.5, (1.0 - np.cos(a)) / a**2)
    second = np.where(small, 1.0 / 6.0, (a - np.sin(a)) / a**3)
    skew = np.swapaxes(cross(turns[..., None, :], np.eye(3)), -1, -2)
    return np.eye(3) + first * skew + second * (skew @ skew)
