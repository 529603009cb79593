"""The body pytree: kinematics, skinning, shape, measured bone lengths; against a numpy twin in float64."""

from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from hoijax.affordance.graph import BODY_PARTS
from hoijax.bodies import JOINT_NAMES, JOINT_PARENTS, load_body, rotations_from_smplh
from hoijax.bodies.posed_points import pose_points
from hoijax.bodies.skinned_body import as_numpy
from hoijax.bodies.skinning import build_skin, dense_weights
from hoijax.errors import UserError
from hoijax.geometry.rotations import axis_angle_to_matrix

OMOMO = Path(__file__).resolve().parents[2] / "shared" / "data" / "omomo"


@pytest.fixture(scope="module")
def body():
    return load_body("anny")


@pytest.fixture(scope="module")
def shaped(body):
    return body.shape(jnp.array([0.5, -1.0, 0.3, 0.0, 0.7, 0.0, 0.0, -0.4, 0.2, 0.1]))


def twin_kinematics(joints, rotations, translation):
    """World (55, 4, 4) by walking the tree, float64 numpy and scipy rotations."""
    world = np.zeros((55, 4, 4))
    for j, parent in enumerate(JOINT_PARENTS):
        local = np.eye(4)
        local[:3, :3] = Rotation.from_rotvec(rotations[j]).as_matrix()
        local[:3, 3] = joints[j] + translation if parent < 0 else joints[j] - joints[parent]
        world[j] = local if parent < 0 else world[parent] @ local
    return world


def twin_pose(shaped, rotations, translation):
    """Posed vertices and joint transforms, vertex by vertex weights, float64."""
    joints = np.asarray(shaped.joints_rest, np.float64)
    vertices = np.asarray(shaped.vertices_rest, np.float64)
    world = twin_kinematics(joints, rotations, translation)
    weights = dense_weights(np.asarray(shaped.skin_indices), np.asarray(shaped.skin_weights))
    posed = np.zeros_like(vertices)
    for j in range(55):
        here = (vertices - joints[j]) @ world[j, :3, :3].T + world[j, :3, 3]
        posed += weights[:, j : j + 1].astype(np.float64) * here
    return posed, world


@jax.jit
def pose(shaped, rotations, translation):
    """One compilation for every test that poses the whole body."""
    return shaped.pose(rotations, translation)


def random_pose(rng, scale=0.5):
    rotations = rng.normal(size=(55, 3)) * scale
    return rotations.astype(np.float32), rng.normal(size=3).astype(np.float32)


def test_the_tree_is_smplx():
    assert len(JOINT_NAMES) == len(set(JOINT_NAMES)) == len(JOINT_PARENTS) == 55
    parent = {
        n: JOINT_NAMES[p] if p >= 0 else None
        for n, p in zip(JOINT_NAMES, JOINT_PARENTS, strict=True)
    }
    assert parent["left_wrist"] == "left_elbow"
    assert parent["right_thumb1"] == "right_wrist"
    assert parent["left_pinky3"] == "left_pinky2"
    assert parent["jaw"] == parent["left_eye_smplhf"] == "head"
    assert JOINT_NAMES[40] == "right_index1"
    assert JOINT_NAMES[25:40:3] == (
        "left_index1",
        "left_middle1",
        "left_pinky1",
        "left_ring1",
        "left_thumb1",
    )


