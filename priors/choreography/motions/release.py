"""Motions that let go of things or bring them to the face: throw, play (toss and catch), drink."""

import numpy as np

from priors.choreography.keyframes import euler_matrix, forward_of, interpolate_keyframes
from priors.choreography.motions.common import (
    GRAVITY,
    fly_and_land,
    hold_heights,
    lowest_point,
    place_held,
    rise,
    wander_path,
    wobble,
)
from priors.choreography.motions.held import LARGE, hold, take_of
from priors.choreography.plan import BELLY, HoldPreferences, Performance
from priors.language.script import Action


def throw(performance: Performance, action: Action) -> None:
    """From the chest back and forth, release, flight, bounces."""
    person = action.people[0]
    rng, frames, fps = performance.rng, performance.frames, performance.fps
    root, heading = wander_path(performance, 0, 1, 0.0, 0.0)
    track = performance.set_path(person, root, heading)
    track.stagger = 0.25
    take = take_of(performance, person, action)
    release = performance.frame(rng.uniform(0.4, 0.5))
    heights = hold_heights(performance, person)
    near = take.near + BELLY + 0.05
    back, out = release - 7, release
    speed, climb = rng.uniform(1.3, 2.0), rng.uniform(1.4, 2.0)
    local = np.zeros((frames, 3))
    chest = heights["chest"] - take.middle[1]
    local[:, 1] = interpolate_keyframes(
        frames, [0, back, out], [chest - 0.12, chest - 0.22, chest + 0.1], stops=True
    )
    local[:, 2] = interpolate_keyframes(
        frames, [0, back, out], [near + 0.05, near, near + 0.22], stops=True
    )
    # The last frames before release follow the flight backwards, so that speed does not jump.
    launch = np.array([0.0, climb, speed])
    for k in range(4):
        ease = (1.0 - k / 4) ** 2
        local[release - k] -= 0.5 * ease * launch * k / fps
    angles = wobble(performance, rise(frames, 0, 3, 0.0, 1.0), 4.0)
    spin = np.maximum(0.0, np.arange(frames) - release) / fps * rng.uniform(-2.5, 2.5)
    place_held(performance, person, action.object, take, local, angles)
    thrown = performance.objects[action.object]
    ahead = forward_of(heading[release])
    radius = max(-lowest_point(performance, action.object, r) for r in thrown.rotation[:1])
    flight = fly_and_land(
        thrown.center[release],
        ahead * speed + np.array([0.0, climb, 0.0]),
        radius,
        frames - release - 1,
        fps,
    )
    thrown.center[release + 1 :] = flight
    settle = np.exp(-np.maximum(0.0, np.arange(frames) - release - 0.8 * fps) / (0.4 * fps))
    thrown.rotation = euler_matrix(spin * settle, 0.0 * spin, 0.0 * spin) @ thrown.rotation
    thrown.lift_out_of_ground()
    track.look_at = thrown.center.copy()
    performance.hold(person, action.object, take, 0, release)


def drink(performance: Performance, action: Action) -> None:
    """From the belly to the mouth, tilt, and back down."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    root, heading = wander_path(performance, 0, frames - 1, 0.0, rng.uniform(-0.3, 0.3))
    track = performance.set_path(person, root, heading)
    take = take_of(performance, person, action, HoldPreferences(spread=0.12))
    build = track.person
    seat = 0.0 if track.foot_floor is None else float(track.foot_floor.mean())
    mouth = np.array([0.0, build.rest_joints[15, 1] - build.rest_joints[0, 1], 0.17])
    mouth[1] += build.pelvis_height + 0.015 + seat - float(track.crouch.mean())
    asset = performance.asset(action.object)
    tilt = rng.uniform(-0.75, -0.5)
    # The rim is the part of the top nearest to the face once tilted.
    local_points = (asset.vertices - asset.center) @ take.rotation.T
    tilted = local_points @ euler_matrix(np.array(0.0), np.array(tilt), np.array(0.0)).T
    high = tilted[tilted[:, 1] > np.quantile(tilted[:, 1], 0.8)]
    rim = np.array([0.0, high[:, 1].mean(), high[:, 2].min()])
    hand = 1 if 1 in take.grasps else 0
    low = np.array([0.1 - 0.2 * hand, mouth[1] - 0.42, take.near + 0.26])
    first, last = performance.frame(0.4), performance.frame(0.72)
    times = [2, first, last, frames - 2]
    at_mouth = mouth - rim
    local = interpolate_keyframes(frames, times, [low, at_mouth, at_mouth, low], stops=True)
    angles = wobble(performance, np.ones(frames), 2.0)
    angles[:, 1] += interpolate_keyframes(frames, times, [0.0, tilt, tilt, 0.0], stops=True)
    place_held(performance, person, action.object, take, local, angles)
    track.look_at = track.look_at + 2.0 * np.stack([forward_of(h) for h in track.heading])
    performance.hold(person, action.object, take, 0, frames)
    for touch in performance.touches_of(person, action.object):
        if touch.body_part == "head":
            performance.mark(touch, first, last)


def play(performance: Performance, action: Action) -> None:
    """Small things are tossed up and caught again; larger ones are rocked in the hands."""
    person = action.people[0]
    rng, frames, fps = performance.rng, performance.frames, performance.fps
    small = performance.asset(action.object).radius < LARGE
    if not small or performance.is_continuous(action):
        hold(performance, action)
        return
    root, heading = wander_path(performance, 0, frames - 1, 0.0, rng.uniform(-0.4, 0.4))
    performance.set_path(person, root, heading)
    take = take_of(performance, person, action)
    flight = round(rng.uniform(0.55, 0.75) * fps)
    release = performance.frame(0.3)
    catch = release + flight
    rate = 0.5 * GRAVITY * flight / fps  # launch speed that returns after the flight
    base = hold_heights(performance, person)["waist"] * 1.06 - take.middle[1]
    local = np.zeros((frames, 3))
    local[:, 2] = take.near + BELLY + 0.1
    t = np.arange(frames)
    local[:, 1] = base + interpolate_keyframes(
        frames, [0, release - 5, release, catch, catch + 5, frames - 1],
        [0.0, -0.14, 0.0, 0.0, -0.14, 0.0],
    )  # fmt: skip
    air = (t >= release) & (t <= catch)
    u = (t[air] - release) / fps
    local[air, 1] = base + rate * u - 0.5 * GRAVITY * u * u
    angles = wobble(performance, np.ones(frames), 3.0)
    place_held(performance, person, action.object, take, local, angles)
    performance.hold(person, action.object, take, 0, release)
    performance.hold(person, action.object, take, catch, frames)


MOTIONS = {"throw": throw, "drink": drink, "play": play}
