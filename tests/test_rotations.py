"""Rotations against scipy, round trips, and finite gradients at every singular point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation, Slerp

from hoijax.geometry import rotations as ours

PI = float(np.pi)
# Nothing, almost nothing, either side of the Taylor switch, right angles, almost a half-turn, a half-turn.
SPECIAL_ANGLES = [0.0, 1e-7, 1e-4, 9e-4, 1.1e-3, 0.5 * PI, PI - 1e-3, PI]


def special_rotations(rng: np.random.Generator) -> Rotation:
    """Every special angle about the three axes, about negative ones, and about a diagonal; and random ones."""
    axes = np.concatenate([np.eye(3), -np.eye(3), [[0.6, 0.0, 0.8], [0.48, -0.6, 0.64]]])
    vectors = np.concatenate([axes * angle for angle in SPECIAL_ANGLES])
    return Rotation.concatenate([Rotation.from_rotvec(vectors), Rotation.random(200, rng)])


def f32(x) -> jax.Array:
    return jnp.asarray(np.asarray(x), jnp.float32)


def angle_between(a, b) -> np.ndarray:
    """Degrees between rotation matrices, by scipy in float64."""
    relative = Rotation.from_matrix(np.asarray(a, np.float64)).inv() * Rotation.from_matrix(
        np.asarray(b, np.float64)
    )
    return np.degrees(relative.magnitude())


def wxyz(rotation: Rotation) -> np.ndarray:
    q = np.roll(rotation.as_quat(canonical=True), 1, axis=-1)
    return np.where(q[..., :1] < 0, -q, q)


def test_axis_angle_to_matrix(rng):
    rotation = special_rotations(rng)
    matrices = jax.jit(ours.axis_angle_to_matrix)(f32(rotation.as_rotvec()))
    np.testing.assert_allclose(matrices, rotation.as_matrix(), atol=2e-6)


def test_matrix_to_quaternion_is_wxyz_with_positive_w(rng):
    rotation = special_rotations(rng)
    quaternion = np.asarray(jax.jit(ours.matrix_to_quaternion)(f32(rotation.as_matrix())))
    assert (quaternion[:, 0] >= 0.0).all()
    np.testing.assert_allclose(np.linalg.norm(quaternion, axis=-1), 1.0, atol=1e-6)
    # At half a turn w = 0 and both signs are the same rotation.
    alignment = np.abs(np.sum(quaternion * wxyz(rotation), axis=-1))
    np.testing.assert_allclose(alignment, 1.0, atol=1e-6)


def test_quaternion_to_matrix_normalizes_first(rng):
    rotation = special_rotations(rng)
    scaled = wxyz(rotation) * rng.uniform(0.1, 5.0, (len(rotation), 1))
    matrices = jax.jit(ours.quaternion_to_matrix)(f32(scaled))
    np.testing.assert_allclose(matrices, rotation.as_matrix(), atol=2e-6)


def test_matrix_to_axis_angle_goes_back(rng):
    rotation = special_rotations(rng)
    vectors = np.asarray(jax.jit(ours.matrix_to_axis_angle)(f32(rotation.as_matrix())))
    assert (np.linalg.norm(vectors, axis=-1) <= PI + 1e-5).all()
    back = Rotation.from_rotvec(vectors.astype(np.float64))
    assert angle_between(back.as_matrix(), rotation.as_matrix()).max() < 1e-3


def test_six_d_round_trip_and_gram_schmidt(rng):
    rotation = special_rotations(rng)
    six = jax.jit(ours.matrix_to_rotation_6d)(f32(rotation.as_matrix()))
    np.testing.assert_array_equal(six[:, :3], f32(rotation.as_matrix())[:, :, 0])
    np.testing.assert_allclose(
        jax.jit(ours.rotation_6d_to_matrix)(six), rotation.as_matrix(), atol=2e-6
    )
    # Any two independent vectors: the first keeps its direction, the second stays in their plane.
    raw = rng.normal(size=(50, 6))
    found = np.asarray(jax.jit(ours.rotation_6d_to_matrix)(f32(raw)), np.float64)
    orthonormal, triangle = np.linalg.qr(np.stack([raw[:, :3], raw[:, 3:]], axis=-1))
    expected = orthonormal * np.sign(np.diagonal(triangle, axis1=-2, axis2=-1))[:, None, :]
    np.testing.assert_allclose(found[:, :, :2], expected, atol=5e-6)
    np.testing.assert_allclose(np.linalg.det(found), 1.0, atol=1e-5)


def test_squared_chordal_is_four_sine_squared_of_half_the_angle(rng):
    a, b = Rotation.random(100, rng), Rotation.random(100, rng)
    found = jax.jit(ours.squared_chordal)(f32(a.as_matrix()), f32(b.as_matrix()))
    angle = (a.inv() * b).magnitude()
    np.testing.assert_allclose(found, 4.0 * np.sin(angle / 2.0) ** 2, rtol=1e-5, atol=1e-6)
    near = np.array([0.0, 0.1, 0.3])
    assert (np.abs(4 * np.sin(near / 2) ** 2 - near**2) <= near**4 / 12 + 1e-15).all()


def test_slerp_midpoint(rng):
    a = Rotation.random(100, rng)
    # Up to 170 degrees apart: at 180 there are two shortest arcs.
    steps = rng.normal(size=(100, 3))
    steps *= (rng.uniform(0, np.radians(170), 100) / np.linalg.norm(steps, axis=-1))[:, None]
    b = a * Rotation.from_rotvec(steps)
    middle = jax.jit(ours.slerp_midpoint)(f32(a.as_matrix()), f32(b.as_matrix()))
    expected = [
        Slerp([0, 1], Rotation.concatenate([a[i], b[i]]))(0.5).as_matrix() for i in range(100)
    ]
    np.testing.assert_allclose(middle, np.stack(expected), atol=2e-5)


def test_skew_is_the_cross_product(rng):
    a, b = rng.normal(size=(2, 20, 3))
    crossed = jax.jit(lambda x, y: (ours.skew(x) @ y[..., None])[..., 0])(f32(a), f32(b))
    np.testing.assert_allclose(crossed, np.cross(a, b), atol=1e-5)


@pytest.mark.parametrize("count", [1, 96, 576])
def test_super_fibonacci_rotations_cover_so3(count, rng):
    spread = ours.super_fibonacci_rotations(count)
    assert spread.shape == (count, 3, 3)
    assert spread.dtype == np.float32
    np.testing.assert_allclose(
        spread @ np.swapaxes(spread, -1, -2), np.broadcast_to(np.eye(3), spread.shape), atol=1e-6
    )
    np.testing.assert_allclose(np.linalg.det(spread), 1.0, atol=1e-6)
    if count == 1:
        return
    # Covering radius: no rotation is further than ~ 2x the radius of an ideal covering from the set.
    nearest = _nearest_degrees(Rotation.random(3000, rng).as_matrix(), spread)
    ideal = np.degrees((12.0 * np.pi / count) ** (1.0 / 3.0))
    assert nearest.max() < 1.6 * ideal
    # Nor do two of the set lie together.
    itself = _nearest_degrees(spread, spread, skip=1)
    assert itself.min() > 0.4 * ideal


def _nearest_degrees(queries: np.ndarray, targets: np.ndarray, skip: int = 0) -> np.ndarray:
    """Angle to the nearest of a set, through the chord |A - B|_F = 2 sqrt(2) sin(angle / 2)."""
    tree = cKDTree(np.asarray(targets, np.float64).reshape(-1, 9))
    chord = tree.query(np.asarray(queries, np.float64).reshape(-1, 9), k=skip + 1)[0]
    chord = chord[:, skip] if skip else chord.reshape(len(queries), -1)[:, 0]
    return np.degrees(2.0 * np.arcsin(np.clip(chord / np.sqrt(8.0), 0, 1)))


def test_batch_axes_are_free(rng):
    vectors = f32(rng.normal(size=(2, 3, 4, 3)))
    whole = jax.jit(ours.axis_angle_to_matrix)(vectors)
    assert whole.shape == (2, 3, 4, 3, 3)
    np.testing.assert_allclose(
        whole.reshape(-1, 3, 3),
        jax.jit(ours.axis_angle_to_matrix)(vectors.reshape(-1, 3)),
        atol=1e-6,
    )


def test_gradients_are_finite_at_singular_points():
    """Zero angle, half-turns, equal rotations, opposite rotations, degenerate 6D vectors."""
    half = f32(Rotation.from_rotvec(np.eye(3) * PI).as_matrix())
    same = jnp.broadcast_to(jnp.eye(3), (3, 3, 3))
    flat = f32([[0.0] * 6, [1, 0, 0, 1, 0, 0], [1, 0, 0, -2, 0, 0], [0, 0, 0, 0, 1, 0]])
    turns = f32(np.concatenate([np.zeros((1, 3)), np.eye(3) * PI, np.eye(3) * 2 * PI]))

    def everything(same, half, flat, turns):
        pieces = [
            ours.axis_angle_to_matrix(turns),
            ours.rotation_6d_to_matrix(flat),
            ours.quaternion_to_matrix(flat[:, :4]),
            *(
                function(a, b)
                for function in (ours.squared_chordal, ours.slerp_midpoint)
                for a, b in ((same, same), (same, half), (half, half))
            ),
            *(
                function(m)
                for function in (ours.matrix_to_quaternion, ours.matrix_to_axis_angle)
                for m in (same, half)
            ),
        ]
        # Separate weights, so that contributions do not cancel.
        return sum((i + 1.0) * jnp.sum(jnp.sin(p + 0.1 * i)) for i, p in enumerate(pieces))

    value, gradients = jax.jit(jax.value_and_grad(everything, argnums=(0, 1, 2, 3)))(
        same, half, flat, turns
    )
    assert np.isfinite(value)
    for gradient in gradients:
        assert np.isfinite(gradient).all()


def test_gradient_of_rodrigues_is_right_on_both_sides_of_the_switch():
    """Central differences in float64 numpy across the Taylor switch at an angle of 1e-3."""
    jacobian = jax.jit(jax.vmap(jax.jacfwd(ours.axis_angle_to_matrix)))
    vectors = np.array([[0, 0, 0], [9e-4, 0, 0], [1.1e-3, 0, 0], [0.3, -0.5, 0.2], [0, PI, 0]])
    found = jacobian(f32(vectors))
    step = 1e-6
    for vector, mine in zip(vectors, found, strict=True):
        expected = np.stack(
            [
                (
                    Rotation.from_rotvec(vector + step * axis).as_matrix()
                    - Rotation.from_rotvec(vector - step * axis).as_matrix()
                )
                / (2 * step)
                for axis in np.eye(3)
            ],
            axis=-1,
        )
        np.testing.assert_allclose(mine, expected, atol=2e-4)
