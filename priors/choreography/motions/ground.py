"""Motions of things on the ground: push, pull, drag, kick."""

import dataclasses

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from priors.choreography.comfort import Trial, easiest_poses
from priors.choreography.footsteps import FootPlan, stance
from priors.choreography.hold_plans import TOES, HoldPlan, HoldPreferences
from priors.choreography.keyframes import (
    euler_matrix,
    forward_of,
    interpolate_keyframes,
    left_of,
    minimum_jerk,
    smooth_noise,
    yaw_matrix,
)
from priors.choreography.motions.common import (
    fly_and_land,
    lowest_point,
    place_held,
    wander_path,
)
from priors.choreography.motions.held import take_of
from priors.choreography.person import Person
from priors.choreography.plan import Performance
from priors.language.script import Action

SWAY = 3.0  # frames: how slowly the weight goes from foot to foot in the run-up to a kick
STRIDE_ROOM = 0.16  # metres that a leading foot needs ahead of a standing one's toes


def push(performance: Performance, action: Action) -> None:
    """Walk forward, arms ahead, the thing sliding or rolling along the ground."""
    _slide(performance, action, forward=True, lean=0.0)


def pull(performance: Performance, action: Action) -> None:
    """Trail a thing with a high handle behind; walk backwards facing anything else."""
    hands = performance.hands_on(action.people[0], action.object)
    asset = performance.asset(action.object)
    if len(hands) == 1:
        wish = HoldPreferences(height=None)
        takes = [take_of(performance, action.people[0], action, wish, (yaw,)) for yaw in (0.0, 1.0)]

        def ahead(take: HoldPlan) -> float:
            """Of the handle: what would be in the way of the legs."""
            local = (asset.vertices - asset.center) @ take.rotation.T
            return float(local[:, 2].max() - take.middle[2])

        take = min(takes, key=ahead)
        low = lowest_point(performance, action.object, take.rotation)
        grasp = next(iter(take.grasps.values()))
        if grasp.is_bar and take.middle[1] - low > 0.6:
            _trail(performance, action, take)
            return
    _slide(performance, action, forward=False, lean=0.0)


def drag(performance: Performance, action: Action) -> None:
    """Walk backwards with the near side a little raised, the far edge on the ground."""
    _slide(performance, action, forward=False, lean=performance.rng.uniform(0.12, 0.22))


def _slide(performance: Performance, action: Action, *, forward: bool, lean: float) -> None:
    """Common to push, pull and drag; `lean` radians lift the near side."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    distance, turn = rng.uniform(0.9, 1.5), rng.uniform(-0.7, 0.7)
    low = float(performance.asset(action.object).extents[1]) < 0.6
    if low:  # bent down, one goes slowly
        distance *= 0.55
    if not forward:
        distance, turn = -0.75 * distance, 0.7 * turn
    root, heading = wander_path(performance, 3, frames - 3, distance, turn)
    track = performance.set_path(person, root, heading)
    wish = HoldPreferences(height=None, facing=forward, high=1.5)
    take = take_of(performance, person, action, wish)
    ahead = max(
        take.near + TOES + (STRIDE_ROOM if forward and not low else 0.04), 0.42 - take.middle[2]
    )
    local = np.zeros((frames, 3))
    local[:, 2] = ahead
    angles = np.zeros((frames, 3))
    angles[:, 1] = lean * _ease_in(frames)
    place_held(performance, person, action.object, take, local, angles, keep_clear=False)
    slid = performance.objects[action.object]
    slid.rest_on(0.0, slice(None))
    hands = slid.center[:, 1] + take.middle[1]
    track.crouch = np.maximum(performance.tracks[person].person.squat_for(hands), 0.05)
    track.look_at = slid.center + 1.0 * np.stack([forward_of(h) for h in track.heading])
    performance.hold(person, action.object, take, 0, frames)


def _trail(performance: Performance, action: Action, take: HoldPlan) -> None:
    """Walk forward with a tilted thing rolling behind one hand."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    root, heading = wander_path(
        performance, 2, frames - 2, rng.uniform(1.2, 1.9), rng.uniform(-0.9, 0.9)
    )
    track = performance.set_path(person, root, heading)
    hand = next(iter(take.grasps))
    build = track.person
    wanted = build.shoulder_height - 0.93 * build.arm_length - 0.06
    low = lowest_point(performance, action.object, take.rotation)
    tilt = float(np.clip(np.arccos(min(1.0, wanted / (take.middle[1] - low))), 0.35, 0.95))
    angles = np.zeros((frames, 3))
    angles[:, 1] = tilt + 0.03 * smooth_noise(rng, frames, 1)[:, 0]
    grip = np.array([0.27 if hand == 0 else -0.27, 0.0, -0.2])
    tilted = euler_matrix(*angles.T) @ take.middle
    look = track.look_at.copy()
    place_held(performance, person, action.object, take, grip - tilted, angles, keep_clear=False)
    trailed = performance.objects[action.object]
    trailed.rest_on(0.0, slice(None))
    track.look_at, track.look_weight[:] = look, 1.0
    turn = euler_matrix(*angles[:1].T)[0] @ take.rotation
    center = (grip - tilted)[0] * [1.0, 0.0, 1.0] - [
        0.0,
        lowest_point(performance, action.object, turn),
        0.0,
    ]
    grasp = take.grasps[hand]
    ways = [grasp, dataclasses.replace(grasp, axis=-grasp.axis)]
    poses = easiest_poses(build, trailed.asset, [Trial({hand: way}, center, turn) for way in ways])
    take = dataclasses.replace(take, grasps={hand: ways[int(np.argmin(poses.costs))]})
    performance.hold(person, action.object, take, 0, frames)


