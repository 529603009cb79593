"""Paths of held objects that bow out from the body: a plan knows the belly, the posed skin knows the knees."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.objects.distance_grid import DistanceGrids
from priors.choreography.kinematic_chain import Chain, body_transforms
from priors.choreography.plan import Performance
from priors.choreography.pose_targets import PoseTargets, Skeleton
from priors.choreography.skin_collisions import COLLISION, deep_skin
from priors.choreography.tracks import ObjectTrack

MAX_ROUNDS = 2
"""Times that a person is posed again."""
TOLERATED = 0.01  # metres of depth that stay as they are
STEP, STEPS = 0.01, 15  # metres ahead that are tried, and how many
SETTLED = 0.005  # metres above where it stands within which an object has not left
ARM_JOINTS = slice(16, 22)


def bow_out(
    performance: Performance,
    person: int,
    unknowns: Float[ndarray, "T 69"],
    targets: PoseTargets,
    grids: DistanceGrids,
) -> bool:
    """Move what this person alone holds ahead until it is out of the posed body; whether anything was moved.

    unknowns: the poses found for `targets`. Arms and hands do not count: they go along with what they
    hold.
    """
    skeleton, moved = performance.tracks[person].person.skeleton, False
    chain = body_transforms(unknowns, targets.heading, skeleton.rest_joints)
    for index in _free_objects(performance, person):
        if _depths(index, 0.0, chain, targets, skeleton, grids).max() < TOLERATED:
            continue
        needed, is_inside = np.zeros(len(unknowns)), np.ones(len(unknowns), bool)
        for ahead in STEP * np.arange(STEPS):
            is_inside &= _depths(index, ahead, chain, targets, skeleton, grids) > 0.0
            needed[is_inside] = ahead + STEP
        track = performance.objects[index]
        track.center += _smooth(needed, track)[:, None] * targets.heading[:, :, 2]
        moved = True
    return moved


def _free_objects(performance: Performance, person: int) -> list[int]:
    """Objects that nobody else holds, whose motion lets them keep clear, and that carry nothing."""
    held = [{hold.object for hold in track.holds} for track in performance.tracks]
    others = set().union(*held[:person], *held[person + 1 :])
    names = [node.name for node in performance.script.graph.objects]
    joined = {
        names.index(end.entity)
        for edge in performance.script.graph.edges
        if edge.is_continuous and {edge.first.entity, edge.second.entity} <= set(names)
        for end in (edge.first, edge.second)
    }
    return [o for o in sorted(held[person] - others - joined) if performance.objects[o].keeps_clear]


def _depths(
    index: int,
    ahead: float,
    chain: Chain,
    targets: PoseTargets,
    skeleton: Skeleton,
    grids: DistanceGrids,
) -> Float[ndarray, " T"]:
    """How deep the body is in one object that is moved ahead by so many metres, in every frame."""
    only, transforms = np.zeros_like(targets.collision_weight), targets.Ts_world_object.copy()
    only[:, index] = 1.0
    transforms[:, index, :3, 3] += ahead * targets.heading[:, :, 2]
    asked = dataclasses.replace(targets, collision_weight=only, Ts_world_object=transforms)
    deep = deep_skin(chain, asked, skeleton, grids)
    is_body = (skeleton.skin_margin > 0.0) & (skeleton.skin_weights[:, ARM_JOINTS].sum(1) < 0.5)
    chosen, deepest = is_body[deep.points], np.zeros(len(only))
    depth = deep.depth / COLLISION - skeleton.skin_margin[deep.points]
    np.maximum.at(deepest, deep.frames[chosen], depth[chosen])
    return deepest


def _smooth(needed: Float[ndarray, " T"], track: ObjectTrack) -> Float[ndarray, " T"]:
    """Spread over time; what stands before it is lifted and after it is put down keeps standing."""
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d

    height, last = track.center[:, 1], len(needed) - 1
    start = _length_of_run(np.abs(height - height[0]) < SETTLED) - 1
    end = last - _length_of_run(np.abs(height - height[last])[::-1] < SETTLED) + 1
    if start >= end:  # it stays at one height
        return np.full(len(needed), needed.max())
    needed = needed.copy()
    needed[: start + 1] = needed[: start + 1].max()
    needed[end:] = needed[end:].max()
    smooth = gaussian_filter1d(maximum_filter1d(needed, 9), 2.5, mode="nearest")
    return smooth[np.clip(np.arange(len(needed)), start, end)]


def _length_of_run(is_so: Bool[ndarray, " T"]) -> int:
    """How many frames from the first on."""
    return len(is_so) if is_so.all() else int(np.argmin(is_so))
