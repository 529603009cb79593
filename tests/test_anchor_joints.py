"""Objects with joints: posed against the tree, kept in bundles, solved by command, written to results."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from anchor_factory import few_losses
from scipy.spatial.transform import Rotation
from small_scene import SMALL_ALIGNMENT, SMALL_SEARCH, as_users_run, run

from hoijax.bodies import load_body
from hoijax.bundle.write import read_bundle, read_ground_truth, write_bundle
from hoijax.errors import UserError
from hoijax.geometry.rotations import rotation_6d_to_matrix
from hoijax.geometry.transforms import compose_rigid
from hoijax.initialization.align_observations import align
from hoijax.initialization.joints import paths as joint_paths
from hoijax.initialization.joints import refine as joint_refine
from hoijax.initialization.joints import tree as joint_tree
from hoijax.methods.anchor_motion.method import METHOD
from hoijax.objects.articulated.joints import joints_between
from hoijax.objects.articulated.loading import is_articulated, load_articulated
from hoijax.objects.articulated.model import pose_links
from hoijax.results.result import load_result
from hoijax.scene.build_objects import build_scene, posed_bodies
from hoijax.scene.joints import ObjectJoints, jointed, object_joints
from hoijax.scene.scene import Unknowns
from hoijax.settings import AnchorSettings, SceneSettings
from priors.synthetic.articulated_scenes import joint_motion, observe_articulated, scene_objects

FRAMES = 12
SMALL = AnchorSettings(
    inits=1,
    body_start="estimate",
    track_steps=60,
    steps=60,
    refresh_every=20,
    points=96,
    grid_resolution=24,
    render_width=0,  # links that are rendered: test_anchor_losses,
    search=SMALL_SEARCH,
    alignment=SMALL_ALIGNMENT,
)


@pytest.fixture(scope="module")
def made():
    """(bundle, truth, true angles) of a chest that is carried while its lid moves."""
    with as_users_run():
        return observe_articulated(
            "a person carries a chest with both hands",
            load_articulated("chest"),
            frames=FRAMES,
            seed=0,
        )


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    """The bundle, solved by the command a user types, with small settings and few losses."""
    place = tmp_path_factory.mktemp("joints")
    write_bundle(place / "bundle", made[0], made[1])
    with pytest.MonkeyPatch.context() as patch, few_losses():
        patch.setattr(METHOD, "presets", {"default": SMALL})
        ran = run("solve", place / "bundle", "--method", "anchor-motion", "--out", place / "out")
    assert ran.code == 0, ran.err
    return place / "out"


def lid_angles(Ts_world_object) -> np.ndarray:
    """Opening of the lid from the poses of both links alone: the turn between them."""
    base, lid = (Rotation.from_matrix(T[:, :3, :3]) for T in Ts_world_object)
    return (base.inv() * lid).magnitude()


@pytest.mark.slow
@pytest.mark.thorough
def test_a_lid_is_found_within_ten_degrees(made, folder):
    """Truth read off the poses of the links, not off the values that made them."""
    result, ground_truth = load_result(folder), made[1]
    expected = lid_angles(ground_truth.Ts_world_object)
    np.testing.assert_allclose(expected, made[2][0], atol=1e-3)
    assert result.joint_values is not None
    error = np.degrees(np.abs(result.joint_values[result.winner, 0] - expected))
    assert np.median(error) < 10.0, error
    apart = np.abs(lid_angles(result.Ts_world_object) - result.joint_values[result.winner, 0])
    assert apart.max() < 1e-2  # the poses written are those of the joint


@pytest.mark.slow
@pytest.mark.thorough
def test_results_and_exports_carry_joint_values(folder):
    import pygltflib

    result = load_result(folder)
    assert result.joint_values is not None
    assert result.joint_values.shape == (1, 1, FRAMES)
    assert [joint.name for joint in result.joints] == ["hinge"]
    header = json.loads((folder / "run.json").read_text())
    assert header["joints"][0]["child"] == "chest lid"
    scene = pygltflib.GLTF2().load(str(folder / "scene.glb"))
    assert scene is not None
    nodes = {n.name: n for n in scene.nodes}
    joint = (nodes["chest lid"].extras or {})["joint"]
    np.testing.assert_allclose(joint["values"], result.joint_values[0, 0], atol=1e-5)
    assert joint["parent"] == "chest"
    assert not nodes["chest"].extras


def test_jointed_poses_equal_the_tree(rng):
    """A chain of a sliding and a turning joint, centers away from origins, against `pose_links`."""
    drawer = load_articulated("drawer", samples=64)
    joint = drawer.joints[0]
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()
    T[:3, 3] = 0.3, -0.1, 0.2
    axis = np.array([0.48, 0.6, 0.64])
    second = dataclasses.replace(
        joint, name="flap", kind="revolute", parent=1, child=2, T_parent_joint=T, axis=axis
    )
    asset = dataclasses.replace(
        drawer,
        link_names=(*drawer.link_names, "flap"),
        links=(*drawer.links, drawer.links[1]),
        joints=(joint, second),
    )
    joints = object_joints(asset.joints, [link for link in asset.links if link is not None])
    assert isinstance(joints, ObjectJoints)
    values = rng.uniform(-1, 1, (2, 4)).astype(np.float32)
    centers = rng.normal(size=(3, 3)).astype(np.float32)
    rotation = Rotation.from_rotvec(rng.normal(size=(4, 3))).as_matrix()
    shift = rng.normal(size=(4, 3))
    T_world_root = np.tile(np.eye(4), (4, 1, 1))
    T_world_root[:, :3, :3], T_world_root[:, :3, 3] = rotation, shift
    posed_tree = jax.jit(jax.vmap(lambda v, P: pose_links(asset.tree(), v, P)))
    expected = np.asarray(posed_tree(jnp.asarray(values.T), jnp.asarray(T_world_root, jnp.float32)))
    six = np.concatenate([rotation[..., 0], rotation[..., 1]], axis=-1)
    free = Unknowns(
        jnp.asarray(np.stack([six, six[::-1], six]), jnp.float32),
        jnp.asarray(np.stack([shift + rotation @ centers[0], shift, shift]), jnp.float32),
    )
    rotations = rotation_6d_to_matrix(free.object_rotation_6d)
    values = jnp.asarray(values)
    turned, moved = jax.jit(jointed)(
        joints, jnp.asarray(centers), rotations, free.object_translation, values
    )
    found = np.asarray(turned)
    np.testing.assert_allclose(found, np.moveaxis(expected[..., :3, :3], 1, 0), atol=1e-5)
    origins = np.asarray(moved) - np.einsum("otij,oj->oti", found, centers)
    np.testing.assert_allclose(origins, np.moveaxis(expected[..., :3, 3], 1, 0), atol=1e-5)


def test_paths_of_a_joint_are_the_cheapest_of_all(rng):
    """Against every path there is, by the definition of its cost."""
    frames, count = 5, 4
    cost = 1e-4 * rng.random((frames, count))
    corners = 0.02 * rng.normal(size=(frames, count, 3, 3))

    def price(path) -> float:
        value, place = np.array(path, float), corners[np.arange(frames), list(path)]
        steps, bends = np.diff(value), np.diff(value, n=2)
        moved, bent = (np.diff(place, n=n, axis=0) for n in (1, 2))
        total = cost[np.arange(frames), list(path)].sum()
        total += joint_paths.STEP_COST * (steps**2).sum() + joint_paths.BEND_COST * (bends**2).sum()
        total += joint_paths.STEP_SHARE * (moved**2).sum() / 3
        return float(total + joint_paths.BEND_SHARE * (bent**2).sum() / 3)

    best = min(itertools.product(range(count), repeat=frames), key=price)
    found = joint_paths.best_path(cost, corners)
    assert price(found) == pytest.approx(price(best), rel=1e-9)
    flat = np.zeros((2, count, 1, 3))
    assert list(joint_paths.best_path(cost[:2], flat)) == list(cost[:2].argmin(axis=1))


def test_a_hidden_link_goes_on_as_it_moved():
    """A lid seen to open by two values a frame, then not at all: no stop where it was last seen."""
    frames, seen = 12, 6
    cost = 1e-3 * (np.arange(31) - 2 * np.arange(frames)[:, None]) ** 2
    cost[seen:] = 0.0
    path = joint_paths.best_path(cost, np.zeros((frames, 31, 1, 3)))
    assert np.abs(path - 2 * np.arange(frames)).max() <= 4
    assert path[-1] > 2 * seen + 4


@pytest.fixture(scope="module")
def chest_scene(made):
    """What the search sees of the chest, in the world of the true bodies."""
    bundle, ground_truth, _ = made
    settings = SceneSettings(points=128)
    full = posed_bodies(load_body(bundle.bodies[0]), bundle.observations)
    aligned = align(bundle.observations, full, settings.alignment)
    return build_scene(bundle, aligned, full, settings), ground_truth


@pytest.mark.slow
def test_how_links_follow_from_each_other(rng):
    """Against small turns and shifts of the whole chain, taken by hand; from either end."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()
    T[:3, 3] = 0.3, -0.1, 0.2
    joints = ObjectJoints(
        jnp.asarray(np.stack([T, np.linalg.inv(T)]), jnp.float32),
        jnp.asarray([[0.48, 0.6, 0.64], [0.0, 0.6, 0.8]]),
        jnp.full(2, -1.0),
        jnp.full(2, 1.0),
        jnp.ones(2),
        parents=(0, 1),
        children=(1, 2),
        slides=(True, False),
    )
    centers = list(jnp.asarray(rng.normal(size=(3, 3)), jnp.float32))
    root = jnp.asarray(compose_rigid(Rotation.from_rotvec([1, 2, 0.5]).as_matrix(), np.ones(3)))
    root = root.astype(jnp.float32)
    for anchor in (0, 2):
        tree = joint_tree.tree_from(joints, anchor)
        own = [centers[link] for link in (anchor, *(hop[2] for hop in tree.hops))]

        def placed(move, tree=tree, own=own):
            q = jnp.asarray([0.2, -0.5]) + move[6:]
            return joint_tree.place(joints, tree, joint_tree.moved(root, move, own[0]), q)

        ways = joint_tree.ways_of(joints, tree, placed(jnp.zeros(8)), own)
        for axis, step in enumerate(1e-2 * np.eye(8, dtype=np.float32)):
            ahead, behind = placed(jnp.asarray(step)), placed(jnp.asarray(-step))
            for way, a, b, c in zip(ways, ahead, behind, own, strict=True):
                turn = Rotation.from_matrix(np.asarray(a[:3, :3] @ b[:3, :3].T)).as_rotvec()
                shift = (a[:3, :3] - b[:3, :3]) @ c + a[:3, 3] - b[:3, 3]
                expected = np.concatenate([turn, shift]) / 2e-2
                np.testing.assert_allclose(way[:, axis], expected, atol=2e-3)


