"""CHOIS's evaluation on OMOMO (Li et al., ECCV 2024), as its public code computes it."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.results.protocols.mesh_motion import MeshMotion, given
from hoijax.results.protocols.shared import (
    CM,
    MM,
    corresponding,
    detection,
    differences,
    nearest_vertex_distance,
    object_motion_errors,
)

ANKLES, TOES = (7, 8), (10, 11)
ANKLE_HEIGHT, TOE_HEIGHT = 0.08, 0.04
STATIC_STEP, SAME_HEIGHT, SMALLEST_CLUSTER = 0.005, 0.005, 3


def contact(predicted: MeshMotion, true: MeshMotion | None) -> dict[str, float]:
    """A frame touches when a palm joint is under 5 cm (wrists of 22 joints: 10 cm) from an object vertex.

    Precision, recall, F1 and accuracy over frames, share of touching frames, and the mean distance of
    the hands over the frames in which the ground truth touches.
    """
    distance, suffix = _palm_distance(predicted)
    touches = distance.min(axis=1) < _threshold(predicted)
    values = {f"contact_share{suffix}": float(touches.mean())}
    if true is None:
        return values
    truly = _palm_distance(true)[0].min(axis=1) < _threshold(true)
    values |= detection(touches, truly, suffix)
    if truly.any():
        values["hand_object_distance_cm"] = float(distance[truly].mean() * CM)
    return values


def _threshold(motion: MeshMotion) -> float:
    return motion.palms[1]


def _palm_distance(motion: MeshMotion) -> tuple[Float[ndarray, "T 2"], str]:
    palms, threshold = motion.palms
    return nearest_vertex_distance(palms, motion.object_vertices), f"@{threshold * CM:.0f}cm"


def foot_sliding(predicted: MeshMotion, _: MeshMotion | None = None) -> dict[str, float]:
    """Horizontal steps of ankles below 8 cm and toes below 4 cm, weighted 2 - 2^(h/H) (NeMF, He et al. 2022).

    Summed over frames, divided by the number of frames, mean of the four, in millimetres. Heights are
    above the floor of `floor_height`.
    """
    joints = predicted.joints22
    floor = floor_height(joints[:, TOES])
    slides = []
    for feet, limit in ((ANKLES, ANKLE_HEIGHT), (TOES, TOE_HEIGHT)):
        steps = np.linalg.norm(differences(joints[:, feet][..., [0, 2]], 1, "steps"), axis=-1)
        heights = joints[:-1, feet, 1] - floor
        weights = np.where(heights < limit, 2 - 2 ** (np.clip(heights, 0, limit) / limit), 0)
        slides.append((steps * weights).sum(axis=0) / len(joints))
    lowest = predicted.body_vertices[..., 1].argmin(axis=1)[:-1]
    frames = np.arange(len(lowest))
    moves = predicted.body_vertices[frames + 1, lowest] - predicted.body_vertices[frames, lowest]
    return {
        "foot_sliding_mm@8cm_4cm": float(np.mean(slides) * MM),
        "lowest_vertex_slides_share@1cm": float((np.linalg.norm(moves, axis=-1) > 0.01).mean()),
    }


def floor_height(toes: Float[ndarray, "T N 3"]) -> float:
    """The lowest height at which toes rest: median of the lowest cluster of heights of slow toes.

    Clusters are runs of sorted heights without a gap of 5 mm, of three frames or more, as HuMoR's
    density clustering finds them. Without any, the lowest toe.
    """
    slow = np.linalg.norm(np.diff(toes, axis=0), axis=-1) < STATIC_STEP
    heights = np.sort(toes[:-1, :, 1][slow])
    clusters = np.split(heights, np.flatnonzero(np.diff(heights) > SAME_HEIGHT) + 1)
    medians = [float(np.median(c)) for c in clusters if len(c) >= SMALLEST_CLUSTER]
    return medians[0] if medians else float(toes[..., 1].min())


def penetration(predicted: MeshMotion, _: MeshMotion | None = None) -> dict[str, float]:
    """Mean of |min(SDF, 0)| over all hand vertices and frames, in the object's frame; centimetres."""
    depth = np.maximum(-predicted.hand_signed_distance, 0)
    return {"hand_penetration_cm": float(depth.mean() * CM)}


def pose_errors(predicted: MeshMotion, true: MeshMotion | None) -> dict[str, float]:
    """Root-relative MPJPE of 22 joints and the root's error; errors of translation and rotation.

    Rotation: Frobenius norm of R_predicted R_true^T - 1; translation: of the object's center.
    """
    truth = given(true, "a ground truth")
    joints, truly = predicted.joints22, truth.joints22
    corresponding(joints, truly, "joints")
    relative = (joints - joints[:, :1]) - (truly - truly[:, :1])
    rotations, steps = object_motion_errors(predicted, truth)
    return {
        "mpjpe_root_relative_mm": float(np.linalg.norm(relative, axis=-1).mean() * MM),
        "root_translation_mm": float(
            np.linalg.norm(joints[:, 0] - truly[:, 0], axis=-1).mean() * MM
        ),
        "object_translation_mm": float(np.linalg.norm(steps, axis=-1).mean() * MM),
        "object_rotation_frobenius": float(
            np.linalg.norm(rotations - np.eye(3), axis=(-2, -1)).mean()
        ),
    }
