"""Stepping up onto things."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from priors.choreography.footsteps import FootPlan
from priors.choreography.keyframes import (
    forward_of,
    interpolate_keyframes,
    left_of,
    minimum_jerk,
    yaw_matrix,
)
from priors.choreography.motions.common import wander_path
from priors.choreography.plan import Performance
from priors.choreography.support_surfaces import (
    front_yaw,
    support_surface,
    supporting_part,
    touches_with,
)
from priors.language.script import Action


def step_on(performance: Performance, action: Action) -> None:
    """Step up onto the thing with one foot, then the other, and stand."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    feet = touches_with(performance, action, "left_foot", "right_foot")
    part = supporting_part(performance, action)
    front = front_yaw(performance, action.object, part)
    asset = performance.asset(action.object)
    long_z = asset.extents[2] > 1.6 * asset.extents[0]
    if long_z:  # a board: come from its side
        front = float(rng.choice([0.5, -0.5])) * np.pi
    root, heading = wander_path(performance, 0, 1, 0.0, 0.0)
    forward = forward_of(heading[0])[[0, 2]]
    rotation = yaw_matrix(heading[:1] + np.pi - front)[0]
    deck, back, edge, middle = support_surface(performance, action.object, part, front)
    build = performance.tracks[person].person
    sole = float(build.sole[:, 2].mean())
    toe = float(build.sole[1, 2])
    begin = root[0] - 0.0 * forward
    distance = toe + 0.05 + edge  # from the ankles to the thing's center
    position = begin + distance * forward
    ground = np.array([position[0], 0.0, position[1]])
    placed = performance.set_object(
        action.object, np.repeat(ground[None], frames, 0), np.repeat(rotation[None], frames, 0)
    )
    placed.rest_on(0.0, slice(None))
    height = deck + float(placed.center[0, 1])
    spot = position - (0.5 * (edge + back)) * forward - sole * forward
    left = left_of(heading[0])[[0, 2]]
    spot = spot - middle * left
    half = min(build.ankle_half_width, 0.5 * float(np.ptp(asset.extents[[0, 2]])) + 0.1)
    keys = [performance.frame(s) for s in (0.12, 0.36, 0.5, 0.78)]
    first = int(rng.integers(2))
    side = np.array([half, -half])[:, None] * left
    plan, floor = _two_steps(begin + side, spot + side, height, first, keys, heading)
    lead = interpolate_keyframes(frames, [keys[0] + 2, keys[3] - 1], [0.0, 1.0])
    path = begin + (minimum_jerk(lead) * 0.5 + 0.5 * lead)[:, None] * (spot - begin)
    track = performance.set_path(person, path, heading)
    track.feet, track.foot_floor = plan, floor
    climb = interpolate_keyframes(frames, [keys[1] - 2, keys[3]], [0.0, height])
    track.crouch = 0.03 + floor.mean(axis=1) - climb
    weight = interpolate_keyframes(frames, [keys[0] - 3, keys[0], keys[1] + 1, keys[2], keys[3]],
                                   [0.5, 0.9, 0.7, 0.05, 0.5])[:, None]  # fmt: skip
    track.support = (1 - weight) * plan.position[:, first] + weight * plan.position[:, 1 - first]
    for shoulder, mirror in ((16, 1.0), (17, -1.0)):
        track.reference[:, shoulder, 2] += 0.35 * mirror * np.sin(np.pi * lead)
    track.look_at = np.where(
        lead[:, None] < 0.6, placed.center, track.look_at + np.array([0.0, height, 0.0])
    )
    track.look_weight[:] = 0.4
    for touch in feet:
        foot = 0 if touch.body_part == "left_foot" else 1
        performance.mark(touch, keys[1] if foot == first else keys[3], frames)


def _two_steps(
    begin: Float[ndarray, "2 2"],
    end: Float[ndarray, "2 2"],
    height: float,
    first: int,
    keys: list[int],
    heading: Float[ndarray, "T"],
) -> tuple[FootPlan, Float[ndarray, "T 2"]]:
    """Each foot goes up once: over the edge, then down onto the top. begin, end: both feet's places."""
    frames = len(heading)
    position = np.repeat(begin[None], frames, axis=0)
    floor, lift, pitch = (np.zeros((frames, 2)) for _ in range(3))
    planted = np.ones((frames, 2), bool)
    for foot, (t0, t1) in ((first, keys[:2]), (1 - first, keys[2:])):
        u = np.clip((np.arange(frames) - t0) / (t1 - t0), 0.0, 1.0)
        up = minimum_jerk(u / 0.55)  # the height first, then across the edge
        across = minimum_jerk((u - 0.2) / 0.8)
        position[:, foot] += across[:, None] * (end[foot] - begin[foot])
        floor[:, foot] = height * up
        lift[:, foot] = 0.07 * np.sin(np.pi * u) ** 0.8
        planted[t0 + 1 : t1, foot] = False
    yaw = np.stack([heading, heading], axis=1)
    return FootPlan(position, yaw, lift, pitch, planted), floor


MOTIONS = {"step on": step_on}
