"""What the priors said of a clip as `Observations`: eroded masks, sampled points, one world.

Source: HOI-PAGE, section "Observations": masks eroded by 3 x 3, depth edges removed, and object
points outside the people's depth range +-0.8 x half a body's size dropped.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int8, UInt8
from numpy import ndarray

from hoijax.bundle.observations import OBJECT_POINT_COUNT, PERSON_POINT_COUNT, Observations
from hoijax.geometry.transforms import invert_rigid
from priors.masks import sample_pixels
from priors.observe.tracking import EntityMasks
from priors.protocols import BodyMotion, PointMaps

__all__ = ["assemble", "in_one_world", "label_images"]

MIN_VISIBLE_PIXELS = 12
"""An entity smaller than this in an image counts as not detected."""
DEPTH_MARGIN = 0.8 * 0.5
"""Of a body's height: how far in front of or behind the people an object may be (published)."""
RIGID_TOLERANCE = 1e-4


def assemble(
    masks: EntityMasks,
    maps: PointMaps,
    keypoints: Float[ndarray, "P T 18 3"],
    bodies: Sequence[BodyMotion],
    part_counts: Sequence[int],
    seed: int,
) -> Observations:
    """All of it as the solver takes it; part_counts: parts of every object's asset.

    Where the maps say nothing, all points are padding.
    """
    people, objects = len(masks.people), len(masks.objects)
    labels, parts = label_images(masks, part_counts)
    seen = np.stack([(labels == i + 1).sum((1, 2)) for i in range(people + objects)])
    seen = seen >= MIN_VISIBLE_PIXELS
    if not maps.valid.any():
        person = _padding(people, len(labels))
        object_ = _padding(objects, len(labels))
        detected = seen[people:]
    else:
        usable = maps.valid & _eroded(labels, people + objects)
        usable &= ~((labels > people) & ~_near_people(labels, maps, bodies))
        rng = np.random.default_rng([seed, 11])
        counts = [PERSON_POINT_COUNT] * people + [OBJECT_POINT_COUNT] * objects
        samples = [
            sample_pixels(usable & (labels == i + 1), count, rng) for i, count in enumerate(counts)
        ]
        person = _gather(samples[:people], maps.points, parts, seen[:people])
        object_ = _gather(samples[people:], maps.points, parts, seen[people:])
        detected = np.asarray(object_["mask"].any(-1))
    rotations, translations, Ts_world_camera = in_one_world(bodies)
    confident = np.array(keypoints, np.float32)
    confident[..., 2] = np.clip(confident[..., 2], 0, 1) * seen[:people, :, None]
    confident[confident[..., 2] <= 0] = 0
    width = max(len(body.betas) for body in bodies)
    betas = np.stack([np.pad(body.betas, (0, width - len(body.betas))) for body in bodies])
    return Observations(
        intrinsics=np.asarray(maps.intrinsics, np.float32),
        Ts_world_camera=Ts_world_camera,
        instance_ids=labels,
        object_detected=detected,
        object_points=object_["points"],
        object_pixels=object_["pixels"],
        object_point_parts=object_["parts"],
        object_point_mask=object_["mask"],
        person_points=person["points"],
        person_pixels=person["pixels"],
        person_point_mask=person["mask"],
        keypoints=confident,
        body_rotations=rotations,
        body_translations=translations,
        body_betas=betas.astype(np.float32),
        body_rest_joints=np.stack([body.rest_joints for body in bodies]).astype(np.float32),
    )


def label_images(
    masks: EntityMasks, part_counts: Sequence[int]
) -> tuple[UInt8[ndarray, "T H W"], Int8[ndarray, "T H W"]]:
    """(instance ids, part ids) of every pixel.

    Where masks overlap the smaller one counts: what hides part of another thing is the part seen.
    An object whose asset has one part is that part.
    """
    entities = np.concatenate([masks.people, masks.objects])
    people, frames = len(masks.people), entities.shape[1]
    labels = np.zeros(entities.shape[1:], np.uint8)
    parts = np.full(entities.shape[1:], -1, np.int8)
    sizes, part_sizes = entities.sum((2, 3)), masks.parts.sum((2, 3))
    for t in range(frames):
        for i in np.argsort(-sizes[:, t], kind="stable"):
            labels[t][entities[i, t]] = i + 1
        for o, count in enumerate(part_counts):
            mine = labels[t] == people + o + 1
            if count == 1:
                parts[t][mine] = 0
                continue
            for q in np.argsort(-part_sizes[:, t], kind="stable"):
                if masks.part_of[q, 0] == o:
                    parts[t][mine & masks.parts[q, t]] = masks.part_of[q, 1]
    return labels, parts


