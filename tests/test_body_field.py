"""The articulated body distance against libigl on the posed skin, and its gradients against differences."""

import igl
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hoijax.bodies import JOINT_NAMES, RELAXED_HAND_POSE, load_body
from hoijax.bodies.body_field import build_body_field, smooth_minimum
from hoijax.errors import UserError

NEAR = 0.05
COUNT = 1500
ARMS_DOWN = {"left_shoulder": (0, 0, -1.25), "right_shoulder": (0, 0, 1.25)}


def both(name, x, y, z):
    """Mirrored rotation of the left and right joint."""
    return {f"left_{name}": (x, y, z), f"right_{name}": (x, -y, -z)}


def pose_of(hands=None, **joints):
    rotations = np.zeros((55, 3), np.float32)
    for name, rotation in joints.items():
        rotations[JOINT_NAMES.index(name)] = rotation
    if hands is not None:
        rotations[25:] = hands
    return rotations


FIST = 3 * RELAXED_HAND_POSE
POSES = {
    "rest": pose_of(),
    "standing": pose_of(RELAXED_HAND_POSE, **ARMS_DOWN),
    "sitting": pose_of(**ARMS_DOWN, **both("hip", -1.5, 0, 0), **both("knee", 1.5, 0, 0)),
    "crouching": pose_of(
        **both("hip", -1.9, 0, 0),
        **both("knee", 2.2, 0, 0),
        **both("shoulder", 0, -1.0, -0.8),
        spine1=(0.4, 0, 0),
        spine2=(0.3, 0, 0),
    ),
    "arms bent": pose_of(FIST, **ARMS_DOWN, **both("elbow", 0, -1.8, 0)),
    "reaching": pose_of(FIST, **both("shoulder", 0, -1.3, -0.3), spine2=(0.3, 0.2, 0)),
    "arms up": pose_of(**both("shoulder", 0, 0, 1.2), **both("collar", 0, 0, 0.3)),
    "bending": pose_of(
        **ARMS_DOWN, **both("hip", -0.6, 0, 0), spine1=(0.5, 0, 0), spine3=(0.3, 0, 0)
    ),
    "walking": pose_of(
        **ARMS_DOWN, left_hip=(-0.6, 0, 0), right_hip=(0.4, 0, 0), right_knee=(0.8, 0, 0)
    ),
    "twisting": pose_of(
        **ARMS_DOWN, spine1=(0, 0.4, 0.1), spine2=(0, 0.4, 0), pelvis=(0.2, 1, 0.1)
    ),
}


@pytest.fixture(scope="session")
def person():
    body = load_body("anny")
    shaped = body.shape(jnp.zeros(10))
    return body, shaped, build_body_field(body, shaped)


@pytest.fixture(scope="session")
def measured(person):
    """Per pose: our distance, libigl's, and whether the nearest skin can be seen from outside."""
    _, shaped, field = person
    faces = np.asarray(shaped.faces, np.int64)
    rng = np.random.default_rng(0)
    posed = jax.jit(jax.vmap(lambda r: shaped.pose(r, jnp.array([0.3, 1.0, -0.2]))))(
        jnp.asarray(np.stack(list(POSES.values())))
    )
    points, ground_truth, free = [], [], []
    for vertices in np.asarray(posed.vertices_world, np.float64):
        a, b, c = np.moveaxis(vertices[faces], 1, 0)
        normal = np.cross(b - a, c - a)
        area = np.linalg.norm(normal, axis=1)
        chosen = rng.choice(len(faces), COUNT, p=area / area.sum())
        unit = normal[chosen] / area[chosen, None]
        near = (a + b + c)[chosen] / 3 + unit * rng.uniform(-NEAR, NEAR, (COUNT, 1))
        kind = igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER
        signed, face, closest = igl.signed_distance(near, vertices, faces, sign_type=kind)[:3]
        outside = closest + 1e-3 * normal[face] / area[face, None]
        points.append(near)
        ground_truth.append(signed)
        free.append(np.abs(igl.fast_winding_number(vertices, faces, outside)) < 0.5)
    points = jnp.asarray(np.stack(points), jnp.float32)
    ours = jax.jit(jax.vmap(lambda p, T: field.distance(p, T)))(points, posed.Ts_world_joint)
    return np.asarray(ours), np.stack(ground_truth), np.stack(free)