def test_anny_is_a_closed_t_pose_in_metres(body):
    mesh = trimesh.Trimesh(body.template, body.faces, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert 0.045 < mesh.volume < 0.1  # cubic metres, and outward normals
    assert 10_000 <= len(body.template) <= 15_000
    assert 1.65 < np.ptp(body.template[:, 1]) < 1.8
    joint = dict(zip(JOINT_NAMES, body.joints_template, strict=True))
    assert joint["left_wrist"][0] > 0.6 > -0.6 > joint["right_wrist"][0]
    assert abs(joint["left_wrist"][1] - joint["left_shoulder"][1]) < 0.08
    assert joint["left_foot"][2] > joint["left_ankle"][2] + 0.1  # facing +z
    fingers = body.joints_template[25:37, 1]
    assert np.ptp(fingers) < 0.02  # flat hands
    mirrored = body.joints_template[
        [JOINT_NAMES.index(n.replace("left", "right")) for n in JOINT_NAMES]
    ]
    np.testing.assert_allclose(mirrored[1] * [-1, 1, 1], body.joints_template[1], atol=1e-3)
    np.testing.assert_allclose(body.skin_weights.sum(1), 1.0, atol=1e-5)
    assert body.skin_weights.shape[1] <= 8


def test_pose_equals_the_numpy_twin(shaped, rng):
    for _ in range(3):
        rotations, translation = random_pose(rng)
        posed = pose(shaped, rotations, translation)
        vertices, world = twin_pose(shaped, rotations, translation)
        np.testing.assert_allclose(posed.vertices_world, vertices, atol=5e-6)
        np.testing.assert_allclose(posed.Ts_world_joint, world, atol=5e-6)
        np.testing.assert_allclose(posed.joints_world, world[:, :3, 3], atol=5e-6)
        joints = jax.jit(shaped.pose_joints)(rotations, translation)
        np.testing.assert_allclose(joints, world, atol=5e-6)


def test_translation_is_an_offset_of_the_rest_pelvis(shaped):
    assert np.linalg.norm(shaped.joints_rest[0]) > 0.01  # otherwise this test could not fail
    rotations = jnp.zeros((55, 3)).at[0].set(jnp.array([0.0, jnp.pi / 2, 0.0]))
    posed = pose(shaped, rotations, jnp.array([1.0, 2.0, 3.0]))
    pelvis = shaped.joints_rest[0]
    np.testing.assert_allclose(
        posed.joints_world[0], pelvis + jnp.array([1.0, 2.0, 3.0]), atol=1e-6
    )
    offset = shaped.vertices_rest - pelvis
    turned = jnp.stack([offset[:, 2], offset[:, 1], -offset[:, 0]], axis=1)
    np.testing.assert_allclose(posed.vertices_world, posed.joints_world[0] + turned, atol=1e-5)


@pytest.mark.slow
def test_vertex_order_and_correctives_do_not_change_the_skin(shaped, rng):
    rotations, translation = random_pose(rng)
    expected = pose(shaped, rotations, translation).vertices_world
    shuffle = rng.permutation(len(shaped.vertices_rest))
    indices = np.asarray(shaped.skin_indices)[shuffle]
    weights = np.asarray(shaped.skin_weights)[shuffle]
    skin = build_skin(indices, weights)
    assert skin.order is not None
    shuffled = shaped.replace(
        vertices_rest=shaped.vertices_rest[shuffle],
        skin_indices=indices,
        skin_weights=weights,
        skin=skin,
    )
    got = pose(shuffled, rotations, translation).vertices_world
    np.testing.assert_allclose(got, expected[shuffle], atol=1e-5)
    none = jnp.zeros((len(shuffle), 3, 486))
    got = pose(shuffled.replace(pose_correctives=none), rotations, translation).vertices_world
    np.testing.assert_allclose(got, expected[shuffle], atol=1e-5)


def test_subset_poses_the_same_vertices(shaped, rng):
    keep = rng.integers(0, len(shaped.vertices_rest), 100)
    rotations, translation = random_pose(rng)
    full = pose(shaped, rotations, translation).vertices_world
    part = pose(shaped.subset(keep), rotations, translation).vertices_world
    np.testing.assert_allclose(part, full[keep], atol=1e-5)
    np.testing.assert_array_equal(shaped.subset(keep).part_ids, shaped.part_ids[keep])


def test_chosen_points_and_their_slopes_are_those_of_the_whole_body(shaped, rng):
    """The derivative by lever arms against plain forward mode through the tree, fingers bent."""
    root = np.asarray(shaped.joints_rest[0])
    centered = shaped.replace(
        vertices_rest=shaped.vertices_rest - root, joints_rest=shaped.joints_rest - root
    )
    angles = rng.normal(size=(55, 3), scale=0.4).astype(np.float32)
    chosen = rng.integers(0, len(shaped.vertices_rest), 40)

    def rotations(body):
        return axis_angle_to_matrix(jnp.concatenate([body, angles[22:]]))

    @jax.jit
    def by_points(body):
        return jnp.concatenate(centered.pose_chosen(rotations(body), chosen))

    @jax.jit
    def by_tree(body):
        posed = centered.pose_matrices(rotations(body), jnp.zeros(3))
        return jnp.concatenate([posed.vertices_world[chosen], posed.joints_world[:22]])

    for points, tree in (
        (by_points(angles[:22]), by_tree(angles[:22])),
        (jax.jit(jax.jacfwd(by_points))(angles[:22]), jax.jit(jax.jacfwd(by_tree))(angles[:22])),
    ):
        np.testing.assert_allclose(points, tree, atol=2e-6)
    with pytest.raises(NotImplementedError, match="rest points"):
        jax.jvp(
            lambda w: pose_points(*_points_of(centered, w)), (jnp.eye(2, 55),), (jnp.eye(2, 55),)
        )


def _points_of(shaped, weights):
    still = jnp.broadcast_to(jnp.eye(3), (55, 3, 3))
    return still[:22], still[22:], jnp.zeros((2, 3)), weights, shaped.joints_rest


def test_bodies_pass_through_jit_and_vmap_and_trace_once(shaped, rng):
    @jax.jit
    @chex.assert_max_traces(n=1)
    def pose_all(person, rotations, translations):
        return jax.vmap(person.pose)(rotations, translations).vertices_world

    frames = [random_pose(rng) for _ in range(3)]
    rotations, translations = (np.stack(x) for x in zip(*frames, strict=True))
    got = pose_all(shaped, rotations, translations)
    pose_all(shaped.replace(joints_rest=shaped.joints_rest + 0.01), rotations, translations)
    for t in range(3):
        expected = pose(shaped, rotations[t], translations[t]).vertices_world
        np.testing.assert_allclose(got[t], expected, atol=1e-5)
    people = jax.tree.map(lambda x: jnp.stack([x, x]), shaped)
    both = jax.jit(jax.vmap(lambda p: p.pose(rotations[0], translations[0]).vertices_world))(people)
    np.testing.assert_allclose(both[1], got[0], atol=1e-5)


@pytest.mark.parametrize("unknown", ["rotations", "translation", "joints_rest", "vertices_rest"])
def test_gradients_are_the_twins_finite_differences(shaped, rng, unknown):
    person = shaped.subset(rng.integers(0, len(shaped.vertices_rest), 60))
    rotations, translation = random_pose(rng)
    values = {
        "rotations": rotations,
        "translation": translation,
        "joints_rest": np.asarray(person.joints_rest),
        "vertices_rest": np.asarray(person.vertices_rest),
    }
    aim = rng.normal(size=(60, 3)).astype(np.float32)

    def loss(x):
        v = {**values, unknown: x}
        p = person.replace(joints_rest=v["joints_rest"], vertices_rest=v["vertices_rest"])
        return jnp.sum(p.pose(v["rotations"], v["translation"]).vertices_world * aim)

    def twin_loss(x):
        v = {**values, unknown: x}
        p = as_numpy(person).replace(joints_rest=v["joints_rest"], vertices_rest=v["vertices_rest"])
        return np.sum(twin_pose(p, v["rotations"], v["translation"])[0] * aim)

    gradient = np.asarray(jax.jit(jax.grad(loss))(jnp.asarray(values[unknown])))
    start = values[unknown].astype(np.float64)
    for _ in range(3):
        direction = rng.normal(size=start.shape)
        step = 1e-4 * direction
        slope = (twin_loss(start + step) - twin_loss(start - step)) / 2e-4
        assert np.sum(gradient * direction) == pytest.approx(slope, rel=2e-3, abs=2e-3)


def test_gradient_is_finite_at_the_rest_pose(shaped):
    def loss(rotations, betas_like):
        return jnp.sum(shaped.pose(rotations, betas_like).vertices_world ** 2)

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.zeros((55, 3)), jnp.zeros(3))
    assert all(np.isfinite(g).all() for g in gradients)


