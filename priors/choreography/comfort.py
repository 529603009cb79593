"""How hard a pose is: single poses solved beside each other, to choose between ways to hold something."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.objects.asset import Asset
from priors.choreography.grasps import Grasp
from priors.choreography.inverse_kinematics import Solution, solve_poses, start_of
from priors.choreography.person import Person
from priors.choreography.pose_targets import FPS, HEAD
from priors.choreography.skin_collisions import stacked_grids
from priors.choreography.tracks import Hold, ObjectTrack, Pin, pose_targets, stand

STEPS = 16


@dataclass(frozen=True)
class Trial:
    """One person at the origin, facing +z, with one object in the hands."""

    grasps: dict[int, Grasp]
    center: Float[ndarray, "3"]
    """Of the object, in the world."""
    rotation: Float[ndarray, "3 3"]
    lips: Float[ndarray, "3"] | None = None
    """Where the mouth should be, in the world."""
    crouch: float = 0.02
    """Metres that the pelvis is lower than in standing."""


def easiest_poses(
    person: Person,
    asset: Asset,
    trials: Sequence[Trial],
    reference: Float[ndarray, "22 3"] | None = None,
) -> Solution:
    """The best pose of each trial; its cost is what joints, balance and contacts have to give up.

    reference: pose to begin from and to stay near; standing by default.
    """
    count = len(trials)
    track = stand(person, np.zeros((count, 2)), np.zeros(count))
    track.look_weight[:] = 0.0
    track.crouch[:] = [trial.crouch for trial in trials]
    if reference is not None:
        track.reference[:] = reference
    track.holds = [
        Hold(hand, 0, grasp, row, row)
        for row, trial in enumerate(trials)
        for hand, grasp in trial.grasps.items()
    ]
    lips = np.array([np.zeros(3) if trial.lips is None else trial.lips for trial in trials])
    asked = np.array([trial.lips is not None for trial in trials], float)
    track.pins = [Pin(HEAD, person.lips, lips, asked)]
    centers = np.stack([trial.center for trial in trials])
    held = ObjectTrack(asset, centers, np.stack([trial.rotation for trial in trials]))
    targets, grids = pose_targets(track, [held], FPS), stacked_grids([asset])
    return solve_poses(
        start_of(targets, person.skeleton),
        targets,
        person.skeleton,
        grids,
        max_steps=STEPS,
        are_joined=False,
    )
