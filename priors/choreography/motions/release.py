"""Motions that let go of things: throw, play (toss and catch)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.geometry.transforms import GRAVITY
from priors.choreography.hold_plans import BELLY, HoldPlan, HoldPreferences, beside_shoulder
from priors.choreography.keyframes import (
    euler_matrix,
    forward_of,
    interpolate_keyframes,
    yaw_matrix,
)
from priors.choreography.motions.common import (
    fly_and_land,
    hold_heights,
    lowest_point,
    place_held,
    rise,
    wander_path,
    wobble,
)
from priors.choreography.motions.held import LARGE, hold, take_of
from priors.choreography.motions.instruments import is_instrument, play_instrument
from priors.choreography.plan import Performance, in_world
from priors.language.script import Action

WIND_UP = 0.5
"""Seconds from the first movement to the release of what is thrown."""


def throw(performance: Performance, action: Action) -> None:
    """From the chest back and forth, release, flight; then bounces, or another one catches it."""
    person = action.people[0]
    rng, frames, fps = performance.rng, performance.frames, performance.fps
    root, heading = wander_path(performance, 0, 1, 0.0, 0.0)
    track = performance.set_path(person, root, heading)
    track.stagger = 0.25
    take = take_of(performance, person, action)
    release = performance.frame(rng.uniform(0.4, 0.5))
    catch = _catch_of(performance, action, root[release], float(heading[release]), release)
    heights = hold_heights(performance, person)
    near = take.near + BELLY + 0.05
    speed, climb = rng.uniform(1.3, 2.0), rng.uniform(1.4, 2.0)
    chest = heights["chest"] - take.middle[1]
    aside = beside_shoulder(take)
    held, let_go = np.array([[aside, chest - 0.12, near], [aside, chest + 0.06, near + 0.1]])
    if catch is not None:  # thrown so that it arrives where the other one's hands are
        start = in_world(let_go[None], root[release][None], heading[release : release + 1])[0]
        launch_world = catch.launch_from(start, (catch.frame - release) / fps)
        launch_local = launch_world @ yaw_matrix(heading[release : release + 1])[0]
        speed, climb = float(launch_local[2]), float(launch_local[1])
    launch = np.array([0.0, climb, speed])
    local = np.tile(held, (frames, 1))
    back = max(release - round(WIND_UP * fps), 0)
    local[back : release + 1] = _swing(held, let_go, launch, (release - back) / fps, release - back)
    local[release + 1 :] = let_go
    angles = wobble(performance, rise(frames, 0, 3, 0.0, 1.0), 4.0)
    spin = np.maximum(0.0, np.arange(frames) - release) / fps * rng.uniform(-2.5, 2.5)
    place_held(performance, person, action.object, take, local, angles)
    thrown = performance.objects[action.object]
    if catch is not None:
        performance.hold(person, action.object, take, 0, release)
        _receive(performance, action, catch, release)
        track.look_at = thrown.center.copy()
        return
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


def _swing(
    start: Float[ndarray, "3"],
    end: Float[ndarray, "3"],
    velocity: Float[ndarray, "3"],
    seconds: float,
    steps: int,
) -> Float[ndarray, "n 3"]:
    """From rest at `start` back and to `end`, there with a velocity: a cubic, so that arms do it, not the trunk."""
    t = np.linspace(0.0, 1.0, steps + 1)[:, None]
    between = start + (3.0 - 2.0 * t) * t**2 * (end - start)
    return between + (t - 1.0) * t**2 * seconds * velocity


@dataclass(frozen=True)
class Catch:
    """Where and when another person takes what is thrown."""

    person: int
    take: HoldPlan
    frame: int
    center: Float[ndarray, "3"]
    """Of the object in that frame, world."""
    rotation: Float[ndarray, "3 3"]

    def launch_from(self, start: Float[ndarray, "3"], seconds: float) -> Float[ndarray, "3"]:
        """Velocity of a flight from there that arrives in time."""
        fall = 0.5 * GRAVITY * seconds**2
        return (self.center - start - fall) / seconds


def _catch_of(
    performance: Performance, action: Action, root: ndarray, heading: float, release: int
) -> Catch | None:
    """Stands whoever the graph has take the object opposite the thrower; None where nobody does."""
    others = [p for p in range(len(performance.tracks)) if p not in action.people]
    others = [p for p in others if performance.hands_on(p, action.object)]
    if not others:
        return None
    person, frames, rng = others[0], performance.frames, performance.rng
    catcher = root + rng.uniform(2.2, 2.8) * forward_of(heading)[[0, 2]]
    facing = np.full(frames, heading + np.pi)
    performance.set_path(person, np.repeat(catcher[None], frames, axis=0), facing).stagger = 0.2
    hands = {h: touch.part for h, touch in performance.hands_on(person, action.object).items()}
    take = performance.plan_hold(person, action.object, hands, HoldPreferences())
    chest = hold_heights(performance, person)["chest"]
    local = np.array([[0.0, chest - take.middle[1], take.near + BELLY + 0.16]])
    flight = max(3, round(rng.uniform(0.55, 0.75) * performance.fps))
    frame = min(release + flight, frames - 3)
    center = in_world(local, catcher[None], facing[:1])[0]
    return Catch(person, take, frame, center, yaw_matrix(facing[:1])[0] @ take.rotation)


def _receive(performance: Performance, action: Action, catch: Catch, release: int) -> None:
    """The flight to the other one's hands, which give way as they take it."""
    from scipy.spatial.transform import Rotation, Slerp

    frames, fps = performance.frames, performance.fps
    moved, track = performance.objects[action.object], performance.tracks[catch.person]
    start = moved.center[release].copy()
    launch = catch.launch_from(start, (catch.frame - release) / fps)
    seconds = (np.arange(release, catch.frame + 1) - release)[:, None] / fps
    moved.center[release : catch.frame + 1] = start + launch * seconds + 0.5 * GRAVITY * seconds**2
    ends = Rotation.from_matrix(np.stack([moved.rotation[release], catch.rotation]))
    turn = Slerp([release, catch.frame], ends)
    moved.rotation[release : catch.frame + 1] = turn(
        np.arange(release, catch.frame + 1)
    ).as_matrix()
    after = np.arange(catch.frame, frames) - catch.frame
    give = (1.0 - np.exp(-after / (0.12 * fps)))[:, None]
    back = -0.08 * forward_of(float(track.heading[0])) + [0.0, -0.1, 0.0]
    moved.center[catch.frame :] = catch.center + give * back
    moved.rotation[catch.frame :] = catch.rotation
    track.look_at = moved.center.copy()
    track.look_weight[:] = 0.8
    performance.hold(catch.person, action.object, catch.take, catch.frame, frames)


def play(performance: Performance, action: Action) -> None:
    """Small things are tossed up and caught again; larger ones are rocked in the hands."""
    person = action.people[0]
    rng, frames, fps = performance.rng, performance.frames, performance.fps
    if is_instrument(performance.asset(action.object)):
        play_instrument(performance, action)
        return
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
    rate = -0.5 * GRAVITY[1] * flight / fps  # launch speed that returns after the flight
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
    local[air, 1] = base + rate * u + 0.5 * GRAVITY[1] * u * u
    angles = wobble(performance, np.ones(frames), 3.0)
    place_held(performance, person, action.object, take, local, angles)
    performance.hold(person, action.object, take, 0, release)
    performance.hold(person, action.object, take, catch, frames)


MOTIONS = {"throw": throw, "play": play}
