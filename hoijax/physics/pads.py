"""Skin that presses on an object, as points that are carried along by the skin around them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.physics.contacts import farthest
from hoijax.physics.decomposition import ConvexPieces
from hoijax.physics.rigid_motion import RigidMotion
from hoijax.physics.support import Support, SupportSettings, needed_wrenches, solve_frame
from hoijax.results.protocols.mesh_motion import MeshMotion

PATCH = 40
"""Skin vertices around a pad whose rigid motion carries it."""
SPREAD = 0.05
"""Price of squares of the pads' forces (solve_frame), so that all that touch press."""
RELEASED = 0.04
"""Metres that a pad may be carried over or off the object before it presses no more."""
SURE_GRIP = 0.5
"""Part of the friction that pads are pressed for, where that suffices."""


@dataclass(frozen=True)
class Pads:
    """P points of skin on the object's surface over F frames; world frame, SI units."""

    targets: Float[ndarray, "F P 3"]
    """Where the skin carries them."""
    forces: Float[ndarray, "F P 3"]
    """What they press with: in each frame, together, the wrench that the object needs."""
    normals: Float[ndarray, "P 3"]
    """Into the object, in its frame."""


def place_pads(
    motion: MeshMotion,
    rigid: RigidMotion,
    support: Support,
    settings: SupportSettings,
    pieces: ConvexPieces,
    frames: Sequence[int],
    count: int,
) -> Pads:
    """Pads where skin touches in the first of the frames, carried along by the skin through all."""
    start = frames[0]
    contacts = support.contacts[start]
    skin = np.flatnonzero(contacts.parts >= -1)
    skin = skin[farthest(contacts.points[skin], count)]
    points, normals = contacts.points[skin], contacts.normals[skin]
    if not len(skin):
        none = np.zeros((len(frames), 0, 3))
        return Pads(none, none, np.zeros((0, 3)))
    world = pieces.outside(points, -normals) @ rigid.rotations[start].T + rigid.translations[start]
    moving = motion.body_vertices[list(frames)]
    targets = np.empty((len(frames), len(skin), 3))
    for part in np.unique(contacts.parts[skin]):
        pads = contacts.parts[skin] == part
        same = slice(None) if motion.body_parts is None else motion.body_parts == part
        targets[:, pads] = carried(moving[:, same], world[pads])
    return Pads(
        targets, _forces(rigid, settings, frames, targets, points, normals, contacts), normals
    )


def carried(
    skin: Float[ndarray, "F V 3"], points: Float[ndarray, "P 3"]
) -> Float[ndarray, "F P 3"]:
    """Points of the first frame, moved by the rigid motion of the skin around each."""
    from scipy.spatial import KDTree

    skin = skin.astype(np.float64)
    _, near = KDTree(skin[0]).query(points, k=min(PATCH, skin.shape[1]))
    patches = skin[:, near]  # F P k 3
    centers = patches.mean(axis=2)
    arms = patches - centers[:, :, None]
    u, _, vt = np.linalg.svd(np.einsum("fpki,pkj->fpij", arms, arms[0]))
    u[..., -1] *= np.sign(np.linalg.det(u @ vt))[..., None]
    return centers + np.einsum("fpij,pj->fpi", u @ vt, points - centers[0])


def _forces(rigid, settings, frames, targets, points, normals, contacts) -> Float[ndarray, "F P 3"]:
    """Of each frame, by non-negative least squares; ground that is there in the first frame helps."""
    fixed = contacts.parts < -1
    wrenches = needed_wrenches(rigid)
    forces = np.zeros_like(targets)
    for f, t in enumerate(frames):
        rotation = rigid.rotations[t]
        places = (targets[f] - rigid.translations[t]) @ rotation
        pressing = np.linalg.norm(places - points, axis=-1) <= RELEASED
        beside = fixed if f == 0 else np.zeros_like(fixed)
        at = np.concatenate([places[pressing], contacts.points[beside]])
        into = np.concatenate([normals[pressing], contacts.normals[beside]])
        levers = (at - rigid.center) @ rotation.T / rigid.radius
        for part in (SURE_GRIP, 1.0):
            force, missing = solve_frame(
                into @ rotation.T, levers, wrenches[t], part * settings.friction, SPREAD
            )
            if np.linalg.norm(missing) <= settings.tolerance:
                break
        force = force[: pressing.sum()] * rigid.weight
        total = float((force * (normals[pressing] @ rotation.T)).sum())
        forces[f, pressing] = force * min(1.0, settings.max_body_force / max(total, 1e-9))
    return forces
