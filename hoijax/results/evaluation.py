"""All metrics of a result: bodies are posed and distance grids built once, candidates share them."""

from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.affordance.contact_table import ContactKind
from hoijax.bodies.body_field import build_body_field
from hoijax.bodies.kinematics import BODY_JOINT_COUNT
from hoijax.bodies.parts import BODY_PARTS, part_vertex_indices
from hoijax.bodies.posed_person import pose_measured
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.schema import GroundTruth
from hoijax.errors import UserError
from hoijax.geometry.transforms import compose_rigid
from hoijax.objects.distance_grid import (
    FIRST_PART,
    SIGNED,
    UNSIGNED,
    DistanceGrids,
    build_distance_grids,
)
from hoijax.objects.symmetry import find_symmetries
from hoijax.results import metrics
from hoijax.results.geometry_queries import (
    distance_to_object,
    field_distance,
    joints_of,
    moved_points,
)
from hoijax.results.result import Result
from hoijax.runtime import on_device

CONTACT_THRESHOLD = 0.05  # metres; the @5cm in names
CLOSE_CONTACT = 0.02  # the @2cm
PART_VERTICES = (
    768  # of a body part, or samples of an object part, that a contact distance looks at
)
MOTION_SAMPLES = 256  # surface samples that stand for an object's motion; a prefix is well spread
FEET = (10, 11)  # left_foot, right_foot
BODY_ARRAYS = (
    "body_rotations",
    "body_translations",
    "body_betas",
    "body_rest_joints",
    "candidate_body_rotations",
    "candidate_body_translations",
)
FIELD_SAMPLES = 1024  # object samples whose depth in the body is measured


def evaluate(
    result: Result, body: SkinnedBody, ground_truth: GroundTruth | None = None
) -> dict[str, float]:
    """Metrics of a result's winner by name, thresholds in the names; see `Evaluator.measure`."""
    return Evaluator(result, body, ground_truth).measure(result.winner)