def _ease_in(frames: int) -> Float[ndarray, "T"]:
    return interpolate_keyframes(frames, [0, 6], [0.3, 1.0])


def kick(performance: Performance, action: Action) -> None:
    """Run up two steps, swing the leg through the thing, which flies off and rolls out."""
    person = action.people[0]
    rng, frames, fps = performance.rng, performance.frames, performance.fps
    touches = performance.touches_of(person, action.object)
    feet = [t for t in touches if t.body_part.endswith("foot")]
    foot = ["left_foot", "right_foot"].index(feet[0].body_part) if feet else 1
    hit = performance.frame(rng.uniform(0.4, 0.48))
    heading0 = rng.uniform(-0.9, 0.9)
    forward, left = forward_of(heading0), left_of(heading0)
    asset = performance.asset(action.object)
    turn = rng.uniform(-np.pi, np.pi)
    rotation = yaw_matrix(np.array(heading0 + turn))
    rest = -lowest_point(performance, action.object, rotation)
    spot = np.array([performance.origin[0], 0.0, performance.origin[1]])
    spot = spot + rng.uniform(-0.1, 0.1, 3) * [1, 0, 1]
    spot[1] = rest

    # The instep meets the near side of the thing, the support foot stands beside it.
    build = performance.tracks[person].person
    side = 1.0 if foot == 0 else -1.0
    samples = (asset.samples - asset.center) @ rotation.T
    low = np.abs(samples[:, 1] + rest - 0.05) < 0.02
    met = samples[low & (np.abs(samples @ left) < 0.05)] @ forward
    near = float(-np.mean(met[met < np.min(met) + 0.02])) if len(met) else rest
    plan, root = _kick_steps(build, performance, spot, near, foot, hit, heading0)
    track = performance.set_path(person, root, np.full(frames, heading0))
    track.feet = plan
    track.crouch = 0.03 + 0.04 * np.exp(-(((np.arange(frames) - hit) / 4.0) ** 2))
    stand_foot = plan.position[:, 1 - foot]
    both = plan.position.mean(axis=1)
    swing = np.exp(-(((np.arange(frames) - hit) / 5.0) ** 4))[:, None]
    track.support = _unhurried(swing * stand_foot + (1.0 - swing) * both)
    track.reference[:, 16 if foot == 0 else 17] *= 1.0
    arms = np.exp(-(((np.arange(frames) - hit) / 5.0) ** 2))[:, None]
    for joint, mirror in ((16, 1.0), (17, -1.0)):
        track.reference[:, joint] += arms * np.array([0.0, 0.3, 0.6 * mirror])

    speed, climb = rng.uniform(1.6, 2.4), rng.uniform(0.2, 1.4)
    aim = forward + rng.uniform(-0.25, 0.25) * left
    center = np.repeat(spot[None], frames, axis=0)
    is_round = np.ptp(asset.extents) < 0.15 * asset.extents.max()
    clearance = rest
    if not is_round:
        speed, climb = 0.6 * speed, 0.0
    velocity = speed * aim + np.array([0.0, climb, 0.0])
    center[hit + 1 :] = fly_and_land(spot, velocity, clearance, frames - hit - 1, fps, 0.6)
    moved = performance.set_object(action.object, center, np.repeat(rotation[None], frames, 0))
    _roll(moved, hit, rest if is_round else None, side)
    track.look_at = moved.center * 0.7 + track.look_at * 0.3
    for touch in feet:
        performance.mark(touch, hit, hit)


