"""Motions of long tools and of things swung: sweep (mop, wipe), swing."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from priors.choreography.grasp_candidates import Candidates, grasp_candidates
from priors.choreography.grasps import Grasp
from priors.choreography.hold_plans import BELLY, HoldPlan
from priors.choreography.keyframes import left_of, smooth_noise
from priors.choreography.motions.common import hold_heights, place_held, wander_path
from priors.choreography.motions.held import take_of
from priors.choreography.plan import Performance, in_world
from priors.language.script import Action

SHORT_TOOL = 0.12  # metres of radius from which one hand swings a thing like a stick
SLENDER = 2.2  # length over width from which a thing is swung like a stick


@dataclass(frozen=True)
class _Stick:
    """A long thing: unit axis (mesh frame) from its working end to where it is held, and its ends."""

    axis: Float[ndarray, "3"]
    across: Float[ndarray, "3"]
    """Its second longest direction: the width of a broom's head."""
    foot: Float[ndarray, "3"]
    """Working end on the axis, mesh frame."""
    length: float


def _stick(performance: Performance, action: Action) -> _Stick:
    asset = performance.asset(action.object)
    order = np.argsort(-asset.extents)
    axis, across = np.eye(3)[order[0]], np.eye(3)[order[1]]
    touches = performance.touches_of(action.people[0], action.object)
    parts = {t.part for t in touches}
    held = np.isin(
        asset.sample_parts,
        [asset.part_names.index(p) for p in parts if p in asset.part_names],
    )
    offset = (asset.samples - asset.center) @ axis
    if held.any() and not held.all():
        direction = float(offset[held].mean() - offset[~held].mean())
    else:  # hold the slimmer end
        width = np.abs((asset.samples - asset.center) @ across)
        direction = float(width[offset < 0].mean() - width[offset > 0].mean())
    axis = axis * (1.0 if direction >= 0 else -1.0)
    length = float(asset.extents.max())
    return _Stick(axis, across, asset.center - 0.5 * length * axis, length)


def _grip_at(candidates: Candidates, stick: _Stick, distance: float, thumb: float) -> Grasp:
    """Hold round the stick, a distance from its working end; thumb 1: away from that end, -1: to it."""
    along = (candidates.point - stick.foot) @ stick.axis
    cost = np.abs(along - distance) + np.where(candidates.is_bar, 0.0, 0.3)
    cost = cost + 0.3 * candidates.crowding
    best = int(np.argmin(cost))
    if candidates.is_bar[best]:
        sign = thumb if candidates.axis[best] @ stick.axis >= 0 else -thumb
        axis = sign * candidates.axis[best]
        return Grasp(candidates.point[best], np.zeros(3), axis, float(candidates.radius[best]))
    return Grasp(candidates.point[best], candidates.normal[best], thumb * stick.axis, 0.0)


def _hands_on_stick(
    performance: Performance,
    action: Action,
    stick: _Stick,
    upper: float,
    lower: float,
    thumb: float,
) -> HoldPlan:
    """One hand high and one low on the stick, as many as the graph asks for."""
    touches = performance.hands_on(action.people[0], action.object)
    hands = sorted(touches) or [0, 1]
    asset = performance.asset(action.object)
    top = 1 if 1 in hands else hands[0]  # the right hand leads
    grasps = {}
    for hand in hands:
        part = touches[hand].part if hand in touches else None
        candidates = grasp_candidates(asset, part, performance.rng)
        grasps[hand] = _grip_at(candidates, stick, upper if hand == top else lower, thumb)
    middle = np.mean([g.point - asset.center for g in grasps.values()], axis=0)
    return HoldPlan(np.eye(3), grasps, 0.0, 0.0, middle)


def _pose_stick(
    stick: _Stick,
    foot: Float[ndarray, "T 3"],
    direction: Float[ndarray, "T 3"],
    across: Float[ndarray, "T 3"],
    center: Float[ndarray, "3"],
) -> tuple[Float[ndarray, "T 3"], Float[ndarray, "T 3 3"]]:
    """Center and rotation that put the working end at `foot` with the stick along `direction`."""
    y = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    x = across - np.sum(across * y, axis=1, keepdims=True) * y
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    world = np.stack([x, y, np.cross(x, y)], axis=-1)
    local = np.stack([stick.across, stick.axis, np.cross(stick.across, stick.axis)], axis=-1)
    rotation = world @ local.T
    return foot + rotation @ (center - stick.foot), rotation


