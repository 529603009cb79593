"""Bodies rest on objects and hands touch them: all skin is measured against exact surfaces, and kept out."""

import numpy as np
import pytest
import trimesh

from hoijax.geometry import mesh_queries
from hoijax.objects.asset import asset_from_arrays
from priors.choreography import touching
from priors.choreography.choreographer import choreograph
from priors.choreography.exact_distance import signed_distance
from priors.choreography.fingers import _way_out
from priors.choreography.person import make_person, skin_of
from priors.choreography.pose_targets import Seat
from priors.choreography.skin_collisions import look_up, solid_seats, stacked_grids
from priors.language.script import script_from_text
from scripts.benchmarks.motion_meshes import banjo, bench, chair


def depth(text: str, name: str, mesh: trimesh.Trimesh, frames: int, seed: int) -> float:
    """Of the deepest skin in the object, metres."""
    asset = asset_from_arrays(name, np.asarray(mesh.vertices), np.asarray(mesh.faces))
    scene = choreograph(script_from_text(text, [asset]), [asset], frames=frames, seed=seed)
    person = make_person(scene.betas[0])
    skin = skin_of(person, scene.joint_rotations[0], scene.translation[0]).astype(float)
    T = scene.Ts_world_object[0].astype(float)
    local = ((skin - T[:, None, :3, 3]) @ T[:, :3, :3]).reshape(-1, 3)
    near = ((local > asset.vertices.min(0)) & (local < asset.vertices.max(0))).all(axis=1)
    return float(max(0.0, -signed_distance(asset, local[near]).min()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "name", "mesh"),
    [
        ("a person plays a banjo", "banjo", banjo),
        ("a person sits on a bench", "bench", bench),
        ("a person sits on a chair", "chair", chair),
    ],
)
def test_nothing_of_a_body_is_in_what_it_holds_or_sits_on(text, name, mesh, monkeypatch):
    assert depth(text, name, mesh(), 13, 0) < 0.005
    monkeypatch.setattr(touching, "MAX_ROUNDS", 0)
    assert depth(text, name, mesh(), 13, 0) > 0.006, "this clip no longer needs a second look"


@pytest.mark.parametrize("turns", [0, 1])
def test_backs_of_seats_are_solid_to_the_rear(turns):
    front = 0.5 * np.pi * turns
    mesh = chair()
    mesh.apply_transform(trimesh.transformations.rotation_matrix(front, [0, 1, 0]))
    asset = asset_from_arrays("chair", np.asarray(mesh.vertices), np.asarray(mesh.faces))
    grids = stacked_grids([asset])
    forward = np.array([np.sin(front), 0.0, np.cos(front)])
    behind = -0.23 * forward + [0.0, 0.8, 0.0]  # past the middle of the back, 1.5 cm thick there
    solid = solid_seats(grids, [Seat(0, front, 0.47)])
    for asked, sign in ((grids, -1.0), (solid, 1.0)):
        _, gradient = look_up(asked, 0, behind[None, None])
        assert sign * (gradient[0, 0] @ forward) > 0.1, "which way skin there is pushed"
    below = 0.1 * forward + [0.0, 0.2, 0.0]
    assert (
        look_up(solid, 0, below[None, None])[0].item()
        < 0.0
        < look_up(grids, 0, below[None, None])[0].item()
    )


def test_a_thumb_that_is_stuck_finds_another_way():
    wanted = np.array([-0.6, 0.3])

    def clearance(pairs):
        return 0.12 - np.linalg.norm(pairs - wanted, axis=1)

    found = _way_out(np.array([1.0, 1.0]), clearance)
    assert 0.0 <= clearance(found[None])[0] < 0.12
    free = np.array([-0.58, 0.3])
    np.testing.assert_array_equal(_way_out(free, clearance), free)


def test_signs_of_distances_are_those_of_winding_numbers(rng):
    import igl

    mesh = banjo()
    points = rng.uniform(-0.3, 1.1, (4000, 3)) * [1.0, 1.0, 0.3]
    distance = mesh_queries.signed_distance(points, mesh.vertices, mesh.faces)
    winding = igl.fast_winding_number(
        np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int64), points
    )
    np.testing.assert_array_equal(distance < 0.0, np.abs(winding) > 0.5)
    assert (distance < 0.0).sum() > 20
