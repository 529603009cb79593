"""The body fit: a made person walks, keypoints have 3 px noise, the point map drifts; bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_scene import as_users_run

from hoijax.bodies import load_body
from hoijax.bodies.fitting.starts import find_start
from hoijax.errors import UserError
from priors.models.body_fit import fit_body
from priors.models.body_recovery import on_the_ground
from priors.protocols import BodyMotion

pytestmark = pytest.mark.optimized

LIMIT = 0.08  # metres; what issue 3 asks for


@pytest.fixture(scope="module")
def walk():
    """Observations of a choreographed clip by the default noise model, and the true joints."""
    import hoijax
    from priors.synthetic.from_text import observe_text

    with as_users_run():
        bundle, ground_truth = observe_text(
            "a person carries a box with both hands",
            hoijax.load_objects(["box"]),
            frames=25,
            seed=0,
        )
    return bundle, ground_truth


def joints_of(body, rotations, translations, betas, rest):
    shaped = body.shape(jnp.asarray(betas)).with_rest_joints(jnp.asarray(rest))
    Ts = jax.vmap(shaped.pose_joints)(jnp.asarray(rotations), jnp.asarray(translations))
    return np.asarray(Ts)[:, :22, :3, 3]


@pytest.mark.slow
def test_mean_joint_error_is_under_eight_centimetres(walk):
    """Without knowing the person: size, heading, place and pose come from what was seen."""
    (bundle, ground_truth), body = walk, load_body("anny")
    o = bundle.observations
    with as_users_run():
        motion = fit_body(
            o.keypoints[0],
            o.intrinsics,
            o.Ts_world_camera,
            body=body,
            person_points=o.person_points[0],
            person_point_mask=o.person_point_mask[0],
            fps=bundle.fps,
        )
    found = joints_of(body, motion.rotations, motion.translations, motion.betas, motion.rest_joints)
    true = joints_of(
        body,
        ground_truth.body_rotations[0],
        ground_truth.body_translations[0],
        ground_truth.body_betas[0],
        ground_truth.body_rest_joints[0],
    )
    assert np.linalg.norm(found - true, axis=-1).mean() < LIMIT


def made_keypoints(frames: int = 5):
    """A still, upright stick figure seen from the front, 3 m away."""
    body = load_body("anny")
    from hoijax.bodies.fitting.energy import rest_keypoints
    from hoijax.bodies.fitting.fit import known_person

    shaped = body.shape(np.zeros(1, np.float32))
    rest = rest_keypoints(
        known_person(body, np.zeros(1, np.float32), np.asarray(shaped.joints_rest))
    )
    floor = float(np.asarray(shaped.vertices_rest)[:, 1].min())
    world = rest - [0.0, floor, 0.0]
    T_world_camera = np.array(
        [[1.0, 0, 0, 0], [0, -1.0, 0, 1.2], [0, 0, -1.0, 3.0], [0, 0, 0, 1.0]], np.float32
    )
    local = (world - T_world_camera[:3, 3]) @ T_world_camera[:3, :3]
    uv = local[:, :2] / local[:, 2:] * 250.0 + [160.0, 120.0]
    keypoints = np.concatenate([uv, np.ones((18, 1))], axis=-1)
    intrinsics = np.array([[250.0, 0, 160], [0, 250.0, 120], [0, 0, 1]], np.float32)

    def still(x):
        return np.tile(np.asarray(x, np.float32), (frames, 1, 1))

    return rest, world, still(keypoints), still(intrinsics), still(T_world_camera)


def test_a_body_stands_on_the_ground_with_its_own_bones():
    """Betas of a short person fill the masks of one whose bones are known: flesh, not height."""
    body = load_body("anny")
    betas = np.array([1.5, 0, 1, -1.5, 0, 1], np.float32)
    rest = np.asarray(body.joints_template)
    frames = 2
    cameras = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    pose = np.zeros((frames, 55, 3), np.float32)
    motion = BodyMotion(pose, np.full((frames, 3), 0.3, np.float32), betas, rest, cameras)
    placed = on_the_ground(motion, body)
    shaped = body.shape(jnp.asarray(betas)).with_rest_joints(jnp.asarray(rest))
    skin = np.asarray(shaped.pose(pose[0], placed.translations[0]).vertices_world)
    assert skin[:, 1].min() == pytest.approx(0.0, abs=1e-4)
    by_betas = np.asarray(body.shape(jnp.asarray(betas)).joints_rest)
    assert abs(np.ptp(by_betas[:, 1]) - np.ptp(rest[:, 1])) > 0.02  # or the test could not fail


def test_a_ground_that_nobody_knows_says_nothing():
    """How well a body fits is the same however high the camera is taken to stand; on known ground it is not."""
    from hoijax.bodies.fitting.energy import energy, evidence
    from hoijax.bodies.fitting.fit import known_person, posed_starts

    _, world, keypoints, intrinsics, cameras = made_keypoints(frames=3)
    body, average = load_body("anny"), np.zeros(1, np.float32)
    person = known_person(body, average, np.asarray(body.shape(average).joints_rest))
    costs = {}
    for known in (True, False):
        for higher in (-0.5, 0.0, 0.9):
            up = np.array([0.0, higher, 0.0], np.float32)
            moved = cameras.copy()
            moved[:, :3, 3] += up
            data = evidence(
                person, keypoints, intrinsics, moved, None, None, 10.0, known=True, ground_known=known
            )  # fmt: skip
            hips = world[[8, 11]].mean(axis=0)
            pelvis = np.tile(hips + np.array([0, 0.1, 0]) + up, (3, 1))
            start = posed_starts(np.zeros((1, 3, 22, 3), np.float32), pelvis)
            motion, nearest = jax.tree.map(lambda x: x[0], start), jnp.zeros((3, 1), jnp.int32)
            costs[known, higher] = float(energy(motion, person, data, nearest, jnp.asarray(0.1)))
    assert costs[False, -0.5] == pytest.approx(costs[False, 0.0], rel=1e-3)
    assert costs[False, 0.9] == pytest.approx(costs[False, 0.0], rel=1e-3)
    assert costs[True, -0.5] > 2.0 * costs[True, 0.0]  # feet in the ground
    assert costs[True, 0.9] > costs[True, 0.0] + 1.0  # in the air


def test_start_finds_place_and_heading_from_bones_alone():
    rest, world, keypoints, intrinsics, cameras = made_keypoints()
    start = find_start(keypoints, intrinsics, cameras, rest, None, None, scale=1.0)
    hips = world[[8, 11]].mean(axis=0)
    assert np.abs(start.pelvis_world - hips).max() < 0.25
    assert np.abs(np.degrees(start.yaw)).max() < 10.0
    assert not start.has_depth


@pytest.mark.parametrize("turn", [-35.0, 35.0])
def test_a_network_that_lifts_says_which_shoulder_is_nearer(turn):
    """In pixels a person turned to the left is one turned to the right, but for perspective."""
    rest, world, keypoints, intrinsics, cameras = made_keypoints()
    angle = np.radians(turn)
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    local = (world @ R.T - cameras[0, :3, 3]) @ cameras[0, :3, :3]
    keypoints = keypoints.copy()
    keypoints[..., :2] = local[:, :2] / local[:, 2:] * 250.0 + [160.0, 120.0]
    lifts = np.tile(local[:, 2] - local[[8, 11], 2].mean(), (5, 1))
    plain = find_start(keypoints, intrinsics, cameras, rest, None, None, scale=1.0)
    start = find_start(keypoints, intrinsics, cameras, rest, None, None, scale=1.0, lifts=lifts)
    assert np.abs(np.degrees(start.yaw) - turn).max() < 12.0
    assert np.abs(np.degrees(plain.yaw) - turn).max() > 25.0
    assert start.has_depth
    assert start.pose is not None


def test_lifted_limbs_that_point_the_other_way_cost(rng):
    """Not where the whole person is nearer, and nothing where nothing was lifted."""
    from hoijax.bodies.fitting.energy import lift_energy

    points = rng.normal(0.0, 0.25, (2, 18, 3)) + np.array([0.3, 0.0, 4.0])
    ray = points.mean(axis=1) / np.linalg.norm(points.mean(axis=1), axis=-1, keepdims=True)
    lifts, sure = np.einsum("tnk,tk->tn", points, ray) - 3.0, np.ones((2, 18))
    away = (points - points.mean(axis=1, keepdims=True)) @ np.diag([1.0, 1.0, -1.0])
    mirrored = away + points.mean(axis=1, keepdims=True)
    cost = {
        name: np.asarray(lift_energy(*map(jnp.asarray, arrays)))
        for name, arrays in {
            "right": (points, lifts, sure),
            "nearer": (0.8 * ray[:, None] + points, lifts, sure),
            "mirrored": (mirrored, lifts, sure),
            "unknown": (mirrored, lifts, 0.0 * sure),
        }.items()
    }
    assert (cost["right"] < 1e-6).all()
    assert (cost["nearer"] < 0.01 * cost["mirrored"]).all()
    assert (cost["mirrored"] > 0.02).all()
    assert not cost["unknown"].any()


def test_a_person_who_is_half_read_does_not_go_far_away():
    rest, _, keypoints, intrinsics, cameras = made_keypoints(15)
    start = find_start(keypoints, intrinsics, cameras, rest, None, None, scale=1.0)
    squeezed = keypoints.copy()
    middle = squeezed[5:10, :, :2].mean(axis=1, keepdims=True)
    squeezed[5:10, :, :2] = middle + 0.2 * (squeezed[5:10, :, :2] - middle)
    found = find_start(squeezed, intrinsics, cameras, rest, None, None, scale=1.0)
    away = np.linalg.norm(found.pelvis_world - start.pelvis_world, axis=-1)
    assert away[[0, 1, 13, 14]].max() < 0.02
    assert away.max() < 1.0  # a fifth of the size is five times as far


def test_start_bridges_frames_without_keypoints():
    rest, _, keypoints, intrinsics, cameras = made_keypoints()
    gap = keypoints.copy()
    gap[2] = 0.0
    start = find_start(gap, intrinsics, cameras, rest, None, None, scale=1.0)
    assert np.isfinite(start.pelvis_world).all()
    assert np.isfinite(start.yaw).all()
    assert np.abs(start.pelvis_world[2] - start.pelvis_world[1]).max() < 0.05


def test_no_keypoint_at_all_is_refused():
    rest, _, keypoints, intrinsics, cameras = made_keypoints()
    with pytest.raises(UserError, match="no frame has keypoints"):
        find_start(0.0 * keypoints, intrinsics, cameras, rest, None, None)


def test_arrays_of_other_lengths_are_refused():
    _, _, keypoints, intrinsics, cameras = made_keypoints()
    body = load_body("anny")
    with pytest.raises(UserError, match="intrinsics has 4 frames"):
        fit_body(keypoints, intrinsics[:4], cameras, body=body, fps=12.0)
    with pytest.raises(UserError, match="go together"):
        fit_body(
            keypoints, intrinsics, cameras, body=body, fps=12.0, person_points=np.zeros((5, 1, 3))
        )