def _eroded(labels: UInt8[ndarray, "T H W"], entities: int) -> Bool[ndarray, "T H W"]:
    """Pixels whose 3 x 3 neighbors are of the same entity; what is thinner than that is kept."""
    from scipy.ndimage import maximum_filter, minimum_filter

    window, eroded = (1, 3, 3), np.zeros(labels.shape, bool)
    for i in range(entities):
        mask = (labels == i + 1).astype(np.uint8)
        inner = minimum_filter(mask, window)
        opened = maximum_filter(inner, window)
        eroded |= (inner > 0) | ((mask > 0) & (opened == 0))
    return eroded


def _near_people(
    labels: UInt8[ndarray, "T H W"], maps: PointMaps, bodies: Sequence[BodyMotion]
) -> Bool[ndarray, "T H W"]:
    """Pixels within the people's depth range and a margin; all of a frame without people's points."""
    height = max(float(np.ptp(body.rest_joints[:, 1])) for body in bodies)
    depth, person = maps.points[..., 2], (labels > 0) & (labels <= len(bodies)) & maps.valid
    near = np.ones(labels.shape, bool)
    for t in np.flatnonzero(person.any((1, 2))):
        low, high = np.percentile(depth[t][person[t]], [2, 98])
        margin = DEPTH_MARGIN * height
        near[t] = (depth[t] >= low - margin) & (depth[t] <= high + margin)
    return near


def _gather(
    samples: Sequence[tuple[ndarray, ndarray]],
    points: Float[ndarray, "T H W 3"],
    parts: Int8[ndarray, "T H W"],
    seen: Bool[ndarray, "N T"],
) -> dict[str, ndarray]:
    """Points, pixels, part labels and mask of sampled pixels: (N, T, count, ...)."""
    frames, height, width = parts.shape
    index, mask = (np.stack(x) for x in zip(*samples, strict=True))
    mask = mask & seen[..., None]
    frame = np.arange(frames)[None, :, None]
    pixels = np.stack([index % width, index // width], axis=-1) + 0.5
    sampled = points.reshape(frames, height * width, 3)[frame, index]
    labels = parts.reshape(frames, -1)[frame, index].astype(np.int32)
    return {
        "points": np.where(mask[..., None], sampled, 0).astype(np.float32),
        "pixels": np.where(mask[..., None], pixels, 0).astype(np.float32),
        "parts": np.where(mask, labels, np.int32(-1)),
        "mask": mask,
    }


def _padding(entities: int, frames: int) -> dict[str, ndarray]:
    """Points of entities of which there are none."""
    return {
        "points": np.zeros((entities, frames, 1, 3), np.float32),
        "pixels": np.zeros((entities, frames, 1, 2), np.float32),
        "parts": np.full((entities, frames, 1), -1, np.int32),
        "mask": np.zeros((entities, frames, 1), bool),
    }


def in_one_world(
    bodies: Sequence[BodyMotion],
) -> tuple[Float[ndarray, "P T 55 3"], Float[ndarray, "P T 3"], Float[ndarray, "T 4 4"]]:
    """(rotations, translations, Ts_world_camera) of all people in the first person's world.

    Every recovery has its own world; all of them share the camera, which carries one to the other.
    """
    from scipy.spatial.transform import Rotation

    rotations, translations = [], []
    for body in bodies:
        to_world = bodies[0].Ts_world_camera @ invert_rigid(body.Ts_world_camera)
        turned = np.array(body.rotations, np.float32)
        moved = np.array(body.translations, np.float32)
        if np.abs(to_world - np.eye(4)).max() > RIGID_TOLERANCE:
            root = Rotation.from_matrix(to_world[:, :3, :3]) * Rotation.from_rotvec(turned[:, 0])
            turned[:, 0] = root.as_rotvec()
            pelvis = body.rest_joints[0] + moved
            pelvis = np.einsum("tij,tj->ti", to_world[:, :3, :3], pelvis) + to_world[:, :3, 3]
            moved = (pelvis - body.rest_joints[0]).astype(np.float32)
        rotations.append(turned)
        translations.append(moved)
    camera = np.asarray(bodies[0].Ts_world_camera, np.float32)
    return np.stack(rotations), np.stack(translations), camera
