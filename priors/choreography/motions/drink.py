"""Drinking: the rim of the opening comes to the lips, and the head to the rim."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from priors.choreography.comfort import Trial, easiest_poses
from priors.choreography.grasp_candidates import Candidates, grasp_candidates
from priors.choreography.grasps import Grasp
from priors.choreography.hold_plans import HoldPlan, HoldPreferences
from priors.choreography.keyframes import euler_matrix, interpolate_keyframes, yaw_matrix
from priors.choreography.motions.common import place_held, rise, wander_path, wobble
from priors.choreography.motions.held import take_of
from priors.choreography.plan import Performance, in_world
from priors.choreography.pose_targets import HEAD
from priors.choreography.shapes import opening_of
from priors.choreography.tracks import Pin
from priors.language.script import Action

TILTS = (-0.95, -0.7)  # radians that the top leans towards the face
TURNS = np.arange(8) * 0.25 * np.pi  # of the vessel about its axis
HELD_FROM, HELD_TO = 0.15, 0.72  # of its height: below the rim, above the floor
AT_CHEST = np.array([0.10, -0.36, 0.22])  # from the lips, towards the hand's side


def drink(performance: Performance, action: Action) -> None:
    """From the chest to the mouth, tilt, and back down."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    path = wander_path(performance, 0, frames - 1, 0.0, rng.uniform(-0.3, 0.3))
    track = performance.set_path(person, *path)
    build, asset = track.person, performance.asset(action.object)
    lips = build.rest_joints[HEAD] - build.rest_joints[0] + build.lips + [0.0, 0.0, 0.02]
    lips[1] += float(performance.pelvis_height(person).mean())
    tilt = rng.uniform(*TILTS)
    hands = sorted(performance.hands_on(person, action.object)) or [1]
    aside = np.array([1.0 if hands[0] == 0 else -1.0, 1.0, 1.0]) * AT_CHEST
    if len(hands) == 1:
        take = _take(performance, action, hands[0], lips, tilt, aside)
    else:
        take = take_of(performance, person, action, HoldPreferences(spread=0.12))
        aside[0] = 0.0
    first, last = performance.frame(0.4), performance.frame(0.72)
    times = [2, first, last, frames - 2]
    angles = wobble(performance, rise(frames, first - 6, first - 2, 1.0, 0.0), 2.0)
    angles[:, 1] += interpolate_keyframes(frames, times, [0.0, tilt, tilt, 0.0], stops=True)
    upright = lips + aside - take.rotation @ (opening_of(asset).center - asset.center)
    at_mouth = _center_at(performance, action, take.rotation, tilt, lips)
    keys = [upright, at_mouth, at_mouth, upright]
    local = interpolate_keyframes(frames, times, keys, stops=True)
    ahead = track.look_at.copy()
    place_held(performance, person, action.object, take, local, angles, keep_clear=False)
    track.look_at, track.look_weight[:] = ahead, 0.3
    performance.hold(person, action.object, take, 0, frames)
    near = np.minimum(
        rise(frames, first - 5, first, 0.0, 1.0), rise(frames, last, last + 5, 1.0, 0.0)
    )
    mouth = in_world(np.repeat(lips[None], frames, axis=0), track.root, track.heading)
    track.pins.append(Pin(HEAD, build.lips, mouth, near**2))
    for touch in performance.touches_of(person, action.object):
        if touch.body_part == "head":
            performance.mark(touch, first, last)


def _center_at(
    performance: Performance,
    action: Action,
    rotation: Float[ndarray, "3 3"],
    tilt: float,
    lips: Float[ndarray, "3"],
) -> Float[ndarray, "3"]:
    """Where the vessel's center is while the near side of its tilted opening is at the lips."""
    asset = performance.asset(action.object)
    opening = opening_of(asset)
    lean = euler_matrix(np.array(0.0), np.array(tilt), np.array(0.0))
    rim = lean @ (rotation @ (opening.center - asset.center) - [0.0, 0.0, opening.radius])
    return lips - rim


def _take(
    performance: Performance,
    action: Action,
    hand: int,
    lips: Float[ndarray, "3"],
    tilt: float,
    aside: Float[ndarray, "3"],
) -> HoldPlan:
    """The hold and the turn of the vessel that are easiest, at the chest and at the mouth together."""
    asset = performance.asset(action.object)
    touches = performance.hands_on(action.people[0], action.object)
    part = touches[hand].part if hand in touches else None
    candidates = grasp_candidates(asset, part, performance.rng)
    lean = euler_matrix(np.array(0.0), np.array(tilt), np.array(0.0))
    opening, takes, trials = opening_of(asset), [], []
    for grasp in _grasps(candidates, asset.vertices[:, 1], hand):
        for turn in TURNS:
            rotation = yaw_matrix(np.array(turn))
            middle = rotation @ (grasp.point - asset.center)
            takes.append(HoldPlan(rotation, {hand: grasp}, 0.0, 0.0, middle))
            upright = lips + aside - rotation @ (opening.center - asset.center)
            at_mouth = _center_at(performance, action, rotation, tilt, lips)
            trials.append(Trial({hand: grasp}, upright, rotation))
            trials.append(Trial({hand: grasp}, at_mouth, lean @ rotation, lips))
    costs = easiest_poses(performance.tracks[action.people[0]].person, asset, trials).costs
    return takes[int(np.argmin(costs.reshape(-1, 2).sum(axis=1)))]


def _grasps(candidates: Candidates, heights: Float[ndarray, "V"], hand: int) -> list[Grasp]:
    """The best hold round a handle, or else on the wall; thumb up."""
    low, high = float(heights.min()), float(heights.max())
    level = (candidates.point[:, 1] - low) / (high - low)
    cost = np.maximum(HELD_FROM - level, 0.0) + np.maximum(level - HELD_TO, 0.0)
    cost = 10.0 * cost + candidates.crowding + 0.5 * np.abs(level - 0.5)
    wall = np.where(candidates.is_flat, cost + 2.0 * np.abs(candidates.normal[:, 1]), 9.0)
    upright = np.abs(candidates.axis[:, 1])
    bar = np.where(candidates.is_bar, cost + 1.0 - upright, 9.0)
    up = np.array([0.0, 1.0, 0.0])
    grasps = []
    if bar.min() < 1.5:
        best = int(np.argmin(bar))
        axis = candidates.axis[best] * (1.0 if candidates.axis[best, 1] >= 0.0 else -1.0)
        radius = float(candidates.radius[best])
        grasps.append(Grasp(candidates.point[best], np.zeros(3), axis, radius))
    if wall.min() < 9.0 and not grasps:
        best = int(np.argmin(wall))
        grasps.append(Grasp(candidates.point[best], candidates.normal[best], up, 0.0))
    return grasps


MOTIONS = {"drink": drink}
