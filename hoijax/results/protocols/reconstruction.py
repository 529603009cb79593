"""Protocols of reconstruction from video: BEHAVE and InterTrack, RHOBIN, V2D's first track."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.results.metrics import mpjpe_mm, pa_mpjpe_mm
from hoijax.results.protocols.mesh_motion import MeshMotion, NotGiven, given
from hoijax.results.protocols.shared import (
    CM,
    MM,
    aligned_by_body,
    angles_deg,
    corresponding,
    differences,
    directed_distances_by_frame,
    object_motion_errors,
    similarity,
)

BEHAVE_F_SCORE = 0.01
SPAN_CONTACT = 0.05


def behave_surfaces(predicted: MeshMotion, true: MeshMotion | None) -> dict[str, float]:
    """BEHAVE, InterTrack and CARI4D: chamfer and F-score at 1 cm after Procrustes of the first frame's body.

    8,196 surface points a mesh; chamfer is the mean of the two directed mean distances (Euclidean),
    of the person, the object, and both as one set, averaged over frames.
    """
    truth = given(true, "a ground truth")
    moved = aligned_by_body(predicted, truth, 0)
    surfaces = {
        "human": (moved.body_samples(), truth.body_samples()),
        "object": (moved.object_samples(), truth.object_samples()),
    }
    people, objects = surfaces["human"], surfaces["object"]
    surfaces["both"] = (
        np.concatenate([people[0], objects[0]], axis=1),
        np.concatenate([people[1], objects[1]], axis=1),
    )
    values = {}
    for name, pair in surfaces.items():
        rows = [_chamfer_and_f_score(*ways) for ways in directed_distances_by_frame(*pair)]
        chamfer, score = np.mean(rows, axis=0)
        values |= {f"chamfer_{name}_cm": float(chamfer * CM), f"f_score_{name}@1cm": float(score)}
    return values


def _chamfer_and_f_score(
    there: Float[ndarray, "N"], back: Float[ndarray, "K"]
) -> tuple[float, float]:
    precision, recall = (there < BEHAVE_F_SCORE).mean(), (back < BEHAVE_F_SCORE).mean()
    score = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return float(there.mean() + back.mean()) / 2, float(score)


def behave_motion(predicted: MeshMotion, true: MeshMotion | None) -> dict[str, float]:
    """v2v and MPJPE after the same Procrustes; error of acceleration, and jitter (third differences).

    Acceleration and jitter are of 22 joints and of the object's center, per second.
    """
    truth = given(true, "a ground truth")
    moved = aligned_by_body(predicted, truth, 0)
    corresponding(moved.joints22, truth.joints22, "joints")
    tracks = {
        "human": (moved.joints22, truth.joints22),
        "object": tuple(m.object_vertices.mean(axis=1, keepdims=True) for m in (moved, truth)),
    }
    values = {"mpjpe_mm": mpjpe_mm(moved.joints22, truth.joints22)}
    if moved.body_vertices.shape == truth.body_vertices.shape:
        values["v2v_mm"] = mpjpe_mm(moved.body_vertices, truth.body_vertices)
    for name, (track, truly) in tracks.items():
        change = differences(track - truly, 2, "acceleration") * predicted.fps**2
        values[f"acceleration_error_{name}_m_s2"] = float(np.linalg.norm(change, axis=-1).mean())
        jitter = differences(track, 3, "jitter") * predicted.fps**3
        values[f"jitter_{name}_m_s3"] = float(np.linalg.norm(jitter, axis=-1).mean())
    return values


def rhobin(predicted: MeshMotion, true: MeshMotion | None) -> dict[str, float]:
    """RHOBIN challenge (Xie et al., CVPR workshops 2023-24); formulas from the spec's note, not from its code.

    Person: MPJPE and PA-MPJPE and v2v, root-aligned. Object: angle, distance of centers after the root's
    alignment. Joint: chamfer of person and object after one Procrustes of the pair in every frame.
    """
    truth = given(true, "a ground truth")
    joints, truly = predicted.joints22, truth.joints22
    corresponding(joints, truly, "joints")
    corresponding(predicted.body_vertices, truth.body_vertices, "body mesh")
    roots, true_roots = joints[:, :1], truly[:, :1]
    rotations, steps = object_motion_errors(predicted, truth)
    centers = steps - (roots - true_roots)[:, 0]
    return {
        "mpjpe_root_aligned_mm": mpjpe_mm(joints - roots, truly - true_roots),
        "pa_mpjpe_mm": pa_mpjpe_mm(joints, truly),
        "v2v_root_aligned_mm": mpjpe_mm(
            predicted.body_vertices - roots, truth.body_vertices - true_roots
        ),
        "object_rotation_deg": float(angles_deg(rotations).mean()),
        "object_translation_root_aligned_mm": float(np.linalg.norm(centers, axis=-1).mean() * MM),
        **_chamfer_of_pair(predicted, truth),
    }


def _chamfer_of_pair(predicted: MeshMotion, true: MeshMotion) -> dict[str, float]:
    pairs = [
        np.concatenate([m.body_vertices, m.object_vertices], axis=1) for m in (predicted, true)
    ]
    samples = [(m.body_samples(), m.object_samples()) for m in (predicted, true)]
    people, objects = [], []
    for t in range(predicted.frame_count):
        scale, rotation, translation = similarity(pairs[0][t], pairs[1][t])
        for k, rows in enumerate((people, objects)):
            moved = scale * samples[0][k][t] @ rotation.T + translation
            ((there, back),) = directed_distances_by_frame(moved[None], samples[1][k][t][None])
            rows.append((there.mean() + back.mean()) / 2)
    return {
        "chamfer_human_of_pair_cm": float(np.mean(people) * CM),
        "chamfer_object_of_pair_cm": float(np.mean(objects) * CM),
    }


def v2d(predicted: MeshMotion, true: MeshMotion | None) -> dict[str, float]:
    """V2D Track 1, by an audit of its public code: one Sim(3) from the body in the first scored frame.

    Scored frames: from the ground truth's first to its last hand contact (5 cm). CD-H and CD-O: the *sum* of
    the two directed mean distances. ACC-H, ACC-O: mean norm of the difference of second differences per
    frame squared (joints; object's center). PEN: mean depth over *all* hand points and frames.
    """
    truth = given(true, "a ground truth")
    corresponding(predicted.joints22, truth.joints22, "joints")
    touches = np.flatnonzero(truth.hand_signed_distance.min(axis=1) < SPAN_CONTACT)
    if not len(touches):
        raise NotGiven("needs a truth in which the hands touch the object (5 cm)")
    span = slice(int(touches[0]), int(touches[-1]) + 1)
    truth = truth.frames(span)
    moved = aligned_by_body(predicted.frames(span), truth, 0)
    values = {}
    samples = {
        "h": (moved.body_samples(), truth.body_samples()),
        "o": (moved.object_samples(), truth.object_samples()),
    }
    for name, pair in samples.items():
        sums = [there.mean() + back.mean() for there, back in directed_distances_by_frame(*pair)]
        values[f"cd_{name}_sum_cm"] = float(np.mean(sums) * CM)
    centers = [m.object_vertices.mean(axis=1, keepdims=True) for m in (moved, truth)]
    tracks = {"h": moved.joints22 - truth.joints22, "o": centers[0] - centers[1]}
    for name, errors in tracks.items():
        change = differences(errors, 2, "acceleration")
        values[f"acc_{name}_cm_frame2"] = float(np.linalg.norm(change, axis=-1).mean() * CM)
    values["pen_cm"] = float(np.maximum(-moved.hand_signed_distance, 0).mean() * CM)
    return values
