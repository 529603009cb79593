"""Protocols of generation, retargeting and per-vertex contact: most need no ground truth."""

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from hoijax.geometry.transforms import GRAVITY
from hoijax.results import metrics
from hoijax.results.protocols.mesh_motion import MeshMotion, NotGiven, given
from hoijax.results.protocols.shared import (
    CM,
    corresponding,
    detection,
    differences,
    similarity,
)

FEET = (7, 8, 10, 11)
TOUCH = 0.02
"""Metres within which a body or the ground carries an object, in RePHO's float."""


def hoi_page(predicted: MeshMotion, _: MeshMotion | None = None) -> dict[str, float]:
    """HOI-PAGE (Li et al. 2025): non-collision, contact at 0 cm, smoothness of the object in metres.

    VideoCLIP and diversity need a text model and several results, and are not here.
    """
    signed = predicted.body_signed_distance
    return {
        "noncollision": metrics.noncollision(signed),
        "contact_share@0cm": metrics.contact_share(signed),
        "object_smoothness_m": metrics.object_smoothness(predicted.object_vertices),
    }


def omniretarget(predicted: MeshMotion, true: MeshMotion | None) -> dict[str, float]:
    """OmniRetarget (Yang et al. 2025), by its paper's table: penetration, skating, kept contact.

    Share of frames with a body vertex over 1 cm deep and the deepest one; share of frames in which an
    ankle or toe below 8 cm moves over 1 cm a frame; share of the ground truth's touching frames (5 cm) kept.
    The paper does not print its tolerances; these are ours and stand in the names.
    """
    depth = np.maximum(-predicted.body_signed_distance.min(axis=1), 0)
    values = {
        "penetration_duration_share@1cm": float((depth > 0.01).mean()),
        "penetration_deepest_cm": float(depth.max() * CM),
    }
    if predicted.body_joints is not None:
        feet = predicted.joints22[:, FEET]
        steps = np.linalg.norm(differences(feet[..., [0, 2]], 1, "steps"), axis=-1)
        low = feet[:-1, :, 1] < 0.08
        values["foot_skate_share@1cm_8cm"] = float(((steps > 0.01) & low).any(axis=1).mean())
    if true is not None:
        truly = true.body_signed_distance.min(axis=1) < 0.05
        if truly.any():
            touches = predicted.body_signed_distance.min(axis=1) < 0.05
            values["contact_preserved_share@5cm"] = float(touches[truly].mean())
    return values


def hoi_retarget(predicted: MeshMotion, true: MeshMotion | None) -> dict[str, float]:
    """HOI-Retarget (by the spec's note): mean gap between contact points, in the object's frame.

    Of the hand vertices that are within 2 cm of the object in the ground truth: how far each is from where it
    truly touches, after the object of the prediction is brought onto the true one.
    """
    truth = given(true, "a ground truth")
    corresponding(predicted.body_vertices, truth.body_vertices, "body mesh")
    corresponding(predicted.object_vertices, truth.object_vertices, "object mesh")
    touches = np.abs(truth.hand_signed_distance) < TOUCH
    if not touches.any():
        raise NotGiven("needs a truth in which the hands touch the object (2 cm)")
    gaps = []
    for t in np.flatnonzero(touches.any(axis=1)):
        _, rotation, translation = similarity(
            predicted.object_vertices[t], truth.object_vertices[t], scaled=False
        )
        points = predicted.body_vertices[t, predicted.hands][touches[t]] @ rotation.T + translation
        others = truth.body_vertices[t, truth.hands][touches[t]]
        gaps.append(np.linalg.norm(points - others, axis=-1))
    return {"contact_point_gap_cm@2cm": float(np.concatenate(gaps).mean() * CM)}


def repho(predicted: MeshMotion, _: MeshMotion | None = None) -> dict[str, float]:
    """RePHO's physics set (by the spec's note): contact, penetration, float, jerk.

    Float: share of frames in which the object touches neither the body nor the ground y = 0 (2 cm) and
    does not fall freely either (its acceleration is over 3 m/s2 off gravity).
    """
    signed = predicted.body_signed_distance
    gap = np.maximum(signed.min(axis=1), 0)
    centers = predicted.object_vertices.mean(axis=1)
    acceleration = differences(centers[:, None], 2, "acceleration")[:, 0] * predicted.fps**2
    falls = np.linalg.norm(acceleration - GRAVITY, axis=-1) < 3.0
    lowest = predicted.object_vertices[..., 1].min(axis=1)
    carried = (gap < TOUCH) | (lowest < TOUCH)
    jerk = metrics.jerk_m_s3(predicted.object_vertices, predicted.fps)
    return {
        "contact_rate@2cm": float((gap < TOUCH).mean()),
        "contact_distance_cm": float(gap.mean() * CM),
        "penetration_cm": metrics.penetration_deepest_cm(signed),
        "float_share@2cm": float((~carried[1:-1] & ~falls).mean()),
        "object_jerk_m_s3": jerk,
    }


def deco(predicted: MeshMotion, true: MeshMotion | None) -> dict[str, float]:
    """DECO and BEHAVE's dense contact (Tripathi et al., ICCV 2023): body vertices within 4 cm, over all frames."""
    truth = given(true, "a ground truth")
    corresponding(predicted.body_vertices, truth.body_vertices, "body mesh")
    touches = [m.body_signed_distance <= 0.04 for m in (predicted, truth)]
    return detection(touches[0], touches[1], "_vertices@4cm")


def contact_mimic(predicted: MeshMotion, true: MeshMotion | None) -> dict[str, float]:
    """ContactMimic: a body part touches when its nearest skin vertex is within 1 cm of the object."""
    truth = given(true, "a ground truth")
    touches = [_parts_touch(m, 0.01) for m in (predicted, truth)]
    return detection(touches[0], touches[1], "_parts@1cm")


def intermimic(predicted: MeshMotion, true: MeshMotion | None) -> dict[str, float]:
    """InterMimic's contact label (Xu et al., CVPR 2025): a body part within 2 cm of the object."""
    truth = given(true, "a ground truth")
    touches = [_parts_touch(m, 0.02) for m in (predicted, truth)]
    return detection(touches[0], touches[1], "_parts@2cm")


def _parts_touch(motion: MeshMotion, threshold: float) -> Bool[ndarray, "T B"]:
    parts = given(motion.body_parts, "body parts")
    signed = motion.body_signed_distance
    ids = range(int(parts.max()) + 1)
    touches = [(signed[:, parts == i] <= threshold).any(axis=1) for i in ids]
    return np.stack(touches, axis=1)
