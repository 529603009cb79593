"""Motions of things held in the hands: lift, carry and put, hold."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.objects.asset import Asset
from priors.choreography.hold_plans import (
    BELLY,
    QUARTER_TURNS,
    HoldPlan,
    HoldPreferences,
    beside_leg,
    beside_shoulder,
)
from priors.choreography.keyframes import euler_matrix, interpolate_keyframes, smooth_noise
from priors.choreography.motions.common import (
    hold_heights,
    leave_behind,
    lowest_point,
    place_held,
    rise,
    walk_off,
    wander_path,
    wobble,
)
from priors.choreography.motions.shelter import shelter
from priors.choreography.placement import stand_at, support_under
from priors.choreography.plan import Performance
from priors.choreography.shapes import canopy_of, center_of_mass
from priors.language.parser import BACKWARDS, FROM_GROUND, OVERHEAD, WALKS_AWAY
from priors.language.script import Action
from priors.language.unsaid import PUT_WORDS

LARGE = 0.22  # metres of radius from which one hand carries a thing hanging at the side
BENT_ELBOW = 0.3  # metres that a bent elbow lifts what is too long to hang from a straight arm
STRAIGHTENED, UPRIGHT = 8, 15
"""Frames after which who puts a thing down has come up far enough to step back, and stands."""
TAKEN, ARRIVED, LEFT_BEHIND = 0.25, 0.36, 0.58
"""When, of the clip, what somebody walks away from is up, is there, and stands."""
SHORT_WAY, FEW_STEPS = 0.6, 0.25
"""Shares of the way that are left to who puts a thing down and goes, and takes it up before, in one clip."""
MAX_SWING = 0.5  # radians that a thing leans to bring its weight below one hand

DEFAULT_WISH = HoldPreferences()


def take_of(
    performance: Performance,
    person: int,
    action: Action,
    wish: HoldPreferences = DEFAULT_WISH,
    yaws: tuple[float, ...] = QUARTER_TURNS,
) -> HoldPlan:
    """How this person holds the action's object, by the graph's hands (both where it names none)."""
    touches = performance.hands_on(person, action.object)
    parts = {hand: touch.part for hand, touch in touches.items()}
    if not parts:
        part = performance.script.graph.objects[action.object].parts[0]
        parts = {0: part, 1: part}
    return performance.plan_hold(person, action.object, parts, wish, yaws)


def lift(performance: Performance, action: Action) -> None:
    """From what it stands on to waist, chest or overhead, by the legs; may turn with the load."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    lower = support_under(performance, action.object, "start")
    if lower is None and _hangs(performance, action):
        turn = rng.uniform(-0.8, 0.8)
        performance.set_path(person, *wander_path(performance, 0.6 * frames, frames, 0.0, turn))
        hand = next(iter(performance.hands_on(person, action.object)))
        _at_side(
            performance, action, hand, rise(frames, 3, performance.frame(0.6), 0.0, 1.0), frames
        )
        return
    take = take_of(performance, person, action, HoldPreferences(from_ground=lower is None))
    grasp = 0 if performance.is_continuous(action) else performance.frame(0.27)
    up = performance.frame(rng.uniform(0.62, 0.72))
    turn = rng.uniform(-1.0, 1.0) if rng.random() < 0.6 else 0.0
    root, heading = wander_path(performance, up - 4, frames - 3, 0.0, turn)
    track = performance.set_path(person, root, heading)
    if track.feet is None:
        track.half_width += 0.03

    # A weight on a bar: held round its middle axis, so it may roll and go over the head.
    is_bar = take.is_across_one_bar and float(np.linalg.norm(take.middle[1:])) < 0.08
    heights = hold_heights(performance, person)
    goals = ["hanging", "chest", "overhead"] if is_bar else ["waist", "chest"]
    goal = goals[int(rng.integers(len(goals)))]
    goal = OVERHEAD if OVERHEAD in action.manners else goal
    far, near = take.standing_room, take.near + BELLY + 0.05
    base = 0.0
    if lower is not None:
        base, far = stand_at(performance, lower, track, 0, take.near)
    rest = base - lowest_point(performance, action.object, take.rotation)
    reach = 0.27 if goal == "overhead" else near
    start = grasp + 2
    held = max(heights[goal] - take.middle[1], rest + 0.1)
    times = [start + s * (up - start) for s in (0.0, 0.3, 0.62, 1.0)]
    local = np.zeros((frames, 3))
    local[:, 1] = interpolate_keyframes(
        frames, times, [rest, *(rest + s * (held - rest) for s in (0.22, 0.6, 1.0))]
    )
    middle = near + (0.12 if goal == "overhead" else 0.04)  # past the face
    local[:, 2] = interpolate_keyframes(frames, times, [far, 0.5 * (far + middle), middle, reach])
    angles = wobble(performance, rise(frames, start + 3, up, 0.0, 1.0), 4.0)
    if is_bar and goal != "hanging":  # the bar rolls with the wrists' turn
        roll = -1.4 if goal == "chest" else -2.4
        angles[:, 1] += interpolate_keyframes(frames, times, [0.0, 0.0, 0.45 * roll, roll])
    place_held(performance, person, action.object, take, local, angles)
    _bend(performance, person, action, take, grasp)
    performance.hold(person, action.object, take, grasp, frames)


