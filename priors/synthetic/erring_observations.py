"""What priors that err by families would report of a known scene (`error_families`)."""

from collections.abc import Mapping

import numpy as np
from numpy import ndarray

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.bundle.observations import OBJECT_POINT_COUNT, PERSON_POINT_COUNT, Observations
from hoijax.bundle.schema import GroundTruth, Provenance
from hoijax.bundle.write import Bundle
from hoijax.objects.asset import Asset
from priors.masks import sample_pixels
from priors.synthetic.error_draft import Draft
from priors.synthetic.error_families import apply_errors, check_families
from priors.synthetic.mask_noise import usable_points
from priors.synthetic.observation_noise import NoiseModel
from priors.synthetic.rendered_colors import with_colors
from priors.synthetic.rendered_observations import (
    MIN_VISIBLE_PIXELS,
    PointMap,
    RenderedGroundTruth,
    gather_samples,
    ground_truth_of,
    keypoint_observations,
)

FILTERS = NoiseModel.none()
"""Erosion and the filter of depth edges stay: they are the pipeline's, not an error."""


def observe_with_errors(
    scene: RenderedGroundTruth, strengths: Mapping[str, float], seed: int
) -> tuple[Observations, tuple[Asset, ...]]:
    """(observations, meshes the solver is given); every family at its strength, others exact.

    The same seed gives the same draws of every family, whatever the other families' strengths are.
    Raises UserError for a family that does not exist.
    """
    check_families(strengths)
    people, frames = scene.person_vertices_world.shape[:2]
    images = scene.pictures
    rng = np.random.default_rng((seed, 1))
    draft = Draft(
        depth=images.depth.astype(np.float64),
        label_images=images.instance_ids.copy(),
        keypoints=keypoint_observations(scene, images, FILTERS, rng).astype(np.float64),
        intrinsics=np.tile(scene.camera.matrix, (frames, 1, 1)).astype(np.float64),
        Ts_world_camera=np.tile(np.asarray(scene.T_world_camera, np.float64), (frames, 1, 1)),
        point_scale=np.ones(frames),
        point_shift=np.zeros((frames, 3)),
        rotations=scene.body_rotations.astype(np.float64),
        translations=scene.body_translations.astype(np.float64),
        rest_joints=np.array(scene.body_rest_joints, np.float64),
        assets=scene.assets,
        people=people,
    )
    apply_errors(draft, strengths, seed)
    return _observations(scene, draft, images.part_ids, rng), draft.assets


def _observations(
    scene: RenderedGroundTruth, draft: Draft, part_ids: ndarray, rng: np.random.Generator
) -> Observations:
    people, objects = draft.people, len(draft.assets)
    labels = draft.label_images
    usable = usable_points(draft.depth, labels, people + objects, FILTERS, rng)
    points_at = _point_map(draft)
    samples = [
        sample_pixels(usable & (labels == i + 1), count, rng)
        for i, count in enumerate([PERSON_POINT_COUNT] * people + [OBJECT_POINT_COUNT] * objects)
    ]
    person = gather_samples(samples[:people], points_at, part_ids, PERSON_POINT_COUNT)
    of_objects = gather_samples(samples[people:], points_at, part_ids, OBJECT_POINT_COUNT)
    pixels = np.stack([(labels == i + 1).sum((1, 2)) for i in range(people + objects)])
    visible = pixels >= MIN_VISIBLE_PIXELS
    keypoints = draft.keypoints.copy()
    keypoints[..., 2] *= visible[:people, :, None]
    return Observations(
        intrinsics=draft.intrinsics.astype(np.float32),
        Ts_world_camera=draft.Ts_world_camera.astype(np.float32),
        instance_ids=labels,
        object_detected=visible[people:] & of_objects["mask"].any(-1),
        object_points=of_objects["points"],
        object_pixels=of_objects["pixels"],
        object_point_parts=of_objects["parts"],
        object_point_mask=of_objects["mask"] & visible[people:, :, None],
        person_points=person["points"],
        person_pixels=person["pixels"],
        person_point_mask=person["mask"] & visible[:people, :, None],
        keypoints=keypoints.astype(np.float32),
        body_rotations=draft.rotations.astype(np.float32),
        body_translations=draft.translations.astype(np.float32),
        body_betas=np.asarray(scene.body_betas, np.float32),
        body_rest_joints=draft.rest_joints.astype(np.float32),
    )


def _point_map(draft: Draft) -> PointMap:
    """Depth images unprojected with the reported intrinsics, then scaled and shifted."""

    def points_at(t: ndarray, v: ndarray, u: ndarray) -> ndarray:
        depth, K = draft.depth[t, v, u], draft.intrinsics[t]
        x = (u + 0.5 - K[..., 0, 2]) / K[..., 0, 0] * depth
        y = (v + 0.5 - K[..., 1, 2]) / K[..., 1, 1] * depth
        points = np.stack([x, y, depth], axis=-1)
        return draft.point_scale[t][..., None] * points + draft.point_shift[t]

    return points_at


def erring_bundle(
    scene: RenderedGroundTruth,
    graph: PartAffordanceGraph,
    *,
    prompt: str,
    fps: float,
    body: str,
    strengths: Mapping[str, float],
    seed: int,
) -> tuple[Bundle, GroundTruth]:
    """A known scene as a bundle of erring observations, and the ground truth behind it."""
    observations, assets = observe_with_errors(scene, strengths, seed)
    observations = with_colors(observations, scene, seed)
    provenance = Provenance(
        model="priors.synthetic.error_families",
        revision="1",
        settings={name: float(value) for name, value in strengths.items()},
        seed=seed,
    )
    bundle = Bundle(
        prompt=prompt,
        fps=fps,
        affordance=graph,
        assets=assets,
        bodies=(body,) * len(graph.people),
        observations=observations,
        provenance={"*": provenance},
    )
    return bundle, ground_truth_of(scene)
