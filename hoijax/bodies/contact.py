"""Where a body touches things: contact vertices of the twelve parts, and finger poses that hold things."""

import numpy as np
from jaxtyping import Bool, Float, Int

from hoijax.bodies.kinematics import JOINT_NAMES
from hoijax.bodies.parts import part_index, spread_over
from hoijax.bodies.skinned_body import SkinnedBody

# Facing directions in the rest pose (T-pose, palms down) of the skin that makes contact.
_DOWN, _UP = np.array([0.0, -1.0, 0.0]), np.array([0.0, 1.0, 0.0])
_FRONT, _BACK = np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, -1.0])


def contact_candidates(
    body: SkinnedBody, part: str, count: int, seed: int = 0
) -> Int[np.ndarray, " count"]:
    """`count` vertices of a part where it really touches things, spread evenly, padded by repetition.

    Hands: palm and finger pads. Feet: soles. Hips: buttocks and the back of the thighs (a seat). Arms: inner
    forearm. Shoulders: top. Legs: front of thighs, knees and shins. Head: the skull, not the face.
    UserError on an unknown part.
    """
    part_id = part_index(part)
    vertices, joints = np.asarray(body.template), np.asarray(body.joints_template)
    normals = vertex_normals(vertices, np.asarray(body.faces))
    member = np.asarray(body.part_ids) == part_id
    side, _, name = part.partition("_")
    if name == "hand":
        touching = member & (normals @ _DOWN > 0.35) & _beyond(vertices, joints, side, 0.15)
    elif name == "foot":
        sole = vertices[member, 1].min() + 0.025 if member.any() else 0.0
        touching = member & (normals @ _DOWN > 0.7) & (vertices[:, 1] < sole)
    elif name == "arm":
        inner = np.maximum(normals @ _DOWN, normals @ _FRONT) > 0.5
        touching = member & inner & _forearm(vertices, joints, side)
    elif name == "shoulder":
        touching = member & (normals @ _UP > 0.3)
    elif name == "leg":
        touching = member & (normals @ _FRONT > 0.2)
    elif part == "hips":
        touching = _seat(vertices, joints, normals, np.asarray(body.part_ids))
    else:
        above = vertices[:, 1] > joints[JOINT_NAMES.index("head"), 1]
        touching = member & above & (normals @ _FRONT < 0.6)
    chosen = np.flatnonzero(touching if touching.any() else member)
    return spread_over(body, chosen, part, count, seed)


def vertex_normals(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "v 3"]:
    """Unit normals, the area-weighted mean of the faces around a vertex; zero where there is no face."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, faces[:, corner], normal)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def _along(vertices: np.ndarray, joints: np.ndarray, start: str, end: str) -> np.ndarray:
    """Position of vertices along a bone: 0 at its start, 1 at its end."""
    a, b = joints[JOINT_NAMES.index(start)], joints[JOINT_NAMES.index(end)]
    return (vertices - a) @ (b - a) / max((b - a) @ (b - a), 1e-12)


def _beyond(
    vertices: np.ndarray, joints: np.ndarray, side: str, fraction: float
) -> Bool[np.ndarray, " v"]:
    """Hand vertices past the first `fraction` of the way from wrist to knuckle (no wrist skin)."""
    return _along(vertices, joints, f"{side}_wrist", f"{side}_middle1") > fraction


def _forearm(vertices: np.ndarray, joints: np.ndarray, side: str) -> Bool[np.ndarray, " v"]:
    return _along(vertices, joints, f"{side}_elbow", f"{side}_wrist") > 0.1


def _seat(
    vertices: np.ndarray, joints: np.ndarray, normals: np.ndarray, part_ids: np.ndarray
) -> Bool[np.ndarray, " v"]:
    """Buttocks below the pelvis joint, and the upper half of the back of the thighs."""
    pelvis = joints[JOINT_NAMES.index("pelvis")]
    backwards = np.maximum(normals @ _BACK, normals @ _DOWN) > 0.4
    seat = (part_ids == part_index("hips")) & backwards & (vertices[:, 1] < pelvis[1])
    for side in ("left", "right"):
        thigh = (part_ids == part_index(f"{side}_leg")) & (normals @ _BACK > 0.4)
        seat |= thigh & (_along(vertices, joints, f"{side}_hip", f"{side}_knee") < 0.5)
    return seat


# Each finger bends about its own axis, so that bent fingers converge: z component of its direction at rest.
_FINGER_SPREAD = {"index": 0.04, "middle": -0.04, "pinky": -0.23, "ring": -0.10}


def _finger_pose(
    bends: dict[str, tuple[float, float, float]], thumb: tuple[tuple[float, float, float], ...]
) -> Float[np.ndarray, "30 3"]:
    """(30, 3) axis-angle: bends of the left fingers towards the palm (down at rest); the right hand mirrors."""
    rotations = []
    for finger, spread in _FINGER_SPREAD.items():
        axis = np.array([spread, 0.0, -1.0]) / np.hypot(spread, 1.0)
        rotations += [axis * angle for angle in bends[finger]]
    left = np.array([*rotations, *thumb], np.float32)
    return np.concatenate([left, left * np.array([1.0, -1.0, -1.0], np.float32)])


RELAXED_HAND_POSE: Float[np.ndarray, "30 3"] = _finger_pose(
    {
        "index": (0.25, 0.40, 0.25),
        "middle": (0.32, 0.45, 0.28),
        "ring": (0.38, 0.48, 0.28),
        "pinky": (0.42, 0.45, 0.28),
    },
    ((0.31, 0.14, -0.01), (0.10, 0.16, -0.08), (0.07, 0.12, -0.06)),
)
"""Fingers (30, 3) of a hand at rest: joints 25 to 54 of the 55, axis-angle local to the parent."""
