"""Fingers close until they touch: per finger, the largest curl at which its skin stays outside.

The wrist's pose against the object hardly changes during a hold, so one curl per finger and hold is
chosen from a few of its frames and blended in and out. numpy and exact mesh distances.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from priors.choreography.exact_distance import signed_distance
from priors.choreography.keyframes import minimum_jerk
from priors.choreography.person import FINGERS, Person, dense_weights, finger_joints
from priors.choreography.pose_targets import WRISTS
from priors.choreography.tracks import RELEASE_FRAMES, Hold, ObjectTrack

CURLS = np.linspace(-0.15, 1.0, 24)
THUMB_CURLS = np.linspace(-0.6, 1.0, 24)
SKIN_PER_FINGER = 40
STUCK = 0.002  # metres inside from which a thumb looks for another way
TOLERANCE = 0.0  # metres that finger skin keeps outside
RELAXED_CURLS = np.array([0.22, 0.27, 0.34, 0.30, 0.25])  # index, middle, pinky, ring, thumb
UNTOUCHED_CURL = 0.5
OUTER_CURL = 1.15  # most that the two outer joints close
_FLEXION = np.radians([75.0, 95.0, 60.0])  # of the three finger joints at curl 1
_THUMB_OPPOSITION = np.radians([55.0, 8.0, 0.0])  # about the hand's length
_THUMB_FLEXION = np.radians([12.0, 40.0, 55.0])  # about the hand's normal


@dataclass(frozen=True)
class _Finger:
    joints: list[int]
    offsets: Float[ndarray, "n 3"]
    """Skin relative to the wrist at rest."""
    weights: Float[ndarray, "n 4"]
    """Of wrist and the three finger joints."""


def finger_rotations(
    person: Person, hand: int, curls: Float[ndarray, "5 2"]
) -> Float[ndarray, "15 3"]:
    """Axis-angle of a hand's 15 finger joints (SMPL-X order); per finger, curl of knuckle and of tip."""
    normal = np.asarray(person.skeleton.palm_normals)[hand]
    knuckles = np.asarray(person.skeleton.knuckle_axes)[hand]
    sign = 1.0 if hand == 0 else -1.0
    flexion_axis, opposition_axis = -sign * knuckles, np.cross(knuckles, normal)
    rotations = np.zeros((5, 3, 3))
    for row, finger in enumerate(FINGERS):
        curl = curls[row, [0, 1, 1]][:, None]
        if finger == "thumb":
            opposition = _THUMB_OPPOSITION[:, None] * opposition_axis
            bend = -sign * _THUMB_FLEXION[:, None] * normal
            rotations[row] = curl * opposition + np.maximum(curl, 0.0) * bend
        else:
            rotations[row] = curl * _FLEXION[:, None] * flexion_axis
    return rotations.reshape(15, 3)


def close_fingers(
    person: Person,
    holds: list[Hold],
    objects: list[ObjectTrack],
    wrists: Float[ndarray, "T 2 4 4"],
) -> Float[ndarray, "T 30 3"]:
    """Finger rotations (left 15, then right 15) over the clip, given both wrists' world transforms."""
    frames = len(wrists)
    curls = np.tile(RELAXED_CURLS[:, None], (frames, 2, 1, 2))
    t = np.arange(frames)
    for hold in holds:
        start, end = max(hold.start, 0), min(hold.end, frames - 1)
        touching = _touching_curls(person, hold, objects[hold.object], wrists[:, hold.hand])
        fade = np.minimum(
            minimum_jerk((t - start + 5) / 5),
            minimum_jerk((end + RELEASE_FRAMES - t) / RELEASE_FRAMES),
        )[:, None, None]
        curls[:, hold.hand] = (1.0 - fade) * curls[:, hold.hand] + fade * touching
    return np.stack(
        [
            np.concatenate([finger_rotations(person, hand, curls[i, hand]) for hand in (0, 1)])
            for i in range(frames)
        ]
    ).astype(np.float32)


