"""What several protocols are made of: alignments, chamfer distances, differences in time, yes or no."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.results.protocols.mesh_motion import MeshMotion, NotGiven

CM, MM = 100.0, 1000.0


def similarity(
    source: Float[ndarray, "N 3"], target: Float[ndarray, "N 3"], scaled: bool = True
) -> tuple[float, Float[ndarray, "3 3"], Float[ndarray, "3"]]:
    """(scale, rotation, translation) that brings corresponding points closest (Umeyama 1991).

    scaled=False keeps the size (Kabsch).
    """
    centers = source.mean(axis=0), target.mean(axis=0)
    a, b = source.astype(np.float64) - centers[0], target.astype(np.float64) - centers[1]
    u, s, vt = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * signs) @ vt
    scale = float((s * signs).sum() / max((a**2).sum(), 1e-12)) if scaled else 1.0
    return scale, rotation, centers[1] - scale * rotation @ centers[0]


def corresponding(predicted: ndarray, true: ndarray, what: str) -> None:
    """Raises NotGiven where two meshes or skeletons cannot be compared point by point."""
    if predicted.shape != true.shape:
        raise NotGiven(
            f"needs the same {what} as the ground truth ({predicted.shape[1]} points, not {true.shape[1]})"
        )


def aligned_by_body(predicted: MeshMotion, true: MeshMotion, frame: int, scaled: bool = True):
    """The whole prediction moved by the one similarity that fits the *body* in one frame.

    By vertices where both bodies have the same ones, else by 22 joints.
    """
    if predicted.body_vertices.shape == true.body_vertices.shape:
        pair = predicted.body_vertices[frame], true.body_vertices[frame]
    else:
        pair = predicted.joints22[frame], true.joints22[frame]
    return predicted.moved(*similarity(*pair, scaled))


def directed_distances(
    predicted: Float[ndarray, "N 3"], true: Float[ndarray, "K 3"]
) -> tuple[Float[ndarray, "N"], Float[ndarray, "K"]]:
    """Distance of every point to the nearest of the other set, both ways."""
    from scipy.spatial import KDTree

    return KDTree(true).query(predicted)[0], KDTree(predicted).query(true)[0]


def directed_distances_by_frame(
    predicted: Float[ndarray, "T N 3"], true: Float[ndarray, "T K 3"]
) -> Iterator[tuple[ndarray, ndarray]]:
    for points, others in zip(predicted, true, strict=True):
        yield directed_distances(points, others)


def nearest_vertex_distance(
    points: Float[ndarray, "T N 3"], vertices: Float[ndarray, "T M 3"]
) -> Float[ndarray, "T N"]:
    """Distance to the nearest *vertex*, which is what CHOIS means by distance to an object."""
    from scipy.spatial import KDTree

    return np.stack([KDTree(v).query(p)[0] for p, v in zip(points, vertices, strict=True)])


def object_motion_errors(
    predicted: MeshMotion, true: MeshMotion
) -> tuple[Float[ndarray, "T 3 3"], Float[ndarray, "T 3"]]:
    """R_predicted R_true^T and the step between the vertices' centers, of every frame.

    Needs the same object mesh on both sides.
    """
    corresponding(predicted.object_vertices, true.object_vertices, "object mesh")
    frames = zip(true.object_vertices, predicted.object_vertices, strict=True)
    rotations = np.stack([similarity(t, p, scaled=False)[1] for t, p in frames])
    return rotations, (predicted.object_vertices - true.object_vertices).mean(axis=1)


def angles_deg(rotations: Float[ndarray, "T 3 3"]) -> Float[ndarray, "T"]:
    cosine = (np.trace(rotations, axis1=-2, axis2=-1) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def differences(points: Float[ndarray, "T N D"], order: int, what: str) -> Float[ndarray, "t N D"]:
    """Differences in time, per frame. Raises NotGiven for clips that are too short."""
    if len(points) <= order:
        raise NotGiven(f"needs more than {order} frames for {what}")
    return np.diff(points, n=order, axis=0)


def detection(
    predicted: Bool[ndarray, "..."], true: Bool[ndarray, "..."], suffix: str
) -> dict[str, float]:
    """Precision, recall, F1 and accuracy; without any positive on either side all are 1."""
    hits = int((predicted & true).sum())
    counts = int(predicted.sum()), int(true.sum())
    precision = hits / counts[0] if counts[0] else float(not counts[1])
    recall = hits / counts[1] if counts[1] else float(not counts[0])
    total = precision + recall
    return {
        f"contact_precision{suffix}": precision,
        f"contact_recall{suffix}": recall,
        f"contact_f1{suffix}": 2 * precision * recall / total if total else 0.0,
        f"contact_accuracy{suffix}": float((predicted == true).mean()),
    }
