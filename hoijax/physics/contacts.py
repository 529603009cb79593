"""Where an object is touched: by skin, by the ground, by other objects; and bones that are inside of it.

Skin is soft, and fingers close around what they touch: where skin is within `margin` of the surface,
all surface within `grip` of it may be pressed. Everything is asked in the frame of the object, so one
search answers all frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.bodies.kinematics import JOINT_PARENTS
from hoijax.errors import UserError
from hoijax.geometry.mesh_queries import nearest_on_mesh, signed_distance
from hoijax.geometry.rows import dot, face_areas
from hoijax.physics.rigid_motion import SMOOTHED_SECONDS, RigidMotion, smoothed_derivative
from hoijax.physics.slips import skin_slips
from hoijax.results.protocols.mesh_motion import MeshMotion, surface_samples

GROUND, OTHER_OBJECT = -2, -3
"""Part ids of contacts with the ground and with other objects; -1 is skin of no part."""
MAX_CONTACTS = 32
"""A frame's contacts of each kind (skin, ground, other objects) that are considered: spread over all."""
SAMPLE_AREA, MIN_SAMPLES, MAX_SAMPLES = 1e-4, 1000, 20000
"""Surface samples: one a square centimeter."""
LEAVING = 0.3
"""Metres a second upward above which a point has left the ground."""
BONE_STEPS = np.linspace(0, 1, 5)


@dataclass(frozen=True)
class ContactSettings:
    """What counts as contact; metres."""

    margin: float = 0.01
    """From the surface, on either side of it, within which skin touches."""
    grip: float = 0.02
    """From touching skin within which surface is pressed: flesh and fingers give way that far."""
    ground_margin: float = 0.02
    """Above the ground, or from another object, within which the object rests on it."""
    bone_depth: float = 0.012
    """Inside of the object beyond which no bone can be; fingers, which are rarely estimated, may."""
    sticking: float = 0.05
    """Metres a second up to which contacts hold by static friction; beyond it they slide."""

    def __post_init__(self) -> None:
        numbers = (self.margin, self.grip, self.ground_margin, self.bone_depth, self.sticking)
        if not all(np.isfinite(n) and n > 0 for n in numbers):
            raise UserError("margins (m) must be positive numbers.")


@dataclass(frozen=True)
class Contacts:
    """Where one frame's object is touched, in the object's frame; normals point into the object."""

    points: Float[ndarray, "C 3"]
    normals: Float[ndarray, "C 3"]
    parts: Int[ndarray, "C"]
    slips: Float[ndarray, "C 3"]
    """Velocity of what touches along the surface, metres a second."""
    skin: Int[ndarray, "n"]
    """Vertices of the body that touch."""


@dataclass(frozen=True)
class Surface:
    """An object in its own frame, and points spread over it with normals into it."""

    vertices: Float[ndarray, "M 3"]
    faces: Int[ndarray, "G 3"]
    points: Float[ndarray, "N 3"]
    normals: Float[ndarray, "N 3"]


def surface_of(motion: MeshMotion) -> Surface:
    """The mesh as it is in the first frame. Raises UserError for a mesh without area."""
    import trimesh

    vertices = np.ascontiguousarray(motion.object_vertices[0], np.float64)
    faces = np.ascontiguousarray(motion.object_faces, np.int64)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    if not mesh.area > 0:
        raise UserError("the object's mesh has no faces with an area; contact needs a surface.")
    count = int(np.clip(mesh.area / SAMPLE_AREA, MIN_SAMPLES, MAX_SAMPLES))
    points, face = trimesh.sample.sample_surface(mesh, count, seed=0)[:2]
    inward = -np.asarray(mesh.face_normals)[face] * orientation(vertices, faces)
    return Surface(vertices, faces, np.asarray(points, np.float64), inward)


