"""Numbers that say how good an interaction is. Pure numpy functions on arrays; thresholds are in names.

`signed_distance` is (T, V): body vertices to an object's surface in metres, negative inside. Frames
come first everywhere. Where a published metric is meant, the docstring says so.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

CENTIMETERS = 100.0


@dataclass(frozen=True)
class Detection:
    """Precision, recall and F1 of a yes-or-no prediction."""

    precision: float
    recall: float
    f1: float


def noncollision(signed_distance: Float[ndarray, "T V"]) -> float:
    """Share of body vertices outside the object, averaged over frames (published)."""
    return float((signed_distance >= 0).mean())


def penetration_mean_cm(signed_distance: Float[ndarray, "T V"]) -> float:
    """Mean depth of the vertices that are inside, over all frames; 0 where none is."""
    inside = signed_distance < 0
    return float(-signed_distance[inside].mean() * CENTIMETERS) if inside.any() else 0.0


def penetration_deepest_cm(signed_distance: Float[ndarray, "T V"]) -> float:
    """Depth of the deepest vertex of every frame (0 where none is inside), averaged over frames."""
    return float(np.maximum(-signed_distance.min(axis=1), 0).mean() * CENTIMETERS)


def contact_share(signed_distance: Float[ndarray, "T V"], threshold: float = 0.0) -> float:
    """Share of frames in which some body vertex is within `threshold` metres (published: 0)."""
    return float((signed_distance.min(axis=1) <= threshold).mean())


def edge_contact_share(distances: Float[ndarray, "E T"], threshold: float) -> float:
    """Share of (edge, frame) pairs of the graph that touch: distance within `threshold` metres."""
    return float((distances <= threshold).mean()) if distances.size else float("nan")


def contact_detection(predicted: Bool[ndarray, "E T"], true: Bool[ndarray, "E T"]) -> Detection:
    """Precision, recall and F1 over all edges and frames; without any contact on either side, 1."""
    hits = float((predicted & true).sum())
    precision = hits / predicted.sum() if predicted.any() else float(not true.any())
    recall = hits / true.sum() if true.any() else float(not predicted.any())
    total = precision + recall
    return Detection(
        float(precision), float(recall), float(2 * precision * recall / total if total else 0.0)
    )


def object_smoothness(points_world: Float[ndarray, "T N 3"]) -> float:
    """Mean distance in metres of an object's points from the mid-point of their neighbors in time.

    Points are surface samples, so that turning counts; steady motion along a line scores 0. A clip of
    fewer than three frames has no neighbors and scores 0.
    """
    if len(points_world) < 3:
        return 0.0
    middle = (points_world[2:] + points_world[:-2]) / 2
    return float(np.linalg.norm(points_world[1:-1] - middle, axis=-1).mean())


def object_diversity(points_world: Float[ndarray, "K T N 3"]) -> float:
    """Mean distance in metres between corresponding points of every two of K results; 0 for K = 1."""
    count = len(points_world)
    pairs = [
        np.linalg.norm(points_world[i] - points_world[j], axis=-1).mean()
        for i in range(count)
        for j in range(i)
    ]
    return float(np.mean(pairs)) if pairs else 0.0


def translation_errors_cm(
    Ts_estimate: Float[ndarray, "T 4 4"],
    Ts_true: Float[ndarray, "T 4 4"],
    center: Float[ndarray, "3"],
) -> Float[ndarray, "T"]:
    """Distance between the object's centers in every frame; symmetries leave the center in place."""
    difference = (Ts_estimate[:, :3, :3] - Ts_true[:, :3, :3]) @ center
    difference = difference + Ts_estimate[:, :3, 3] - Ts_true[:, :3, 3]
    return np.linalg.norm(difference, axis=-1) * CENTIMETERS