def sweep(performance: Performance, action: Action) -> None:
    """Strokes of a broom or mop on the floor, stepping slowly ahead; other things wipe to and fro."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    stick = _stick(performance, action)
    asset = performance.asset(action.object)
    if stick.length < SLENDER * np.sort(asset.extents)[1] or stick.length < 0.7:
        swing(performance, action)
        return
    root, heading = wander_path(
        performance, 0, frames - 1, rng.uniform(0.3, 0.7), rng.uniform(-0.5, 0.5)
    )
    track = performance.set_path(person, root, heading)
    heights = hold_heights(performance, person)
    strokes = rng.uniform(1.6, 2.6)
    phase = 2 * np.pi * (strokes * np.arange(frames) / (frames - 1) + rng.uniform())
    side = rng.choice([-1.0, 1.0])
    reach, width = rng.uniform(0.55, 0.7), rng.uniform(0.18, 0.3)
    sideways = rng.random() < 0.5
    foot = np.zeros((frames, 3))
    stroke = width * np.sin(phase)
    foot[:, 0] = side * 0.12 + (stroke if sideways else 0.05 * np.sin(0.5 * phase))
    foot[:, 2] = reach + (0.05 * np.sin(0.5 * phase) if sideways else 0.6 * stroke)
    pivot = np.array([-side * 0.10, heights["chest"], 0.30]) + 0.03 * smooth_noise(rng, frames, 3)
    pivot[:, 0] += 0.25 * stroke if sideways else 0.0
    pivot[:, 2] += 0.0 if sideways else 0.2 * stroke
    world = [in_world(points, track.root, track.heading) for points in (foot, pivot)]
    lefts = np.stack([left_of(h) for h in track.heading])
    center, rotation = _pose_stick(stick, world[0], world[1] - world[0], lefts, asset.center)
    moved = performance.set_object(action.object, center, rotation)
    moved.rest_on(0.0, slice(None))
    reached = float(np.linalg.norm(world[1] - world[0], axis=1).mean())
    upper = min(stick.length - 0.08, reached + 0.05)
    take = _hands_on_stick(performance, action, stick, upper, upper - 0.38, 1.0)
    track.look_at = world[0]
    track.look_weight[:] = 0.6
    track.crouch[:] = 0.05
    performance.hold(person, action.object, take, 0, frames)


def swing(performance: Performance, action: Action) -> None:
    """A stick is swung across the body with both hands; anything else from side to side."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    asset = performance.asset(action.object)
    root, heading = wander_path(performance, 0, 1, 0.0, 0.0)
    track = performance.set_path(person, root, heading)
    track.half_width += 0.08
    cycles = rng.uniform(1.2, 2.0)
    start = rng.uniform(-0.3, 0.3)
    wave = np.sin(2 * np.pi * (cycles * np.arange(frames) / (frames - 1)) + start)
    stick = _stick(performance, action)
    alone = len(performance.hands_on(person, action.object)) == 1
    if stick.length > SLENDER * np.sort(asset.extents)[1] and asset.radius > (
        SHORT_TOOL if alone else 0.3
    ):
        _swing_stick(performance, action, stick, wave)
    else:
        _swing_bulk(performance, action, wave)
    for joint in (3, 6, 9):
        track.reference[:, joint, 1] += 0.16 * wave


def _swing_stick(performance: Performance, action: Action, stick: _Stick, wave: ndarray) -> None:
    person, frames = action.people[0], performance.frames
    track, asset = performance.tracks[person], performance.asset(action.object)
    heights = hold_heights(performance, person)
    bearing = 0.9 * wave
    grip = np.zeros((frames, 3))
    grip[:, 0], grip[:, 2] = 0.18 * wave, 0.40
    grip[:, 1] = 0.5 * (heights["waist"] + heights["chest"]) + 0.08 * wave**2
    climb = np.full(frames, performance.rng.uniform(0.1, 0.5)) + 0.2 * wave**2
    # The working end points away from the body and sweeps round ahead of the hands.
    tip = np.stack(
        [np.sin(bearing) * np.cos(climb), np.sin(climb), np.cos(bearing) * np.cos(climb)], axis=1
    )
    upper = stick.length - 0.10
    foot = grip + tip * (upper - 0.06)
    world_foot = in_world(foot, track.root, track.heading)
    world_grip = in_world(grip, track.root, track.heading)
    across = np.cross(world_grip - world_foot, np.array([0.0, 1.0, 0.0]))
    center, rotation = _pose_stick(stick, world_foot, world_grip - world_foot, across, asset.center)
    moved = performance.set_object(action.object, center, rotation)
    moved.lift_out_of_ground()
    take = _hands_on_stick(performance, action, stick, upper, upper - 0.16, -1.0)
    track.look_at = world_foot
    track.look_weight[:] = 0.4
    performance.hold(person, action.object, take, 0, frames)


def _swing_bulk(performance: Performance, action: Action, wave: ndarray) -> None:
    person, frames = action.people[0], performance.frames
    take = take_of(performance, person, action)
    heights = hold_heights(performance, person)
    bearing = 0.6 * wave
    local = np.zeros((frames, 3))
    radius = take.near + BELLY + 0.1
    local[:, 0], local[:, 2] = radius * np.sin(bearing), radius * np.cos(bearing)
    local[:, 1] = heights["waist"] - take.middle[1] + 0.08 * wave**2
    angles = np.zeros((frames, 3))
    angles[:, 0] = bearing
    angles[:, 2] = -0.25 * wave
    place_held(performance, person, action.object, take, local, angles)
    performance.hold(person, action.object, take, 0, frames)


MOTIONS = {"sweep": sweep, "swing": swing}