@pytest.mark.slow
def test_a_lid_and_its_box_are_refined_together(made, chest_scene):
    """From a box turned by ten degrees and a lid twenty degrees off, in every frame."""
    (bundle, _, values), (scene, ground_truth) = made, chest_scene
    joints = object_joints(bundle.joints, bundle.assets)
    assert joints is not None
    start = np.array(ground_truth.Ts_world_object[0], np.float32)
    turn = Rotation.from_rotvec(np.radians(10.0) * np.array([0.6, 0.0, 0.8])).as_matrix()
    start[:, :3, :3] = start[:, :3, :3] @ turn
    first = (values.T + np.radians(20.0)).astype(np.float32)
    tree = joint_tree.tree_from(joints, 0)
    poses, found = joint_refine.refine_tree(
        scene, joints, tree, jnp.asarray(start[:, None]), jnp.asarray(first[:, None])
    )
    lid = np.degrees(np.abs(np.asarray(found)[:, 0, 0] - values[0]))
    seen = bundle.observations.object_point_mask.sum(axis=-1).min(axis=0) > 40
    assert seen.sum() > FRAMES // 2
    assert np.median(lid[seen]) < 5.0, lid
    away = np.asarray(poses)[:, 0, :3, :3] @ np.swapaxes(
        ground_truth.Ts_world_object[0][:, :3, :3], 1, 2
    )
    assert np.degrees(np.median(Rotation.from_matrix(away).magnitude()[seen])) < 4.0
    poses, found, prices = joint_refine.refine_paths(
        scene, joints, tree, jnp.asarray(start[None]), jnp.asarray(first[None])
    )
    clip = np.degrees(np.abs(np.asarray(found)[0, :, 0] - values[0]))
    assert clip.max() < 12.0, clip  # also where the lid is not seen
    assert np.isfinite(prices).all()
    links = joint_tree.placed_links(joints, tree, poses, found)
    np.testing.assert_allclose(lid_angles([links[0][0], links[1][0]]), found[0, :, 0], atol=1e-2)