def find_contacts(
    motion: MeshMotion,
    rigid: RigidMotion,
    settings: ContactSettings,
    others: Sequence[MeshMotion] = (),
) -> tuple[Contacts, ...]:
    """Contacts of every frame with skin, the ground y = 0, and the objects of `others`."""
    surface = surface_of(motion)
    skin = rigid.in_object(motion.body_vertices.astype(np.float64))
    touch = _touching(surface, skin, motion, settings.margin)
    parts = np.full(skin.shape[1], -1) if motion.body_parts is None else motion.body_parts
    slips = skin_slips(skin, parts, touch.frame, touch.vertex, motion.fps)
    beside = [
        rigid.in_object(surface_samples(o.object_vertices, o.object_faces, MAX_SAMPLES))
        for o in others
    ]
    drifts = [smoothed_derivative(p, motion.fps, 1) for p in beside]
    ground = _ground_contacts(surface, rigid, settings.ground_margin, motion.fps)
    contacts = []
    for t in range(motion.frame_count):
        rows = np.flatnonzero(touch.frame == t)
        now = touch.where(rows)
        points, normals, pressing = _pressed(surface, skin[t, now.vertex], now, settings.grip)
        pieces = [(points, normals, parts[now.vertex[pressing]], slips[rows[pressing]])]
        pieces.append(ground[t])
        pieces += [
            _on_other(surface, points[t], drift[t], settings.ground_margin)
            for points, drift in zip(beside, drifts, strict=True)
        ]
        points, normals, ids, ways = (np.concatenate(c) for c in zip(*pieces, strict=True))
        along = ways - (ways * normals).sum(axis=-1, keepdims=True) * normals
        contacts.append(Contacts(points, normals, ids, along, now.vertex))
    return tuple(contacts)


def bone_depths(motion: MeshMotion, rigid: RigidMotion) -> Float[ndarray, "T"]:
    """How deep the deepest bone is inside of the object, metres; 0 where none is or joints are unknown.

    Bones of the trunk and limbs, and of the palms where the fingers' joints are there.
    """
    if motion.body_joints is None:
        return np.zeros(motion.frame_count)
    joints = motion.body_joints.shape[1]
    last = 22 if joints < len(JOINT_PARENTS) else joints
    ends = [j for j in range(1, last) if JOINT_PARENTS[j] <= 21 and not 22 <= j < 25]
    starts = [JOINT_PARENTS[j] for j in ends]
    a, b = (
        rigid.in_object(motion.body_joints[:, one].astype(np.float64)) for one in (starts, ends)
    )
    along = BONE_STEPS[:, None, None, None]
    points = np.moveaxis((1 - along) * a + along * b, 0, 1).reshape(motion.frame_count, -1, 3)
    depth = np.zeros(points.shape[:2])
    surface = motion.object_vertices[0].astype(np.float64)
    near = ((points >= surface.min(axis=0)) & (points <= surface.max(axis=0))).all(axis=-1)
    if near.any():
        depth[near] = -signed_distance(points[near], surface, motion.object_faces)
    return np.maximum(depth, 0).max(axis=1)


def farthest(points: Float[ndarray, "N 3"], count: int = MAX_CONTACTS) -> Int[ndarray, "n"]:
    """Indices of `count` points far from each other; all where there are no more."""
    if len(points) <= count:
        return np.arange(len(points))
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=-1).argmax())]
    nearest = np.linalg.norm(points - points[chosen[0]], axis=-1)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=-1))
    return np.array(chosen)


def orientation(vertices: ndarray, faces: ndarray) -> float:
    """1 where faces are counter-clockwise from outside, -1 where they are turned inside out."""
    a, b, c = (vertices[faces[:, k]] - vertices.mean(axis=0) for k in range(3))
    return 1.0 if np.einsum("fi,fi->", a, np.cross(b, c)) >= 0 else -1.0


@dataclass(frozen=True)
class _Touch:
    """Skin within the margin of a surface that it faces, and its nearest points there, in all frames."""

    frame: Int[ndarray, "n"]
    vertex: Int[ndarray, "n"]
    points: Float[ndarray, "n 3"]
    normals: Float[ndarray, "n 3"]
    """Into the object."""

    def where(self, chosen: ndarray) -> "_Touch":
        return _Touch(
            self.frame[chosen], self.vertex[chosen], self.points[chosen], self.normals[chosen]
        )


def _touching(
    surface: Surface, skin: Float[ndarray, "T V 3"], motion: MeshMotion, margin: float
) -> _Touch:
    frame, vertex = _near(surface, skin, margin)
    if not len(frame):
        return _Touch(frame, vertex, np.zeros((0, 3)), np.zeros((0, 3)))
    distance, face, nearest = nearest_on_mesh(skin[frame, vertex], surface.vertices, surface.faces)
    inward = -face_areas(surface.vertices[surface.faces])[face] * orientation(
        surface.vertices, surface.faces
    )
    inward /= np.maximum(np.linalg.norm(inward, axis=-1, keepdims=True), 1e-12)
    touch = _Touch(frame, vertex, nearest, inward).where(distance <= margin)
    facing = np.zeros(len(touch.frame), bool)
    outward = orientation(skin[0], motion.body_faces)
    for t in np.unique(touch.frame):
        now = touch.frame == t
        normals = outward * _skin_normals(skin[t], motion.body_faces, touch.vertex[now])
        facing[now] = dot(normals, touch.normals[now]) >= 0
    return touch.where(facing)


