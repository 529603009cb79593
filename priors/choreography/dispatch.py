"""Directs a script: which motion each action gets, who else is there, what stands on what."""

import dataclasses

import numpy as np

from priors.choreography.keyframes import forward_of, yaw_matrix
from priors.choreography.motions import drink, ground, held, release, step, support, together, tools
from priors.choreography.motions.common import lowest_point
from priors.choreography.placement import top_height
from priors.choreography.plan import Performance
from priors.choreography.playable import SLIDING, SUPPORTS
from priors.language.script import Action

MOTIONS = {
    **held.MOTIONS,
    **ground.MOTIONS,
    **tools.MOTIONS,
    **support.MOTIONS,
    **step.MOTIONS,
    **release.MOTIONS,
    **drink.MOTIONS,
}
"""Motion of one person for every verb of the library."""

APART = 1.3  # metres between people who do separate things


def perform(performance: Performance) -> None:
    """Plan every action, then place whoever and whatever is left."""
    script = performance.script
    # What carries a person decides where they are; hands come after. A seat that is pushed leads.
    moved = {action.object for action in script.actions if action.verb in SLIDING}

    def order(action: Action) -> int:
        is_led = action.verb == "sit" and action.object in moved
        return 2 if is_led else int(action.verb not in SUPPORTS)

    groups: list[set[int]] = []
    for action in sorted(script.actions, key=order):
        group = next((g for g in groups if g & set(action.people)), None)
        if group is None:
            group = set()
            groups.append(group)
        group |= set(action.people)
        performance.origin = np.array([APART * groups.index(group), 0.0])
        if len(action.people) > 1 and action.verb in together.SHARED:
            together.together(performance, action)
        else:
            alone = dataclasses.replace(action, people=action.people[:1])
            MOTIONS[action.verb](performance, alone)
    _place_resting_objects(performance)
    _place_bystanders(performance)
    _mark_objects_touching(performance)


def _place_resting_objects(performance: Performance) -> None:
    """Objects of no action ride on their support, or stand on the ground to one side."""
    frames = performance.frames
    for index in range(len(performance.objects)):
        if index in performance.placed:
            continue
        relation = next(
            (r for r in performance.script.relations if index in (r.upper, r.lower)), None
        )
        if (
            relation is not None
            and relation.upper == index
            and relation.lower in performance.placed
        ):
            _ride_along(performance, index, relation.lower)
            continue
        asset = performance.asset(index)
        center = np.zeros((frames, 3))
        center[:, [0, 2]] = performance.origin + np.array([-1.2 - asset.radius, -0.3])
        yaw = np.full(frames, performance.rng.uniform(-np.pi, np.pi))
        performance.set_object(index, center, yaw_matrix(yaw)).rest_on(0.0, slice(None))


def _ride_along(performance: Performance, upper: int, lower: int) -> None:
    """Fix an object on top of another one that moves."""
    below = performance.objects[lower]
    offset = np.array([0.0, 0.0])
    height = top_height(below.asset, offset, np.eye(3), 0.15)
    local_rotation = yaw_matrix(performance.rng.uniform(-np.pi, np.pi, 1))[0]
    local = np.array([0.0, height - lowest_point(performance, upper, local_rotation), 0.0])
    center = below.center + below.rotation @ local
    performance.set_object(upper, center, below.rotation @ local_rotation)


def _place_bystanders(performance: Performance) -> None:
    """People without an action of their own watch from a little way off."""
    frames = performance.frames
    subject = performance.objects[performance.script.object]
    middle = subject.center.mean(axis=0)
    for person in range(len(performance.tracks)):
        if person in performance.settled:
            continue
        others = [performance.tracks[p].root for p in performance.settled]
        busy = np.concatenate(others) if others else middle[None, [0, 2]]
        away = middle[[0, 2]] - busy.mean(axis=0)
        bearing = float(np.arctan2(*away)) if np.linalg.norm(away) > 0.05 else 0.0
        reach = np.linalg.norm(subject.center[:, [0, 2]] - middle[[0, 2]], axis=1).max()
        position = middle + (reach + subject.asset.radius + 0.9) * forward_of(bearing)
        root = np.repeat(position[None, [0, 2]], frames, axis=0)
        track = performance.set_path(person, root, np.full(frames, bearing + np.pi))
        track.look_at = subject.center.copy()


def _mark_objects_touching(performance: Performance) -> None:
    """Contact of the graph's edges between two objects: measured, from the surfaces."""
    from priors.choreography.exact_distance import distance_to_part

    names = [node.name for node in performance.script.graph.objects]
    for index, edge in enumerate(performance.script.graph.edges):
        if edge.first.entity not in names or edge.second.entity not in names:
            continue
        ends = (edge.first, edge.second)
        a, b = (performance.objects[names.index(end.entity)] for end in ends)
        samples = a.asset.samples[::4]
        for t in range(performance.frames):
            world = (samples - a.asset.center) @ a.rotation[t].T + a.center[t]
            local = (world - b.center[t]) @ b.rotation[t] + b.asset.center
            gap = distance_to_part(b.asset, ends[1].part, local).min()
            performance.contact[index, t] = gap < 0.015
