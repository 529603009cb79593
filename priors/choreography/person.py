"""A person as the choreographer needs it: bone lengths, palms, soles, skin samples; numpy and JAX constants."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bodies.anny import load_anny
from hoijax.bodies.posed_person import pose_clip
from hoijax.bodies.skinned_body import JOINT_NAMES, ShapedBody, SkinnedBody
from hoijax.runtime import on_device
from priors.choreography.joint_limits import JOINT_COUNT
from priors.choreography.pose_targets import ANKLES, HEAD, WRISTS, Skeleton

SKIN_POINTS, HAND_POINTS = 700, 100
SKIN_MARGIN = 0.004  # metres that skin other than the hands' keeps from objects
LIPS_BELOW_NOSE = 0.03
SQUAT_PER_METER = 0.75  # pelvis drop per metre that the hands are below hip height
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
_CAPSULES = ((0, 6), (6, 12), (1, 4), (2, 5))
_CAPSULE_RADII = (0.135, 0.125, 0.075, 0.075)


@dataclass(frozen=True)
class Person:
    """Constants of one person. Rest frame: T-pose, facing +z, y up, metres."""

    body: SkinnedBody
    shaped: ShapedBody
    betas: Float[ndarray, "10"]
    rest_joints: Float[ndarray, "55 3"]
    skeleton: Skeleton
    palm_points: Float[ndarray, "2 3"]
    """Skin at the middle of each palm, in the wrist's frame."""
    grip_points: Float[ndarray, "2 3"]
    """Skin below the finger roots, where a bar lies, in the wrist's frame."""
    lips: Float[ndarray, "3"]
    """The middle of the mouth, in the head's frame."""
    sole: Float[ndarray, "2 3"]
    """Heel (row 0) and toe (row 1) of the sole relative to the ankle; of both feet the mean, x outward."""

    @property
    def pelvis_height(self) -> float:
        """Of the pelvis above the floor, standing straight."""
        return float(self.rest_joints[0, 1] - self.rest_joints[ANKLES[0], 1] - self.sole[0, 1])

    @property
    def shoulder_height(self) -> float:
        return float(self.pelvis_height + self.rest_joints[16, 1] - self.rest_joints[0, 1])

    @property
    def arm_length(self) -> float:
        """Shoulder to wrist."""
        return float(np.linalg.norm(self.rest_joints[20] - self.rest_joints[16]))

    def squat_for(self, hand_height: Float[ndarray, "*n"]) -> Float[ndarray, "*n"]:
        """Pelvis drop that lets hands reach a height comfortably."""
        hips = self.pelvis_height - 0.15
        return np.asarray(0.02 + np.clip(SQUAT_PER_METER * (hips - hand_height), 0.0, 0.5))

    def knees_ahead(self, drop: float) -> float:
        """How far knees are ahead of the pelvis when it is lower than in standing, feet below it."""
        thigh = float(np.linalg.norm(self.rest_joints[4] - self.rest_joints[1]))
        upright = min(1.0, 1.0 - drop / (2.0 * thigh))
        return thigh * float(np.sqrt(1.0 - upright**2))

    @property
    def ankle_half_width(self) -> float:
        return float(abs(self.rest_joints[7, 0] - self.rest_joints[8, 0]) / 2)


