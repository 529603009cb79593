"""Several people with one object: they stand round it and lift, carry, hold or slide it together."""

import numpy as np

from priors.choreography.hold_plans import BELLY, HoldPlan, HoldPreferences
from priors.choreography.keyframes import (
    euler_matrix,
    forward_of,
    interpolate_keyframes,
    yaw_matrix,
)
from priors.choreography.motions.common import (
    hold_heights,
    lowest_point,
    wander_path,
    wobble,
)
from priors.choreography.plan import Performance
from priors.language.script import Action

ON_GROUND = ("push", "pull", "drag")
SHARED = ("lift", "carry", "hold", *ON_GROUND)
"""Verbs that people do together with one object."""


def together(performance: Performance, action: Action) -> None:
    """Person 0 at one end of the object's long side, the others round it, all facing it.

    The object leads: it is raised, moved and turned, and everybody keeps their place at it.
    """
    rng, frames = performance.rng, performance.frames
    asset = performance.asset(action.object)
    align = 0.0 if asset.extents[2] >= asset.extents[0] else 0.5 * np.pi
    align += float(rng.choice([0.0, np.pi]))
    upright = yaw_matrix(np.array([align]))[0]
    slides, lifts = action.verb in ON_GROUND, action.verb == "lift"
    distance = {"lift": 0.0, "hold": 0.0}.get(action.verb, rng.uniform(0.7, 1.2))
    start = performance.frame(0.55) if lifts else 3
    turn = rng.choice([-1, 1]) * rng.uniform(0.15, 0.6)
    path, course = wander_path(performance, start, frames - 3, distance, turn)
    if not slides and rng.random() < 0.5:  # carry sideways
        side = np.stack([forward_of(h + 0.5 * np.pi)[[0, 2]] for h in course])
        path = path[:1] + np.cumsum(np.linalg.norm(np.diff(path, axis=0, prepend=path[:1]), axis=1)
                                    [:, None] * side, axis=0)  # fmt: skip
    bearings = 2.0 * np.pi * np.arange(len(action.people)) / len(action.people)
    takes = {
        person: _take_at(performance, action, person, bearing, upright)
        for person, bearing in zip(action.people, bearings, strict=True)
    }
    middle = float(np.mean([take.middle[1] for take in takes.values()]))
    rest = -lowest_point(performance, action.object, upright)
    waist = np.mean([hold_heights(performance, p)["waist"] for p in action.people])
    held = max(float(waist) * rng.uniform(0.86, 0.94) - middle, rest + 0.08)
    height = np.full(frames, rest if slides else held)
    if lifts:
        height = interpolate_keyframes(frames, [2, performance.frame(0.5)], [rest, held])
    center = np.stack([path[:, 0], height, path[:, 1]], axis=1)
    angles = np.zeros((frames, 3)) if slides else wobble(performance, (height - rest) / held, 3.0)
    rotation = yaw_matrix(course) @ euler_matrix(*(angles * [0.0, 1.0, 1.0]).T) @ upright
    moved = performance.set_object(action.object, center, rotation)
    moved.rest_on(0.0, slice(None)) if slides else moved.lift_out_of_ground()
    for person, bearing in zip(action.people, bearings, strict=True):
        _stand_by(performance, action, person, float(bearing), takes[person], course)


def _take_at(
    performance: Performance, action: Action, person: int, bearing: float, upright: np.ndarray
) -> HoldPlan:
    """A person's hold from their place round the object."""
    touches = performance.hands_on(person, action.object)
    parts = {hand: touch.part for hand, touch in touches.items()}
    if not parts:
        part = performance.script.graph.objects[action.object].parts[0]
        parts = {0: part, 1: part}
    seen = yaw_matrix(np.array([-bearing]))[0] @ upright
    return performance.plan_hold(person, action.object, parts, HoldPreferences(), (0.0,), seen, 0.0)


def _stand_by(
    performance: Performance,
    action: Action,
    person: int,
    bearing: float,
    take: HoldPlan,
    course: np.ndarray,
) -> None:
    """Keep a person at their end of the object, facing it."""
    frames = performance.frames
    moved = performance.objects[action.object]
    heading = course + bearing
    gap = BELLY + 0.08
    if action.verb in ("lift", *ON_GROUND):
        gap = max(gap, take.standing_room - take.near + 0.02)
    ahead = np.stack([forward_of(h)[[0, 2]] for h in heading])
    track = performance.set_path(
        person, moved.center[:, [0, 2]] - (take.near + gap) * ahead, heading
    )
    hands = moved.center[:, 1] + take.middle[1]
    track.crouch = np.maximum(performance.tracks[person].person.squat_for(hands), 0.03)
    track.look_at = moved.center + np.array([0.0, 0.4, 0.0])
    track.look_weight[:] = 0.5
    track.first_foot = int(performance.rng.integers(2))
    performance.hold(person, action.object, take, 0, frames)
