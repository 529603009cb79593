"""Fingers from pixels: MediaPipe's hand landmarks (Zhang et al., 2020; Apache-2.0), in its wheel.

A hand is looked for at the end of the forearm, as the keypoints have it, then once more around what was
found. Its 21 points are metric and in the camera's axes; palm and bones turn the wrist and the fifteen
finger joints of a body.
"""

from dataclasses import replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy.spatial.transform import Rotation

from hoijax.bodies.keypoints import OPENPOSE_18
from hoijax.bodies.kinematics import JOINT_NAMES, JOINT_PARENTS
from priors.models.frame_rate import rotations_at
from priors.models.packaged import MEDIAPIPE, Region, TfliteModel, mediapipe_file
from priors.protocols import BodyMotion, ModelId

__all__ = ["MediaPipeHands", "with_hands"]

FILE = "hand_landmark/hand_landmark_full.tflite"
SIDES = ("left", "right")
ARM = {
    side: tuple(OPENPOSE_18.index(f"{side}_{joint}") for joint in ("elbow", "wrist"))
    for side in SIDES
}
FOUND = 0.5
"""Least probability that a crop shows a hand (MediaPipe's)."""
SURE = 0.3
"""Least confidence of elbow and wrist."""
BEYOND, REACH = 0.35, 1.3
"""Middle and side of the first square, in forearms from the wrist."""
MARGIN, SHIFT = 2.0, 0.1
"""Side of the second square over the extent of the points, and its shift to the fingers (MediaPipe's)."""
MIN_FRAMES = 0.2
"""Share of a clip in which a hand must be found; a few frames say nothing about the others."""
PALM = (0, 5, 9, 13, 17)
FINGER_POINTS = {"thumb": 1, "index": 5, "middle": 9, "ring": 13, "pinky": 17}
"""First of the four points of a finger, from its root to its tip."""


class MediaPipeHands:
    """`HandModel` of the hand landmarks in MediaPipe's wheel, on the CPU."""

    model_id = ModelId(MEDIAPIPE, "hand_landmark_full")

    @cached_property
    def _network(self) -> TfliteModel:
        return TfliteModel(mediapipe_file(FILE))

    def lacks(self) -> list[str]:
        """Raises UserError where the wheel is not there; see `check_ready`."""
        mediapipe_file(FILE)
        return []

    def hands(
        self, frames: UInt8[ndarray, "T H W 3"], keypoints: Float[ndarray, "T 18 3"]
    ) -> Float[ndarray, "T 2 21 4"]:
        """x, y, z in metres from the hand's middle, camera axes, and the hand's probability; left hand
        first, zeros where none was found."""
        landmarks = np.zeros((len(frames), 2, 21, 4), np.float32)
        for t, (image, points) in enumerate(zip(frames, keypoints, strict=True)):
            for side, (elbow, wrist) in enumerate(ARM.values()):
                if (points[[elbow, wrist], 2] < SURE).any():
                    continue
                region = first_region(points[elbow, :2], points[wrist, :2])
                pixels, _, presence, _ = self._read(image, region)
                if presence < FOUND:
                    continue
                _, places, presence, right = self._read(image, second_region(pixels))
                is_side = right >= FOUND if SIDES[side] == "right" else right < FOUND
                if (
                    presence >= FOUND and is_side
                ):  # taken for the other hand, it would bend backwards
                    landmarks[t, side, :, :3], landmarks[t, side, :, 3] = places, presence
        return landmarks

    def _read(self, image: ndarray, region: Region) -> tuple[ndarray, ndarray, float, float]:
        """(21, 2) pixels, (21, 3) metres in the camera's axes, probabilities of a hand and of a right one."""
        size = self._network.input_size
        screen, presence, right, world = self._network.listed(
            region.crop(image, size).astype(np.float32) / 255
        )
        pixels = region.to_image(screen.reshape(21, 3)[:, :2] / size)
        places = world.reshape(21, 3).astype(np.float64)
        places[:, :2] = places[:, :2] @ (region.axes / region.side).T
        return pixels, places, float(presence[0]), float(right[0])


def first_region(elbow: Float[ndarray, " 2"], wrist: Float[ndarray, " 2"]) -> Region:
    """The square beyond the wrist, turned so that the fingers point up."""
    forearm = np.asarray(wrist, np.float64) - elbow
    length = max(float(np.linalg.norm(forearm)), 1.0)
    angle = float(np.arctan2(forearm[0], -forearm[1]))
    return Region(wrist + BEYOND * forearm, REACH * length, angle)


