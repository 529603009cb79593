"""Can the contacts that are there carry the object? A small non-negative least squares for every frame.

Contacts push with forces inside friction cones, linearized to pyramids of eight edges; what of the
wrench m (a - g), I alpha + omega x I omega they cannot supply is missing. Without contact only free
flight is explained. The test is necessary, not sufficient: hands may squeeze as they like.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.physics.rigid_motion import GRAVITY, RigidMotion
from hoijax.results.protocols.mesh_motion import MeshMotion

GROUND = -2
"""Part id of contacts with the ground; -1 is skin of no part."""
MAX_CONTACTS = 32
"""A frame's skin contacts, and ground contacts, that are considered: spread over all there are."""
PYRAMID_EDGES = 8
SQUEEZE = 1e-3
"""Price of the sum of normal forces beside the missing wrench: else hands squeeze at no cost."""


@dataclass(frozen=True)
class SupportSettings:
    """What counts as contact and as carried."""

    margin: float = 0.02
    """Metres from the surface within which skin or ground touches; deeper inside counts too."""
    friction: float = 0.6
    tolerance: float = 0.1
    """Missing wrench, in object weights (moments over the object's radius), up to which a frame is
    explained."""
    max_body_force: float = 800.0
    """Newtons that a person can exert in all."""

    def __post_init__(self) -> None:
        numbers = (self.margin, self.friction, self.tolerance, self.max_body_force)
        if not all(np.isfinite(n) and n > 0 for n in numbers):
            raise UserError(
                "margin (m), friction, tolerance and the largest force (N) must be positive numbers."
            )


@dataclass(frozen=True)
class Contacts:
    """Where a frame's object is touched; normals point into the object."""

    points: Float[ndarray, "C 3"]
    normals: Float[ndarray, "C 3"]
    parts: Int[ndarray, "C"]


@dataclass(frozen=True)
class Support:
    """How each frame's wrench is supplied; forces in object weights."""

    explained: Bool[ndarray, "T"]
    missing: Float[ndarray, "T"]
    """Norm of the missing force and moment."""
    missing_force: Float[ndarray, "T 3"]
    free_flight: Bool[ndarray, "T"]
    """Explained without any contact."""
    body_force: Float[ndarray, "T"]
    """Sum of the normal forces of skin contacts."""
    ground_force: Float[ndarray, "T"]
    part_force: dict[int, Float[ndarray, "T"]]
    """Normal forces by body part."""
    contacts: tuple[Contacts, ...]


def find_support(
    motion: MeshMotion, rigid: RigidMotion, settings: SupportSettings | None = None
) -> Support:
    """Every frame's support of the object by the skin and the ground y = 0."""
    settings = settings or SupportSettings()
    weight = rigid.mass * float(np.linalg.norm(GRAVITY))
    contacts = tuple(
        contacts_of_frame(motion, t, settings.margin) for t in range(motion.frame_count)
    )
    wrenches = np.concatenate([rigid.forces, rigid.torques / rigid.radius], axis=1) / weight
    parts = sorted({int(p) for c in contacts for p in c.parts} - {GROUND})
    count = len(contacts)
    missing, forces = np.zeros((count, 6)), {p: np.zeros(count) for p in (*parts, GROUND)}
    for t, frame in enumerate(contacts):
        levers = (frame.points - rigid.centers[t]) / rigid.radius
        normal, missing[t] = solve_frame(frame.normals, levers, wrenches[t], settings.friction)
        for part in forces:
            forces[part][t] = normal[frame.parts == part].sum()
    ground = forces.pop(GROUND)
    body = np.sum(list(forces.values()), axis=0) if forces else np.zeros(count)
    size = np.linalg.norm(missing, axis=1)
    explained = (size <= settings.tolerance) & (body * weight <= settings.max_body_force)
    return Support(
        explained=explained,
        missing=size,
        missing_force=missing[:, :3],
        free_flight=explained & np.array([not len(c.points) for c in contacts], bool),
        body_force=body,
        ground_force=ground,
        part_force=forces,
        contacts=contacts,
    )


