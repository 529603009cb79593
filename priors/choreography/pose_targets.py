"""What the inverse kinematics is told: constants of a person, and targets frame by frame; numpy."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from numpy import ndarray

FPS = 12.0
"""Frames a second of made motions."""
ANKLES, HEAD, WRISTS = (7, 8), 15, (20, 21)
POINT_SLOTS = 4  # spare body points (shoulder, forearm, hips, ...) that a plan may pin


@dataclass(frozen=True)
class Skeleton:
    """Constants of one person, in the rest (T-pose) frame; metres."""

    rest_joints: Float[ndarray, "22 3"]
    palm_normals: Float[ndarray, "2 3"]
    """Out of the palm, left then right, in the wrist's frame."""
    knuckle_axes: Float[ndarray, "2 3"]
    """From the little finger's knuckle to the index finger's, in the wrist's frame."""
    skin_offsets: Float[ndarray, "V 22 3"]
    """Skin points kept out of objects: per joint, blend weight times the rest offset from it."""
    skin_weights: Float[ndarray, "V 22"]
    skin_margin: Float[ndarray, "V"]
    """Distance that each skin point keeps from objects; 0 on the hands, which touch them."""
    capsule_joints: Int[ndarray, "C 2"]
    """Ends of the capsules (torso, thighs) that hands and elbows stay out of."""
    capsule_radii: Float[ndarray, "C"]


@dataclass(frozen=True)
class Seat:
    """An object that is sat on."""

    object: int
    front: float
    """Yaw of its front in the mesh frame, a whole number of quarter turns."""
    height: float
    """Of the seat in the mesh frame, metres."""


@dataclass(frozen=True)
class PoseTargets:
    """What one person does, frame by frame; world frame, metres. Weights are 0 where free."""

    heading: Float[ndarray, "T 3 3"]
    """Planned root orientation: rest pose turned about the vertical."""
    pelvis: Float[ndarray, "T 3"]
    pelvis_weight: Float[ndarray, "T 3"]
    reference: Float[ndarray, "T 22 3"]
    """Pose that joints return to where nothing else asks for anything (root row: extra lean)."""
    support: Float[ndarray, "T 2"]
    """Ground point (x, z) that the center of mass should stay above."""
    balance_weight: Float[ndarray, "T"]
    hand_local: Float[ndarray, "T 2 3"]
    """The point of each hand that meets its target, in the wrist's frame."""
    hand_point: Float[ndarray, "T 2 3"]
    hand_normal: Float[ndarray, "T 2 3"]
    hand_axis: Float[ndarray, "T 2 3"]
    hand_weight: Float[ndarray, "T 2 3"]
    """Weights of position, palm direction, knuckle direction."""
    ankle: Float[ndarray, "T 2 3"]
    foot_rotation: Float[ndarray, "T 2 3 3"]
    foot_weight: Float[ndarray, "T 2 2"]
    """Weights of position and rotation."""
    look_at: Float[ndarray, "T 3"]
    look_weight: Float[ndarray, "T"]
    slot_joint: Int[ndarray, "T 4"]
    slot_local: Float[ndarray, "T 4 3"]
    slot_point: Float[ndarray, "T 4 3"]
    slot_weight: Float[ndarray, "T 4"]
    Ts_world_object: Float[ndarray, "T O 4 4"]
    collision_weight: Float[ndarray, "T O"]