def _touching_curls(
    person: Person, hold: Hold, track: ObjectTrack, wrists: Float[ndarray, "T 4 4"]
) -> Float[ndarray, "5 2"]:
    """Per finger: close it whole until it touches, then its outer joints until the tip touches.

    The least curls over three frames of the hold, so that skin stays outside in all of them.
    """
    frames = len(wrists)
    start, end = max(hold.start, 0), min(hold.end, frames - 1)
    chosen = np.unique(np.linspace(start, end, 5).astype(int)[1:4])
    Ts_object_wrist = np.linalg.inv(track.transforms()[chosen].astype(float)) @ wrists[chosen]
    curls = np.zeros((5, 2))
    for row, finger in enumerate(_fingers(person, hold.hand)):
        is_thumb = FINGERS[row] == "thumb"
        tried = THUMB_CURLS if is_thumb else CURLS

        def clearance(pairs: ndarray, row: int = row, finger: _Finger = finger) -> ndarray:
            local = np.stack([_posed(person, hold.hand, row, finger, pair) for pair in pairs])
            points = np.einsum("fij,cnj->fcni", Ts_object_wrist[:, :3, :3], local)
            points = points + Ts_object_wrist[:, None, None, :3, 3]
            distance = signed_distance(track.asset, points.reshape(-1, 3))
            return distance.reshape(points.shape[:-1]).min(axis=(0, 2))

        knuckle = _first_touch(tried, clearance(np.stack([tried, tried], axis=1)))
        if knuckle is None:  # nothing to close on
            knuckle = 0.85 if hold.grasp.is_bar else UNTOUCHED_CURL
        curls[row] = knuckle
        if is_thumb:
            curls[row] = _way_out(curls[row], clearance)
        else:
            outer = np.linspace(knuckle, OUTER_CURL, 16)
            pairs = np.stack([np.full_like(outer, knuckle), outer], axis=1)
            tip = _first_touch(outer, clearance(pairs))
            curls[row, 1] = knuckle if tip is None else tip
    return curls


def _way_out(
    found: Float[ndarray, "2"], clearance: Callable[[ndarray], ndarray]
) -> Float[ndarray, "2"]:
    """Curls of a thumb that is inside the object however it closes as a whole: root and outer joints apart."""
    if clearance(found[None])[0] >= -STUCK:
        return found
    coarse = THUMB_CURLS[::2]
    pairs = np.stack(np.meshgrid(coarse, coarse, indexing="ij"), axis=-1).reshape(-1, 2)
    clear = clearance(pairs)
    if clear.max() < TOLERANCE:
        return pairs[int(np.argmax(clear))]
    free = np.flatnonzero(clear >= TOLERANCE)
    return pairs[free[int(np.argmin(clear[free]))]]


def _first_touch(tried: Float[ndarray, "C"], clear: Float[ndarray, "C"]) -> float | None:
    """Last curl before skin enters the object, starting from the first free one; None: never enters."""
    free = clear >= TOLERANCE
    if free.all():
        return None
    if not free.any():
        return float(tried[int(np.argmax(clear))])
    first = int(np.argmax(free))
    blocked = np.flatnonzero(~free[first:])
    return float(tried[first + int(blocked[0]) - 1 if len(blocked) else len(tried) - 1])


def _fingers(person: Person, hand: int) -> list[_Finger]:
    """Skin of each finger, evenly thinned out."""
    weights = dense_weights(person.body)
    vertices = np.asarray(person.shaped.vertices_rest)
    wrist = WRISTS[hand]
    fingers = []
    for joints in finger_joints("left" if hand == 0 else "right").values():
        members = np.flatnonzero(weights[:, joints].sum(1) > 0.5)
        members = members[:: max(1, len(members) // SKIN_PER_FINGER)]
        by_joint = weights[members][:, [wrist, *joints]]
        offsets = vertices[members] - person.rest_joints[wrist]
        fingers.append(_Finger(joints, offsets, by_joint / by_joint.sum(1, keepdims=True)))
    return fingers


def _posed(
    person: Person, hand: int, row: int, finger: _Finger, curl: Float[ndarray, "2"]
) -> Float[ndarray, "n 3"]:
    """Skin of one finger at its two curls, in the wrist's frame."""
    from scipy.spatial.transform import Rotation

    curls = np.zeros((5, 2))
    curls[row] = curl
    local = finger_rotations(person, hand, curls).reshape(5, 3, 3)[row]
    rotation, position = np.eye(3), np.zeros(3)
    parent = person.rest_joints[WRISTS[hand]]
    skin = finger.weights[:, :1] * finger.offsets
    rest = finger.offsets + parent
    for column, joint in enumerate(finger.joints, start=1):
        position = position + rotation @ (person.rest_joints[joint] - parent)
        rotation = rotation @ Rotation.from_rotvec(local[column - 1]).as_matrix()
        parent = person.rest_joints[joint]
        skin = skin + finger.weights[:, column, None] * (
            (rest - person.rest_joints[joint]) @ rotation.T + position
        )
    return skin
