"""Under an umbrella: the stem upright before the shoulder, the canopy above the head."""

import numpy as np

from priors.choreography.grasps import Grasp
from priors.choreography.hold_plans import HoldPlan
from priors.choreography.keyframes import smooth_noise
from priors.choreography.motions.common import place_held, wander_path, wobble
from priors.choreography.plan import Performance
from priors.choreography.shapes import Canopy
from priors.language.script import Action

ABOVE_HEAD = 0.06  # metres from the head to the canopy's rim
HEAD_TOP = 0.34  # metres from the shoulders to the top of the head
LEAN = 0.22  # radians that the canopy leans back over the head
BETWEEN_HANDS = 0.12
AHEAD, ASIDE = 0.27, 0.14


def shelter(performance: Performance, action: Action, canopy: Canopy, distance: float) -> None:
    """Stand, or walk `distance` metres along an arc, with the stem in one hand or in both."""
    person = action.people[0]
    rng, frames = performance.rng, performance.frames
    turn = rng.choice([-1, 1]) * rng.uniform(0.3, 0.9)
    end = frames - 1 if distance else frames - 4
    track = performance.set_path(person, *wander_path(performance, 4, end, distance, turn))
    asset = performance.asset(action.object)
    hands = sorted(performance.hands_on(person, action.object)) or [1]
    up = np.array([0.0, 1.0, 0.0])
    places = {hand: canopy.handle + BETWEEN_HANDS * row * up for row, hand in enumerate(hands)}
    grasps = {hand: Grasp(point, np.zeros(3), up, canopy.radius) for hand, point in places.items()}
    middle = canopy.handle - asset.center
    take = HoldPlan(np.eye(3), grasps, 0.0, 0.0, middle)
    shoulder = track.person.shoulder_height
    shoulder += float((performance.pelvis_height(person) - track.person.pelvis_height).mean())
    rim = shoulder + HEAD_TOP + ABOVE_HEAD
    hand_height = max(rim - float(canopy.rim - canopy.handle[1]), shoulder - 0.35)
    hand_height = min(hand_height, shoulder + 0.1)  # a short one is held as high as is comfortable
    side = 0.0 if len(hands) > 1 else ASIDE * (1.0 - 2.0 * hands[0])
    grip = np.array([side, hand_height, AHEAD])
    local = grip - middle + 0.012 * smooth_noise(rng, frames, 3)
    angles = wobble(performance, np.ones(frames), 3.0)
    angles[:, 1] -= LEAN
    look = track.look_at.copy()
    place_held(performance, person, action.object, take, local, angles, keep_clear=False)
    track.look_at, track.look_weight[:] = look, 0.6
    performance.hold(person, action.object, take, 0, frames)
