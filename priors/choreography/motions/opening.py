"""A hand opens or closes what hangs on a joint: a drawer, a door, a lid."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from priors.choreography.grasp_candidates import part_samples
from priors.choreography.hold_plans import HoldPreferences
from priors.choreography.keyframes import left_of, yaw_matrix
from priors.choreography.plan import Performance

STANDING_ROOM = 0.42
"""Metres from the pelvis to the handle where it is nearest."""
ASIDE = 0.12
"""Metres that the hand's side is off the middle of the body."""
LEVEL = 0.5
"""Share of the handle's way that is level, above which one stands where it goes."""


@dataclass(frozen=True)
class JointMotion:
    """How the links of an object move, and where the hand is. World: metres, y up."""

    Ts_world_link: Float[ndarray, "L T 4 4"]
    link: int
    part: str
    hand: int
    axis: Float[ndarray, "3"]
    """Of the joint, in the world; the link turns about it, or slides along it."""
    origin: Float[ndarray, "3"]
    """A point of the joint."""
    slides: bool
    closes: bool

    @property
    def turns_upright(self) -> bool:
        """Like a door."""
        return not self.slides and abs(float(self.axis[1])) > 0.7


def perform_opening(performance: Performance, motion: JointMotion) -> None:
    """Stand where the part comes to, a hand on its handle; walk along with a door."""
    for index, Ts in enumerate(motion.Ts_world_link):
        center = Ts[:, :3, :3] @ performance.asset(index).center + Ts[:, :3, 3]
        performance.set_object(index, center, Ts[:, :3, :3])
    asset = performance.asset(motion.link)
    Ts = motion.Ts_world_link[motion.link]
    local = asset.samples[part_samples(asset, motion.part)].mean(axis=0)
    handle = Ts[:, :3, :3] @ local + Ts[:, :3, 3]
    outward = _outward(motion, handle)
    heading = np.unwrap(np.arctan2(-outward[:, 0], -outward[:, 1]))
    side = ASIDE if motion.hand == 1 else -ASIDE
    left = np.stack([left_of(h)[[0, 2]] for h in heading])
    root = handle[:, [0, 2]] + STANDING_ROOM * outward + side * left
    if not motion.turns_upright:  # where the handle comes nearest
        nearest = int(np.argmax(handle[:, [0, 2]] @ outward[0]))
        root = np.repeat(root[nearest : nearest + 1], performance.frames, axis=0)
    track = performance.set_path(0, root, heading)
    track.crouch = np.maximum(track.person.squat_for(handle[:, 1]), 0.03)
    track.look_at, track.look_weight[:] = handle, 1.0
    seen = yaw_matrix(-heading[:1])[0] @ Ts[0, :3, :3]
    hands = {motion.hand: motion.part}
    wish = HoldPreferences(height=None)
    take = performance.plan_hold(0, motion.link, hands, wish, (0.0,), seen, 0.0)
    performance.hold(0, motion.link, take, 0, performance.frames)


def _outward(motion: JointMotion, handle: Float[ndarray, "T 3"]) -> Float[ndarray, "T 2"]:
    """Level unit vectors from the handle to where the person stands.

    Where the handle goes when the part opens; of a lid, which rises, away from its hinge.
    """
    shut, opened = (-1, 0) if motion.closes else (0, -1)
    way = handle[opened] - handle[shut]
    level = way * [1.0, 0.0, 1.0]
    if not motion.slides:
        arm = handle[shut] - motion.origin
        arm = arm - (arm @ motion.axis) * motion.axis
        tangent = np.cross(motion.axis, arm)
        tangent *= np.sign(tangent @ way) or 1.0
        level = tangent * [1.0, 0.0, 1.0]
        if np.linalg.norm(level) < LEVEL * np.linalg.norm(tangent):
            level = arm * [1.0, 0.0, 1.0]
    level = level / np.linalg.norm(level)
    frames = len(handle)
    if not motion.turns_upright:
        return np.repeat(level[None, [0, 2]], frames, axis=0)
    R = motion.Ts_world_link[motion.link][:, :3, :3]
    turned = np.einsum("tij,kj,k->ti", R, R[shut], level)
    return turned[:, [0, 2]] / np.linalg.norm(turned[:, [0, 2]], axis=1, keepdims=True)
