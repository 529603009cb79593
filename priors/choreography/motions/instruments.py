"""Playing what has strings: its back at the belly, the neck up to the left, one hand plucking."""

import numpy as np

from hoijax.objects.asset import Asset
from priors.choreography.grasps import Grasp
from priors.choreography.keyframes import smooth_noise
from priors.choreography.motions.common import place_held, wander_path, wobble
from priors.choreography.plan import BELLY, HoldPlan, Performance
from priors.choreography.shapes import STRING_WORDS, instrument_of, part_with
from priors.language.nouns import compact_name, kind_of
from priors.language.script import Action

NECK = np.array([0.80, 0.52, 0.30])  # direction in the person's frame: left, up, ahead
STRUM, STRUMS_PER_SECOND = 0.025, 1.4  # metres across the strings
CHORDS = 0.12  # of the neck's length that the left hand wanders
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
    along = NECK / np.linalg.norm(NECK)
    ahead = np.array([0.0, 0.0, 1.0])
    front = ahead - (ahead @ along) * along
    front /= np.linalg.norm(front)
    world = np.stack([along, front, np.cross(along, front)], axis=-1)
    mesh = np.stack([made.along, made.front, np.cross(made.along, made.front)], axis=-1)
    rotation = world @ mesh.T
    down = mesh @ world.T @ np.array([0.0, -1.0, 0.0])
    down -= (down @ made.along) * made.along
    behind = 0.8 * down / np.linalg.norm(down) - 0.6 * made.front
    plucked = made.strings + OVER_STRINGS * made.front
    left = Grasp(made.neck, behind / np.linalg.norm(behind), made.along, made.neck_radius)
    right = Grasp(plucked, made.front, np.cross(made.along, made.front), 0.0)
    # Fingers of the right hand along the neck, and so its knuckles across the strings, index up.
    right = (
        right if (rotation @ right.axis)[1] > 0.0 else Grasp(plucked, made.front, -right.axis, 0.0)
    )
    hands = performance.hands_on(person, action.object) or {0: None, 1: None}
    grasps = {hand: (left, right)[hand] for hand in sorted(hands)}
    points = (asset.samples - asset.center) @ rotation.T
    strings = rotation @ (made.strings - asset.center)
    body = np.abs(points[:, 0] - strings[0]) < 0.25
    back = float(-points[body, 2].min())
    pelvis = performance.pelvis_height(person)
    local = np.zeros((frames, 3))
    local[:, 0] = -0.10 - strings[0]
    local[:, 1] = pelvis + 0.17 - strings[1]
    local[:, 2] = BELLY + 0.01 + back
    local += 0.008 * smooth_noise(rng, frames, 3)
    take = HoldPlan(rotation, grasps, back, back, strings)
    angles = wobble(performance, np.ones(frames), 2.5)
    place_held(performance, person, action.object, take, local, angles)
    track.look_weight[:] = 0.25
    phase = 2 * np.pi * STRUMS_PER_SECOND * np.arange(frames) / performance.fps
    chords = np.tanh(3.0 * smooth_noise(rng, frames, 1)) * CHORDS * made.neck_length
    slides = {
        0: chords * made.along,
        1: STRUM * np.sin(phase)[:, None] * np.cross(made.along, made.front),
    }
    performance.hold(person, action.object, take, 0, frames, slides)
