"""From a known moving scene to what priors would have seen of it: render, then degrade."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.bundle.observations import OBJECT_POINT_COUNT, PERSON_POINT_COUNT, Observations
from hoijax.bundle.schema import GroundTruth
from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import compose_rigid, invert_rigid
from hoijax.objects.asset import Asset
from hoijax.rendering.raycast import RenderMesh, cast
from hoijax.runtime import on_all_cores
from priors.masks import sample_pixels
from priors.synthetic.mask_noise import flicker, mislabel, usable_points, without_missed
from priors.synthetic.observation_noise import (
    NoiseModel,
    bursts,
    smooth_over_pixels,
    smooth_over_time,
)

MIN_VISIBLE_PIXELS = 12  # an entity smaller than this in an image counts as not detected
KEYPOINT_DEPTH_SLACK = 0.25  # metres a joint may lie behind the seen surface and count as visible
VISIBLE_CONFIDENCE, OCCLUDED_CONFIDENCE = 0.9, 0.4


@dataclass(frozen=True)
class RenderedGroundTruth:
    """A scene as it really moves: P people of one topology, O objects, T frames, a fixed camera."""

    person_vertices_world: Float[ndarray, "P T V 3"]
    person_faces: Int[ndarray, "F 3"]
    keypoints_world: Float[ndarray, "P T 18 3"]
    """OpenPose-18 points."""
    body_rotations: Float[ndarray, "P T 55 3"]
    """Axis-angle, as in `Observations`."""
    body_translations: Float[ndarray, "P T 3"]
    body_betas: Float[ndarray, "P B"]
    body_rest_joints: Float[ndarray, "P 55 3"]
    assets: tuple[Asset, ...]
    Ts_world_object: Float[ndarray, "O T 4 4"]
    camera: PinholeCamera
    T_world_camera: Float[ndarray, "4 4"]
    edge_contact: Bool[ndarray, "E T"]
    """Whether the two ends of each edge of the scene's graph touch."""

    @cached_property
    def pictures(self) -> "Pictures":
        """All frames rendered, once for all errors that the scene is seen with."""
        return render_scene(self)


@dataclass(frozen=True)
class Pictures:
    """All rendered frames, stacked."""

    depth: Float[ndarray, "T H W"]
    instance_ids: ndarray
    part_ids: ndarray
    rays_camera: Float[ndarray, "H W 3"]


PointMap = Callable[[ndarray, ndarray, ndarray], ndarray]
"""(frames, rows, columns), which broadcast -> points (..., 3): few of all pixels are asked for."""


@dataclass(frozen=True)
class RenderedObservations:
    """What priors would have said, and the ground truth behind it."""

    observations: Observations
    ground_truth: GroundTruth
    """What belongs into the bundle's truth.npz."""
    Ts_world_pointmap: Float[ndarray, "T 4 4"]
    """True similarity that takes the observed points to the world; the solver has to find it."""


def observe(scene: RenderedGroundTruth, noise: NoiseModel, seed: int) -> Observations:
    """What imperfect priors would report of `scene`; the same seed gives the same observations.

    Raises UserError when the arrays disagree about the number of frames, people or objects.
    """
    return observe_with_ground_truth(scene, noise, seed).observations


def observe_with_ground_truth(
    scene: RenderedGroundTruth, noise: NoiseModel, seed: int
) -> RenderedObservations:
    """As `observe`, with the ground truth the observations were made from."""
    _check(scene)
    streams = iter(np.random.default_rng(seed).spawn(16))
    people, frames = scene.person_vertices_world.shape[:2]
    objects = len(scene.assets)
    images = scene.pictures

    missed = bursts(
        next(streams), (people + objects, frames), noise.missed_share, noise.missed_burst_frames
    )
    of_masks, of_parts, of_usable, of_drift, of_depth = (next(streams) for _ in range(5))
    scale, shift = _drift(frames, noise, of_drift)
    part_counts = [len(asset.part_names) for asset in scene.assets]
    with ThreadPoolExecutor(1) as beside:
        mapped = beside.submit(_point_map, images, scale, shift, noise, of_depth)
        labels, parts = flicker(images.instance_ids, images.part_ids, noise, of_masks)
        parts = mislabel(labels, parts, part_counts, people, noise, of_parts)
        labels = without_missed(labels, missed)
        usable = usable_points(images.depth, labels, people + objects, noise, of_usable)
        points_at = mapped.result()

    sample_rng = next(streams)
    samples = [
        sample_pixels(usable & (labels == i + 1), count, sample_rng)
        for i, count in enumerate([PERSON_POINT_COUNT] * people + [OBJECT_POINT_COUNT] * objects)
    ]
    person = gather_samples(samples[:people], points_at, parts, PERSON_POINT_COUNT)
    object_ = gather_samples(samples[people:], points_at, parts, OBJECT_POINT_COUNT)
    pixel_counts = np.stack(
        [(labels == i + 1).sum((1, 2)) for i in range(people + objects)]
        or [np.zeros(frames, np.int64)]
    )
    detected = pixel_counts[people : people + objects] >= MIN_VISIBLE_PIXELS
    person_detected = pixel_counts[:people] >= MIN_VISIBLE_PIXELS

    keypoints = keypoint_observations(scene, images, noise, next(streams))
    keypoints[..., 2] *= person_detected[..., None]
    exact = scene.body_rotations, scene.body_translations
    rotations, translations = erring_motion(*exact, noise, next(streams))
    observations = Observations(
        intrinsics=np.tile(scene.camera.matrix, (frames, 1, 1)),
        Ts_world_camera=_camera_estimate(scene, frames, noise, next(streams)),
        instance_ids=labels,
        object_detected=detected & object_["mask"].any(-1),
        object_points=object_["points"],
        object_pixels=object_["pixels"],
        object_point_parts=object_["parts"],
        object_point_mask=object_["mask"] & detected[..., None],
        person_points=person["points"],
        person_pixels=person["pixels"],
        person_point_mask=person["mask"] & person_detected[..., None],
        keypoints=keypoints,
        body_rotations=rotations,
        body_translations=translations,
        body_betas=np.asarray(scene.body_betas, np.float32),
        body_rest_joints=np.asarray(scene.body_rest_joints, np.float32),
    )
    return RenderedObservations(
        observations, ground_truth_of(scene), _true_alignment(scene.T_world_camera, scale, shift)
    )


