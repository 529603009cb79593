"""Shared steps of the motions: paths, squats, and objects that move with the person who holds them."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.geometry.transforms import GRAVITY
from priors.choreography.hold_plans import BELLY, HoldPlan
from priors.choreography.keyframes import (
    euler_matrix,
    forward_of,
    interpolate_keyframes,
    smooth_noise,
    yaw_matrix,
)
from priors.choreography.plan import Performance, in_world

ROLLING_DRAG = 1.6  # 1/s: a synthetic scene should stay in view


def hold_heights(performance: Performance, person: int) -> dict[str, float]:
    """Usual heights of the hands when something is held, metres."""
    track = performance.tracks[person]
    shoulder = track.person.shoulder_height
    if person in performance.settled and track.crouch.min() > 0.15:  # seated
        floor = 0.0 if track.foot_floor is None else float(track.foot_floor.mean())
        shoulder += floor - float(track.crouch.mean())
        return dict.fromkeys(("hanging", "waist", "chest", "overhead"), shoulder - 0.2)
    return {
        "hanging": 0.67 * shoulder,
        "waist": 0.75 * shoulder,
        "chest": 0.85 * shoulder,
        "overhead": shoulder + 0.42,
    }


def wander_path(
    performance: Performance,
    start: float | int,
    end: float | int,
    distance: float,
    turn: float,
) -> tuple[Float[ndarray, "T 2"], Float[ndarray, "T"]]:
    """A walk along an arc between two frames, from a seeded place and heading near the origin.

    distance: metres ahead (negative: backwards); turn: radians to the left.
    """
    rng, frames = performance.rng, performance.frames
    s = interpolate_keyframes(frames, [start, end], [0.0, 1.0])
    heading = rng.uniform(-0.9, 0.9) + turn * s
    speed = np.diff(s, prepend=s[0])[:, None] * distance
    forward = np.stack([forward_of(h)[[0, 2]] for h in heading])
    root = performance.origin + rng.uniform(-0.15, 0.15, 2) + np.cumsum(speed * forward, axis=0)
    return root, heading


def walk_off(
    performance: Performance,
    root: Float[ndarray, "T 2"],
    heading: Float[ndarray, "T"],
    start: int,
    side: float,
) -> tuple[Float[ndarray, "T 2"], Float[ndarray, "T"]]:
    """The same path until frame `start`; from there a step back, a turn, and some steps away.

    side: 1 turns to the left, -1 to the right.
    """
    rng, frames = performance.rng, performance.frames
    end, turned = frames - 1, start + 0.75 * (frames - 1 - start)
    away = heading + side * rng.uniform(1.5, 2.0) * rise(frames, start, turned, 0.0, 1.0)
    back = -rise(frames, start, turned, 0.0, 0.25)
    ahead = rise(frames, 0.5 * (start + turned), end, 0.0, rng.uniform(0.7, 0.9))
    step = np.stack([forward_of(h)[[0, 2]] for h in away]) * np.diff(ahead, prepend=0.0)[:, None]
    step += forward_of(heading[start])[[0, 2]] * np.diff(back, prepend=0.0)[:, None]
    return root + np.cumsum(step, axis=0), away


def leave_behind(
    performance: Performance, person: int, object_index: int, let_go: int, up: int
) -> None:
    """An object stays as it was in frame `let_go`; who held it stands up until frame `up` and looks ahead."""
    moved, track = performance.objects[object_index], performance.tracks[person]
    moved.center[let_go:] = moved.center[let_go]
    moved.rotation[let_go:] = moved.rotation[let_go]
    bent = rise(performance.frames, let_go, up, 1.0, 0.0)
    track.crouch = track.crouch * bent
    track.look_at = moved.center.copy()
    track.look_weight = track.look_weight * bent


def place_held(
    performance: Performance,
    person: int,
    object_index: int,
    take: HoldPlan,
    center_local: Float[ndarray, "T 3"],
    angles: Float[ndarray, "T 3"],
    keep_clear: bool = True,
) -> None:
    """Move an object with a person: center in the person's frame, yaw/pitch/roll on top of the hold.

    keep_clear: push it ahead where it would come into the person's belly, and out of the posed legs.
    """
    track = performance.tracks[person]
    rotation = yaw_matrix(track.heading) @ euler_matrix(*angles.T) @ take.rotation
    center = in_world(center_local, track.root, track.heading)
    moved = performance.set_object(object_index, center, rotation)
    moved.keeps_clear = keep_clear
    if keep_clear:
        clear_of_body(performance, person, object_index)
    moved.lift_out_of_ground()
    track.look_at = moved.center.copy()
    track.look_weight[:] = 0.6


def clear_of_body(performance: Performance, person: int, object_index: int) -> None:
    """Push an object ahead, smoothly over time, so that it stays before the body's front."""
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d

    track, moved = performance.tracks[person], performance.objects[object_index]
    asset = moved.asset
    points = np.concatenate([asset.vertices, asset.samples[::4]]) - asset.center
    feet, throat = 0.12, track.person.shoulder_height + 0.02
    short = np.zeros(performance.frames)
    for t in range(performance.frames):
        local = points @ (yaw_matrix(track.heading[t : t + 1])[0].T @ moved.rotation[t]).T
        offset = moved.center[t] - [track.root[t, 0], 0.0, track.root[t, 1]]
        local = local + yaw_matrix(track.heading[t : t + 1])[0].T @ offset
        beside = (np.abs(local[:, 0]) < 0.24) & (local[:, 1] < throat) & (local[:, 1] > feet)
        if beside.any():
            short[t] = max(0.0, BELLY + 0.02 - local[beside, 2].min())
    if short.max() > 0.0:
        short = gaussian_filter1d(maximum_filter1d(short, 9), 2.5)
        ahead = np.stack([forward_of(h) for h in track.heading])
        moved.center += short[:, None] * ahead