def test_shape_is_linear_and_plausible(body):
    assert body.shape_directions.shape[-1] == 15
    base = body.shape(jnp.zeros(10))
    np.testing.assert_allclose(base.vertices_rest, body.template, atol=1e-6)
    for k in range(10):
        for amount in (-2.0, 2.0):
            person = body.shape(jnp.zeros(10).at[k].set(amount))
            assert 1.4 < float(jnp.ptp(person.vertices_rest[:, 1])) < 2.1
            mesh = trimesh.Trimesh(person.vertices_rest, body.faces, process=False)
            assert 0.03 < mesh.volume < 0.13
            assert np.linalg.norm(person.joints_rest[0] - base.joints_rest[0]) < 1e-4
    short = body.shape(jnp.array([1.0, -1.0]))
    padded = body.shape(jnp.array([1.0, -1.0] + [0.0] * 8))
    np.testing.assert_allclose(short.vertices_rest, padded.vertices_rest, atol=1e-6)
    with pytest.raises(UserError, match="15 shape directions"):
        body.shape(jnp.zeros(16))


def test_clothes_thicken_their_part_and_leave_bones_hands_face_and_soles(body):
    base = body.shape(jnp.zeros(15))
    dressed = body.shape(jnp.zeros(15).at[10:].set(1.0))
    np.testing.assert_array_equal(dressed.joints_rest, base.joints_rest)
    shift = np.asarray(dressed.vertices_rest - base.vertices_rest)
    thicker = np.linalg.norm(shift, axis=1)
    parts = np.asarray(body.part_ids)
    for part, low, high in (
        ("left_leg", 0.01, 0.016),
        ("left_hand", 0.0, 0.002),
        ("head", 0.0, 0.002),
    ):
        assert low <= np.median(thicker[parts == BODY_PARTS.index(part)]) < high, part
    assert thicker.max() < 0.016
    assert shift[:, 1].min() == 0.0
    mesh, bare = (
        trimesh.Trimesh(x.vertices_rest, body.faces, process=False) for x in (dressed, base)
    )
    assert 1.1 < mesh.volume / bare.volume < 1.6