def _unhurried(path: Float[ndarray, "T 2"]) -> Float[ndarray, "T 2"]:
    """A path whose speed changes over the run-up, and not with every step."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(path, SWAY, axis=0, mode="nearest")


def _roll(moved, hit: int, radius: float | None, side: float) -> None:
    """Turn a thing with its travel: a round one rolls, another one spins and slides to rest."""
    from scipy.spatial.transform import Rotation

    frames = len(moved.center)
    rotation = moved.rotation.copy()
    travel = np.diff(moved.center, axis=0)
    for t in range(hit + 1, frames):
        step = travel[t - 1] * [1.0, 0.0, 1.0]
        if radius is not None:
            turn = np.cross([0.0, 1.0, 0.0], step) / radius
        else:
            turn = np.array([0.0, 0.6 * side * np.linalg.norm(step), 0.0])
        rotation[t] = Rotation.from_rotvec(turn).as_matrix() @ rotation[t - 1]
    moved.rotation = rotation


def _kick_steps(
    build: Person,
    performance: Performance,
    spot: Float[ndarray, "3"],
    near: float,
    foot: int,
    hit: int,
    heading: float,
) -> tuple[FootPlan, Float[ndarray, "T 2"]]:
    """Feet of a run-up of two steps and a kick that reaches the thing's near side at frame `hit`."""
    frames = performance.frames
    forward, left = forward_of(heading)[[0, 2]], left_of(heading)[[0, 2]]
    side = 1.0 if foot == 0 else -1.0
    toe = float(build.sole[1, 2])
    tip = float(build.sole[1, 0])  # toes point outward
    target = (
        spot[[0, 2]] - (near + toe - 0.01) * forward - side * tip * left
    )  # ankle's ground point
    stand = target - side * 2 * 1.15 * build.ankle_half_width * left - 0.05 * forward
    start = target - 0.95 * forward - side * build.ankle_half_width * left
    first, yaw = stance(start, heading, build.ankle_half_width, 0.0, 0.0)
    plant = hit - 5
    position = np.repeat(first[None], frames, axis=0)
    lift, pitch = np.zeros((frames, 2)), np.zeros((frames, 2))
    planted = np.ones((frames, 2), bool)

    def swing(which: int, begin: int, end: int, goal: ndarray, height: float) -> None:
        u = minimum_jerk((np.arange(frames) - begin) / (end - begin))
        position[:, which] += u[:, None] * (goal - position[begin, which])
        bump = np.sin(np.pi * np.clip((np.arange(frames) - begin) / (end - begin), 0, 1))
        lift[:, which] += height * bump
        planted[begin + 1 : end, which] = False

    short = first[foot] + 0.4 * forward
    swing(foot, plant - 10, plant - 5, short, 0.06)
    swing(1 - foot, plant - 5, plant, stand, 0.07)
    # The kick: back swing, through the ball in a straight line, up, and down ahead.
    landing = target + 0.28 * forward
    keys = [plant, hit - 2, hit, hit + 3, hit + 9]
    along = np.stack([short, short - 0.12 * forward, target, target + 0.36 * forward, landing])
    kicked = interpolate_keyframes(frames, keys, along)
    heights = interpolate_keyframes(frames, keys, [0.0, 0.16, 0.03, 0.30, 0.0])
    toes = interpolate_keyframes(frames, keys, [0.0, 0.7, 0.15, -0.25, 0.0])
    later = np.arange(frames) >= plant
    position[later, foot], lift[later, foot] = kicked[later], heights[later]
    pitch[later, foot] = toes[later]
    planted[plant + 1 : hit + 9, foot] = False
    planted[hit, foot] = True  # as exact as a standing foot
    root = 0.5 * (position[:, 0] + position[:, 1])
    weight = np.exp(-(((np.arange(frames) - hit) / 5.0) ** 4))[:, None]
    root = weight * (0.75 * position[:, 1 - foot] + 0.25 * root) + (1 - weight) * root
    feet = FootPlan(position, np.repeat(yaw[None], frames, 0), lift, pitch, planted)
    return feet, _unhurried(root)


MOTIONS = {"push": push, "pull": pull, "drag": drag, "kick": kick}
