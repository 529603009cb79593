"""Motions of things held in the hands: lift, carry, put, hold. Other verbs live in sibling modules."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from priors.keyframes import euler_matrix, forward_of, interpolate_keyframes, smooth_noise
from priors.keyframes import yaw_matrix
from priors.pag_library import Action
from priors.performance import BELLY, TOES, Performance, Take, in_world, plan_take

SQUAT_PER_METRE = 0.62  # pelvis drop per metre that the hands are below hip height


def hold_heights(performance: Performance, person: int) -> dict[str, float]:
    """Usual heights of the hands when something is held, metres."""
    shoulder = performance.tracks[person].person.shoulder_height
    return {"waist": 0.68 * shoulder, "chest": 0.84 * shoulder, "overhead": shoulder + 0.42}


def wander_path(
    performance: Performance, start: int, end: int, distance: float, turn: float
) -> tuple[Float[ndarray, "T 2"], Float[ndarray, "T"]]:
    """A walk along an arc between two frames, from a seeded place and heading near the origin."""
    rng, frames = performance.rng, performance.frames
    heading0 = rng.uniform(-0.9, 0.9)
    s = interpolate_keyframes(frames, [start, end], [0.0, 1.0])
    heading = heading0 + turn * s
    speed = np.diff(s, prepend=s[0])[:, None] * distance
    forward = np.stack([forward_of(h)[[0, 2]] for h in heading])
    root = rng.uniform(-0.15, 0.15, 2) + np.cumsum(speed * forward, axis=0)
    return root, heading


def squat_for(performance: Performance, person: int, hand_height: ndarray) -> ndarray:
    """Pelvis drop that lets hands reach a height comfortably."""
    hips = performance.tracks[person].person.pelvis_height - 0.15
    return 0.02 + np.clip(SQUAT_PER_METRE * (hips - hand_height), 0.0, 0.45)


def place_held(
    performance: Performance,
    person: int,
    object_index: int,
    take: Take,
    centre_local: Float[ndarray, "T 3"],
    angles: Float[ndarray, "T 3"],
) -> None:
    """Move an object with a person: centre in the person's frame, yaw/pitch/roll on top of the hold."""
    track = performance.tracks[person]
    turn = euler_matrix(*angles.T)
    rotation = yaw_matrix(track.heading) @ turn @ take.rotation
    centre = in_world(centre_local, track.root, track.heading)
    moved = performance.set_object(object_index, centre, rotation)
    moved.lift_out_of_ground()
    track.look_at = moved.centre.copy()
    track.look_weight[:] = 0.6


def wobble(performance: Performance, gain: ndarray, degrees: float) -> Float[ndarray, "T 3"]:
    """Slow seeded yaw/pitch/roll, scaled by a gain per frame."""
    noise = smooth_noise(performance.rng, performance.frames, 3)
    return np.radians(degrees) * noise * gain[:, None]


def lift(performance: Performance, action: Action) -> None:
    """From the ground to waist, chest or overhead, by the legs; may turn with the load."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    touches = performance.hands_on(person, action.object)
    take = plan_take(performance, person, action.object, {h: t.part for h, t in touches.items()})
    grasp = 0 if performance.is_continuous(action) else performance.frame(0.27)
    up = performance.frame(rng.uniform(0.62, 0.72))
    turn = rng.uniform(-1.0, 1.0) if rng.random() < 0.6 else 0.0
    root, heading = wander_path(performance, up - 4, frames - 3, 0.0, turn)
    track = performance.set_path(person, root, heading)
    track.half_width += 0.03

    is_bar = all(g.is_bar for g in take.grasps.values()) and len(take.grasps) == 2
    heights = hold_heights(performance, person)
    goals = ["waist", "chest", "overhead"] if is_bar else ["waist", "chest"]
    goal = goals[int(rng.integers(len(goals)))]
    asset = performance.asset(action.object)
    rest = -float(((asset.vertices - asset.centre) @ take.rotation.T)[:, 1].min())
    far, near = take.near + TOES, take.near + BELLY + 0.05
    reach = 0.16 if goal == "overhead" else near
    start = grasp + 2
    held = heights[goal] - take.middle[1]
    local = np.zeros((frames, 3))
    share = [0.0, 0.3, 0.62, 1.0]
    times = [start + s * (up - start) for s in share]
    local[:, 1] = interpolate_keyframes(
        frames, times, [rest, *(rest + s * (held - rest) for s in (0.22, 0.6, 1.0))]
    )
    middle = near + 0.04
    local[:, 2] = interpolate_keyframes(frames, times, [far, 0.5 * (far + middle), middle, reach])
    gain = interpolate_keyframes(frames, [start + 3, up], [0.0, 1.0])
    angles = wobble(performance, gain, 4.0)
    if is_bar and goal != "waist":  # the bar rolls in the wrists' turn
        roll = -1.4 if goal == "chest" else -2.4
        angles[:, 1] += interpolate_keyframes(frames, times, [0.0, 0.0, 0.45 * roll, roll])
    place_held(performance, person, action.object, take, local, angles)
    hand_height = performance.objects[action.object].centre[:, 1] + take.middle[1]
    bend = squat_for(performance, person, hand_height)
    if grasp > 0:
        bend = 0.02 + (bend - 0.02) * interpolate_keyframes(frames, [1, grasp], [0.0, 1.0])
    track.crouch = bend
    performance.hold(person, action.object, take, grasp, frames)


MOTIONS = {"lift": lift}
