"""A user's mesh in the place of a generated one: rotation, translation and scale from the object's field."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.errors import UserError

__all__ = ["Placement", "place_mesh"]

COARSE_POINTS, COARSE_STEPS, FINE_POINTS, FINE_STEPS, KEPT = 160, 12, 1500, 40, 6
YAWS = 16


@dataclass(frozen=True)
class Placement:
    """Similarity that takes a mesh to the field: x -> scale * rotation @ x + translation."""

    rotation: Float[ndarray, "3 3"]
    translation: Float[ndarray, " 3"]
    scale: float
    residual: float
    """Metres: mean distance between the two surfaces, both ways."""


def place_mesh(
    samples: Float[ndarray, "S 3"], target: Float[ndarray, "T 3"], seed: int = 0
) -> Placement:
    """Place surface samples of a mesh on points of a field's surface, from starts all around.

    Two-sided iterated closest points (Besl and McKay 1992) with the best similarity of Umeyama (1991):
    the object's own axes may point anywhere, upright starts come first. UserError for too few points.
    """
    if len(target) < 20 or len(samples) < 20:
        raise UserError(
            f"the mesh cannot be placed: {len(target)} points of the object's field, 20 are needed. "
            "Distil the coarse field for longer."
        )
    rng = np.random.default_rng(seed)
    few = samples[rng.choice(len(samples), min(COARSE_POINTS, len(samples)), replace=False)]
    few_target = target[rng.choice(len(target), min(COARSE_POINTS, len(target)), replace=False)]
    size = _spread(target) / _spread(samples)
    middle = 0.5 * (target.min(0) + target.max(0))
    own_middle = 0.5 * (samples.min(0) + samples.max(0))
    starts = []
    for rotation in _start_rotations():
        start = (rotation, middle - size * rotation @ own_middle, size)
        starts.append(_closest_points(few, few_target, start, COARSE_STEPS))
    starts.sort(key=lambda candidate: candidate.residual)
    many = samples[rng.choice(len(samples), min(FINE_POINTS, len(samples)), replace=False)]
    many_target = target[rng.choice(len(target), min(FINE_POINTS, len(target)), replace=False)]
    fine = [
        _closest_points(many, many_target, (s.rotation, s.translation, s.scale), FINE_STEPS)
        for s in starts[:KEPT]
    ]
    return min(fine, key=lambda candidate: candidate.residual)


def _spread(points: ndarray) -> float:
    """Root mean square distance from the middle of the box."""
    middle = 0.5 * (points.min(0) + points.max(0))
    return float(np.sqrt(np.mean(np.sum((points - middle) ** 2, axis=1))))


def _start_rotations() -> list[ndarray]:
    """Turns about the upright axis, then the same with the mesh lying on each of its sides."""
    from scipy.spatial.transform import Rotation

    tilts = Rotation.from_euler("xz", [[0, 0], [90, 0], [-90, 0], [0, 90], [0, -90], [180, 0]], degrees=True)  # fmt: skip
    yaws = Rotation.from_euler("y", np.arange(YAWS)[:, None] * 360.0 / YAWS, degrees=True)
    return [(yaw * tilt).as_matrix() for tilt in tilts for yaw in yaws]


def _closest_points(
    source: ndarray, target: ndarray, start: tuple[ndarray, ndarray, float], steps: int
) -> Placement:
    from scipy.spatial import KDTree

    rotation, translation, scale = start
    tree = KDTree(target)
    for _ in range(steps):
        moved = scale * source @ rotation.T + translation
        _, to_target = tree.query(moved)
        _, to_source = KDTree(moved).query(target)
        a = np.concatenate([source, source[to_source]])
        b = np.concatenate([target[to_target], target])
        # Both directions count the same, however many points each has.
        weight = np.concatenate(
            [np.full(len(source), 1.0 / len(source)), np.full(len(target), 1.0 / len(target))]
        )
        rotation, translation, scale = _umeyama(a, b, weight)
    moved = scale * source @ rotation.T + translation
    residual = 0.5 * (tree.query(moved)[0].mean() + KDTree(moved).query(target)[0].mean())
    return Placement(rotation, translation, float(scale), float(residual))


def _umeyama(source: ndarray, target: ndarray, weight: ndarray) -> tuple[ndarray, ndarray, float]:
    """Least-squares similarity with weights: rotation, translation, scale."""
    weight = weight / weight.sum()
    mean_source, mean_target = weight @ source, weight @ target
    a, b = source - mean_source, target - mean_target
    covariance = (b * weight[:, None]).T @ a
    u, s, vt = np.linalg.svd(covariance)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((s * sign).sum() / np.maximum(weight @ np.sum(a**2, axis=1), 1e-12))
    scale = max(scale, 1e-3)
    return rotation, mean_target - scale * rotation @ mean_source, scale
