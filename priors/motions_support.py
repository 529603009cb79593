"""Motions of people on things: sit, ride, step on."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bodies.parts import BODY_PARTS
from priors.footsteps import FootPlan, plan_footsteps
from priors.grasps import part_samples
from priors.holding import rise, wander_path
from priors.inverse_kinematics import WRISTS
from priors.joint_limits import seated_reference
from priors.keyframes import (
    forward_of,
    interpolate_keyframes,
    left_of,
    minimum_jerk,
    smooth_noise,
    yaw_matrix,
)
from priors.pag_library import Action
from priors.people import Person, pose_clip
from priors.performance import Performance, Touch, in_world
from priors.stage import ObjectTrack, PersonTrack, Pin

SEAT_BACK = 0.34  # metres from the front edge of a seat back to the pelvis
SINK = 0.001  # metres that the seat gives way


def _touch_of(performance: Performance, action: Action, *parts: str) -> list[Touch]:
    touches = performance.touches_of(action.people[0], action.object)
    return [t for t in touches if t.body_part in parts]


def _front_yaw(performance: Performance, object_index: int, part: str) -> float:
    """Yaw of the object's own front in its mesh frame: away from what stands behind the seat."""
    asset = performance.asset(object_index)
    seat = asset.samples[part_samples(asset, part)]
    level = np.quantile(seat[:, 1], 0.9)
    above = asset.samples[asset.samples[:, 1] > level + 0.12]
    if len(above) > 20:
        away = seat.mean(0) - above.mean(0)
        if np.hypot(away[0], away[2]) > 0.05:
            yaw = float(np.arctan2(away[0], away[2]))
            return 0.5 * np.pi * round(yaw / (0.5 * np.pi))  # along a side
    wide = asset.extents[0] >= asset.extents[2]
    choices = [0.0, np.pi] if wide else [0.5 * np.pi, -0.5 * np.pi]
    return float(performance.rng.choice(choices))


def _surface(
    performance: Performance, object_index: int, part: str, yaw: float
) -> tuple[float, float, float, float]:
    """Of an upward-facing part, in axes turned so that z is `yaw`: height, back, front, middle x.

    Relative to the asset's centre.
    """
    asset = performance.asset(object_index)
    rows = part_samples(asset, part)
    up = rows[asset.sample_normals[rows, 1] > 0.8]
    rows = up if len(up) >= 8 else rows
    local = (asset.samples[rows] - asset.centre) @ yaw_matrix(np.array([yaw]))[0]
    top = local[local[:, 1] > np.quantile(local[:, 1], 0.75) - 0.04]
    height = float(np.median(top[:, 1]))
    return height, float(top[:, 2].min()), float(top[:, 2].max()), float(top[:, 0].mean())


def seated_drop(person: Person) -> float:
    """Height of the pelvis joint above the lowest skin of the hips in the seated pose."""
    rotations = np.zeros((1, 55, 3), np.float32)
    rotations[0, :22] = seated_reference()
    skin = pose_clip(person, rotations, np.zeros((1, 3), np.float32))[0]
    hips = np.asarray(person.body.part_ids) == BODY_PARTS.index("hips")
    return float(person.rest_joints[0, 1] - skin[hips, 1].min())


def sit(performance: Performance, action: Action) -> None:
    """Sit on a still thing: sit down where contact may begin late, else move about seated."""
    person = action.people[0]
    frames = performance.frames
    touch = (_touch_of(performance, action, "hips") or [None])[0]
    part = touch.part if touch else performance.script.graph.objects[action.object].parts[0]
    front = _front_yaw(performance, action.object, part)
    root, heading = wander_path(performance, 0, 1, 0.0, 0.0)
    ground = np.array([root[0, 0], 0.0, root[0, 1]])
    rotation = yaw_matrix(heading[:1] - front)[0]
    placed = performance.set_object(
        action.object,
        np.repeat(ground[None], frames, 0),
        np.repeat(rotation[None], frames, 0),
    )
    placed.rest_on(0.0, slice(None))
    height, back, edge, middle = _surface(performance, action.object, part, front)
    seat = height + float(placed.centre[0, 1])
    spot = np.array([middle, 0.0, max(edge - SEAT_BACK, back + 0.12)])
    seated_at = ground + yaw_matrix(heading[:1])[0] @ spot
    late = touch is not None and not touch.is_continuous
    seated = rise(frames, performance.frame(0.2), performance.frame(0.6), 0.0, 1.0)
    seated = seated if late else np.ones(frames)
    _seat_person(performance, person, seated_at, heading, seat, spot, edge, seated)
    performance.tracks[person].soft_objects.add(action.object)
    if touch is not None:
        first = int(np.argmax(seated > 0.995))
        performance.mark(touch, first, frames)


