"""The no-weights prior: contacts are true contacts, feet stand, joints bend as joints do, seeds repeat."""

import dataclasses
import functools

import igl
import numpy as np
import pytest

from hoijax.affordance.graph import BODY_PARTS
from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.objects.asset import Asset, asset_from_arrays, load_asset
from priors.choreography.choreographer import Choreography, _framing_view, choreograph
from priors.choreography.footsteps import plan_footsteps
from priors.choreography.grasp_candidates import grasp_candidates
from priors.choreography.grasps import two_hand_holds
from priors.choreography.hold_costs import HoldContext
from priors.choreography.joint_limits import JOINT_LOWER, JOINT_UPPER
from priors.choreography.keyframes import (
    euler_matrix,
    forward_of,
    interpolate_keyframes,
    minimum_jerk,
)
from priors.choreography.person import make_person, skin_of
from priors.language.script import Script, script_from_text

pytestmark = pytest.mark.optimized
FRAMES = 37


@dataclasses.dataclass(frozen=True)
class Scene:
    """A choreography with its skinned bodies."""

    script: Script
    assets: list[Asset]
    choreography: Choreography
    skins: list[np.ndarray]
    part_ids: np.ndarray


@functools.cache
def made(text: str, names: tuple[str, ...], seed: int = 0) -> Scene:
    """Solved once per session."""
    assets = [load_asset(name) for name in names]
    script = script_from_text(text, assets)
    scene = choreograph(script, assets, frames=FRAMES, seed=seed)
    people = [make_person(betas) for betas in scene.betas]
    skins = [
        skin_of(person, scene.joint_rotations[p], scene.translation[p])
        for p, person in enumerate(people)
    ]
    return Scene(script, assets, scene, skins, np.asarray(people[0].body.part_ids))


LIFT = ("a person lifts a barbell from the ground with both hands", ("barbell",))
CARRY = ("a person carries a box", ("box",))
SIT = ("a person sits on a chair", ("chair",))
KICK = ("a person kicks a ball", ("ball",))
QUICK = [LIFT, SIT]
SLOW = [
    CARRY,
    KICK,
    ("two people carry a table", ("table",)),
    ("a person puts a box on a table", ("box", "table")),
    ("a person pulls a suitcase with one hand", ("suitcase",)),
    ("a person pushes a chair", ("chair",)),
    ("a person drags a box", ("box",)),
    ("a person rides a skateboard", ("skateboard",)),
    ("a person sweeps the floor with a broom", ("broom",)),
    ("a person swings a broom", ("broom",)),
    ("a person steps on a box", ("box",)),
    ("a person throws a ball", ("ball",)),
    ("a person plays with a ball", ("ball",)),
    ("a person holds a chair", ("chair",)),
]
SCENES = [*QUICK, *(pytest.param(scene, marks=pytest.mark.slow) for scene in SLOW)]


def in_object(scene: Scene, object_index: int, frame: int, points: np.ndarray) -> np.ndarray:
    T = scene.choreography.Ts_world_object[object_index, frame].astype(float)
    return (points - T[:3, 3]) @ T[:3, :3]


def distance_to(asset: Asset, part: str, points: np.ndarray) -> np.ndarray:
    """Exact distance to a part (libigl), mesh frame."""
    faces = asset.faces
    if part in asset.part_names:
        faces = faces[asset.face_parts == asset.part_names.index(part)]
    vertices, faces = asset.vertices.astype(float), faces.astype(np.int64)
    return np.sqrt(
        igl.point_mesh_squared_distance(np.ascontiguousarray(points), vertices, faces)[0]
    )


def depth_inside(asset: Asset, points: np.ndarray) -> np.ndarray:
    """How deep points are inside the mesh, 0 outside."""
    low, high = asset.vertices.min(0), asset.vertices.max(0)
    near = np.flatnonzero(((points > low) & (points < high)).all(axis=1))
    depth = np.zeros(len(points))
    vertices, faces = asset.vertices.astype(float), asset.faces.astype(np.int64)
    inside = np.abs(igl.fast_winding_number(vertices, faces, points[near])) > 0.5
    own = near[inside]
    if len(own):
        depth[own] = np.sqrt(igl.point_mesh_squared_distance(points[own], vertices, faces)[0])
    return depth


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.slow
def test_contacts_are_contacts(scene):
    scene = made(*scene)
    people = [node.name for node in scene.script.graph.people]
    objects = [node.name for node in scene.script.graph.objects]
    for edge, active in zip(scene.script.graph.edges, scene.choreography.contact, strict=True):
        assert active.any()
        if edge.is_continuous:
            assert active.all()
        ends = sorted((edge.first, edge.second), key=lambda end: end.entity not in people)
        if ends[0].entity not in people:
            continue
        thing = objects.index(ends[1].entity)
        part = scene.part_ids == BODY_PARTS.index(ends[0].part)
        skin = scene.skins[people.index(ends[0].entity)][:, part]
        for frame in np.flatnonzero(active)[::6]:
            points = in_object(scene, thing, frame, skin[frame].astype(float))
            gap = distance_to(scene.assets[thing], ends[1].part, points).min()
            assert gap < 0.01, (ends[0].part, frame)
            assert depth_inside(scene.assets[thing], points).max() < 0.015, (ends[0].part, frame)


