"""What was seen of people, as the losses of moving bodies read it (host)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bundle.observations import Observations
from hoijax.geometry.bilinear import pack_corners
from hoijax.geometry.camera_motion import average_static_camera
from hoijax.geometry.transforms import invert_rigid
from hoijax.runtime import on_device
from hoijax.scene.bodies import ObservedPeople
from hoijax.scene.build_objects import mask_distances


def observed_people(
    observations: Observations, Ts_world_pointmap: Float[ndarray, "T 4 4"], count: int
) -> ObservedPeople:
    """Keypoints, masks and `count` aligned points a frame; what is not finite counts as not seen."""
    o = observations
    keypoints = np.asarray(o.keypoints, np.float32)
    finite = np.isfinite(keypoints).all(axis=-1, keepdims=True)
    keypoints = np.where(finite, keypoints, 0.0)
    stride = max(o.person_points.shape[2] // count, 1)
    points = o.person_points[:, :, ::stride][:, :, :count]
    mask = o.person_point_mask[:, :, ::stride][:, :, :count] & np.isfinite(points).all(-1)
    points = np.where(mask[..., None], points, 0.0)
    linear, shift = Ts_world_pointmap[:, :3, :3], Ts_world_pointmap[:, None, :3, 3]
    world = points @ np.swapaxes(linear, -1, -2) + shift
    weights = mask / np.maximum(mask.sum(axis=-1, keepdims=True), 1)
    swapped = _people_as_objects(o.instance_ids, o.person_count, o.object_count)
    distances = mask_distances(swapped, o.object_count, o.person_count)
    cameras = average_static_camera(np.asarray(o.Ts_world_camera))
    return ObservedPeople(
        keypoints=on_device(keypoints),
        Ts_camera_world=on_device(invert_rigid(cameras), jnp.float32),
        points_world=on_device(np.where(mask[..., None], world, 0.0), jnp.float32),
        point_weights=on_device(weights, jnp.float32),
        detected=on_device(mask.any(axis=-1)),
        mask_distance=on_device(pack_corners(distances)),
    )


def _people_as_objects(instance_ids: ndarray, people: int, objects: int) -> ndarray:
    """Instance ids with people numbered after objects, as `mask_distances` counts."""
    order = np.zeros(256, np.uint8)
    order[1 : people + 1] = np.arange(people) + objects + 1
    order[people + 1 : people + objects + 1] = np.arange(objects) + 1
    return order[instance_ids]