def _seat_person(
    performance: Performance,
    person: int,
    seated_at: Float[ndarray, "3"],
    heading: Float[ndarray, "T"],
    seat: float,
    spot: Float[ndarray, "3"],
    edge: float,
    seated: Float[ndarray, "T"],
) -> None:
    """Pelvis onto the seat as `seated` goes to 1, feet before it, hands on the thighs, torso moving."""
    rng, frames = performance.rng, performance.frames
    forward = forward_of(heading[0])[[0, 2]]
    build = performance.tracks[person].person
    feet_ahead = max(edge - spot[2] + 0.10, 0.34) + 0.02
    feet_at = seated_at[[0, 2]] + feet_ahead * forward
    standing = feet_at + 0.02 * forward
    root = standing + seated[:, None] * (seated_at[[0, 2]] - standing)
    track = performance.set_path(person, root, heading)
    still = np.repeat(feet_at[None], frames, 0)
    width = build.ankle_half_width + rng.uniform(0.0, 0.05)
    track.feet = plan_footsteps(still, heading, fps=performance.fps, half_width=width)
    pelvis = seat + seated_drop(build) - SINK
    track.crouch = 0.02 + seated * (build.pelvis_height - pelvis - 0.02)
    dangling = pelvis - 0.1 > build.pelvis_height - 0.42 + 0.08
    if dangling:  # feet cannot reach the ground
        track.foot_floor = np.zeros((frames, 2)) + max(0.0, pelvis - 0.12 - 0.55)
        track.crouch += track.foot_floor.mean(axis=1)
    sit_pose = seated_reference()
    track.reference = track.reference + seated[:, None, None] * (sit_pose - track.reference)
    track.pelvis_weight = np.stack([10 + 50 * seated, 10 + 110 * seated, 10 + 50 * seated], axis=1)
    track.balance_weight = 1.0 - seated
    _animate_seated(track, rng, seated, pelvis)


def _animate_seated(
    track: PersonTrack, rng: np.random.Generator, seated: ndarray, pelvis: float
) -> None:
    """Lean and turn the torso; hands rest on the thighs, one may gesture."""
    noise = np.tanh(smooth_noise(rng, track.frames, 3)) * seated[:, None]
    for joint in (3, 6, 9):
        track.reference[:, joint] += noise * [0.16, 0.14, 0.05] + [0.03, 0.0, 0.0]
    look = in_world(np.array([[0.0, 1.3, 3.0]] * track.frames), track.root, track.heading)
    side = np.stack([left_of(h) for h in track.heading])
    track.look_at = look + 1.5 * noise[:, 1:2] * side
    gesture = rng.random() < 0.5
    lead = int(rng.integers(2))
    for hand, shoulder, elbow in ((0, 16, 18), (1, 17, 19)):
        mirror = 1.0 if hand == 0 else -1.0
        rest = np.array([0.0, -0.55 * mirror, -1.15 * mirror])
        bend = np.array([0.0, -0.75 * mirror, 0.0])
        track.reference[:, shoulder] += seated[:, None] * (rest - track.reference[:, shoulder])
        track.reference[:, elbow] += seated[:, None] * (bend - track.reference[:, elbow])
        on_thigh = np.array([[0.13 * mirror, pelvis + 0.10, 0.31]] * track.frames)
        point = in_world(on_thigh, track.root, track.heading)
        busy = 0.0
        if gesture and hand == lead:
            wave = 0.5 * (1.0 + smooth_noise(rng, track.frames, 1)) * seated[:, None]
            track.reference[:, elbow] += wave * np.array([0.0, -0.7 * mirror, 0.0])
            track.reference[:, shoulder] += wave * np.array([0.0, -0.25 * mirror, 0.15 * mirror])
            point[:, 1] += 0.12 * np.clip(wave[:, 0], 0.0, 2.0)
            busy = 0.7
        weight = (0.04 * (1.0 - busy)) * seated**2
        track.pins.append(Pin(WRISTS[hand], track.person.palm_points[hand], point, weight))


