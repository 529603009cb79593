"""What a coarse look missed: all skin against exact surfaces. Bodies rest on objects, and hands touch them.

The inverse kinematics keeps some hundred skin points out of coarse grids; an edge comes between them, and
a palm is on a bar that is not round. Here every vertex is measured, and the next round knows.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.objects.distance_grid import DistanceGrids
from priors.choreography.exact_distance import signed_distance
from priors.choreography.person import (
    Person,
    dense_weights,
    farthest_points,
    skin_of,
    skin_rows,
)
from priors.choreography.pose_targets import WRISTS, Skeleton
from priors.choreography.skin_collisions import look_up
from priors.choreography.tracks import Hold, ObjectTrack, PersonTrack

MAX_ROUNDS, MAX_STEPS = 2, 12
"""Times that a person is posed again, and steps of each."""
STRIDE = 2  # frames; skin that is inside for a single one is rare
TOLERATED = 0.003  # metres of depth that stay as they are
KEPT_OUT = 0.004  # metres that skin which was inside keeps from objects
MAX_POINTS = 160  # skin points that join in one round
FARTHEST = 0.02  # metres that a palm may draw back


def missed(
    track: PersonTrack,
    objects: Sequence[ObjectTrack],
    grids: DistanceGrids,
    rotations: Float[ndarray, "T 55 3"],
    translation: Float[ndarray, "T 3"],
    skeleton: Skeleton,
) -> Skeleton | None:
    """The skeleton with further skin to be kept out, and palms drawn back; None where nothing is inside.

    rotations, translation: the person with the fingers closed. grids: one per object.
    """
    frames = np.arange(0, len(rotations), STRIDE)
    skin = skin_of(track.person, rotations[frames], translation[frames]).astype(float)
    depths = [_depth(o, index, grids, skin, frames) for index, o in enumerate(objects)]
    drawn_back = [
        _draw_back(track.person, hold, depths[hold.object], frames) for hold in track.holds
    ]
    finer = _with_skin(skeleton, track.person, np.max(depths, axis=0))
    return finer if finer is not skeleton or any(drawn_back) else None


def _depth(
    track: ObjectTrack,
    index: int,
    grids: DistanceGrids,
    skin: Float[ndarray, "F V 3"],
    frames: Int[ndarray, " F"],
) -> Float[ndarray, "F V"]:
    """How deep every vertex is inside an object, exactly; 0 outside. Metres."""
    T_world_object = track.transforms()[frames]
    local = (skin - T_world_object[:, None, :3, 3]) @ T_world_object[:, :3, :3]
    low, high = track.asset.vertices.min(axis=0), track.asset.vertices.max(axis=0)
    near = np.all((local > low) & (local < high), axis=-1)
    depth = np.zeros(skin.shape[:2])
    if near.any():  # what is farther out than a grid can err is not looked at
        coarse = look_up(grids, index, local[near][None])[0][0]
        near[near] = coarse < 0.5 * np.linalg.norm(np.asarray(grids.spacing)[index])
        depth[near] = np.maximum(0.0, -signed_distance(track.asset, local[near]))
    return depth


def _with_skin(skeleton: Skeleton, person: Person, depth: Float[ndarray, "F V"]) -> Skeleton:
    """The skeleton with the skin that is inside as further points, the most spread of it.

    depth: in the object that each vertex is deepest in. Fingers close by themselves and do not count.
    """
    weights = dense_weights(person.body)
    is_finger = weights[:, 25:].sum(axis=1) > 0.5
    deepest = depth.max(axis=0)
    inside = np.flatnonzero((deepest > TOLERATED) & ~is_finger)
    if not len(inside):
        return skeleton
    vertices = np.asarray(person.shaped.vertices_rest)
    inside = inside[np.argsort(-deepest[inside], kind="stable")]
    if len(inside) > MAX_POINTS:
        inside = inside[farthest_points(vertices[inside], MAX_POINTS)]
    offsets, shares = skin_rows(person.rest_joints, vertices, weights, inside)
    margin = np.full(len(inside), KEPT_OUT)
    return dataclasses.replace(
        skeleton,
        skin_offsets=np.concatenate([skeleton.skin_offsets, offsets]),
        skin_weights=np.concatenate([skeleton.skin_weights, shares]),
        skin_margin=np.concatenate([skeleton.skin_margin, margin]),
    )


def _draw_back(
    person: Person, hold: Hold, depth: Float[ndarray, "F V"], frames: Int[ndarray, " F"]
) -> bool:
    """Move a palm out by as much as it is inside what it holds; whether it moved."""
    held = depth[(frames >= hold.start) & (frames <= hold.end)]
    inside = float(held[:, _palm(person, hold.hand)].max(initial=0.0))
    if inside <= TOLERATED or hold.gap == FARTHEST:
        return False
    hold.gap = min(hold.gap + inside, FARTHEST)
    return True


def _palm(person: Person, hand: int) -> Bool[ndarray, "V"]:
    """Skin of a hand that the curl of fingers hardly moves."""
    weights = dense_weights(person.body)
    fingers = slice(25, 40) if hand == 0 else slice(40, 55)
    roots = list(range(fingers.start, fingers.stop, 3))
    return weights[:, [WRISTS[hand], *roots]].sum(axis=1) > 0.5