def test_fit_betas_recovers_a_known_shape(body):
    betas = np.array([1.0, -0.8, 0.5, 0, 0, 0, 0, 0, 0, 0], np.float32)
    joints = np.asarray(body.shape(jnp.asarray(betas)).joints_rest) + np.float32(0.3)
    fitted = body.fit_betas(joints, regularization=1e-7)
    again = np.asarray(body.shape(jnp.asarray(fitted)).joints_rest)
    np.testing.assert_allclose(again - again[0], joints - joints[0], atol=2e-3)


def test_shape_on_measured_joints_needs_little_stretching(body):
    person = body.shape(jnp.array([1.5, 0.5, -1.0]))
    joints = np.asarray(person.joints_rest)[[*range(22), *range(25, 55)]] - np.float32(0.2)
    again = body.shape(body.fit_betas(joints)).with_rest_joints(joints)
    np.testing.assert_allclose(again.joints_rest[:22], joints[:22], atol=1e-6)
    np.testing.assert_allclose(again.vertices_rest, person.vertices_rest - 0.2, atol=0.02)
    eye = JOINT_NAMES.index("left_eye_smplhf")
    np.testing.assert_allclose(again.joints_rest[eye], person.joints_rest[eye] - 0.2, atol=0.01)


def test_new_rest_joints_are_reached_without_cracks(shaped, rng):
    same = shaped.with_rest_joints(shaped.joints_rest)
    np.testing.assert_allclose(same.vertices_rest, shaped.vertices_rest, atol=1e-6)
    moved = shaped.with_rest_joints(shaped.joints_rest + jnp.array([0.1, -0.2, 0.3]))
    np.testing.assert_allclose(
        moved.vertices_rest, shaped.vertices_rest + jnp.array([0.1, -0.2, 0.3]), atol=1e-5
    )
    # A forearm 4 cm longer: the hand follows whole, the forearm stretches, the rest stays.
    wrist, elbow = JOINT_NAMES.index("left_wrist"), JOINT_NAMES.index("left_elbow")
    hand = [wrist, *range(25, 40)]
    longer = shaped.with_rest_joints(shaped.joints_rest.at[np.array(hand), 0].add(0.04))
    shift = np.asarray(longer.vertices_rest - shaped.vertices_rest)
    weights = dense_weights(np.asarray(shaped.skin_indices), np.asarray(shaped.skin_weights))
    whole = weights[:, hand].sum(1) > 0.999
    assert whole.sum() > 500
    np.testing.assert_allclose(shift[whole], np.tile([0.04, 0.0, 0.0], (whole.sum(), 1)), atol=1e-5)
    assert np.abs(shift[weights[:, [*hand, elbow]].sum(1) < 1e-6]).max() < 1e-6
    faces = np.asarray(shaped.faces)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    before, after = (
        np.linalg.norm(v[edges[:, 0]] - v[edges[:, 1]], axis=1)
        for v in (np.asarray(shaped.vertices_rest), np.asarray(longer.vertices_rest))
    )
    assert ((after - before) < 0.25 * before + 1e-3).all()
    with pytest.raises(UserError, match="55 or 52"):
        shaped.with_rest_joints(shaped.joints_rest[:20])


@pytest.mark.skipif(not OMOMO.is_dir(), reason="captured sequences are not here")
def test_captured_motion_lands_on_its_recorded_joints(body):
    with np.load(OMOMO / "sub2_woodchair_006.npz", allow_pickle=False) as data:
        rest = data["rest_joints"].astype(np.float32)
        pose = [data["root_orient"][:, None], data["pose_body"].reshape(-1, 21, 3)]
        rotations = rotations_from_smplh(
            np.concatenate([*pose, data["pose_hand"].reshape(-1, 30, 3)], 1)
        )
        pelvis, recorded = data["trans"].astype(np.float32), data["joint_positions"]
    person = body.shape(jnp.zeros(10)).with_rest_joints(jnp.asarray(rest))
    frames = slice(0, None, 40)
    Ts = jax.jit(jax.vmap(person.pose_joints))(
        rotations[frames], pelvis[frames] - person.joints_rest[0]
    )
    joints = np.asarray(Ts)[:, :, :3, 3][:, [*range(22), *range(25, 55)]]
    np.testing.assert_allclose(joints, recorded[frames], atol=1e-5)