def ride(performance: Performance, action: Action) -> None:
    """Glide along a curve: standing sideways on a deck, or seated where the graph says hips."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    start, end = 0, frames - 1
    path, course = wander_path(performance, start - 8, end + 8, 0.0, rng.uniform(-0.9, 0.9))
    speed = rng.uniform(1.3, 2.1) / (frames - 1)
    step = speed * np.stack([forward_of(h)[[0, 2]] for h in course])
    path = path[:1] + np.concatenate([np.zeros((1, 2)), np.cumsum(step[1:], axis=0)])
    hips = _touch_of(performance, action, "hips")
    part = _ridden_part(performance, action)
    asset = performance.asset(action.object)
    if hips:
        front = _front_yaw(performance, action.object, part)
    else:
        front = 0.0 if asset.extents[2] >= asset.extents[0] else 0.5 * np.pi
    centre = np.stack([path[:, 0], np.zeros(frames), path[:, 1]], axis=1)
    placed = performance.set_object(action.object, centre, yaw_matrix(course - front))
    placed.rest_on(0.0, slice(None))
    if hips:
        _ride_seated(performance, action, placed, part, front, course)
    else:
        _ride_standing(performance, person, action, placed, part, front, course)
    for touch in performance.touches_of(person, action.object):
        if touch.body_part not in ("left_hand", "right_hand"):
            performance.mark(touch, 0, frames)


def _ridden_part(performance: Performance, action: Action) -> str:
    touches = _touch_of(performance, action, "hips", "left_foot", "right_foot")
    return touches[0].part if touches else performance.script.graph.objects[action.object].parts[0]


def _ride_seated(
    performance: Performance,
    action: Action,
    placed: ObjectTrack,
    part: str,
    front: float,
    course: Float[ndarray, "T"],
) -> None:
    """As `sit`, on a thing that moves; the feet hang beside it or ride along."""
    frames, person = performance.frames, action.people[0]
    height, back, edge, middle = _surface(performance, action.object, part, front)
    spot = np.array([middle, 0.0, max(edge - SEAT_BACK, 0.5 * (back + edge))])
    seats = placed.centre + np.einsum("tij,j->ti", yaw_matrix(course), spot)
    build = performance.tracks[person].person
    track = performance.set_path(person, seats[:, [0, 2]], course)
    ahead = np.stack([forward_of(h)[[0, 2]] for h in course])
    feet = track.root + (edge - spot[2] + 0.14) * ahead
    width = build.ankle_half_width
    side = np.stack([left_of(h)[[0, 2]] for h in course])
    both = np.stack([feet + width * side, feet - width * side], axis=1)
    still = np.zeros((frames, 2))
    planted = np.ones((frames, 2), bool)
    track.feet = FootPlan(both, np.stack([course, course], 1), still, still, planted)
    pelvis = height + float(placed.centre[0, 1]) + seated_drop(build) - SINK
    floor = max(0.06, pelvis - 0.55)
    track.foot_floor = np.full((frames, 2), floor)
    track.crouch = np.full(frames, build.pelvis_height - pelvis + floor)
    track.reference = np.repeat(seated_reference()[None], frames, axis=0)
    track.pelvis_weight = np.tile([60.0, 120.0, 60.0], (frames, 1))
    track.balance_weight[:] = 0.0
    _animate_seated(track, performance.rng, np.ones(frames), pelvis)


def _ride_standing(
    performance: Performance,
    person: int,
    action: Action,
    placed: ObjectTrack,
    part: str,
    front: float,
    course: Float[ndarray, "T"],
) -> None:
    """Sideways on a deck: feet along its length, knees bent, arms out for balance."""
    rng, frames = performance.rng, performance.frames
    side = rng.choice([-1.0, 1.0])
    heading = course + side * 0.5 * np.pi
    deck, back, edge, _ = _surface(performance, action.object, part, front)
    spread = min(0.2, 0.5 * (edge - back) - 0.08)
    ahead = np.stack([forward_of(h)[[0, 2]] for h in course])
    root = placed.centre[:, [0, 2]] + 0.02 * ahead
    track = performance.set_path(person, root, heading)
    build = track.person
    # Soles are longer than decks are wide: centre them across.
    across = np.stack([forward_of(h)[[0, 2]] for h in heading])
    middle = root - float(build.sole[:, 2].mean()) * across
    lefts = np.stack([left_of(h)[[0, 2]] for h in heading])
    both = np.stack([middle + spread * lefts, middle - spread * lefts], axis=1)
    still, planted = np.zeros((frames, 2)), np.ones((frames, 2), bool)
    yaw = np.stack([heading, heading - 0.0], axis=1)
    track.feet = FootPlan(both, yaw, still, still, planted)
    top = deck + placed.centre[:, 1]
    track.foot_floor = np.repeat(top[:, None], 2, axis=1)
    bob = 0.03 * smooth_noise(rng, frames, 1)[:, 0]
    track.crouch = np.clip(rng.uniform(0.10, 0.2) + bob, 0.05, 0.3)
    sway = np.tanh(smooth_noise(rng, frames, 3))
    for shoulder, elbow, mirror in ((16, 18, 1.0), (17, 19, -1.0)):
        track.reference[:, shoulder] = np.array([0.0, -0.2 * mirror, -0.55 * mirror])
        track.reference[:, shoulder] += sway * [0.0, 0.15, 0.2]
        track.reference[:, elbow, 1] = -0.45 * mirror
    for joint in (3, 6, 9):  # the chest turns towards the course
        track.reference[:, joint] += [0.05, -0.2 * side, 0.0]
        track.reference[:, joint] += sway * [0.04, 0.08, 0.04]
    travel = np.stack([forward_of(h) for h in course])
    eyes = np.stack([root[:, 0], np.full(frames, 1.3), root[:, 1]], axis=1)
    track.look_at = eyes + 3.0 * travel
    track.look_weight[:] = 1.0


def step_on(performance: Performance, action: Action) -> None:
    """Step up onto the thing with one foot, then the other, and stand."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    feet = _touch_of(performance, action, "left_foot", "right_foot")
    part = _ridden_part(performance, action)
    front = _front_yaw(performance, action.object, part)
    asset = performance.asset(action.object)
    long_z = asset.extents[2] > 1.6 * asset.extents[0]
    if long_z:  # a board: come from its side
        front = float(rng.choice([0.5, -0.5])) * np.pi
    root, heading = wander_path(performance, 0, 1, 0.0, 0.0)
    forward = forward_of(heading[0])[[0, 2]]
    rotation = yaw_matrix(heading[:1] + np.pi - front)[0]
    deck, back, edge, middle = _surface(performance, action.object, part, front)
    build = performance.tracks[person].person
    sole = float(build.sole[:, 2].mean())
    toe = float(build.sole[1, 2])
    begin = root[0] - 0.0 * forward
    distance = toe + 0.05 + edge  # from the ankles to the thing's centre
    place = begin + distance * forward
    ground = np.array([place[0], 0.0, place[1]])
    placed = performance.set_object(
        action.object, np.repeat(ground[None], frames, 0), np.repeat(rotation[None], frames, 0)
    )
    placed.rest_on(0.0, slice(None))
    height = deck + float(placed.centre[0, 1])
    spot = place - (0.5 * (edge + back)) * forward - sole * forward
    left = left_of(heading[0])[[0, 2]]
    spot = spot - middle * left
    half = min(build.ankle_half_width, 0.5 * float(np.ptp(asset.extents[[0, 2]])) + 0.1)
    keys = [performance.frame(s) for s in (0.12, 0.36, 0.5, 0.78)]
    first = int(rng.integers(2))
    plan, floor = _two_steps(
        begin, spot, left, half, float(heading[0]), height, first, keys, frames
    )
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
        lead[:, None] < 0.6, placed.centre, track.look_at + np.array([0.0, height, 0.0])
    )
    track.look_weight[:] = 0.4
    for touch in feet:
        foot = 0 if touch.body_part == "left_foot" else 1
        performance.mark(touch, keys[1] if foot == first else keys[3], frames)