def rotation_errors_deg(
    rotations_estimate: Float[ndarray, "T 3 3"],
    rotations_true: Float[ndarray, "T 3 3"],
    symmetries: Float[ndarray, "S 3 3"],
) -> Float[ndarray, "T"]:
    """Angle between the rotations modulo one symmetry for the whole clip.

    One symmetry, because an object that jumps between its twins does not move as the true one. A
    continuous axis, sampled in `symmetries`, costs nothing to turn about.
    """
    from hoijax.objects.symmetry import continuous_axes, symmetric_angle_degrees

    if len(continuous_axes(symmetries)):
        return symmetric_angle_degrees(rotations_estimate, rotations_true, symmetries)
    twins = np.einsum("tij,sjk->stik", rotations_true, symmetries)
    identity = np.eye(3)[None]
    angles = np.stack(
        [symmetric_angle_degrees(rotations_estimate, twin, identity) for twin in twins]
    )
    return angles[np.median(angles, axis=1).argmin()]


def adds_cm(
    Ts_estimate: Float[ndarray, "T 4 4"],
    Ts_true: Float[ndarray, "T 4 4"],
    samples: Float[ndarray, "S 3"],
    queries: int = 1024,
) -> Float[ndarray, "T"]:
    """ADD-S: mean distance from true surface samples to the nearest estimated one, per frame.

    Up to `queries` of the samples are looked up among all of them.
    """
    from scipy.spatial import KDTree

    tree = KDTree(samples)
    chosen = samples[:: max(len(samples) // queries, 1)]
    Ts_estimate_true = np.linalg.inv(Ts_estimate.astype(np.float64)) @ Ts_true
    moved = chosen @ Ts_estimate_true[:, :3, :3].swapaxes(-1, -2) + Ts_estimate_true[:, None, :3, 3]
    distance, _ = tree.query(moved.reshape(-1, 3))
    return distance.reshape(len(moved), -1).mean(axis=1) * CENTIMETERS


def mpjpe_mm(joints: Float[ndarray, "T J 3"], true: Float[ndarray, "T J 3"]) -> float:
    """Mean distance of joints from where they truly are in the world, in millimetres."""
    return float(np.linalg.norm(joints - true, axis=-1).mean() * 1000.0)


def pa_mpjpe_mm(joints: Float[ndarray, "T J 3"], true: Float[ndarray, "T J 3"]) -> float:
    """As `mpjpe_mm` after the best similarity of every frame: what is wrong in the pose alone."""
    a, b = joints - joints.mean(axis=1, keepdims=True), true - true.mean(axis=1, keepdims=True)
    u, s, vt = np.linalg.svd(np.einsum("tji,tjk->tik", a.astype(np.float64), b))
    sign = np.sign(np.linalg.det(u @ vt))
    s[:, 2] *= sign
    u[:, :, 2] *= sign[:, None]
    scale = s.sum(axis=1) / np.maximum((a**2).sum(axis=(1, 2)), 1e-12)
    turned = scale[:, None, None] * (a @ (u @ vt))
    return float(np.linalg.norm(turned - b, axis=-1).mean() * 1000.0)


def foot_skate_cm_s(feet_world: Float[ndarray, "T N 3"], fps: float, height: float = 0.05) -> float:
    """Mean horizontal speed of foot points while they are below `height` metres in both frames."""
    low = feet_world[..., 1] < height
    planted = low[1:] & low[:-1]
    if not planted.any():
        return 0.0
    steps = np.linalg.norm(np.diff(feet_world[..., [0, 2]], axis=0), axis=-1)
    return float(steps[planted].mean() * fps * CENTIMETERS)


def jerk_m_s3(points_world: Float[ndarray, "T N 3"], fps: float) -> float:
    """Mean length of the third derivative: how much points jitter. 0 for fewer than four frames."""
    if len(points_world) < 4:
        return 0.0
    return float(np.linalg.norm(np.diff(points_world, n=3, axis=0), axis=-1).mean() * fps**3)


def ground_penetration_cm(points_world: Float[ndarray, "T N 3"]) -> float:
    """Depth of the lowest point below the ground y = 0 (0 where none is below), mean over frames."""
    return float(np.maximum(-points_world[..., 1].min(axis=1), 0).mean() * CENTIMETERS)