@pytest.mark.parametrize("scene", SCENES)
def test_bodies_stay_outside_objects_and_above_ground(scene):
    scene = made(*scene)
    for skin in scene.skins:
        assert skin[..., 1].min() > -0.006
        for index, asset in enumerate(scene.assets):
            outside = [
                np.mean(depth_inside(asset, in_object(scene, index, t, skin[t].astype(float))) == 0)
                for t in range(0, len(skin), 8)
            ]
            assert np.mean(outside) >= 0.985


@pytest.mark.parametrize("scene", SCENES)
def test_objects_stay_above_ground(scene):
    scene = made(*scene)
    for asset, Ts in zip(scene.assets, scene.choreography.Ts_world_object, strict=True):
        heights = asset.vertices @ Ts[:, 1, :3].T + Ts[:, 1, 3]
        assert heights.min() > -0.003


@pytest.mark.parametrize(
    "scene", [LIFT, *(pytest.param(scene, marks=pytest.mark.slow) for scene in (CARRY, KICK))]
)
def test_standing_feet_do_not_skate(scene):
    """Skin that stays at the ground over two frames stays where it is."""
    scene = made(*scene)
    for foot in ("left_foot", "right_foot"):
        skin = scene.skins[0][:, scene.part_ids == BODY_PARTS.index(foot)]
        still = (skin[:-1, :, 1] < 0.004) & (skin[1:, :, 1] < 0.004)
        slide = np.linalg.norm(np.diff(skin[..., [0, 2]], axis=0), axis=-1)
        assert still.any()
        assert slide[still].max() < 0.01


@pytest.mark.slow
def test_the_walk_up_to_a_kick_does_not_lurch():
    scene = made(*KICK)
    head = scene.skins[0][:, scene.part_ids == BODY_PARTS.index("head")].mean(axis=1)
    assert np.linalg.norm(np.diff(head, axis=0), axis=1).max() < 0.105


@pytest.mark.parametrize("scene", SCENES)
def test_joints_bend_within_their_limits_and_smoothly(scene):
    scene = made(*scene)
    rotations = scene.choreography.joint_rotations
    beyond = np.maximum(
        rotations[:, :, 1:22] - JOINT_UPPER[1:], JOINT_LOWER[1:] - rotations[:, :, 1:22]
    )
    assert np.degrees(beyond.max()) < 8.0
    assert np.abs(np.diff(rotations[:, :, 1:22], axis=1)).max() < 1.0
    for skin in scene.skins:
        acceleration = np.linalg.norm(np.diff(skin[:, ::40], n=2, axis=0), axis=-1)
        assert np.quantile(acceleration, 0.99) < 0.25  # metres per frame squared, at 12 fps


def test_shapes_and_camera():
    scene = made(*LIFT).choreography
    assert scene.joint_rotations.shape == (1, FRAMES, 55, 3)
    assert scene.translation.shape == (1, FRAMES, 3)
    assert scene.betas.shape == (1, 10)
    assert scene.Ts_world_object.shape == (1, FRAMES, 4, 4)
    assert scene.contact.shape == (2, FRAMES)
    assert (scene.camera.width, scene.camera.height) == (320, 240)
    # Seen whole and from the front half of the person.
    skin = made(*LIFT).skins[0].reshape(-1, 3)
    T = scene.T_world_camera
    seen = (skin - T[:3, 3]) @ T[:3, :3]
    pixels = seen[:, :2] / seen[:, 2:] * scene.camera.fx + [160, 120]
    assert seen[:, 2].min() > 0.3
    assert pixels.min() > 0.0
    assert (pixels < [320, 240]).all()


def test_lifted_object_ends_in_the_air_and_starts_on_the_ground():
    scene = made(*LIFT)
    heights = scene.assets[0].vertices @ scene.choreography.Ts_world_object[0, :, 1, :3].T
    lowest = (heights + scene.choreography.Ts_world_object[0, :, 1, 3]).min(axis=0)
    assert abs(lowest[0]) < 0.003
    assert lowest[-1] > 0.3