@pytest.mark.slow
def test_bundles_keep_joints_and_refuse_wrong_ones(made, tmp_path):
    bundle, ground_truth, _ = made
    path = write_bundle(tmp_path / "bundle", bundle, ground_truth)
    (joint,), (kept,) = bundle.joints, read_bundle(path).joints
    assert (kept.name, kept.kind, kept.parent, kept.child) == ("hinge", "revolute", 0, 1)
    np.testing.assert_allclose(kept.T_parent_joint, joint.T_parent_joint)
    assert (kept.lower, kept.upper) == (joint.lower, joint.upper)
    assert read_ground_truth(path).Ts_world_object.shape[0] == 2
    manifest = json.loads((path / "bundle.json").read_text())
    cases = {
        "names link 'keyboard', which is not there": {"parent": "keyboard"},
        "axis of length zero": {"axis": [0.0, 0.0, 0.0]},
        "limits 2.0 to 1.0": {"lower": 2.0, "upper": 1.0},
        "hang on each other in a loop": {"parent": "chest lid"},
        "T_parent_joint of 'hinge'": {"T_parent_joint": (2.0 * np.eye(4)).tolist()},
    }
    for message, change in cases.items():
        broken = manifest | {"joints": [manifest["joints"][0] | change]}
        (path / "bundle.json").write_text(json.dumps(broken))
        with pytest.raises(UserError, match=message):
            read_bundle(path)


