"""What is lifted passes before the bent knees, not through them, and stands still until it is lifted."""

import numpy as np
import pytest

from hoijax.objects.asset import asset_from_arrays
from priors.choreography import choreographer
from priors.choreography.bowing import _smooth
from priors.choreography.choreographer import choreograph
from priors.choreography.exact_distance import signed_distance
from priors.choreography.person import dense_weights, make_person, skin_of
from priors.choreography.tracks import ObjectTrack
from priors.language.script import script_from_text
from scripts.benchmarks.motion_meshes import drill

LEGS = [1, 2, 4, 5]  # hips and knees


def depth_in_legs(frames: int) -> float:
    """Of a drill that is lifted with one hand, metres."""
    mesh = drill()
    asset = asset_from_arrays("drill", np.asarray(mesh.vertices), np.asarray(mesh.faces))
    script = script_from_text("a person lifts a drill with one hand", [asset])
    scene = choreograph(script, [asset], frames=frames, seed=0)
    person = make_person(scene.betas[0])
    skin = skin_of(person, scene.joint_rotations[0], scene.translation[0]).astype(float)
    legs = skin[:, dense_weights(person.body)[:, LEGS].sum(1) > 0.5]
    T = scene.Ts_world_object[0].astype(float)
    local = ((legs - T[:, None, :3, 3]) @ T[:, :3, :3]).reshape(-1, 3)
    near = ((local > asset.vertices.min(0)) & (local < asset.vertices.max(0))).all(axis=1)
    return float(max(0.0, -signed_distance(asset, local[near]).min())) if near.any() else 0.0


@pytest.mark.slow
def test_what_is_lifted_passes_before_the_bent_knees(monkeypatch):
    assert depth_in_legs(25) < 0.005
    monkeypatch.setattr(choreographer, "MAX_ROUNDS", 0)
    assert depth_in_legs(25) > 0.01, "this clip no longer needs to bow out"


@pytest.mark.parametrize("is_put_down", [False, True])
def test_what_stands_keeps_standing(is_put_down):
    frames, start = 40, 6
    height = np.interp(np.arange(frames), [start, 20, 30], [0.1, 1.0, 0.1 if is_put_down else 1.0])
    track = ObjectTrack(
        asset_from_arrays("block", np.eye(4, 3), np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])),
        np.stack([np.zeros(frames), height, np.zeros(frames)], axis=1),
        np.repeat(np.eye(3)[None], frames, axis=0),
    )  # fmt: skip
    needed = np.zeros(frames)
    needed[8:12] = 0.05
    bow = _smooth(needed, track)
    assert np.ptp(bow[: start + 1]) == 0.0
    assert np.ptp(bow[31:]) == 0.0
    assert (bow[8:12] > 0.04).all()
    assert np.abs(np.diff(bow)).max() < 0.015