def _hangs(performance: Performance, action: Action) -> bool:
    """Whether one hand alone has to deal with something large."""
    hands = performance.hands_on(action.people[0], action.object)
    return len(hands) == 1 and performance.asset(action.object).radius > LARGE


def _bend(
    performance: Performance, person: int, action: Action, take: HoldPlan, grasp: int
) -> None:
    """Squat as deep as the hands need, from when they reach out until they come up."""
    track, frames = performance.tracks[person], performance.frames
    hand_height = performance.objects[action.object].center[:, 1] + take.middle[1]
    bend = performance.tracks[person].person.squat_for(hand_height)
    if grasp > 0:
        bend = 0.02 + (bend - 0.02) * rise(frames, 1, grasp, 0.0, 1.0)
    track.crouch = np.maximum(bend, track.crouch)


def carry(performance: Performance, action: Action) -> None:
    """Walk along an arc with the object; 'put' words end by setting it down on something."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    lower = support_under(performance, action.object, "end")
    if lower is not None:
        put_on(performance, action, lower)
        return
    canopy = canopy_of(performance.asset(action.object))
    if canopy is not None and action.word not in PUT_WORDS:
        shelter(performance, action, canopy, rng.uniform(1.0, 2.0))
        return
    distance, turn = rng.uniform(1.0, 2.0), rng.choice([-1, 1]) * rng.uniform(0.5, 1.7)
    sets_down, picks_up = action.word in PUT_WORDS, FROM_GROUND in action.manners
    start = performance.frame(0.3) if picks_up else 0
    stop = performance.frame(0.62 if picks_up else 0.6) if sets_down else frames - 1
    leaves = WALKS_AWAY in action.manners
    if leaves:
        start, stop = performance.frame(TAKEN) if picks_up else 0, performance.frame(ARRIVED)
    down = performance.frame(LEFT_BEHIND) if leaves else frames - 6
    if leaves:
        distance *= FEW_STEPS if picks_up else SHORT_WAY
    else:
        distance *= 0.6 if picks_up else 1.0
    distance *= -0.7 if BACKWARDS in action.manners else 1.0
    root, heading = wander_path(performance, max(start - 4 * leaves, 0), stop, distance, turn)
    hands = performance.hands_on(person, action.object)
    hangs = _hangs(performance, action)
    if leaves:
        side = 2.0 * next(iter(hands)) - 1.0 if hangs else rng.choice([-1.0, 1.0])
        root, heading = walk_off(performance, root, heading, down + STRAIGHTENED, side)
    track = performance.set_path(person, root, heading)
    raised = rise(frames, 2, start, 0.0, 1.0) if picks_up else np.ones(frames)
    if sets_down:
        raised = raised * rise(frames, stop, down, 1.0, 0.0)
    if hangs:
        _at_side(performance, action, next(iter(hands)), raised, down if leaves else frames)
        if leaves:
            leave_behind(performance, person, action.object, down, down + UPRIGHT)
        return
    take = take_of(performance, person, action, HoldPreferences(from_ground=picks_up))
    height = hold_heights(performance, person)["waist"] * rng.uniform(0.92, 1.06)
    local = np.zeros((frames, 3))
    local[:, 1] = height - take.middle[1] + 0.015 * smooth_noise(rng, frames, 1)[:, 0]
    local[:, 2] = take.near + BELLY + 0.05
    rest = -lowest_point(performance, action.object, take.rotation)
    local[:, 1] += (1.0 - raised) * (rest - local[:, 1])
    local[:, 2] += (1.0 - raised) * max(0.0, take.standing_room - take.near - BELLY - 0.05)
    angles = wobble(performance, np.ones(frames), 5.0) * raised[:, None]
    place_held(performance, person, action.object, take, local, angles)
    track.look_weight[:] = 0.25
    _bend(performance, person, action, take, 0)
    if leaves:
        leave_behind(performance, person, action.object, down, down + UPRIGHT)
    performance.hold(person, action.object, take, 0, down if leaves else frames)


def _at_side(
    performance: Performance,
    action: Action,
    hand: int,
    raised: np.ndarray,
    until: int,
) -> None:
    """A large thing hangs from one hand beside the leg, its weight as far below the hand as it swings.

    raised: per frame, 0 on the ground, 1 hanging. until: the frame in which it is let go.
    """
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    asset, track = performance.asset(action.object), performance.tracks[person]
    sideways = asset.extents[0] < asset.extents[2]
    straight = track.person.shoulder_height - track.person.arm_length - 0.1
    yaws = (0.0, 1.0) if sideways else (0.5, 1.5)
    longest = straight + BENT_ELBOW - 0.1
    wish = HoldPreferences(height=straight, longest=longest, at_side=True)
    take = take_of(performance, person, action, wish, yaws)
    swing = _swing_to_hang(asset, take)
    hung = euler_matrix(*swing[:, None])[0] @ take.rotation
    grip = hung @ (take.grasps[hand].point - asset.center)
    rest = -lowest_point(performance, action.object, take.rotation)
    low = -lowest_point(performance, action.object, hung) + 0.08
    held = max(straight - grip[1], low)
    start, end = (beside_leg(asset, rotation, take) for rotation in (take.rotation, hung))
    start[1], end[1] = rest, held
    local = start + raised[:, None] * (end - start)
    local[:, 1] += 0.01 * smooth_noise(rng, frames, 1)[:, 0] * raised
    angles = wobble(performance, raised, 3.0) + raised[:, None] * swing
    look = track.look_at.copy()
    place_held(performance, person, action.object, take, local, angles, keep_clear=False)
    track.look_at, track.look_weight[:] = look, 1.0
    _bend(performance, person, action, take, 0)
    performance.hold(person, action.object, take, 0, until)


def _swing_to_hang(asset: Asset, take: HoldPlan) -> Float[ndarray, "3"]:
    """Yaw, pitch and roll that bring the weight below the one hand, or as near as a wrist lets it."""
    (grasp,) = take.grasps.values()
    hanging = take.rotation @ (center_of_mass(asset) - grasp.point)
    level = float(np.hypot(hanging[0], hanging[2]))
    if hanging[1] >= 0.0 or level < 1e-3:  # weight above the hand: the wrist keeps it upright
        return np.zeros(3)
    angle = min(float(np.arctan2(level, -hanging[1])), MAX_SWING)
    # About the level axis hanging x down.
    return angle / level * np.array([0.0, hanging[2], -hanging[0]])


def put_on(performance: Performance, action: Action, lower: int) -> None:
    """Carry the object some steps to another one and set it down on top of it."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    leaves, picks_up = WALKS_AWAY in action.manners, FROM_GROUND in action.manners
    stop, down = performance.frame(ARRIVED if leaves else 0.55), frames - 5
    if leaves:
        down = performance.frame(LEFT_BEHIND)
    start = performance.frame(TAKEN if leaves else 0.25) if picks_up else 0
    distance = rng.uniform(0.6, 1.1) * (-0.7 if BACKWARDS in action.manners else 1.0)
    if leaves:
        distance *= FEW_STEPS if picks_up else SHORT_WAY
    root, heading = wander_path(
        performance, max(start - 4 * leaves, 0), stop, distance, rng.uniform(-0.7, 0.7)
    )
    if leaves:
        side = rng.choice([-1.0, 1.0])
        root, heading = walk_off(performance, root, heading, down + STRAIGHTENED, side)
    track = performance.set_path(person, root, heading)
    take = take_of(performance, person, action, HoldPreferences(from_ground=picks_up))
    base, ahead = stand_at(performance, lower, track, down, take.near)
    rest = base - lowest_point(performance, action.object, take.rotation)
    height = max(hold_heights(performance, person)["waist"] - take.middle[1], rest + 0.12)
    local = np.zeros((frames, 3))
    local[:, 1] = interpolate_keyframes(
        frames, [0, stop - 2, down], [height, max(height, rest + 0.15), rest], stops=True
    )
    local[:, 2] = rise(frames, stop - 8, down - 3, take.near + BELLY + 0.05, ahead)
    if picks_up:
        below = 1.0 - rise(frames, 2, start, 0.0, 1.0)
        ground = -lowest_point(performance, action.object, take.rotation)
        local[:, 1] += below * (ground - local[:, 1])
        local[:, 2] += below * max(0.0, take.standing_room - take.near - BELLY - 0.05)
    angles = wobble(performance, rise(frames, stop - 4, down - 2, 1.0, 0.0), 5.0)
    place_held(performance, person, action.object, take, local, angles)
    _bend(performance, person, action, take, 0)
    if leaves:
        leave_behind(performance, person, action.object, down, down + UPRIGHT)
    release = frames if performance.is_continuous(action) else down + 1
    performance.hold(person, action.object, take, 0, release)


