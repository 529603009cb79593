"""Playing what has strings: its back at the belly, the neck up to the left, one hand plucking."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.objects.asset import Asset
from priors.choreography.comfort import Trial, easiest_poses
from priors.choreography.grasps import Grasp
from priors.choreography.hold_plans import BELLY, HoldPlan
from priors.choreography.joint_limits import standing_reference
from priors.choreography.keyframes import smooth_noise
from priors.choreography.motions.common import place_held, wander_path, wobble
from priors.choreography.plan import Performance
from priors.choreography.shapes import STRING_WORDS, Instrument, instrument_of, part_with
from priors.language.nouns import compact_name, kind_of
from priors.language.script import Action

UP = np.array([0.0, 1.0, 0.0])
WAYS = ((0.15, 0.4, 0.65), (0.0, 0.3), (-0.08, 0.04), (0.10, 0.22), (0.4,))
"""To be tried: rise and forward slant of the neck, the strings to the left and above the pelvis, and how
far the fingers of the right hand point down."""
STRUM, STRUMS_PER_SECOND = 0.025, 1.4  # metres across the strings
CHORDS = 0.12  # of the neck's length that the left hand wanders
UPPER_BODY = [3, 6, 9, 13, 14, 16, 17, 18, 19, 20, 21]
OVER_STRINGS = 0.008  # metres from the palm to the strings: fingers reach them


def is_instrument(asset: Asset) -> bool:
    """By its name, or by parts called strings or neck."""
    named = kind_of(compact_name(asset.name)) == "guitar"
    return named or part_with(asset, STRING_WORDS) is not None


def play_instrument(performance: Performance, action: Action) -> None:
    """Stand or sit with it, chords on the neck with the left hand, strokes with the right."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    turn = rng.uniform(-0.4, 0.4)
    track = performance.set_path(person, *wander_path(performance, 4, frames - 4, 0.0, turn))
    asset = performance.asset(action.object)
    made = instrument_of(asset)
    hands = sorted(performance.hands_on(person, action.object) or {0: None, 1: None})
    ways = [_way(asset, made, hands, *way) for way in itertools.product(*WAYS)]
    height = float(performance.pelvis_height(person).mean()) * UP
    trials = [Trial(take.grasps, place + height, take.rotation) for take, place in ways]
    poses = easiest_poses(track.person, asset, trials, _embracing())
    best = int(np.argmin(poses.costs))
    take, place = ways[best]
    local = place + performance.pelvis_height(person)[:, None] * UP
    local += 0.008 * smooth_noise(rng, frames, 3)
    angles = wobble(performance, np.ones(frames), 2.5)
    place_held(performance, person, action.object, take, local, angles)
    track.look_weight[:] = 0.25
    phase = 2 * np.pi * STRUMS_PER_SECOND * np.arange(frames) / performance.fps
    chords = np.tanh(3.0 * smooth_noise(rng, frames, 1)) * CHORDS * made.neck_length
    slides = {
        0: chords * made.along,
        1: STRUM * np.sin(phase)[:, None] * np.cross(made.along, made.front),
    }
    # All frames begin with the upper body as it was found to be easiest, on the same side of the body of it.
    track.reference[:, UPPER_BODY] = poses.unknowns[best, 3:].reshape(-1, 3)[UPPER_BODY]
    performance.hold(person, action.object, take, 0, frames, slides)


def _embracing() -> Float[ndarray, "22 3"]:
    """Standing, the arms round something before the belly: elbows out, so that they come over it."""
    pose = standing_reference()
    pose[[16, 18]] = (0.0, -0.8, -0.9), (0.0, -1.2, 0.0)
    pose[[17, 19]] = (0.0, 0.9, 0.5), (0.0, 1.5, 0.0)
    return pose


def _way(
    asset: Asset,
    made: Instrument,
    hands: Sequence[int],
    rise: float,
    slant: float,
    aside: float,
    above: float,
    droop: float,
) -> tuple[HoldPlan, Float[ndarray, "3"]]:
    """The hold of one way to play, and where the center is from the ground point with the pelvis at 0."""
    along = np.array([1.0, rise, slant])
    along /= np.linalg.norm(along)
    front = np.array([0.0, 0.0, 1.0]) - along[2] * along
    front /= np.linalg.norm(front)
    world = np.stack([along, front, np.cross(along, front)], axis=-1)
    mesh = np.stack([made.along, made.front, np.cross(made.along, made.front)], axis=-1)
    rotation = world @ mesh.T
    below = np.array([0.0, -1.0, 0.0]) + along[1] * along
    palm = 0.8 * below / np.linalg.norm(below) - 0.6 * front  # under the neck and behind it
    fingers = along + droop * below
    knuckles = np.cross(fingers / np.linalg.norm(fingers), -front)  # of a right hand: index above
    palm_in_mesh, knuckles_in_mesh = palm @ rotation, knuckles @ rotation
    plucked = made.strings + OVER_STRINGS * made.front
    both = (
        Grasp(made.neck, palm_in_mesh, made.along, made.neck_radius),
        Grasp(plucked, made.front, knuckles_in_mesh, 0.0),
    )
    points, strings = (
        (asset.samples - asset.center) @ rotation.T,
        rotation @ (made.strings - asset.center),
    )
    back = float(-points[np.abs(points[:, 0] - strings[0]) < 0.25, 2].min())
    position = np.array([aside - strings[0], above - strings[1], BELLY + 0.01 + back])
    return HoldPlan(rotation, {hand: both[hand] for hand in hands}, back, back, strings), position