def make_person(betas: Float[ndarray, "10"], body: SkinnedBody | None = None) -> Person:
    """Shape a body (the shipped one by default) and measure it."""
    body = load_anny() if body is None else body
    shaped = body.shape(on_device(betas, jnp.float32))
    joints, vertices = np.asarray(shaped.joints_rest), np.asarray(shaped.vertices_rest)
    normals = vertex_normals(vertices, np.asarray(body.faces))
    weights = dense_weights(body)
    palms, grips, palm_normals, knuckles = [], [], [], []
    for side, wrist in zip(("left", "right"), WRISTS, strict=True):
        palm, grip, normal, knuckle = _measure_hand(side, wrist, joints, vertices, normals, weights)
        palms.append(palm)
        grips.append(grip)
        palm_normals.append(normal)
        knuckles.append(knuckle)
    skin_offsets, skin_weights, skin_margin = _body_skin(joints, vertices, weights)
    skeleton = Skeleton(
        rest_joints=joints[:JOINT_COUNT].astype(float),
        palm_normals=np.stack(palm_normals),
        knuckle_axes=np.stack(knuckles),
        skin_offsets=skin_offsets,
        skin_weights=skin_weights,
        skin_margin=skin_margin,
        capsule_joints=np.array(_CAPSULES),
        capsule_radii=np.array(_CAPSULE_RADII),
    )
    return Person(
        body=body,
        shaped=shaped,
        betas=np.asarray(betas, np.float32),
        rest_joints=joints,
        skeleton=skeleton,
        palm_points=np.stack(palms),
        grip_points=np.stack(grips),
        lips=_measure_lips(joints[HEAD], vertices),
        sole=_measure_sole(joints, vertices, weights),
    )


def dense_weights(body: SkinnedBody) -> Float[ndarray, "V 55"]:
    """Skinning weights as a full matrix."""
    indices, weights = np.asarray(body.skin_indices), np.asarray(body.skin_weights)
    dense = np.zeros((len(indices), len(JOINT_NAMES)), np.float32)
    np.add.at(dense, (np.arange(len(indices))[:, None], indices), weights)
    return dense


