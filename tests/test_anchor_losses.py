"""Terms of anchor motion: numpy twins for values, differences of the twins' inputs for gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from anchor_factory import EDGES, make_anchor
from scene_factory import FRAMES, OBJECTS, PEOPLE
from scipy.spatial.transform import Rotation

from hoijax.bodies.fitting.residuals import (
    FEET,
    FOOT_HEIGHTS,
    PLANTED_MARGIN,
    PLANTED_SOFTNESS,
    SLIP_RHO,
    slip_energy,
)
from hoijax.bodies.pose_prior import FIT_LOWER, FIT_UPPER, PRIOR_STIFFNESS
from hoijax.losses.body import (
    CLEARANCE,
    ESTIMATE_RHO,
    MASK_RHO,
    POINT_RHO,
    SILHOUETTE_STRIDE,
    body_estimate,
    body_ground,
    body_mask,
    body_points,
    body_smoothness,
    foot_clearance,
    foot_lock,
    foot_slip,
    object_in_body,
    self_penetration,
)
from hoijax.losses.keypoints import KEYPOINT_RHO, body_keypoints, contact_keypoints
from hoijax.losses.penetrations import object_penetration
from hoijax.losses.pose_priors import finger_prior, joint_limits, pose_prior
from hoijax.losses.rendered import DEPTH_RHO, rendered_colors, rendered_depth, rendered_masks
from hoijax.losses.term import LossTerm, reduce_term
from hoijax.methods.anchor_motion.terms import JOINT_TERMS, anchor_table
from hoijax.scene.bodies import FACE_COUNT
from hoijax.scene.posed import pose_scene
from hoijax.scene.scene import Unknowns

pytestmark = pytest.mark.slow  # one large program, compiled once

FUNCTIONS = (
    body_keypoints,
    contact_keypoints,
    joint_limits,
    pose_prior,
    body_points,
    body_mask,
    body_estimate,
    body_smoothness,
    foot_clearance,
    foot_lock,
    foot_slip,
    body_ground,
    object_in_body,
    self_penetration,
    rendered_masks,
    rendered_colors,
    rendered_depth,
    object_penetration,
    finger_prior,
    *(term.function for term in JOINT_TERMS),
)
KINKED = (
    "object_in_body",
    "self_penetration",
    "body_mask",
    "rendered_masks",
    "rendered_colors",
    "rendered_depth",
)
WITHOUT_WHOLE_SLOPES = ("foot_slip", "foot_clearance")
"""What stands, and where its floor is, has no gradient on purpose: see the tests of these terms."""
NAMES = [function.__name__ for function in FUNCTIONS]
TERMS = tuple(LossTerm.constant(f.__name__, f, 1.0) for f in FUNCTIONS)


@jax.jit
def run(scene, unknowns, neighbors):
    """Values and masks of all terms, their totals, and the gradient of each: one program."""

    def totals(unknowns):
        posed = pose_scene(scene, unknowns, neighbors)
        values = {term.name: term.function(posed) for term in TERMS}
        return jnp.stack([reduce_term(term, posed) for term in TERMS]), (values, posed)

    total, pull_back, (values, posed) = jax.vjp(totals, unknowns, has_aux=True)
    (slopes,) = jax.vmap(pull_back)(jnp.eye(len(TERMS)))
    return total, values, slopes, posed


@pytest.fixture(
    scope="module", params=[0.3, 0.0, 1.0], ids=["random pose", "zero pose", "wild pose"]
)
def case(request):
    made = make_anchor(pose_scale=request.param)
    return made, run(*made)


@jax.jit
def totals_of(scene, unknowns, neighbors):
    posed = pose_scene(scene, unknowns, neighbors)
    return jnp.stack([reduce_term(term, posed) for term in TERMS])


def robust(squared, rho):
    return rho**2 * squared / (squared + rho**2)


def twin_keypoints(scene, posed, _):
    seen = scene.observed_people
    values = np.zeros((PEOPLE, FRAMES))
    for p, t in np.ndindex(PEOPLE, FRAMES):
        T, K = np.asarray(seen.Ts_camera_world[t]), np.asarray(scene.cameras.intrinsics[t])
        x = np.asarray(posed.keypoints_world[p, t]) @ T[:3, :3].T + T[:3, 3]
        uv = x[:, :2] / np.maximum(x[:, 2:], 0.05) * K[[0, 1], [0, 1]] + K[:2, 2]
        kp = np.asarray(seen.keypoints[p, t])
        focal = 0.5 * (K[0, 0] + K[1, 1])
        squared = (((uv - kp[:, :2]) / focal) ** 2).sum(-1)
        values[p, t] = np.mean(np.where(kp[:, 2] > 0, kp[:, 2] * robust(squared, KEYPOINT_RHO), 0))
    return values, np.asarray(seen.keypoints)[..., 2].any(-1)


def twin_pairs(scene, posed, neighbors):
    pairs, values = scene.pairs, np.zeros((EDGES, FRAMES))
    used = np.zeros(EDGES, bool)
    for r in range(len(pairs.share)):
        p, o, e = int(pairs.person[r]), int(pairs.object[r]), int(pairs.edge[r])
        on_body = np.asarray(posed.body_vertices_world)[p, :, int(pairs.vertex[r])]
        R, t = np.asarray(posed.object_rotations[o]), np.asarray(posed.object_translations[o])
        on_object = R @ np.asarray(pairs.point[r]) + t
        values[e] += float(pairs.share[r]) * ((on_body - on_object) ** 2).sum(-1)
        used[e] |= float(pairs.share[r]) > 0
    state = np.asarray(neighbors.contact_state)
    return values * state, np.broadcast_to(used[:, None], values.shape)


def poses_of(posed):
    matrices = np.asarray(posed.body_joint_rotations)[:, :, :22].reshape(-1, 3, 3)
    return Rotation.from_matrix(matrices).as_rotvec().reshape(PEOPLE, FRAMES, 22, 3)


def twin_limits(_, posed, __):
    pose = poses_of(posed)[:, :, 1:]
    low, high = FIT_LOWER[1:], FIT_UPPER[1:]
    beyond = np.maximum(low - pose, 0) + np.maximum(pose - high, 0)
    return (beyond**2).sum((-1, -2)), np.ones((PEOPLE, FRAMES), bool)


def twin_prior(scene, posed, _):
    pose, values = poses_of(posed)[:, :, 1:], []
    for reference in np.moveaxis(np.asarray(scene.bodies.pose_centers), 2, 0)[..., 1:, :]:
        away = (pose - reference) / (0.35 / np.sqrt(PRIOR_STIFFNESS[1:]))
        values.append(0.5 * (away**2).sum((-1, -2)))
    values = np.stack(values)
    least = values.min(0)
    return least - np.log(np.exp(least - values).sum(0)), np.ones((PEOPLE, FRAMES), bool)


def twin_points(scene, posed, neighbors):
    values = np.zeros((PEOPLE, FRAMES))
    for p, t in np.ndindex(PEOPLE, FRAMES):
        target = np.asarray(posed.body_vertices_world)[
            p, t, np.asarray(neighbors.nearest_vertex)[p, t]
        ]
        squared = ((np.asarray(scene.observed_people.points_world)[p, t] - target) ** 2).sum(-1)
        values[p, t] = np.asarray(scene.observed_people.point_weights)[p, t] @ robust(
            squared, POINT_RHO
        )
    return values, np.asarray(scene.observed_people.detected)


def twin_mask(scene, posed, _):
    values = np.zeros((PEOPLE, FRAMES))
    for p, t in np.ndindex(PEOPLE, FRAMES):
        T = np.asarray(scene.observed_people.Ts_camera_world[t], np.float64)
        K = np.asarray(scene.cameras.intrinsics[t], np.float64)
        skin = np.asarray(posed.body_vertices_world, np.float64)[p, t, ::SILHOUETTE_STRIDE]
        x = skin @ T[:3, :3].T + T[:3, 3]
        uv = x[:, :2] / np.maximum(x[:, 2:], 0.05) * K[[0, 1], [0, 1]] + K[:2, 2]
        cells = uv / np.asarray(scene.cameras.cell_size) - 0.5
        corners = np.asarray(scene.observed_people.mask_distance, np.float64)[p, t]
        h, w, _ = corners.shape
        inside = np.clip(cells, 0, np.array([w, h]) - 1e-4)
        column, row = np.floor(inside).astype(int).T
        u, v = (inside - np.floor(inside)).T
        c = corners[row, column].T
        found = (1 - v) * ((1 - u) * c[0] + u * c[1]) + v * ((1 - u) * c[2] + u * c[3])
        values[p, t] = robust(found**2, MASK_RHO).mean()
    return values, np.asarray(scene.observed_people.detected)


def twin_smoothness(scene, posed, _):
    joints = np.asarray(posed.Ts_world_joint, np.float64)[:, :, :22, :3, 3]
    values, rate = np.zeros((PEOPLE, FRAMES)), float(scene.fps)
    for t in range(1, FRAMES - 1):
        second = (joints[:, t + 1] - 2 * joints[:, t] + joints[:, t - 1]) * rate**2
        values[:, t] = (second**2).sum((-1, -2))
    return values, np.ones((PEOPLE, FRAMES), bool)


def twin_estimate(scene, posed, _):
    joints = np.asarray(posed.Ts_world_joint, np.float64)[:, :, :22, :3, 3]
    squared = ((joints - np.asarray(scene.bodies.estimated_joints, np.float64)) ** 2).sum(-1)
    values = (ESTIMATE_RHO**2 * squared / (squared + ESTIMATE_RHO**2)).mean(-1)
    return values, np.ones((PEOPLE, FRAMES), bool)


def twin_slip(scene, posed, _):
    feet = np.asarray(posed.Ts_world_joint, np.float64)[..., :3, 3][:, :, list(FEET)]
    over = feet[..., 1] - np.array(FOOT_HEIGHTS) - PLANTED_MARGIN
    planted = 1 / (1 + np.exp(over / PLANTED_SOFTNESS))
    values = np.zeros((PEOPLE, FRAMES))
    for t in range(1, FRAMES):
        velocity = float(scene.fps) * (feet[:, t] - feet[:, t - 1])
        squared = (velocity[..., [0, 2]] ** 2).sum(-1)
        both = np.minimum(planted[:, t], planted[:, t - 1])
        values[:, t] = (both * robust(squared, SLIP_RHO)).mean(-1)
    return values, np.ones((PEOPLE, FRAMES), bool)


def standing_feet(posed):
    return np.asarray(posed.Ts_world_joint, np.float64)[..., :3, 3][:, :, list(FEET)]


def twin_lock(_, posed, neighbors):
    feet, plants = standing_feet(posed), np.asarray(neighbors.plants)
    values = np.zeros((PEOPLE, FRAMES))
    for p, k in np.ndindex(PEOPLE, 4):
        for number in set(plants[p, :, k]) - {-1}:
            own = plants[p, :, k] == number
            place = feet[p, own, k].mean(axis=0)
            values[p, own] += ((feet[p, own, k] - place) ** 2).sum(-1) / 4
    return values, np.ones((PEOPLE, FRAMES), bool)


def twin_clearance(_, posed, neighbors):
    heights, plants = standing_feet(posed)[..., 1], np.asarray(neighbors.plants)
    values = np.zeros((PEOPLE, FRAMES))
    for p, k in np.ndindex(PEOPLE, 4):
        if k < 2:  # ankles
            continue
        stands = plants[p, :, k] >= 0
        floor = heights[p, stands, k].mean() if stands.any() else FOOT_HEIGHTS[k]
        lack = np.maximum(floor + CLEARANCE - heights[p, :, k], 0.0)
        values[p] += np.where(stands, 0.0, lack**2) / 2
    return values, np.ones((PEOPLE, FRAMES), bool)


def twin_ground(_, posed, __):
    lowest = np.asarray(posed.body_vertices_world)[..., 1].min(-1)
    return np.minimum(lowest, 0) ** 2, np.ones((PEOPLE, FRAMES), bool)


@jax.jit
def to_body(field, points, Ts_world_joint):
    return field.distance(points, Ts_world_joint)


@jax.jit
def to_itself(field, skin, Ts_world_joint):
    return field.self_distances(skin, Ts_world_joint)


def twin_object_in_body(scene, posed, neighbors):
    active = np.asarray(neighbors.active_samples)
    values = np.zeros(active.shape[:3])
    for o, p, t in np.ndindex(values.shape):
        local = np.asarray(scene.objects.samples)[o, active[o, p, t]]
        R, shift = np.asarray(posed.object_rotations), np.asarray(posed.object_translations)
        world = local @ R[o, t].T + shift[o, t]
        distance = to_body(scene.bodies.fields[p], jnp.asarray(world), posed.Ts_world_joint[p, t])
        values[o, p, t] = np.maximum(-np.asarray(distance), 0).mean()
    return values, np.ones(values.shape, bool)


def twin_self(scene, posed, _):
    values = np.zeros((PEOPLE, FRAMES))
    for p, t in np.ndindex(PEOPLE, FRAMES):
        field = scene.bodies.fields[p]
        count = len(field.sample_vertices)
        skin = posed.body_vertices_world[p, t, FACE_COUNT : FACE_COUNT + count]
        distance = to_itself(field, skin, posed.Ts_world_joint[p, t])
        values[p, t] = np.maximum(-np.asarray(distance), 0).sum() / 1000
    return values, np.ones(values.shape, bool)


def twin_rendered_masks(scene, posed, _):
    frames, image = scene.observed_images, posed.rendered_image
    count = PEOPLE + OBJECTS
    values = np.zeros((count, FRAMES))
    for i, t in np.ndindex(count, FRAMES):
        drawn = np.asarray(image.coverage[t]) * np.asarray(image.features[t, :, :, i])
        seen = np.asarray(frames.target[t, :, :, i])
        values[i, t] = ((drawn - seen) ** 2).sum() / max(seen.sum(), 1.0)
    mask = np.ones((count, FRAMES), bool)
    mask[0, 1] = False
    return values, mask


def twin_rendered_colors(scene, posed, _):
    frames, image, count = scene.observed_images, posed.rendered_image, PEOPLE + OBJECTS
    values = np.zeros((3, FRAMES))
    for c, t in np.ndindex(3, FRAMES):
        away = np.asarray(image.features[t, :, :, count + c] - frames.target[t, :, :, count + c])
        share = np.asarray(image.coverage[t])
        values[c, t] = (share * away**2).sum() / max(share.sum(), 1.0)
    return values, np.ones((3, FRAMES), bool)


def twin_rendered_depth(scene, posed, _):
    frames, image = scene.observed_images, posed.rendered_image
    values = np.zeros((1, FRAMES))
    for t in range(FRAMES):
        share = np.asarray(image.coverage[t]) * np.asarray(frames.depth_mask[t])
        away = np.asarray(image.depth[t]) - np.asarray(frames.depth[t])
        values[0, t] = (share * robust(away**2, DEPTH_RHO)).sum() / max(share.sum(), 1.0)
    return values, np.ones((1, FRAMES), bool)


def twin_free_penetration(_, posed, __):
    """The two objects hang on one joint: they may reach into each other."""
    return np.zeros((OBJECTS, OBJECTS, FRAMES)), np.zeros((OBJECTS, OBJECTS, FRAMES), bool)


def twin_object_limits(scene, posed, _):
    values, low, high = (
        np.asarray(x) for x in (posed.joint_values, scene.joints.lower, scene.joints.upper)
    )
    beyond = np.maximum(low[:, None] - values, 0) + np.maximum(values - high[:, None], 0)
    return beyond**2, np.ones(values.shape, bool)


def twin_object_bend(scene, posed, __):
    values = np.asarray(posed.joint_values) * np.asarray(scene.joints.levers)[:, None]
    mask = np.zeros(values.shape, bool)
    mask[:, 1:-1] = True
    return np.pad(0.25 * np.diff(values, 2, axis=1) ** 2, ((0, 0), (1, 1))), mask


def twin_fingers(scene, posed, _):
    """Fingers do not move in this scene but by hand: see the test below."""
    return np.zeros((PEOPLE, FRAMES)), np.ones((PEOPLE, FRAMES), bool)


TWINS = {
    "finger_prior": twin_fingers,
    "rendered_masks": twin_rendered_masks,
    "rendered_colors": twin_rendered_colors,
    "rendered_depth": twin_rendered_depth,
    "object_penetration": twin_free_penetration,
    "object_joint_limits": twin_object_limits,
    "object_joint_smoothness": twin_object_bend,
    "body_keypoints": twin_keypoints,
    "contact_keypoints": twin_pairs,
    "joint_limits": twin_limits,
    "pose_prior": twin_prior,
    "body_points": twin_points,
    "body_mask": twin_mask,
    "body_estimate": twin_estimate,
    "body_smoothness": twin_smoothness,
    "foot_slip": twin_slip,
    "foot_lock": twin_lock,
    "foot_clearance": twin_clearance,
    "body_ground": twin_ground,
    "object_in_body": twin_object_in_body,
    "self_penetration": twin_self,
}


def test_every_term_of_the_method_has_a_twin():
    from hoijax.methods.hoi_page.terms import TERMS as OBJECT_TERMS

    own = {term.function.__name__ for table in OBJECT_TERMS.values() for term in table}
    names = {
        term.function.__name__
        for term in anchor_table(rendered=True, jointed=True, hands=True, estimated=True)
    }
    assert names - own == set(TWINS) - {"object_penetration"}


@pytest.mark.parametrize("name", NAMES)
def test_values_equal_their_twins(case, name):
    (scene, _, neighbors), (_, values, _, posed) = case
    expected, mask = TWINS[name](scene, posed, neighbors)
    found, found_mask = (np.asarray(x) for x in values[name])
    np.testing.assert_array_equal(found_mask, mask)
    np.testing.assert_allclose(
        np.where(mask, found, 0), np.where(mask, expected, 0), rtol=2e-3, atol=1e-6
    )


def moved(unknowns: Unknowns, direction: Unknowns, step: float) -> Unknowns:
    return jax.tree.map(lambda x, d: x + jnp.float32(step) * d, unknowns, direction)


@pytest.mark.parametrize("group", [f.name for f in dataclasses.fields(Unknowns)])
def test_gradients_equal_differences(case, group):
    """Per group of unknowns, along random directions.

    Depths are clipped and look-ups have kinks, so those are differenced over a tenth of the way and
    compared along several directions at once, of which one may step over a threshold. Whether a foot
    is planted has no gradient on purpose: see below.
    """
    (scene, unknowns, neighbors), (total, _, slopes, _) = case
    rng = np.random.default_rng(3)
    zero = jax.tree.map(jnp.zeros_like, unknowns)
    shape = getattr(unknowns, group).shape
    found, smooth, close = [], [], []
    for _ in range(4):
        direction = zero.replace(**{group: jnp.asarray(rng.normal(size=shape), jnp.float32)})
        pairs = zip(jax.tree.leaves(slopes), jax.tree.leaves(direction), strict=True)
        found.append(sum(np.tensordot(np.asarray(s), np.asarray(d), axes=d.ndim) for s, d in pairs))
        for out, step in ((smooth, 1e-3), (close, 1e-4)):
            ahead, behind = (
                totals_of(scene, moved(unknowns, direction, sign * step), neighbors)
                for sign in (1.0, -1.0)
            )
            change = np.asarray(ahead, np.float64) - np.asarray(behind, np.float64)
            out.append(change / (2 * step))
    found, smooth, close = (np.stack(x) for x in (found, smooth, close))
    for i, name in enumerate(NAMES):
        if name in WITHOUT_WHOLE_SLOPES:
            continue
        expected, margin = (close, 0.25) if name in KINKED else (smooth, 0.05)
        scale = np.linalg.norm(expected[:, i]) + 0.02 * float(total[i]) + 1e-5
        away = np.sort(np.abs(found[:, i] - expected[:, i]))
        away = np.linalg.norm(away[:-1] if name in KINKED else away)
        assert away <= margin * scale, (name, found[:, i], expected[:, i])


def test_what_hangs_on_a_joint_is_smooth_relative_to_its_parent(case):
    """The smoothness of free objects leaves it alone: its own term holds it."""
    (scene, _, _), (_, _, _, posed) = case
    for name in ("translation_smoothness", "rotation_smoothness"):
        term = next(
            t for t in anchor_table(rendered=False, jointed=True, hands=False) if t.name == name
        )
        values, mask = term.function(posed)
        assert np.asarray(mask).any(axis=1).tolist() == [True, False]
        loose = dataclasses.replace(posed, scene=dataclasses.replace(scene, joints=None))
        again, both = term.function(loose)
        np.testing.assert_array_equal(again, values)
        assert np.asarray(both).all()


def test_fingers_are_drawn_to_where_they_started(rng):
    """Turned by known small angles, the prior is the sum of their squares, and its slope twice them."""
    scene, unknowns, neighbors = make_anchor(pose_scale=0.2)
    posed = jax.jit(pose_scene)(scene, unknowns, neighbors)
    angles = 0.05 * rng.normal(size=(PEOPLE, FRAMES, 30)).astype(np.float32)
    axes = rng.normal(size=(*angles.shape, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)

    def total(scale):
        turn = Rotation.from_rotvec((axes * angles[..., None] * scale).reshape(-1, 3)).as_matrix()
        rotations = np.array(scene.bodies.fixed_rotations, np.float64)
        rotations[:, :, 25:] = rotations[:, :, 25:] @ turn.reshape(PEOPLE, FRAMES, 30, 3, 3)
        moved = dataclasses.replace(posed, body_joint_rotations=jnp.asarray(rotations, jnp.float32))
        return np.asarray(finger_prior(moved)[0], np.float64)

    np.testing.assert_allclose(total(1.0), (angles**2).sum(-1), rtol=0.01)
    np.testing.assert_allclose(total(2.0), 4.0 * total(1.0), rtol=0.02)


def test_slip_is_the_same_at_half_the_frame_rate():
    """Feet that stand and slide slowly along a line."""
    feet = np.zeros((21, 4, 3), np.float32) - [0.0, 1.0, 0.0]
    feet[..., 0] += 0.01 * np.arange(21)[:, None]
    whole, half = slip_energy(jnp.asarray(feet), 30.0), slip_energy(jnp.asarray(feet[::2]), 15.0)
    np.testing.assert_allclose(whole[1:11], half[1:], rtol=1e-5)
    assert float(half[1]) > 0.01


def test_gradient_of_feet_that_stand_equals_differences(rng):
    """Far below the height where planting ends, the weight is constant."""
    feet = (0.02 * rng.normal(size=(5, 4, 3)) - [0.0, 1.0, 0.0]).astype(np.float32)
    direction = rng.normal(size=feet.shape).astype(np.float32)

    def total(x):
        return jnp.sum(slip_energy(x, 2.0))

    found = float(jnp.sum(jax.grad(total)(jnp.asarray(feet)) * direction))
    ahead, behind = (float(total(jnp.asarray(feet + s * direction))) for s in (1e-3, -1e-3))
    assert found == pytest.approx((ahead - behind) / 2e-3, rel=0.02)


def test_gradient_of_a_low_step_lifts_the_step_only():
    """Toes that step too low are pushed up by twice their lack, over the frames, halved; no other frame
    is, and with everything in plants nobody is."""
    scene, unknowns, neighbors = make_anchor(pose_scale=0.0)

    @jax.jit
    def slope(plants):
        def total(place):
            at = dataclasses.replace(unknowns, body_translation=place)
            posed = pose_scene(scene, at, dataclasses.replace(neighbors, plants=plants))
            return reduce_term(LossTerm.constant("a", foot_clearance, 1.0), posed), posed

        gradient, posed = jax.grad(total, has_aux=True)(unknowns.body_translation)
        return gradient, posed.joints_world[:, :, np.array(FEET), 1]

    plants = np.array(neighbors.plants)
    plants[1] = 0
    gradient, heights = (np.asarray(x) for x in slope(jnp.asarray(plants)))
    stands = plants[0, :, 2:] >= 0
    floor = np.array([heights[0, stands[:, k], 2 + k].mean() for k in (0, 1)])
    lack = np.where(stands, 0.0, np.maximum(floor + CLEARANCE - heights[0, :, 2:], 0.0))
    assert (lack > 0).any()
    np.testing.assert_allclose(gradient[0, :, 1], -lack.sum(-1) / FRAMES, rtol=1e-3, atol=1e-7)
    assert not np.any(gradient[0, :, [0, 2]])
    assert not np.any(gradient[1])


def test_feet_that_never_stand_are_not_held():
    scene, unknowns, neighbors = make_anchor()
    swinging = dataclasses.replace(neighbors, plants=jnp.full_like(neighbors.plants, -1))
    assert float(run(scene, unknowns, swinging)[0][NAMES.index("foot_lock")]) == 0.0
    assert float(run(scene, unknowns, neighbors)[0][NAMES.index("foot_lock")]) > 0.0


def test_gradients_are_finite_everywhere(case):
    for leaf in jax.tree.leaves(case[1][2]):
        assert np.isfinite(np.asarray(leaf)).all()


def test_missing_frames_pull_at_nothing():
    """Person 0 has no keypoint in frame 1, person 1 no seen point in frame 2."""
    scene, unknowns, neighbors = make_anchor()
    _, values, slopes, _ = run(scene, unknowns, neighbors)
    assert not values["body_keypoints"][1][0, 1]
    assert not values["body_points"][1][1, 2]
    keypoints = slopes.body_translation[NAMES.index("body_keypoints")]
    assert not np.any(keypoints[0, 1])
    assert np.any(keypoints[0, 0])
    points = slopes.body_translation[NAMES.index("body_points")]
    assert not np.any(points[1, 2])
    assert np.any(points[1, 1])


def test_contact_keypoints_follow_the_contact_state():
    scene, unknowns, neighbors = make_anchor()
    apart = jnp.zeros_like(neighbors.contact_state)
    free = dataclasses.replace(neighbors, contact_state=apart)
    total = run(scene, unknowns, free)[0]
    assert float(total[NAMES.index("contact_keypoints")]) == 0.0