def _near(
    surface: Surface, skin: Float[ndarray, "T V 3"], margin: float
) -> tuple[ndarray, ndarray]:
    """(frame, vertex) of skin that may be within the margin: near samples, for exact distances cost."""
    from scipy.spatial import KDTree

    low, high = surface.vertices.min(axis=0) - margin, surface.vertices.max(axis=0) + margin
    frame, vertex = np.nonzero(((skin >= low) & (skin <= high)).all(axis=-1))
    if not len(frame):
        return frame, vertex
    area = np.linalg.norm(face_areas(surface.vertices[surface.faces]), axis=-1).sum() / 2
    gap = 4 * np.sqrt(area / len(surface.points))  # to the nearest sample, wherever on the surface
    samples = KDTree(np.concatenate([surface.points, surface.vertices]))
    distance, _ = samples.query(skin[frame, vertex], distance_upper_bound=margin + gap)
    near = np.isfinite(distance)
    return frame[near], vertex[near]


def _skin_normals(
    vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"], chosen: Int[ndarray, "n"]
) -> Float[ndarray, "n 3"]:
    """Of some vertices, by area and not of length 1; 0 where a vertex has no face."""
    is_chosen = np.zeros(len(vertices), bool)
    is_chosen[chosen] = True
    around = faces[is_chosen[faces].any(axis=1)]
    areas = face_areas(vertices[around])
    corners = around.T.reshape(-1)
    sums = [np.bincount(corners, np.tile(areas[:, k], 3), len(vertices)) for k in range(3)]
    return np.stack(sums, axis=-1, dtype=np.float64)[chosen]  # integers where no face is


def _pressed(
    surface: Surface, skin: Float[ndarray, "n 3"], touch: _Touch, grip: float
) -> tuple[ndarray, ndarray, ndarray]:
    """(point, normal, index of touch) where touching skin is nearest, and of samples within `grip` of it, thinned."""
    from scipy.spatial import KDTree

    if not len(skin):
        return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0, int)
    distance, nearest = map(
        np.asarray, KDTree(skin).query(surface.points, distance_upper_bound=grip)
    )
    near = np.flatnonzero(np.isfinite(distance))
    points = np.concatenate([touch.points, surface.points[near]])
    chosen = farthest(points)
    normals = np.concatenate([touch.normals, surface.normals[near]])
    pressing = np.concatenate([np.arange(len(skin)), nearest[near]])
    return points[chosen], normals[chosen], pressing[chosen]


def _ground_contacts(
    surface: Surface, rigid: RigidMotion, margin: float, fps: float
) -> list[tuple[ndarray, ndarray, ndarray, ndarray]]:
    """Lowest vertices of every frame, but for those that leave the ground: it throws nothing up.

    What lands within the window that accelerations are smoothed over is on the ground before it does.
    """
    up = rigid.rotations[:, 1]
    heights = up @ surface.vertices.T + rigid.translations[:, 1:2]
    levers = (surface.vertices - rigid.center) @ rigid.rotations.swapaxes(-1, -2)
    moving = rigid.velocities[:, None, :3] + np.cross(rigid.velocities[:, None, 3:], levers)
    low = (heights <= margin) & (moving[..., 1] <= LEAVING)
    contacts = []
    for t in range(len(low)):
        ids = np.flatnonzero(low[t : t + 1 + round(SMOOTHED_SECONDS * fps / 2)].any(axis=0))
        ids = ids[farthest(surface.vertices[ids])]
        normals = np.tile(up[t], (len(ids), 1))
        slips = -moving[t, ids] @ rigid.rotations[t]
        contacts.append((surface.vertices[ids], normals, np.full(len(ids), GROUND), slips))
    return contacts


def _on_other(surface: Surface, other: Float[ndarray, "N 3"], drift: ndarray, margin: float):
    """Samples of the surface that are beside samples of another object, which move by `drift`."""
    from scipy.spatial import KDTree

    distance, nearest = map(
        np.asarray, KDTree(other).query(surface.points, distance_upper_bound=margin)
    )
    near = np.flatnonzero(np.isfinite(distance))
    near = near[farthest(surface.points[near])]
    ids = np.full(len(near), OTHER_OBJECT)
    return surface.points[near], surface.normals[near], ids, drift[nearest[near]]