@pytest.mark.slow
def test_distance_to_the_posed_skin_is_libigls_within_5_mm(measured):
    """Mean error within 5 cm of skin that is not buried in another limb; per pose and over all."""
    ours, ground_truth, free = measured
    near = (np.abs(ground_truth) < NEAR) & free
    errors = np.array(
        [np.abs(o - t)[n].mean() for o, t, n in zip(ours, ground_truth, near, strict=True)]
    )
    report = dict(zip(POSES, (1000 * errors).round(2).tolist(), strict=True))
    assert errors[0] < 0.0007, report
    assert errors.max() < 0.005, report
    assert errors.mean() < 0.003, report


def test_sides_agree_with_the_winding_number(measured):
    ours, ground_truth, free = measured
    clear = (np.abs(ground_truth) < NEAR) & (np.abs(ground_truth) > 0.005) & free
    assert ((ours < 0) == (ground_truth < 0))[clear].mean() > 0.985
    assert ((ours < 0) == (ground_truth < 0))[0][clear[0]].mean() > 0.998  # at rest


def test_listed_pieces_give_the_same_distance(person):
    _, shaped, field = person
    Ts = shaped.pose_joints(POSES["reaching"], jnp.zeros(3))
    rng = np.random.default_rng(1)
    points = jnp.asarray(rng.uniform((-0.5, -0.5, -0.2), (0.5, 0.7, 0.8), (400, 3)), jnp.float32)
    every_piece = jnp.broadcast_to(jnp.arange(field.radii.shape[-1]), (400, field.radii.shape[-1]))
    every, some, listed = jax.jit(
        lambda p, T: (
            field.distance(p, T, every_piece, 1e-6),
            field.distance(p, T, temperature=1e-6),
            field.distance(p, T, field.nearby_pieces(p, T), 1e-6),
        )
    )(points, Ts)
    every, some = np.asarray(every), np.asarray(some)
    near = np.abs(every) < 0.05
    assert near.sum() > 30
    assert np.abs(some - every)[near].max() < 0.02
    assert np.abs(some - every)[near].mean() < 3e-4
    np.testing.assert_array_equal(listed, some)


def test_moving_everything_moves_the_field(person):
    """Distances are those of the body wherever it stands and faces."""
    _, shaped, field = person
    rng = np.random.default_rng(2)
    Ts = shaped.pose_joints(POSES["sitting"], jnp.zeros(3))
    points = jnp.asarray(rng.uniform(-0.5, 0.5, (50, 3)), jnp.float32)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    T = np.eye(4, dtype=np.float32)
    T[:3, :3], T[:3, 3] = turn, (1.0, -2.0, 0.5)
    distance = jax.jit(field.distance)
    moved = distance(points @ T[:3, :3].T + T[:3, 3], jnp.asarray(T) @ Ts)
    np.testing.assert_allclose(moved, distance(points, Ts), atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rest", "random"])
def test_gradients_against_differences(person, name):
    """In every unknown at once: points, translation and all joint rotations, along random directions."""
    _, shaped, field = person
    rng = np.random.default_rng(3)
    rotations = (
        POSES["rest"] if name == "rest" else POSES["arms bent"] + 0.1 * rng.normal(size=(55, 3))
    )
    rotations = jnp.asarray(rotations, jnp.float32)
    posed = jax.jit(shaped.pose)(rotations, jnp.zeros(3))
    chosen = rng.choice(len(posed.vertices_world), 300)
    points = posed.vertices_world[chosen] + jnp.asarray(
        0.02 * rng.normal(size=(300, 3)), jnp.float32
    )
    weights = jnp.asarray(rng.normal(size=300), jnp.float32)
    pieces = field.nearby_pieces(points, posed.Ts_world_joint)

    @jax.jit
    def total(unknowns):
        rotations, translation, points = unknowns
        Ts = shaped.pose_joints(rotations, translation)
        distance = field.distance(points, Ts, pieces, temperature=5e-3)
        return jnp.sum(weights * distance)

    at = (rotations, jnp.zeros(3), points)
    gradient = jax.jit(jax.grad(total))(at)
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in gradient)
    step = 2e-5
    for unknown in range(3):
        slope = gradient[unknown]
        direction = (
            jnp.asarray(rng.normal(size=slope.shape), jnp.float32) + slope / jnp.abs(slope).max()
        )

        def moved(sign, unknown=unknown, direction=direction):
            return tuple(
                x + sign * step * direction if i == unknown else x for i, x in enumerate(at)
            )

        expected = (total(moved(1.0)) - total(moved(-1.0))) / (2 * step)
        scale = float(jnp.linalg.norm(slope) * jnp.linalg.norm(direction))
        assert abs(float(jnp.sum(slope * direction) - expected)) < 0.02 * scale