@pytest.mark.slow
def test_same_seed_same_scene_other_seed_other_scene():
    assets = [load_asset("box")]
    script = script_from_text(CARRY[0], assets)
    again = choreograph(script, assets, frames=FRAMES, seed=0)
    first = made(*CARRY).choreography
    for field in dataclasses.fields(Choreography):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(first, field.name))
    other = choreograph(script, assets, frames=FRAMES, seed=1)
    assert np.abs(other.Ts_world_object - first.Ts_world_object).max() > 0.05


@pytest.mark.slow
def test_any_mesh_without_parts_can_be_carried():
    rng = np.random.default_rng(3)
    import trimesh

    hull = trimesh.convex.convex_hull(rng.normal(size=(40, 3)) * [0.16, 0.1, 0.13])
    lump = asset_from_arrays("lump", np.asarray(hull.vertices), np.asarray(hull.faces))
    script = script_from_text("a man carries a lump", [lump])
    scene = choreograph(script, [lump], frames=FRAMES, seed=2)
    person = make_person(scene.betas[0])
    skin = skin_of(person, scene.joint_rotations[0], scene.translation[0])
    hands = np.isin(np.asarray(person.body.part_ids), [0, 1])
    T = scene.Ts_world_object[0, 30].astype(float)
    points = (skin[30, hands] - T[:3, 3]) @ T[:3, :3]
    assert distance_to(lump, "", points).min() < 0.01


def test_refuses_what_it_cannot_animate():
    assets = [load_asset("box")]
    script = script_from_text(CARRY[0], assets)
    with pytest.raises(UserError, match="at least"):
        choreograph(script, assets, frames=5)
    with pytest.raises(UserError, match="chair"):
        choreograph(script, [load_asset("chair")])


def test_grasps_close_round_bars_and_oppose_on_boxes(rng):
    barbell = load_asset("barbell")
    candidates = grasp_candidates(barbell, "bar", rng)
    thin = np.abs(candidates.point[:, 0]) < 0.45
    assert (candidates.radius[thin] > 0).mean() > 0.9
    np.testing.assert_allclose(np.abs(candidates.axis[thin][:, 0]), 1.0, atol=0.05)
    np.testing.assert_allclose(candidates.radius[thin], 0.015, atol=0.004)

    box = load_asset("box")
    context = HoldContext(np.eye(3), np.array([0.0, 1.0, 0.4]), 0.0, np.array([0.0, 1.35, 0.05]))
    left, right, _ = two_hand_holds(box, grasp_candidates(box, "sides", rng), context)[0]
    assert left.normal @ right.normal < -0.95
    assert left.point[0] > 0.15 > -0.15 > right.point[0]  # each hand on its own side


def test_footsteps_stand_still_between_swings_and_arrive():
    root = np.stack([np.zeros(49), interpolate_keyframes(49, [0, 40], [0.0, 1.5])], axis=1)
    plan = plan_footsteps(root, np.zeros(49), fps=12.0)
    moving = np.linalg.norm(np.diff(plan.position, axis=0), axis=-1) > 1e-9
    assert not (moving & plan.planted[:-1] & plan.planted[1:]).any()
    assert plan.planted.any(axis=1).all()  # never both in the air
    np.testing.assert_allclose(plan.position[-1].mean(axis=0), root[-1], atol=0.04)


def test_keyframes_pass_through_their_values():
    values = np.array([[0.0, 1.0], [2.0, -1.0], [1.0, 0.0]])
    for stops in (True, False):
        track = interpolate_keyframes(30, [3, 12, 25], values, stops=stops)
        np.testing.assert_allclose(track[[3, 12, 25]], values, atol=1e-12)
        np.testing.assert_allclose(track[[0, 29]], values[[0, 2]], atol=1e-12)
    u = np.array([0.0, 0.5, 1.0])
    np.testing.assert_allclose(minimum_jerk(u), u, atol=1e-12)
    yaw = np.array(0.7)
    forward = euler_matrix(yaw, np.zeros(()), np.zeros(())) @ np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(forward, forward_of(0.7), atol=1e-12)


@pytest.mark.parametrize(
    "size", [(0.6, 1.8, 0.5), (0.1, 6.5, 0.4), (6.0, 0.3, 6.0), (4.0, 9.0, 4.0)]
)
@pytest.mark.parametrize("bearing", [0.3, 2.5])
def test_everything_is_in_the_picture_however_large(size, bearing):
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (200, 3)) * size + [0.4, 0.5 * size[1], -1.0]
    half = 0.45 * np.array([320, 240]) / PinholeCamera.from_field_of_view(42.0, 320, 240).fx
    T = _framing_view(points, forward_of(bearing), 1.4, half)
    seen = (points - T[:3, 3]) @ T[:3, :3]
    assert seen[:, 2].min() > 0.3
    tangents = np.abs(seen[:, :2] / seen[:, 2:]) / half
    assert tangents.max() < 1.1
    assert tangents.max() > 0.6  # and not a dot