def _check(scene: RenderedGroundTruth) -> None:
    people, frames = scene.person_vertices_world.shape[:2]
    if scene.Ts_world_object.shape[:2] != (len(scene.assets), frames):
        raise UserError(
            f"the scene has {len(scene.assets)} objects and {frames} frames of body motion, but "
            f"Ts_world_object has shape {scene.Ts_world_object.shape}"
        )
    if scene.edge_contact.shape[1] != frames:
        raise UserError(f"edge_contact has {scene.edge_contact.shape[1]} frames, not {frames}")
    if people + len(scene.assets) > 255:
        raise UserError("a scene holds at most 255 people and objects together")


def posed_meshes(
    scene: RenderedGroundTruth, t: int, shapes: Sequence[RenderMesh]
) -> list[RenderMesh]:
    """People and objects in a frame. shapes: of the objects, in their own frames."""
    skins = enumerate(scene.person_vertices_world[:, t])
    meshes = [RenderMesh(skin, scene.person_faces, p + 1) for p, skin in skins]
    for shape, T in zip(shapes, scene.Ts_world_object[:, t], strict=True):
        posed = (shape.vertices_world @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
        meshes.append(replace(shape, vertices_world=posed))
    return meshes


def render_scene(scene: RenderedGroundTruth) -> Pictures:
    people, frames = scene.person_vertices_world.shape[:2]
    shapes = [
        RenderMesh(asset.vertices, asset.faces, people + o + 1, asset.face_parts)
        for o, asset in enumerate(scene.assets)
    ]

    def images_of(t: int) -> tuple[ndarray, ndarray, ndarray]:
        image = cast(posed_meshes(scene, t, shapes), scene.camera, scene.T_world_camera)
        return image.depth, image.instance_ids, image.part_ids

    casts = on_all_cores(images_of, range(frames))
    depth, instance_ids, part_ids = (np.stack(images) for images in zip(*casts, strict=True))
    return Pictures(depth, instance_ids, part_ids, scene.camera.ray_directions())


def _drift(
    frames: int, noise: NoiseModel, rng: np.random.Generator
) -> tuple[Float[ndarray, "T"], Float[ndarray, "T 3"]]:
    """Scale and shift of the point map: point_pointmap = scale * point_camera + shift."""
    draws = smooth_over_time(rng, (frames, 4), noise.drift_frames)
    spread = np.array([noise.lateral_shift, noise.lateral_shift, noise.depth_shift], np.float32)
    return np.exp(noise.scale_drift * draws[:, 0]), draws[:, 1:] * spread


def _point_map(
    images: Pictures, scale: ndarray, shift: ndarray, noise: NoiseModel, rng: np.random.Generator
) -> PointMap:
    """Points with depth noise along their rays and the frame's drift."""
    shape = images.depth.shape
    error = noise.smooth_depth * smooth_over_pixels(rng, shape, noise.smooth_depth_pixels)
    if noise.white_depth > 0:
        error += noise.white_depth * rng.standard_normal(shape, np.float32)

    def points_at(t: ndarray, v: ndarray, u: ndarray) -> ndarray:
        depth = images.depth[t, v, u] + error[t, v, u]
        return scale[t][..., None] * (images.rays_camera[v, u] * depth[..., None]) + shift[t]

    return points_at


def gather_samples(
    samples: list[tuple[ndarray, ndarray]], points_at: PointMap, parts: ndarray, count: int
) -> dict[str, ndarray]:
    """Points, pixels, part labels and mask of sampled pixels: (N, T, count, ...)."""
    frames, _, width = parts.shape
    if not samples:
        samples_index = np.zeros((0, frames, count), np.int64)
        mask = np.zeros((0, frames, count), bool)
    else:
        samples_index, mask = (np.stack(x) for x in zip(*samples, strict=True))
    frame = np.arange(frames)[None, :, None]
    v, u = np.divmod(samples_index, width)
    pixels = np.stack([u, v], axis=-1) + 0.5
    seen, labels = points_at(frame, v, u), parts[frame, v, u].astype(np.int32)
    return {
        "points": np.where(mask[..., None], seen, 0).astype(np.float32),
        "pixels": np.where(mask[..., None], pixels, 0).astype(np.float32),
        "parts": np.where(mask, labels, np.int32(-1)),
        "mask": mask,
    }


def keypoint_observations(
    scene: RenderedGroundTruth, images: Pictures, noise: NoiseModel, rng: np.random.Generator
) -> Float[ndarray, "P T 18 3"]:
    """Pixels and confidence: lower where occluded, zero where dropped or outside the image."""
    camera = scene.camera
    T_camera_world = invert_rigid(scene.T_world_camera)
    points = scene.keypoints_world @ T_camera_world[:3, :3].T + T_camera_world[:3, 3]
    depth = np.maximum(points[..., 2], 1e-3)
    uv = points[..., :2] / depth[..., None] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    inside = ((uv >= 0) & (uv < (camera.width, camera.height))).all(-1) & (points[..., 2] > 0)
    column, row = (
        np.clip(uv[..., i].astype(np.int64), 0, size - 1)
        for i, size in enumerate((camera.width, camera.height))
    )
    surface = images.depth[np.arange(uv.shape[1])[None, :, None], row, column]
    occluded = (surface > 0) & (surface < depth - KEYPOINT_DEPTH_SLACK)
    jitter = noise.keypoint_jitter_pixels * np.where(occluded, 2.0, 1.0)[..., None]
    uv = uv + jitter * rng.standard_normal(uv.shape)
    confidence = np.where(occluded, OCCLUDED_CONFIDENCE, VISIBLE_CONFIDENCE)
    dropped = rng.random(confidence.shape) < noise.keypoint_dropout
    confidence = np.where(inside & ~dropped, confidence, 0.0)
    uv = np.where(confidence[..., None] > 0, uv, 0.0)
    return np.concatenate([uv, confidence[..., None]], axis=-1).astype(np.float32)


def erring_motion(
    rotations: Float[ndarray, "P T 55 3"],
    translations: Float[ndarray, "P T 3"],
    noise: NoiseModel,
    rng: np.random.Generator,
) -> tuple[ndarray, ndarray]:
    """Joint rotations and translation with smooth errors of the stated root mean square size."""
    from scipy.spatial.transform import Rotation

    shape = rotations.shape
    angle = np.radians(noise.body_rotation_degrees) / np.sqrt(3)
    draws = smooth_over_time(rng, (shape[1], shape[0], 56, 3), noise.body_frames).swapaxes(0, 1)
    exact = Rotation.from_rotvec(rotations.reshape(-1, 3))
    error = Rotation.from_rotvec(angle * draws[:, :, :55].reshape(-1, 3))
    turned = (exact * error).as_rotvec().reshape(shape)
    shifted = translations + noise.body_translation / np.sqrt(3) * draws[:, :, 55]
    return turned.astype(np.float32), shifted.astype(np.float32)


def _camera_estimate(
    scene: RenderedGroundTruth, frames: int, noise: NoiseModel, rng: np.random.Generator
) -> Float[ndarray, "T 4 4"]:
    from scipy.spatial.transform import Rotation

    draws = smooth_over_time(rng, (frames, 6), noise.body_frames) / np.sqrt(3)
    turn = Rotation.from_rotvec(np.radians(noise.camera_rotation_degrees) * draws[:, :3])
    rotation = scene.T_world_camera[:3, :3] @ turn.as_matrix()
    shift = noise.camera_translation * draws[:, 3:]
    return compose_rigid(rotation, scene.T_world_camera[:3, 3] + shift)


def _true_alignment(
    T_world_camera: ndarray, scale: ndarray, shift: ndarray
) -> Float[ndarray, "T 4 4"]:
    """Inverse of the drift, carried to the world by the camera's true pose."""
    T_camera_pointmap = np.tile(np.eye(4, dtype=np.float32), (len(scale), 1, 1))
    T_camera_pointmap[:, :3, :3] /= scale[:, None, None]
    T_camera_pointmap[:, :3, 3] = -shift / scale[:, None]
    return (T_world_camera @ T_camera_pointmap).astype(np.float32)


def ground_truth_of(scene: RenderedGroundTruth) -> GroundTruth:
    """What belongs into the bundle's truth.npz."""
    frames = scene.person_vertices_world.shape[1]
    return GroundTruth(
        Ts_world_object=np.asarray(scene.Ts_world_object, np.float32),
        Ts_world_camera=np.tile(np.asarray(scene.T_world_camera, np.float32), (frames, 1, 1)),
        edge_contact=scene.edge_contact,
        body_rotations=np.asarray(scene.body_rotations, np.float32),
        body_translations=np.asarray(scene.body_translations, np.float32),
        body_betas=np.asarray(scene.body_betas, np.float32),
        body_rest_joints=np.asarray(scene.body_rest_joints, np.float32),
    )
