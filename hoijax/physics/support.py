"""Can the contacts that are there carry the object? A small non-negative least squares for every frame.

Contacts push with forces inside friction cones, linearized to pyramids of eight edges, where they
stick; where they slide, friction drags the object along with what touches it (Coulomb). What of the
wrench m (a - g), I alpha + omega x I omega they cannot supply is missing. Without contact only free
flight is explained. The test is necessary, not sufficient: hands may squeeze as they like.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.physics.contacts import (
    GROUND,
    OTHER_OBJECT,
    Contacts,
    ContactSettings,
    bone_depths,
    find_contacts,
)
from hoijax.physics.grips import grip_offset
from hoijax.physics.rigid_motion import RigidMotion
from hoijax.results.protocols.mesh_motion import MeshMotion

PYRAMID_EDGES = 8
SQUEEZE = 1e-3
"""Price of the sum of normal forces beside the missing wrench: else hands squeeze at no cost."""
MIN_DRAG = 0.5
"""Part of the friction that a sliding contact drags with at least."""


@dataclass(frozen=True)
class SupportSettings:
    """What counts as contact and as carried."""

    contact: ContactSettings = field(default_factory=ContactSettings)
    friction: float = 0.6
    tolerance: float = 0.1
    """Missing wrench, in object weights (moments over the object's radius), up to which a frame is
    explained."""
    max_body_force: float = 800.0
    """Newtons that a person can exert in all."""
    max_grip_offset: float = 0.025
    """Metres that a carried object may be from where the hands hold it."""

    def __post_init__(self) -> None:
        numbers = (self.friction, self.tolerance, self.max_body_force, self.max_grip_offset)
        if not all(np.isfinite(n) and n > 0 for n in numbers):
            raise UserError(
                "friction, tolerance, the largest force (N) and offset (m) must be positive numbers."
            )


@dataclass(frozen=True)
class Support:
    """How each frame's wrench is supplied; forces in object weights."""

    explained: Bool[ndarray, "T"]
    """The wrench is supplied, no bone is inside of the object, it is not in the ground, and where hands
    hold it."""
    missing: Float[ndarray, "T"]
    """Norm of the missing force and moment."""
    missing_force: Float[ndarray, "T 3"]
    """World axes."""
    bone_depth: Float[ndarray, "T"]
    """Of the deepest bone inside of the object, metres."""
    ground_depth: Float[ndarray, "T"]
    """Of the lowest vertex below the ground, metres."""
    grip_offset: Float[ndarray, "T"]
    """Metres from where the hands that carry it hold it; 0 where they do not tell."""
    free_flight: Bool[ndarray, "T"]
    """Explained without any contact."""
    body_force: Float[ndarray, "T"]
    """Sum of the normal forces of skin contacts."""
    ground_force: Float[ndarray, "T"]
    """The same of the ground and of other objects."""
    part_force: dict[int, Float[ndarray, "T"]]
    """Normal forces by body part."""
    contacts: tuple[Contacts, ...]
    forces: tuple[Float[ndarray, "_ 3"], ...]
    """Of every frame's contacts, in the world."""


def find_support(
    motion: MeshMotion,
    rigid: RigidMotion,
    settings: SupportSettings | None = None,
    others: Sequence[MeshMotion] = (),
    people: Sequence[MeshMotion] = (),
) -> Support:
    """Every frame's support of the object by the skin, the ground y = 0 and the objects of `others`.

    people: whose bones may not be inside of the object; by default the motion's own.
    """
    settings = settings or SupportSettings()
    contacts = find_contacts(motion, rigid, settings.contact, others)
    wrenches = needed_wrenches(rigid)
    count = motion.frame_count
    missing, forces = np.zeros((count, 6)), []
    normal_by_part: dict[int, ndarray] = {}
    for t, frame in enumerate(contacts):
        rotation = rigid.rotations[t]
        levers = (frame.points - rigid.center) @ rotation.T / rigid.radius
        slips = np.where(
            np.linalg.norm(frame.slips, axis=-1, keepdims=True) > settings.contact.sticking,
            frame.slips @ rotation.T,
            0.0,
        )
        force, missing[t] = solve_frame(
            frame.normals @ rotation.T, levers, wrenches[t], settings.friction, slips=slips
        )
        forces.append(force)
        normal = (force * (frame.normals @ rotation.T)).sum(axis=-1)
        for part in np.unique(frame.parts):
            row = normal_by_part.setdefault(int(part), np.zeros(count))
            row[t] = normal[frame.parts == part].sum()
    nothing = np.zeros(count)
    ground = normal_by_part.pop(GROUND, nothing) + normal_by_part.pop(OTHER_OBJECT, nothing)
    body = np.sum(list(normal_by_part.values()), axis=0) if normal_by_part else nothing
    size = np.linalg.norm(missing, axis=1)
    bones = np.max([bone_depths(person, rigid) for person in people or (motion,)], axis=0)
    explained = (size <= settings.tolerance) & (body * rigid.weight <= settings.max_body_force)
    explained &= bones <= settings.contact.bone_depth
    sunk = np.maximum(-motion.object_vertices[..., 1].min(axis=1).astype(np.float64), 0)
    explained &= sunk <= settings.contact.ground_margin
    step, told = grip_offset(people or (motion,), rigid, contacts, motion.fps)
    off = np.where(told, np.linalg.norm(step), 0.0)
    explained &= off <= settings.max_grip_offset
    return Support(
        explained=explained,
        missing=size,
        missing_force=missing[:, :3],
        bone_depth=bones,
        ground_depth=sunk,
        grip_offset=off,
        free_flight=explained & np.array([not len(c.points) for c in contacts], bool),
        body_force=body,
        ground_force=ground,
        part_force=normal_by_part,
        contacts=contacts,
        forces=tuple(forces),
    )


def needed_wrenches(rigid: RigidMotion) -> Float[ndarray, "T 6"]:
    """Force and moment that surroundings must supply, in object weights; moments over the radius."""
    return np.concatenate([rigid.forces, rigid.torques / rigid.radius], axis=1) / rigid.weight


def solve_frame(
    normals: Float[ndarray, "C 3"],
    levers: Float[ndarray, "C 3"],
    wrench: Float[ndarray, "6"],
    friction: float,
    spread: float = 0.0,
    slips: Float[ndarray, "C 3"] | None = None,
) -> tuple[Float[ndarray, "C 3"], Float[ndarray, "6"]]:
    """(force of every contact, missing wrench) of one frame, in the wrench's unit.

    levers: from the center of mass, in the unit of length that moments are divided by. spread: price
    of the squares of forces, which shares them out among contacts; without it few contacts bear all.
    slips: velocities of contacts that slide, along the surface; 0 where they stick, as all do by default.
    """
    from scipy.optimize import nnls

    if not len(normals):
        return np.zeros((0, 3)), wrench
    edges = _pyramids(normals, friction)
    if slips is not None:
        speed = np.linalg.norm(slips, axis=-1)
        drag = friction * slips / np.maximum(speed, 1e-12)[:, None]
        parts = np.linspace(MIN_DRAG, 1, PYRAMID_EDGES)[:, None]
        edges = np.where(
            (speed > 0)[:, None, None], normals[:, None] + parts * drag[:, None], edges
        )
    moments = np.cross(levers[:, None], edges)
    columns = np.concatenate([edges, moments], axis=-1).reshape(-1, 6).T
    count = columns.shape[1]
    priced = np.concatenate([columns, np.full((1, count), SQUEEZE)])
    target = np.append(wrench, 0.0)
    if spread:
        priced = np.concatenate([priced, spread * np.eye(count)])
        target = np.append(target, np.zeros(count))
    amounts, _ = nnls(priced, target)
    return np.einsum(
        "ce,cei->ci", amounts.reshape(len(normals), -1), edges
    ), wrench - columns @ amounts


def _pyramids(normals: Float[ndarray, "C 3"], friction: float) -> Float[ndarray, "C E 3"]:
    """Edges of the friction pyramids, each with a normal component of 1."""
    helper = np.where(np.abs(normals[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    first = np.cross(normals, helper)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second = np.cross(normals, first)
    angles = 2 * np.pi * np.arange(PYRAMID_EDGES) / PYRAMID_EDGES
    around = np.cos(angles)[:, None] * first[:, None] + np.sin(angles)[:, None] * second[:, None]
    return normals[:, None] + friction * around