def test_far_points_are_pulled_home_and_nothing_is_nan(person):
    _, shaped, field = person
    Ts = shaped.pose_joints(POSES["standing"], jnp.zeros(3))
    points = jnp.asarray([[30.0, 2.0, -40.0], [0.0, 0.3, 3.0]])
    value, pull = jax.jit(jax.vmap(jax.value_and_grad(lambda p: field.distance(p[None], Ts)[0])))(
        points
    )
    assert (np.asarray(value) > 2.0).all()
    assert (
        np.asarray(jnp.sum(pull * points, axis=-1)) > 0.9 * np.linalg.norm(points, axis=-1)
    ).all()
    opposed = Ts.at[1:, :3, :3].set(
        jnp.diag(jnp.array([-1.0, -1.0, 1.0]))
    )  # blends without a rotation
    slopes = jax.jit(jax.grad(lambda T: jnp.sum(field.distance(points, T))))(opposed)
    assert np.isfinite(slopes).all()


def test_self_distances_see_a_hand_in_the_belly_only(person):
    _, shaped, field = person
    crossing = pose_of(left_shoulder=(0, 0, -1.3), left_elbow=(0, -2.6, 0.6), spine1=(0.9, 0, 0))
    rotations = jnp.asarray(np.stack([*POSES.values(), crossing]))

    @jax.jit
    @jax.vmap
    def depth(rotations):
        posed = shaped.pose(rotations, jnp.zeros(3))
        samples = posed.vertices_world[field.sample_vertices]
        return jnp.maximum(-field.self_distances(samples, posed.Ts_world_joint), 0.0)

    deepest = dict(zip([*POSES, "crossing"], np.asarray(depth(rotations)), strict=True))
    assert deepest["rest"].max() == 0.0
    for quiet in ("standing", "arms bent", "reaching", "arms up", "walking"):
        assert deepest[quiet].mean() < 5e-4, quiet
    assert deepest["crossing"].max() > 0.02


def test_fields_are_remembered(person):
    body, shaped, field = person
    assert build_body_field(body, shaped).cells is not None
    other = build_body_field(body, body.shape(jnp.ones(10)), resolution=0.02)
    assert other.cells.shape != field.cells.shape


def test_smooth_minimum_is_between_its_bounds():
    values = jnp.asarray([[0.01, 0.01, 3.0], [-0.2, 0.5, 0.4]])
    soft = np.asarray(smooth_minimum(values, 1e-3))
    np.testing.assert_allclose(soft, [0.01 - 1e-3 * np.log(2), -0.2], atol=1e-6)


def test_refusals(person):
    body, shaped, _ = person
    with pytest.raises(UserError, match=r"0\.002 to 0\.05"):
        build_body_field(body, shaped, resolution=0.5)
    with pytest.raises(UserError, match="no faces"):
        build_body_field(body, shaped.subset(np.arange(10)))
