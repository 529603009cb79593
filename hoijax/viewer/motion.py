"""What the viewer draws of one candidate, as plain arrays: bones, skin, distances, edges."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from hoijax.affordance.contact_table import ContactKind
from hoijax.affordance.graph import BODY_PARTS
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.exporters.clip import Clip, clip_from_result
from hoijax.objects.distance_grid import DistanceGrids
from hoijax.results.evaluation import CONTACT_THRESHOLD, Evaluator
from hoijax.results.result import Result

INSIDE = 0.002  # metres: shallower is the resolution of the distance grid, not penetration
_NEAR = np.array([255, 214, 10], np.float32)  # touching
_FAR = np.array([58, 110, 200], np.float32)  # CONTACT_THRESHOLD away
_RED = np.array([224, 24, 24], np.float32)


@dataclass(frozen=True)
class CandidateMotion:
    """One candidate over T frames; world frame, metres."""

    clip: Clip
    bone_wxyzs: Float[ndarray, "P T 55 4"]
    bone_positions: Float[ndarray, "P T 55 3"]
    distances: Float[ndarray, "P T V"]
    """Skin vertices to the nearest object, negative inside."""
    edge_labels: tuple[str, ...]
    edge_expected: Bool[ndarray, "E T"]
    """Frames in which the solver took an edge of the graph to touch."""
    edge_distances: Float[ndarray, "E T"]
    """Metres between the two ends of every edge."""

    @property
    def edge_met(self) -> Bool[ndarray, "E T"]:
        return self.edge_distances <= CONTACT_THRESHOLD


def only_candidate(result: Result, candidate: int) -> Result:
    """The same result with one candidate, which then is the winner."""
    rotations, translations = result.bodies_of(candidate)
    names = ("object_rotations", "object_translations", "losses", "initial_losses", "codes")
    names += ("reports", "history", "contact")
    chosen = {name: getattr(result, name)[candidate : candidate + 1] for name in names}
    return dataclasses.replace(
        result,
        **chosen,
        chosen=None,
        labels=(result.labels[candidate],),
        body_rotations=rotations,
        body_translations=translations,
        candidate_body_rotations=None,
        candidate_body_translations=None,
    )


def candidate_motion(
    result: Result,
    candidate: int,
    body: SkinnedBody,
    grids: tuple[DistanceGrids, ...] | None = None,
) -> CandidateMotion:
    """Pose and measure one candidate. grids: of the assets, where they are known already."""
    single = only_candidate(result, candidate)
    clip = clip_from_result(single, body)
    evaluator = Evaluator(single, body, grids=grids)
    poses = evaluator.object_poses(0)
    joints = np.stack([person.Ts_world_joint for person in clip.people])
    return CandidateMotion(
        clip,
        _wxyzs(joints[..., :3, :3]),
        joints[..., :3, 3],
        evaluator.skin_distances(poses),
        edge_labels(single),
        single.contact[0][single.contact_table.group],
        evaluator.edge_distances(poses),
    )


def _wxyzs(rotations: Float[ndarray, "P T 55 3 3"]) -> Float[ndarray, "P T 55 4"]:
    from scipy.spatial.transform import Rotation

    flat = Rotation.from_matrix(rotations.reshape(-1, 3, 3))
    return flat.as_quat(canonical=True, scalar_first=True).reshape(*rotations.shape[:-2], 4)


def edge_labels(result: Result) -> tuple[str, ...]:
    """A short name for every edge of the graph: "left hand - box side"."""
    table = result.contact_table

    def end(o: int, part: int) -> str:
        asset = result.assets[o]
        return f"{asset.name} {asset.part_names[part]}" if part >= 0 else asset.name

    labels = []
    for e in range(table.edge_count):
        target = end(int(table.object[e]), int(table.part[e]))
        if table.kind[e] == ContactKind.OBJECT_OBJECT:
            source = end(int(table.other_object[e]), int(table.other_part[e]))
        else:
            source = BODY_PARTS[table.body_part[e]].replace("_", " ")
            source += " (or the other)" if table.either_side[e] else ""
            if len(result.body_betas) > 1:
                source = f"{int(table.person[e]) + 1}: {source}"
        labels.append(f"{source} - {target}".replace("_", " "))
    return tuple(labels)


def contact_colors(distances: Float[ndarray, " V"]) -> UInt8[ndarray, "V 3"]:
    """Yellow where skin touches, blue at 5 cm, red where it is inside an object."""
    fraction = np.clip(distances / CONTACT_THRESHOLD, 0.0, 1.0)[:, None]
    colors = _NEAR + (_FAR - _NEAR) * fraction
    return np.where(distances[:, None] < -INSIDE, _RED, colors).astype(np.uint8)


def contact_patch(
    vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"], distances: Float[ndarray, " V"]
) -> tuple[Float[ndarray, "n 3"], Int[ndarray, "f 3"], UInt8[ndarray, "n 3"]]:
    """The part of the skin within 5 cm of an object, raised by 1.5 mm; vertices, faces, colors."""
    near = faces[(distances[faces] < CONTACT_THRESHOLD).any(axis=1)]
    used, corners = np.unique(near, return_inverse=True)
    sides = vertices[near]
    across = np.cross(sides[:, 1] - sides[:, 0], sides[:, 2] - sides[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, near[:, corner], across)
    normals = normals[used]
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    raised = (vertices[used] + 0.0015 * normals).astype(np.float32)
    return raised, corners.reshape(-1, 3).astype(np.int32), contact_colors(distances[used])
