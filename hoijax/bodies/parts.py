"""The twelve body parts of the part affordance graph, as vertex sets of any body on the SMPL-X tree."""

import functools

import numpy as np
from jaxtyping import Float, Int

from hoijax.affordance.graph import BODY_PARTS
from hoijax.bodies.kinematics import JOINT_NAMES
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.errors import UserError

NO_PART = -1
"""Part id of vertices in none of the twelve parts (chest, back, belly)."""

_PART_OF_STEM = (
    dict.fromkeys(("wrist", "index", "middle", "pinky", "ring", "thumb"), "hand")
    | {"elbow": "arm", "shoulder": "arm", "collar": "shoulder"}
    | {"hip": "leg", "knee": "leg", "ankle": "foot", "foot": "foot"}
    | dict.fromkeys(("neck", "head", "jaw", "eye_smplhf"), "head")
    | {"pelvis": "hips"}
)


def _part_of_joint(joint: str) -> int:
    side, _, rest = joint.partition("_")
    stem = (rest if side in ("left", "right") else joint).rstrip("0123456789")
    part = _PART_OF_STEM.get(stem)
    if part is None:
        return NO_PART
    return BODY_PARTS.index(part if part in ("head", "hips") else f"{side}_{part}")


PART_OF_JOINT: tuple[int, ...] = tuple(_part_of_joint(joint) for joint in JOINT_NAMES)
"""Part id of the skin that hangs on each joint."""


def part_ids_from_skin(
    vertices_rest: Float[np.ndarray, "v 3"],
    joints_rest: Float[np.ndarray, "55 3"],
    skin_indices: Int[np.ndarray, "v k"],
    skin_weights: Float[np.ndarray, "v k"],
) -> Int[np.ndarray, " v"]:
    """Part id of each vertex: by the joint with the most weight, with two borders moved by position.

    The shoulder takes the near quarter of the upper arm (the deltoid), and the hips take the seat: thigh
    skin above the hip joints.
    """
    strongest = np.take_along_axis(skin_indices, skin_weights.argmax(1)[:, None], 1)[:, 0]
    ids = np.array(PART_OF_JOINT, np.int32)[strongest]
    for side in ("left", "right"):
        hip, shoulder, elbow = (
            JOINT_NAMES.index(f"{side}_{n}") for n in ("hip", "shoulder", "elbow")
        )
        bone = joints_rest[elbow] - joints_rest[shoulder]
        along = (vertices_rest - joints_rest[shoulder]) @ bone / max(bone @ bone, 1e-12)
        ids[(strongest == shoulder) & (along < 0.25)] = BODY_PARTS.index(f"{side}_shoulder")
        above = vertices_rest[:, 1] > joints_rest[hip, 1]
        ids[(strongest == hip) & above] = BODY_PARTS.index("hips")
    return ids


def part_index(part: str) -> int:
    """Index of a part's name; UserError that lists the twelve names if there is no such part."""
    if part not in BODY_PARTS:
        raise UserError(f"unknown body part {part!r}; the parts are {', '.join(BODY_PARTS)}")
    return BODY_PARTS.index(part)


def part_vertex_indices(
    body: SkinnedBody, part: str, count: int, seed: int = 0
) -> Int[np.ndarray, " count"]:
    """`count` vertices spread evenly over a body part, padded by repetition. UserError on an unknown part."""
    members = np.flatnonzero(np.asarray(body.part_ids) == part_index(part))
    return spread_over(body, members, part, count, seed)


def spread_over(
    body: SkinnedBody, members: Int[np.ndarray, " m"], part: str, count: int, seed: int
) -> Int[np.ndarray, " count"]:
    """`count` of the member vertices, far from each other in the rest pose; repeated if there are fewer."""
    if len(members) == 0:
        raise UserError(f"the body {body.name!r} has no vertices on part {part!r}")
    points = np.ascontiguousarray(np.asarray(body.template)[members])
    chosen = _farthest_of(points.tobytes(), points.dtype.str, points.shape[1], count, seed)
    return members[chosen].astype(np.int32)


@functools.lru_cache(maxsize=256)
def _farthest_of(
    points: bytes, dtype: str, axes: int, count: int, seed: int
) -> Int[np.ndarray, " count"]:
    """`farthest_points`, remembered: every scene with the same body asks for the same parts."""
    chosen = farthest_points(np.frombuffer(points, dtype).reshape(-1, axes), count, seed)
    chosen.flags.writeable = False
    return chosen


def farthest_points(
    points: Float[np.ndarray, "n d"], count: int, seed: int = 0
) -> Int[np.ndarray, " count"]:
    """Indices of `count` points (of any dimension) by farthest point sampling, seeded start, sorted."""
    if len(points) <= count:
        return np.resize(np.arange(len(points)), count)
    chosen = np.empty(count, np.int64)
    chosen[0] = np.random.default_rng(seed).integers(len(points))
    distance = np.full(len(points), np.inf)
    for i in range(1, count):
        step = ((points - points[chosen[i - 1]]) ** 2).sum(1)
        distance = np.minimum(distance, step)
        chosen[i] = distance.argmax()
    return np.sort(chosen)


def find_face_vertices(
    vertices_rest: Float[np.ndarray, "v 3"],
    joints_rest: Float[np.ndarray, "55 3"],
    part_ids: Int[np.ndarray, " v"],
) -> Int[np.ndarray, "5"]:
    """Vertices at the nose tip, right and left eye, right and left ear, by the rest pose (facing +z).

    The nose is foremost on the head, the ears are its sides, and the eyes are the skin before the eye
    joints; a body without eye joints (SMPL-H) gets eyes 3 cm beside and above the nose.
    """
    members = np.flatnonzero(part_ids == BODY_PARTS.index("head"))
    head = joints_rest[JOINT_NAMES.index("head")]
    above = members[vertices_rest[members, 1] > head[1]]
    members = above if len(above) >= 5 else np.arange(len(vertices_rest))
    points = vertices_rest[members]
    nose = points[:, 2].argmax()
    eyes = [joints_rest[JOINT_NAMES.index(f"{s}_eye_smplhf")] for s in ("right", "left")]
    if all(np.linalg.norm(eye - head) < 1e-3 for eye in eyes):
        eyes = [points[nose] + (x, 0.03, -0.03) for x in (-0.03, 0.03)]
    front = np.array([0.0, 0.0, 0.012])
    seen = [((points - eye - front) ** 2).sum(1).argmin() for eye in eyes]
    return members[[nose, *seen, points[:, 0].argmin(), points[:, 0].argmax()]].astype(np.int32)