class Evaluator:
    """Measures the candidates of one result.

    grids, symmetries: one per asset where they are known already; made here when not given.
    Raises UserError when the ground truth is of another clip.
    """

    def __init__(
        self,
        result: Result,
        body: SkinnedBody,
        ground_truth: GroundTruth | None = None,
        grids: tuple[DistanceGrids, ...] | None = None,
        symmetries: tuple[Float[ndarray, "S 3 3"], ...] | None = None,
    ) -> None:
        self.result, self.body, self.ground_truth = result, body, ground_truth
        self._grids, self._symmetries = grids, symmetries
        self._candidate = result.winner
        self._bodies: dict[int, tuple[ndarray, ndarray]] = {}
        self._body_values: dict[str, float] | None = None
        self._true_joints: ndarray | None = None
        shape = (len(result.assets), result.frame_count)
        if ground_truth is not None and ground_truth.Ts_world_object.shape[:2] != shape:
            raise UserError(
                f"the ground truth has {ground_truth.Ts_world_object.shape[0]} objects and "
                f"{ground_truth.Ts_world_object.shape[1]} frames, the result {shape[0]} and {shape[1]}; "
                "evaluate a result with the bundle it was solved from"
            )
        self.table = result.contact_table

    def take(self, result: Result) -> None:
        """Measure another result of the same clip from now on, which may have other bodies and sizes."""
        meshes = zip(self.result.assets, result.assets, strict=True)
        if not all(np.array_equal(old.vertices, new.vertices) for old, new in meshes):
            for name in ("grids", "symmetries"):
                self.__dict__.pop(name, None)
            self._grids = self._symmetries = None
        arrays = ((getattr(r, name) for r in (self.result, result)) for name in BODY_ARRAYS)
        if not all(np.array_equal(old, new) for old, new in arrays):
            self._bodies.clear()
            self._body_values = None
        self.__dict__.pop("diversity", None)
        self.result = result

    def measure(self, candidate: int) -> dict[str, float]:
        """Metrics of one candidate.

        Always: noncollision, penetration, contact shares of body and graph edges, smoothness,
        object_diversity (over all candidates), jerk, foot skate, ground penetration. With a truth:
        translation_cm, rotation_deg (median over frames, modulo symmetries), adds_cm (median),
        contact precision, recall and F1, mpjpe_mm and pa_mpjpe_mm (22 body joints, means over frames
        and people). Where bodies were optimized: how deep objects are in bodies. With several objects these are means over the objects, and
        each object's own follow as `name/object`. Metres, centimetres, degrees as the names say.
        """
        self._candidate = candidate
        poses = self.object_poses(candidate)
        edges = self.edge_distances(poses)
        values = self._contact_values(poses, edges) | self._motion_values(poses)
        if self.result.candidate_body_rotations is not None:
            values |= self._object_in_body(poses)
        if self.ground_truth is not None:
            values |= self._truth_values(poses, edges, self.ground_truth)
        return values

    def object_poses(self, candidate: int) -> Float[ndarray, "O T 4 4"]:
        """Poses T_world_asset of one candidate."""
        return compose_rigid(
            self.result.object_rotations[candidate], self.result.object_translations[candidate]
        )

    def edge_distances(self, poses: Float[ndarray, "O T 4 4"]) -> Float[ndarray, "E T"]:
        """Smallest distance in metres between the two ends of every edge of the graph.

        Where the graph leaves the side of the body open, the closer side counts.
        """
        return np.stack([self._edge_distance(e, poses) for e in range(self.table.edge_count)])

    @property
    def bodies(self) -> tuple[Float[ndarray, "P T V 3"], Float[ndarray, "P T 55 3"]]:
        """Skin vertices and joints of all people of the measured candidate, in the world."""
        moves = self.result.candidate_body_rotations is not None
        key = self._candidate if moves else 0
        if key not in self._bodies:
            self._bodies = {key: self._posed(*self.result.bodies_of(self._candidate))}
            self._body_values = None
        return self._bodies[key]

    def _posed(
        self, rotations: Float[ndarray, "P T 55 3"], translations: Float[ndarray, "P T 3"]
    ) -> tuple[Float[ndarray, "P T V 3"], Float[ndarray, "P T 55 3"]]:
        body, result = jax.device_put(self.body), self.result
        arrays = (result.body_betas, result.body_rest_joints, rotations, translations)
        people = [
            pose_measured(body, *(on_device(array[p], jnp.float32) for array in arrays))
            for p in range(len(result.body_betas))
        ]
        vertices = np.stack([np.asarray(person.vertices_world) for person in people])
        return vertices, np.stack([np.asarray(person.joints_world) for person in people])

    @cached_property
    def grids(self) -> tuple[DistanceGrids, ...]:
        built = self._grids or tuple(build_distance_grids(a) for a in self.result.assets)
        return tuple(jax.device_put(grids) for grids in built)

    @cached_property
    def symmetries(self) -> tuple[Float[ndarray, "S 3 3"], ...]:
        if self._symmetries is not None:
            return self._symmetries
        return tuple(find_symmetries(asset) for asset in self.result.assets)

    def skin_distances(self, poses: Float[ndarray, "O T 4 4"]) -> Float[ndarray, "P T V"]:
        """Signed distance of every person's skin to the nearest object, metres."""
        distances = [
            [
                distance_to_object(self.grids[o], vertices, poses[o], SIGNED)
                for vertices in self.bodies[0]
            ]
            for o in range(len(poses))
        ]
        return np.min(distances, axis=0)

    def _edge_distance(self, edge: int, poses: ndarray) -> Float[ndarray, "T"]:
        table = self.table
        target, part = int(table.object[edge]), int(table.part[edge])
        row = FIRST_PART + part if part >= 0 else UNSIGNED
        if table.kind[edge] == ContactKind.OBJECT_OBJECT:
            points = self._object_part_points(
                int(table.other_object[edge]), int(table.other_part[edge]), poses
            )
        else:
            parts = [int(table.body_part[edge])]
            if table.either_side[edge]:
                parts.append(int(table.mirrored_body_part[edge]))
            chosen = np.concatenate(
                [part_vertex_indices(self.body, BODY_PARTS[p], PART_VERTICES) for p in parts]
            )
            points = self.bodies[0][int(table.person[edge])][:, chosen]
        return distance_to_object(self.grids[target], points, poses[target], row).min(axis=1)

    def _object_part_points(self, index: int, part: int, poses: ndarray) -> Float[ndarray, "T n 3"]:
        asset = self.result.assets[index]
        samples = asset.samples[asset.sample_parts == part] if part >= 0 else asset.samples
        return moved_points(np.resize(samples, (PART_VERTICES, 3)), poses[index])

    def _contact_values(self, poses: ndarray, edges: ndarray) -> dict[str, float]:
        signed = np.concatenate(list(self.skin_distances(poses)), axis=1)
        continuous = self.table.is_continuous
        return {
            "noncollision": metrics.noncollision(signed),
            "penetration_mean_cm": metrics.penetration_mean_cm(signed),
            "penetration_deepest_cm": metrics.penetration_deepest_cm(signed),
            "contact_share@0cm": metrics.contact_share(signed),
            "contact_share@5cm": metrics.contact_share(signed, CONTACT_THRESHOLD),
            "edge_contact_share@5cm": metrics.edge_contact_share(edges, CONTACT_THRESHOLD),
            "continuous_edge_contact_share@5cm": metrics.edge_contact_share(
                edges[continuous], CONTACT_THRESHOLD
            ),
        }

    def _object_in_body(self, poses: ndarray) -> dict[str, float]:
        """Depth of object surface samples inside the bodies, by the articulated body distance."""
        rotations, translations = self.result.bodies_of(self._candidate)
        distances = []
        for p in range(len(rotations)):
            shaped = self.body.shape(self.result.body_betas[p]).with_rest_joints(
                self.result.body_rest_joints[p]
            )
            field = build_body_field(self.body, shaped)
            for asset, T in zip(self.result.assets, poses, strict=True):
                points = on_device(moved_points(asset.samples[:FIELD_SAMPLES], T), jnp.float32)
                frames = (on_device(rotations[p]), on_device(translations[p]))
                distances.append(np.asarray(field_distance(field, shaped, points, *frames)))
        signed = np.concatenate(distances, axis=1)
        return {
            "object_in_body_mean_cm": metrics.penetration_mean_cm(signed),
            "object_in_body_share": 1.0 - metrics.noncollision(signed),
        }

    def _joint_values(self, ground_truth: GroundTruth) -> dict[str, float]:
        """Joint errors against the ground truth's bodies, which may have other bone lengths."""
        if self._true_joints is None:
            self._true_joints = joints_of(self.body, ground_truth)[:, :, :BODY_JOINT_COUNT]
        true = self._true_joints
        joints = self.bodies[1][:, :, :BODY_JOINT_COUNT]
        if true.shape != joints.shape:
            return {}
        pairs = list(zip(joints, true, strict=True))
        return {
            "mpjpe_mm": float(np.mean([metrics.mpjpe_mm(a, b) for a, b in pairs])),
            "pa_mpjpe_mm": float(np.mean([metrics.pa_mpjpe_mm(a, b) for a, b in pairs])),
        }

    def _motion_values(self, poses: ndarray) -> dict[str, float]:
        fps, assets = self.result.fps, self.result.assets
        moved = [
            moved_points(asset.samples[:MOTION_SAMPLES], T)
            for asset, T in zip(assets, poses, strict=True)
        ]
        return {
            "object_smoothness": float(np.mean([metrics.object_smoothness(m) for m in moved])),
            "object_diversity": self.diversity,
            "object_jerk_m_s3": float(np.mean([metrics.jerk_m_s3(m, fps) for m in moved])),
            **self._of_bodies(),
            "object_ground_penetration_cm": float(
                np.mean(
                    [
                        metrics.ground_penetration_cm(moved_points(asset.vertices, T))
                        for asset, T in zip(assets, poses, strict=True)
                    ]
                )
            ),
        }

    def _of_bodies(self) -> dict[str, float]:
        """What depends on the bodies alone, which candidates may share."""
        vertices, joints = self.bodies
        if self._body_values is None:
            everyone = np.concatenate(list(joints), axis=1)
            feet = np.concatenate(list(joints[:, :, FEET]), axis=1)
            skin = np.concatenate(list(vertices), axis=1)
            self._body_values = {
                "body_jerk_m_s3": metrics.jerk_m_s3(everyone, self.result.fps),
                "foot_skate_cm_s@5cm": metrics.foot_skate_cm_s(feet, self.result.fps),
                "body_ground_penetration_cm": metrics.ground_penetration_cm(skin),
            }
        return self._body_values

    @cached_property
    def diversity(self) -> float:
        """Of all candidates, mean over the objects."""
        return float(np.mean([self._diversity(o) for o in range(len(self.result.assets))]))

    def _diversity(self, index: int) -> float:
        samples = self.result.assets[index].samples[:MOTION_SAMPLES]
        candidates = [self.object_poses(k)[index] for k in range(len(self.result.losses))]
        finite = [poses for poses in candidates if np.isfinite(poses).all()]
        return metrics.object_diversity(
            np.stack([moved_points(samples, poses) for poses in finite])
        )

    def _truth_values(
        self, poses: ndarray, edges: ndarray, ground_truth: GroundTruth
    ) -> dict[str, float]:
        values: dict[str, float] = {}
        rows = []
        for o, asset in enumerate(self.result.assets):
            true = ground_truth.Ts_world_object[o]
            translation = metrics.translation_errors_cm(poses[o], true, asset.center)
            rotation = metrics.rotation_errors_deg(
                poses[o, :, :3, :3], true[:, :3, :3], self.symmetries[o]
            )
            surface = metrics.adds_cm(poses[o], true, asset.samples)
            rows.append([float(np.median(x)) for x in (translation, rotation, surface)])
        names = ("translation_cm", "rotation_deg", "adds_cm")
        values |= dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))
        if len(rows) > 1:
            for asset, row in zip(self.result.assets, rows, strict=True):
                values |= {f"{n}/{asset.name}": v for n, v in zip(names, row, strict=True)}
        values |= self._joint_values(ground_truth)
        touches: Bool[ndarray, "E T"] = edges <= CONTACT_THRESHOLD
        if ground_truth.edge_contact.shape == touches.shape:
            detection = metrics.contact_detection(touches, ground_truth.edge_contact)
            values |= {
                "contact_precision@5cm": detection.precision,
                "contact_recall@5cm": detection.recall,
                "contact_f1@5cm": detection.f1,
            }
            close = metrics.contact_detection(edges <= CLOSE_CONTACT, ground_truth.edge_contact)
            values["contact_f1@2cm"] = close.f1
        return values
