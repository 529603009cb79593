"""Stage a on observations: gather what people look like, settle the camera, align every frame."""

import numpy as np
from jaxtyping import Array, Float

from hoijax.bundle.observations import Observations
from hoijax.geometry.camera_motion import average_static_camera
from hoijax.initialization.point_map_alignment import (
    AlignmentData,
    AlignmentWeights,
    Similarity,
    align_point_maps,
)
from hoijax.programs import program
from hoijax.runtime import on_device
from hoijax.settings import AlignmentSettings


def alignment_data(
    observations: Observations, vertices_world: Float[Array, "P T V 3"], settings: AlignmentSettings
) -> AlignmentData:
    """Points of all people (and of every entity) of each frame, as stage a reads them."""
    per_person = max(settings.points // observations.person_count, 1)
    frames = observations.frame_count

    def gather(array: np.ndarray, count: int) -> np.ndarray:
        chosen = np.moveaxis(array[:, :, :count], 0, 1)
        return chosen.reshape(frames, -1, *array.shape[3:])

    def both(person: np.ndarray, of_object: np.ndarray) -> np.ndarray:
        return np.concatenate([gather(person, per_person), gather(of_object, per_person)], axis=1)

    rng = np.random.default_rng(0)
    cameras = observations.Ts_world_camera
    if settings.static_camera:
        cameras = average_static_camera(cameras)
    chosen = np.sort(rng.permutation(vertices_world.shape[2])[: settings.vertices])
    subset = np.moveaxis(np.asarray(vertices_world)[:, :, chosen], 0, 1).reshape(frames, -1, 3)
    o = observations
    return AlignmentData(
        points=on_device(gather(o.person_points, per_person)),
        pixels=on_device(gather(o.person_pixels, per_person)),
        mask=on_device(gather(o.person_point_mask, per_person)),
        all_points=on_device(both(o.person_points, o.object_points)),
        all_pixels=on_device(both(o.person_pixels, o.object_pixels)),
        all_mask=on_device(both(o.person_point_mask, o.object_point_mask)),
        vertices_world=on_device(subset),
        Ts_world_camera=on_device(cameras),
        intrinsics=on_device(o.intrinsics),
    )


def align(
    observations: Observations, vertices_world: Float[Array, "P T V 3"], settings: AlignmentSettings
) -> Float[np.ndarray, "T 4 4"]:
    """Stage a: T_world_pointmap of every frame (similarities); without any point, the camera poses."""
    data = alignment_data(observations, vertices_world, settings)
    if not np.asarray(data.all_mask).any():
        return np.asarray(data.Ts_world_camera)
    weights = AlignmentWeights(
        points=on_device(settings.point_weight),
        pixels=on_device(settings.pixel_weight),
        rays=on_device(settings.ray_weight),
        smoothness=on_device(settings.smoothness_weight),
    )
    similarity = align_point_maps(
        data,
        weights,
        on_device(settings.learning_rate),
        steps=settings.steps,
        use_pixels=settings.pixel_weight != 0.0,
    )
    return np.asarray(_matrices(similarity))


@program
def _matrices(similarity: Similarity) -> Float[Array, "T 4 4"]:
    return similarity.matrices()