def second_region(pixels: Float[ndarray, "21 2"]) -> Region:
    """The square around a hand's points, wrist below and the middle finger's root above."""
    up = pixels[9] - pixels[0]
    angle = float(np.arctan2(up[0], -up[1]))
    turned = Region(np.zeros(2), 1.0, angle)
    local = pixels @ turned.axes
    low, high = local.min(0), local.max(0)
    side = float((high - low).max())
    middle = 0.5 * (low + high) - [0.0, SHIFT * (high[1] - low[1])]
    return Region(turned.axes @ middle, max(MARGIN * side, 1.0), angle)


def with_hands(motion: BodyMotion, hands: Float[ndarray, "T 2 21 4"]) -> BodyMotion:
    """The motion with wrists and fingers of a person's hands, between frames where they were found; a
    hand that was hardly ever found stays as it is."""
    rotations = motion.rotations.astype(np.float64)
    for number, side in enumerate(SIDES):
        known = hands[:, number, 0, 3] >= FOUND
        if known.mean() >= MIN_FRAMES:
            _turn_hand(rotations, motion, side, hands[:, number, :, :3], known)
    return replace(motion, rotations=rotations.astype(np.float32))


def _turn_hand(
    rotations: ndarray,
    motion: BodyMotion,
    side: str,
    points: Float[ndarray, "T 21 3"],
    known: Bool[ndarray, " T"],
) -> None:
    """Writes wrist and finger joints of one hand into (T, 55, 3)."""
    wrist = JOINT_NAMES.index(f"{side}_wrist")
    rest = np.asarray(motion.rest_joints, np.float64)
    frames = np.flatnonzero(known)
    joints = [wrist]
    joints += [
        JOINT_NAMES.index(f"{side}_{finger}{k}") for finger in FINGER_POINTS for k in (1, 2, 3)
    ]
    turned = np.zeros((len(frames), len(joints), 3))
    for row, t in enumerate(frames):
        world = points[t].astype(np.float64) @ motion.Ts_world_camera[t, :3, :3].T.astype(
            np.float64
        )
        palm = palm_rotation(rest, side, world)
        forearm = global_rotation(rotations[t], JOINT_PARENTS[wrist])
        turned[row, 0] = (forearm.inv() * palm).as_rotvec()
        local = palm.inv().apply(world)
        turned[row, 1:] = [
            turn for finger in FINGER_POINTS for turn in finger_turns(rest, side, finger, local)
        ]
    between = np.interp(np.arange(len(points)), frames, np.arange(len(frames)))
    rotations[:, joints] = rotations_at(turned, between)


def global_rotation(rotations: Float[ndarray, "55 3"], joint: int) -> Rotation:
    """Rotation of a joint's frame to the world."""
    rotation = Rotation.from_rotvec(rotations[joint])
    while (joint := JOINT_PARENTS[joint]) >= 0:
        rotation = Rotation.from_rotvec(rotations[joint]) * rotation
    return rotation


def palm_rotation(
    rest: Float[ndarray, "55 3"], side: str, points: Float[ndarray, "21 3"]
) -> Rotation:
    """Rotation that brings the palm of the body at rest onto the points (Kabsch)."""
    roots = [f"{side}_{finger}1" for finger in ("index", "middle", "ring", "pinky")]
    indices = [JOINT_NAMES.index(name) for name in (f"{side}_wrist", *roots)]
    seen, at_rest = points[list(PALM)], rest[indices]
    return Rotation.align_vectors(seen[1:] - seen[0], at_rest[1:] - at_rest[0])[0]


def finger_turns(
    rest: Float[ndarray, "55 3"], side: str, finger: str, points: Float[ndarray, "21 3"]
) -> list[Float[ndarray, " 3"]]:
    """Axis-angle of a finger's three joints that point its bones as the points do, without twist.

    points: in the palm's frame. The last bone at rest goes on as the one before: bodies have no tips.
    """
    first = JOINT_NAMES.index(f"{side}_{finger}1")
    bones = [rest[first + 1] - rest[first], rest[first + 2] - rest[first + 1]]
    bones.append(bones[1])
    start = FINGER_POINTS[finger]
    seen = np.diff(points[start : start + 4], axis=0)
    parent, turns = Rotation.identity(), []
    for bone, wanted in zip(bones, seen, strict=True):
        turn = swing(bone, parent.inv().apply(wanted))
        turns.append(turn.as_rotvec())
        parent = parent * turn
    return turns


def swing(start: Float[ndarray, "*n 3"], end: Float[ndarray, "*n 3"]) -> Rotation:
    """The smallest rotations of directions onto others; none where they are opposite."""
    a, b = (v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12) for v in (start, end))
    axis, cosine = np.cross(a, b), (a * b).sum(axis=-1, keepdims=True)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.where(sine < 1e-9, 0.0, np.arctan2(sine, cosine))
    return Rotation.from_rotvec(axis * (angle / np.maximum(sine, 1e-9)))
