"""Motions of people carried by things: sit, ride."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bodies.parts import BODY_PARTS
from priors.choreography.footsteps import FootPlan, plan_footsteps
from priors.choreography.joint_limits import seated_reference
from priors.choreography.keyframes import forward_of, left_of, smooth_noise, yaw_matrix
from priors.choreography.motions.common import rise, wander_path
from priors.choreography.person import Person, skin_of
from priors.choreography.plan import Performance, in_world
from priors.choreography.pose_targets import WRISTS, Seat
from priors.choreography.support_surfaces import (
    front_yaw,
    support_surface,
    supporting_part,
    touches_with,
)
from priors.choreography.tracks import ObjectTrack, PersonTrack, Pin
from priors.language.script import Action

SEAT_BACK = 0.34  # metres from the front edge of a seat back to the pelvis
SINK = 0.001  # metres that the seat gives way


def seated_drop(person: Person) -> float:
    """Height of the pelvis joint above the lowest skin of the hips in the seated pose."""
    rotations = np.zeros((1, 55, 3), np.float32)
    rotations[0, :22] = seated_reference()
    skin = skin_of(person, rotations, np.zeros((1, 3), np.float32))[0]
    hips = np.asarray(person.body.part_ids) == BODY_PARTS.index("hips")
    return float(person.rest_joints[0, 1] - skin[hips, 1].min())


def sit(performance: Performance, action: Action) -> None:
    """Sit on a still thing: sit down where contact may begin late, else move about seated."""
    person = action.people[0]
    frames = performance.frames
    touch = (touches_with(performance, action, "hips") or [None])[0]
    part = touch.part if touch else performance.script.graph.objects[action.object].parts[0]
    front = front_yaw(performance, action.object, part)
    if action.object in performance.placed:
        _sit_on_moved(performance, action, part, front)
        return
    root, heading = wander_path(performance, 0, 1, 0.0, 0.0)
    ground = np.array([root[0, 0], 0.0, root[0, 1]])
    rotation = yaw_matrix(heading[:1] - front)[0]
    placed = performance.set_object(
        action.object,
        np.repeat(ground[None], frames, 0),
        np.repeat(rotation[None], frames, 0),
    )
    placed.rest_on(0.0, slice(None))
    height, back, edge, middle = support_surface(performance, action.object, part, front)
    seat = height + float(placed.center[0, 1])
    spot = np.array([middle, 0.0, max(edge - SEAT_BACK, back + 0.12)])
    seated_at = ground + yaw_matrix(heading[:1])[0] @ spot
    late = touch is not None and not touch.is_continuous
    seated = rise(frames, performance.frame(0.2), performance.frame(0.6), 0.0, 1.0)
    seated = seated if late else np.ones(frames)
    _seat_person(performance, person, seated_at, heading, seat, spot, edge, seated)
    _take_seat(performance, action, part, front)
    if touch is not None:
        first = int(np.argmax(seated > 0.995))
        performance.mark(touch, first, frames)


def _sit_on_moved(performance: Performance, action: Action, part: str, front: float) -> None:
    """Sit throughout on what somebody else pushes or pulls."""
    placed = performance.objects[action.object]
    course = np.unwrap(np.arctan2(placed.rotation[:, 0, 2], placed.rotation[:, 2, 2])) + front
    _ride_seated(performance, action, placed, part, front, course)
    _take_seat(performance, action, part, front)
    for touch in touches_with(performance, action, "hips"):
        performance.mark(touch, 0, performance.frames)


def _take_seat(performance: Performance, action: Action, part: str, front: float) -> None:
    height = support_surface(performance, action.object, part, front)[0]
    middle = float(performance.asset(action.object).center[1])
    seat = Seat(action.object, front, middle + height)
    performance.tracks[action.people[0]].seats.append(seat)


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
    hips = touches_with(performance, action, "hips")
    part = supporting_part(performance, action)
    asset = performance.asset(action.object)
    if hips:
        front = front_yaw(performance, action.object, part)
    else:
        front = 0.0 if asset.extents[2] >= asset.extents[0] else 0.5 * np.pi
    center = np.stack([path[:, 0], np.zeros(frames), path[:, 1]], axis=1)
    placed = performance.set_object(action.object, center, yaw_matrix(course - front))
    placed.rest_on(0.0, slice(None))
    if hips:
        _ride_seated(performance, action, placed, part, front, course)
    else:
        _ride_standing(performance, person, action, placed, part, front, course)
    for touch in performance.touches_of(person, action.object):
        if touch.body_part not in ("left_hand", "right_hand"):
            performance.mark(touch, 0, frames)


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
    height, back, edge, middle = support_surface(performance, action.object, part, front)
    spot = np.array([middle, 0.0, max(edge - SEAT_BACK, 0.5 * (back + edge))])
    seats = placed.center + np.einsum("tij,j->ti", yaw_matrix(course), spot)
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
    pelvis = height + float(placed.center[0, 1]) + seated_drop(build) - SINK
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
    deck, back, edge, _ = support_surface(performance, action.object, part, front)
    spread = min(0.2, 0.5 * (edge - back) - 0.08)
    ahead = np.stack([forward_of(h)[[0, 2]] for h in course])
    root = placed.center[:, [0, 2]] + 0.02 * ahead
    track = performance.set_path(person, root, heading)
    build = track.person
    # Soles are longer than decks are wide: center them across.
    across = np.stack([forward_of(h)[[0, 2]] for h in heading])
    middle = root - float(build.sole[:, 2].mean()) * across
    lefts = np.stack([left_of(h)[[0, 2]] for h in heading])
    both = np.stack([middle + spread * lefts, middle - spread * lefts], axis=1)
    still, planted = np.zeros((frames, 2)), np.ones((frames, 2), bool)
    yaw = np.stack([heading, heading - 0.0], axis=1)
    track.feet = FootPlan(both, yaw, still, still, planted)
    top = deck + placed.center[:, 1]
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


MOTIONS = {"sit": sit, "ride": ride}