def _two_steps(
    begin: Float[ndarray, "2"],
    spot: Float[ndarray, "2"],
    left: Float[ndarray, "2"],
    half: float,
    heading: float,
    height: float,
    first: int,
    keys: list[int],
    frames: int,
) -> tuple[FootPlan, Float[ndarray, "T 2"]]:
    """Each foot goes up once: over the edge, then down onto the top."""
    side = np.array([half, -half])[:, None] * left
    position = np.repeat((begin + side)[None], frames, axis=0)
    floor, lift, pitch = (np.zeros((frames, 2)) for _ in range(3))
    planted = np.ones((frames, 2), bool)
    for foot, (t0, t1) in ((first, keys[:2]), (1 - first, keys[2:])):
        u = np.clip((np.arange(frames) - t0) / (t1 - t0), 0.0, 1.0)
        up = minimum_jerk(u / 0.55)  # the height first, then across the edge
        across = minimum_jerk((u - 0.2) / 0.8)
        position[:, foot] += across[:, None] * (spot + side[foot] - position[0, foot])
        floor[:, foot] = height * up
        lift[:, foot] = 0.07 * np.sin(np.pi * u) ** 0.8
        planted[t0 + 1 : t1, foot] = False
    yaw = np.full((frames, 2), heading)
    return FootPlan(position, yaw, lift, pitch, planted), floor


MOTIONS = {"sit": sit, "ride": ride, "step on": step_on}