def hold(performance: Performance, action: Action) -> None:
    """Stand and turn the thing about before the chest, stepping round a little."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    canopy = canopy_of(performance.asset(action.object))
    if canopy is not None:
        shelter(performance, action, canopy, 0.0)
        return
    turn = rng.choice([-1, 1]) * rng.uniform(0.3, 1.0)
    root, heading = wander_path(performance, 4, frames - 4, 0.0, turn)
    track = performance.set_path(person, root, heading)
    take = take_of(performance, person, action)
    heights = hold_heights(performance, person)
    local = np.zeros((frames, 3))
    local[:, 1] = rng.uniform(heights["waist"], heights["chest"]) - take.middle[1]
    local[:, 2] = take.near + BELLY + 0.06
    local[:, 0] = beside_shoulder(take)
    noise = smooth_noise(rng, frames, 3)
    local += noise * [0.03, 0.05, 0.0] + [0.0, 0.0, 0.02] * np.abs(noise)
    rest = -lowest_point(performance, action.object, take.rotation)
    local[:, 1] = np.maximum(local[:, 1], rest + 0.02)
    angles = wobble(performance, np.ones(frames), 11.0)
    place_held(performance, person, action.object, take, local, angles)
    track.look_weight[:] = 0.5
    _bend(performance, person, action, take, 0)
    performance.hold(person, action.object, take, 0, frames)


MOTIONS = {"lift": lift, "carry": carry, "hold": hold}