def vertex_normals(
    vertices: Float[ndarray, "V 3"], faces: Float[ndarray, "F 3"] | ndarray
) -> Float[ndarray, "V 3"]:
    """Area-weighted unit normals."""
    corners = vertices[faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(normals, faces[:, corner], area)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def finger_joints(side: str) -> dict[str, list[int]]:
    """The three joints of each finger of a hand."""
    return {f: [JOINT_NAMES.index(f"{side}_{f}{i}") for i in (1, 2, 3)] for f in FINGERS}


def _measure_hand(
    side: str, wrist: int, joints: ndarray, vertices: ndarray, normals: ndarray, weights: ndarray
) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    """Palm point, grip point (both relative to the wrist), palm normal, knuckle axis."""
    fingers = finger_joints(side)
    middle, index, pinky = (joints[fingers[f][0]] for f in ("middle", "index", "pinky"))
    along = middle - joints[wrist]
    length = np.linalg.norm(along)
    along = along / length
    knuckle = index - pinky
    knuckle = knuckle - (knuckle @ along) * along
    knuckle /= np.linalg.norm(knuckle)
    down = np.cross(along, knuckle) * np.sign(along[0])
    hand_weight = weights[:, [wrist, *(j for f in fingers.values() for j in f)]].sum(1)
    thumb_weight = weights[:, fingers["thumb"]].sum(1)
    reach = (vertices - joints[wrist]) @ along / length
    across = np.abs((vertices - 0.5 * (index + pinky)) @ knuckle)
    palmar = (hand_weight > 0.6) & (thumb_weight < 0.1) & (normals @ down > 0.55) & (across < 0.03)
    palm = palmar & (reach > 0.45) & (reach < 0.9)
    grip = palmar & (reach > 0.8) & (reach < 1.1)
    normal = normals[palm].mean(0)
    normal = normal - (normal @ knuckle) * knuckle
    normal /= np.linalg.norm(normal)
    # The plane that touches the palm's pads, not its hollow.
    pads = (hand_weight > 0.6) & (reach > 0.1) & (reach < 1.0) & (thumb_weight < 0.5)
    center = vertices[palm].mean(0)
    bulge = float(np.quantile((vertices[pads] - center) @ normal, 0.97))
    return (
        (center + max(0.0, bulge) * normal - joints[wrist]).astype(np.float32),
        (vertices[grip].mean(0) - joints[wrist]).astype(np.float32),
        normal.astype(np.float32),
        knuckle.astype(np.float32),
    )


def _measure_lips(head: ndarray, vertices: ndarray) -> Float[ndarray, "3"]:
    """The foremost skin on the middle of the face, LIPS_BELOW_NOSE lower than the tip of the nose."""
    face = vertices[(np.abs(vertices[:, 0]) < 0.01) & (vertices[:, 1] > head[1] - 0.1)] - head
    tip = face[np.argmax(face[:, 2])]
    level = np.abs(face[:, 1] - tip[1] + LIPS_BELOW_NOSE) < 0.006
    return np.array([0.0, tip[1] - LIPS_BELOW_NOSE, face[level, 2].max()])


def _measure_sole(joints: ndarray, vertices: ndarray, weights: ndarray) -> Float[ndarray, "2 3"]:
    """Heel and toe ends of the sole relative to the ankle."""
    ends = []
    for ankle, toes in zip(ANKLES, (10, 11), strict=True):
        foot = vertices[weights[:, [ankle, toes]].sum(1) > 0.6] - joints[ankle]
        low = foot[:, 1].min()
        sole = foot[foot[:, 1] < low + 0.015]
        tip = abs(foot[np.argmax(foot[:, 2]), 0])
        ends.append([[0.0, low, sole[:, 2].min()], [tip, low, sole[:, 2].max()]])
    return np.mean(ends, axis=0).astype(np.float32)


def _body_skin(
    joints: ndarray, vertices: ndarray, weights: ndarray
) -> tuple[Float[ndarray, "V 22 3"], Float[ndarray, "V 22"], Float[ndarray, "V"]]:
    """Offsets, weights and margins (see `Skeleton`) of evenly spread skin points.

    Fingers ride stretched on the wrist: they close later, against the object.
    """
    hand = weights[:, 25:].sum(1) + weights[:, WRISTS].sum(1) > 0.5
    chosen, margins = [], []
    for members, count, margin in ((~hand, SKIN_POINTS, SKIN_MARGIN), (hand, HAND_POINTS, 0.0)):
        candidates = np.flatnonzero(members)
        chosen.append(candidates[farthest_points(vertices[candidates], count)])
        margins.append(np.full(count, margin))
    rows = np.concatenate(chosen)
    return *skin_rows(joints, vertices, weights, rows), np.concatenate(margins)


def skin_rows(
    joints: ndarray, vertices: ndarray, weights: ndarray, rows: ndarray
) -> tuple[Float[ndarray, "V 22 3"], Float[ndarray, "V 22"]]:
    """Offsets and weights (see `Skeleton`) of some vertices; fingers ride stretched on the wrist."""
    body = weights[rows, :JOINT_COUNT].astype(float)
    body[:, 15] += weights[rows, 22:25].sum(1)  # jaw and eyes move with the head
    body[:, 20] += weights[rows, 25:40].sum(1)
    body[:, 21] += weights[rows, 40:].sum(1)
    offsets = vertices[rows, None] - joints[None, :JOINT_COUNT]
    return body[..., None] * offsets, body


def farthest_points(points: Float[ndarray, "N 3"], count: int) -> ndarray:
    """(count,) indices, each the farthest from all before it; starts at the first point."""
    chosen = np.zeros(count, int)
    distance = np.full(len(points), np.inf)
    for i in range(1, count):
        distance = np.minimum(distance, np.sum((points - points[chosen[i - 1]]) ** 2, axis=1))
        chosen[i] = int(np.argmax(distance))
    return chosen


def skin_of(
    person: Person, joint_rotations: Float[ndarray, "T 55 3"], translation: Float[ndarray, "T 3"]
) -> Float[ndarray, "T V 3"]:
    """World skin vertices in every frame."""
    rotations, offsets = on_device(joint_rotations), on_device(translation)
    return np.asarray(pose_clip(person.shaped, rotations, offsets).vertices_world)