def wobble(performance: Performance, gain: ndarray, degrees: float) -> Float[ndarray, "T 3"]:
    """Slow seeded yaw/pitch/roll, scaled by a gain per frame."""
    noise = np.tanh(smooth_noise(performance.rng, performance.frames, 3)) * [1.3, 0.7, 0.6]
    return np.radians(degrees) * noise * gain[:, None]


def lowest_point(performance: Performance, object_index: int, rotation: ndarray) -> float:
    """Height of an object's lowest vertex relative to its center, in an orientation."""
    asset = performance.asset(object_index)
    return float(((asset.vertices - asset.center) @ rotation.T)[:, 1].min())


def rise(
    frames: int, start: float | int, end: float | int, low: float, high: float
) -> Float[ndarray, "T"]:
    """From one value to another between two frames."""
    return interpolate_keyframes(frames, [start, end], [low, high])


def fly_and_land(
    position: Float[ndarray, "3"],
    velocity: Float[ndarray, "3"],
    clearance: float,
    frames: int,
    fps: float,
    bounce: float = 0.45,
) -> Float[ndarray, "T 3"]:
    """Ballistic flight of a center that must stay `clearance` above the ground; bounces, then rolls out.

    The first row is one frame after `position`.
    """
    substeps = 20
    dt = 1.0 / (fps * substeps)
    p, v = np.array(position, float), np.array(velocity, float)
    path = np.zeros((frames, 3))
    for i in range(frames):
        for _ in range(substeps):
            on_ground = p[1] <= clearance + 1e-4 and abs(v[1]) < 0.5
            if on_ground:
                p[1], v[1] = clearance, 0.0
                v *= np.exp(-ROLLING_DRAG * dt)
            else:
                v += GRAVITY * dt
            p = p + v * dt
            if p[1] < clearance:
                p[1] = clearance
                v[1] = -bounce * v[1] if v[1] < -0.5 else 0.0
                v[[0, 2]] *= 0.75
        path[i] = p
    return path