def test_joints_are_ordered_from_the_root(rng):
    T, axis, limits = np.eye(4), np.array([1.0, 0, 0]), (0.0, 1.0)
    rows = [
        ("b", "revolute", "arm", "hand", T, axis, limits),
        ("a", "revolute", "body", "arm", T, axis, limits),
    ]
    joints, problems = joints_between(["hand", "arm", "body"], rows)
    assert not problems
    assert [(j.parent, j.child) for j in joints] == [(2, 1), (1, 0)]


def test_made_motion_stays_within_limits():
    objects, joints = scene_objects(load_articulated("drawer", samples=64))
    assert [o.name for o in objects] == ["drawer", "drawer drawer"]
    values = joint_motion(joints, 40, 3)
    assert values.min() >= joints[0].lower
    assert values.max() <= joints[0].upper
    assert np.ptp(values) > 0.1


def test_which_objects_have_joints(tmp_path):
    (tmp_path / "thing.urdf").write_text("<robot/>")
    assert is_articulated("laptop")
    assert is_articulated(tmp_path / "thing.urdf")
    assert not is_articulated("box")
    ran = run("observe", "a person carries a laptop", "--objects", "laptop", "box", "--prior",
              "rules", "--out", tmp_path / "no")  # fmt: skip
    assert ran.code == 2
    assert "one object with joints" in ran.err
