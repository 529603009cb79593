"""Metrics against brute force, and against answers known by construction."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoijax.geometry.transforms import compose_rigid
from hoijax.results import metrics

T, V, N = 6, 40, 25


@pytest.fixture
def signed_distance(rng):
    return rng.normal(0.05, 0.1, (T, V))


@pytest.fixture
def points(rng):
    return np.cumsum(rng.normal(0, 0.1, (T, N, 3)), axis=0)


def poses(rng, count=T):
    turn = Rotation.random(count, rng=rng).as_matrix()
    return compose_rigid(turn, rng.normal(0, 1, (count, 3))).astype(np.float64)


def test_collision_and_contact_are_counts(signed_distance):
    outside, deepest, inside, touching, near = 0, [], [], 0, 0
    for row in signed_distance:
        outside += sum(1 for d in row if d >= 0)
        inside += [-d for d in row if d < 0]
        deepest.append(max(0.0, -min(row)))
        touching += any(d <= 0 for d in row)
        near += any(d <= -0.12 for d in row)
    assert metrics.noncollision(signed_distance) == pytest.approx(outside / (T * V))
    assert metrics.penetration_mean_cm(signed_distance) == pytest.approx(100 * np.mean(inside))
    assert metrics.penetration_deepest_cm(signed_distance) == pytest.approx(100 * np.mean(deepest))
    assert metrics.contact_share(signed_distance) == pytest.approx(touching / T)
    assert metrics.contact_share(signed_distance, -0.12) == pytest.approx(near / T)


def test_a_body_that_never_touches_scores_clean():
    away = np.full((T, V), 0.06)
    assert metrics.noncollision(away) == 1
    assert metrics.penetration_mean_cm(away) == 0
    assert metrics.penetration_deepest_cm(away) == 0
    assert metrics.contact_share(away, 0.05) == 0
    assert metrics.contact_share(away, 0.07) == 1


def test_contact_detection_is_the_textbook_definition(rng):
    predicted, true = rng.random((2, 3, T)) < 0.5
    pairs = list(zip(predicted.ravel().tolist(), true.ravel().tolist(), strict=True))
    tp, fp, fn = pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True))
    found = metrics.contact_detection(predicted, true)
    assert found.precision == pytest.approx(tp / (tp + fp))
    assert found.recall == pytest.approx(tp / (tp + fn))
    assert found.f1 == pytest.approx(2 * tp / (2 * tp + fp + fn))


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [(False, False, (1, 1, 1)), (True, False, (0, 0, 0)), (False, True, (0, 0, 0))],
)
def test_contact_detection_without_contacts(predicted, true, expected):
    found = metrics.contact_detection(np.full((2, 3), predicted), np.full((2, 3), true))
    assert (found.precision, found.recall, found.f1) == expected


def test_edge_contact_share_counts_edges_and_frames():
    distances = np.array([[0.01, 0.2], [0.04, 0.06]])
    assert metrics.edge_contact_share(distances, 0.05) == 0.5
    assert np.isnan(metrics.edge_contact_share(np.zeros((0, 4)), 0.05))


def test_smoothness_is_the_distance_to_the_neighbors_midpoint(points):
    expected = np.mean(
        [
            np.linalg.norm(points[t, n] - (points[t - 1, n] + points[t + 1, n]) / 2)
            for t in range(1, T - 1)
            for n in range(N)
        ]
    )
    assert metrics.object_smoothness(points) == pytest.approx(expected)
    line = np.linspace(0, 1, T)[:, None, None] * np.ones((1, N, 3))
    assert metrics.object_smoothness(line) == pytest.approx(0, abs=1e-12)
    assert metrics.object_smoothness(points[:2]) == 0


def test_diversity_is_the_mean_over_pairs(rng):
    results = rng.normal(0, 1, (3, T, N, 3))
    expected = np.mean(
        [
            np.linalg.norm(results[a, t, n] - results[b, t, n])
            for a, b in ((0, 1), (0, 2), (1, 2))
            for t in range(T)
            for n in range(N)
        ]
    )
    assert metrics.object_diversity(results) == pytest.approx(expected)
    assert metrics.object_diversity(results[:1]) == 0
    assert metrics.object_diversity(np.stack([results[0]] * 3)) == 0


def test_translation_is_compared_at_the_center(rng):
    true, center = poses(rng), np.array([0.3, -0.2, 0.5])
    turned = true.copy()  # turned about its center, then moved by 3 cm
    turn = Rotation.from_rotvec([0.4, 1.0, -0.3]).as_matrix()
    turned[:, :3, :3] = true[:, :3, :3] @ turn
    turned[:, :3, 3] += true[:, :3, :3] @ (center - turn @ center) + [0.03, 0.0, 0.0]
    np.testing.assert_allclose(metrics.translation_errors_cm(turned, true, center), 3.0)
    origin_moved = metrics.translation_errors_cm(turned, true, np.zeros(3))
    assert (origin_moved > 4).all()


def test_rotation_is_compared_modulo_one_symmetry_of_the_clip(rng):
    true = poses(rng)[:, :3, :3]
    half_turn = np.diag([-1.0, 1.0, -1.0])
    group = np.stack([np.eye(3), half_turn])
    off = Rotation.from_rotvec([0, 0, np.radians(5.0)]).as_matrix()
    twin = true @ half_turn @ off
    np.testing.assert_allclose(metrics.rotation_errors_deg(twin, true, group), 5, atol=1e-4)
    alone = metrics.rotation_errors_deg(twin, true, group[:1])
    assert (alone > 170).all()
    jumping = true.copy()
    jumping[:2] = true[:2] @ half_turn
    errors = metrics.rotation_errors_deg(jumping, true, group)
    np.testing.assert_allclose(errors, [180, 180, 0, 0, 0, 0], atol=1e-3)


def test_turning_about_a_continuous_axis_costs_nothing(rng):
    true = poses(rng)[:, :3, :3]
    angles = np.radians(np.arange(0, 360, 15))
    group = Rotation.from_rotvec(angles[:, None] * [0, 1, 0]).as_matrix()
    spun = true @ Rotation.from_rotvec([0, np.radians(37.0), 0]).as_matrix()
    assert metrics.rotation_errors_deg(spun, true, group).max() < 1e-3
    tilted = true @ Rotation.from_rotvec([np.radians(8.0), 0, 0]).as_matrix()
    np.testing.assert_allclose(metrics.rotation_errors_deg(tilted, true, group), 8, atol=1e-3)


def test_adds_is_the_mean_nearest_distance(rng):
    samples, true = rng.normal(0, 0.3, (60, 3)), poses(rng, 2)
    estimate = true @ poses(rng, 1)
    found = metrics.adds_cm(estimate, true, samples)
    for t in range(2):
        a = samples @ true[t, :3, :3].T + true[t, :3, 3]
        b = samples @ estimate[t, :3, :3].T + estimate[t, :3, 3]
        nearest = np.linalg.norm(a[:, None] - b[None], axis=-1).min(axis=1)
        assert found[t] == pytest.approx(100 * nearest.mean())
    np.testing.assert_allclose(metrics.adds_cm(true, true, samples), 0, atol=1e-9)
    subset = metrics.adds_cm(estimate, true, samples, queries=30)
    assert subset == pytest.approx(found, rel=0.3)


def test_foot_skate_counts_only_planted_feet():
    feet = np.zeros((3, 2, 3))
    feet[:, 0, 0] = [0.0, 0.01, 0.03]  # slides on the ground
    feet[:, 1, 0] = [0.0, 1.0, 2.0]  # swings in the air
    feet[:, 1, 1] = 0.3
    assert metrics.foot_skate_cm_s(feet, 10.0) == pytest.approx(15.0)
    feet[1, 0, 1] = 0.2
    assert metrics.foot_skate_cm_s(feet, 10.0) == 0


def test_jerk_of_a_cubic_is_its_third_derivative():
    time = np.arange(7) / 8.0
    points = (2.0 * time**3 + time**2)[:, None, None] * np.array([1.0, 0.0, 0.0])
    assert metrics.jerk_m_s3(points, 8.0) == pytest.approx(12.0)
    assert metrics.jerk_m_s3(points[:3], 8.0) == 0


def test_ground_penetration_is_the_lowest_point():
    points = np.zeros((2, 3, 3))
    points[0, 1, 1], points[1, :, 1] = -0.04, 0.5
    assert metrics.ground_penetration_cm(points) == pytest.approx(2.0)