def solve_frame(
    normals: Float[ndarray, "C 3"],
    levers: Float[ndarray, "C 3"],
    wrench: Float[ndarray, "6"],
    friction: float,
) -> tuple[Float[ndarray, "C"], Float[ndarray, "6"]]:
    """(normal force of every contact, missing wrench) of one frame, in the wrench's unit.

    levers: from the center of mass, in the unit of length that moments are divided by.
    """
    from scipy.optimize import nnls

    if not len(normals):
        return np.zeros(0), wrench
    edges = _pyramids(normals, friction)
    moments = np.cross(levers[:, None], edges)
    columns = np.concatenate([edges, moments], axis=-1).reshape(-1, 6).T
    priced = np.concatenate([columns, np.full((1, columns.shape[1]), SQUEEZE)])
    amounts, _ = nnls(priced, np.append(wrench, 0.0))
    return amounts.reshape(len(normals), -1).sum(axis=1), wrench - columns @ amounts


def _pyramids(normals: Float[ndarray, "C 3"], friction: float) -> Float[ndarray, "C E 3"]:
    """Edges of the friction pyramids, each with a normal component of 1."""
    helper = np.where(np.abs(normals[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    first = np.cross(normals, helper)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second = np.cross(normals, first)
    angles = 2 * np.pi * np.arange(PYRAMID_EDGES) / PYRAMID_EDGES
    around = np.cos(angles)[:, None] * first[:, None] + np.sin(angles)[:, None] * second[:, None]
    return normals[:, None] + friction * around


def contacts_of_frame(motion: MeshMotion, t: int, margin: float) -> Contacts:
    """Skin and ground contacts of one frame, thinned out to MAX_CONTACTS each."""
    import igl

    surface = np.ascontiguousarray(motion.object_vertices[t], np.float64)
    faces = np.ascontiguousarray(motion.object_faces, np.int64)
    touching = _spread(np.flatnonzero(motion.body_signed_distance[t] <= margin), motion, t)
    points, normals = np.zeros((0, 3)), np.zeros((0, 3))
    if len(touching):
        skin = np.ascontiguousarray(motion.body_vertices[t, touching], np.float64)
        _, face, points = map(np.asarray, igl.point_mesh_squared_distance(skin, surface, faces)[:3])
        a, b, c = (surface[faces[face, k]] for k in range(3))
        normals = -np.cross(b - a, c - a) * _orientation(surface, faces)
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    parts = np.full(len(touching), -1) if motion.body_parts is None else motion.body_parts[touching]
    low = np.flatnonzero(surface[:, 1] <= margin)
    low = low[_farthest(surface[low])]
    up = np.tile([0.0, 1.0, 0.0], (len(low), 1))
    return Contacts(
        points=np.concatenate([points, surface[low]]),
        normals=np.concatenate([normals, up]),
        parts=np.concatenate([parts, np.full(len(low), GROUND)]).astype(np.int64),
    )


def _spread(indices: ndarray, motion: MeshMotion, t: int) -> ndarray:
    return indices[_farthest(motion.body_vertices[t, indices])]


def _farthest(points: ndarray) -> ndarray:
    """Indices of MAX_CONTACTS points far from each other; all where there are no more."""
    if len(points) <= MAX_CONTACTS:
        return np.arange(len(points))
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=-1).argmax())]
    nearest = np.linalg.norm(points - points[chosen[0]], axis=-1)
    while len(chosen) < MAX_CONTACTS:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=-1))
    return np.array(chosen)


def _orientation(vertices: ndarray, faces: ndarray) -> float:
    """1 where faces are counter-clockwise from outside, -1 where they are turned inside out."""
    a, b, c = (vertices[faces[:, k]] - vertices.mean(axis=0) for k in range(3))
    return 1.0 if np.einsum("fi,fi->", a, np.cross(b, c)) >= 0 else -1.0
