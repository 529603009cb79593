"""What was seen of people, as anchor motion's losses read it (host)."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.anchor_scene import SeenPeople
from hoijax.bodies.motion_energy import depths_behind_skin
from hoijax.bodies.motion_start import skin_depths
from hoijax.bodies.skinned_body import ShapedBody
from hoijax.camera_motion import settle_camera
from hoijax.frames import invert_rigid
from hoijax.losses.lookup import pack_corners
from hoijax.observations import Observations
from hoijax.staging import mask_distances


def seen_people(
    observations: Observations,
    Ts_world_pointmap: Float[ndarray, "T 4 4"],
    count: int,
    people: Sequence[ShapedBody],
) -> SeenPeople:
    """Keypoints, aligned points and masks of people; what is not finite counts as not seen.

    count: of points in a frame. people: faces first, for the thickness of their limbs.
    """
    o = observations
    keypoints = np.asarray(o.keypoints, np.float32)
    finite = np.isfinite(keypoints).all(axis=-1, keepdims=True)
    keypoints = np.where(finite, keypoints, 0.0)
    mask = o.person_point_mask & np.isfinite(o.person_points).all(-1)
    seen = np.where(mask[..., None], o.person_points, 0.0)
    linear, shift = Ts_world_pointmap[:, :3, :3], Ts_world_pointmap[:, None, :3, 3]
    world = np.where(mask[..., None], seen @ np.swapaxes(linear, -1, -2) + shift, 0.0)
    Ts_camera_world = invert_rigid(settle_camera(np.asarray(o.Ts_world_camera)))
    local = (
        world @ np.swapaxes(Ts_camera_world[:, :3, :3], -1, -2) + Ts_camera_world[:, None, :3, 3]
    )
    depths = [
        skin_depths(keypoints[p], o.intrinsics, local[p], mask[p]) + depths_behind_skin(person)
        for p, person in enumerate(people)
    ]
    chosen = (slice(None), slice(None), slice(None, None, max(mask.shape[2] // count, 1)))
    world, mask = world[chosen][:, :, :count], mask[chosen][:, :, :count]
    weights = mask / np.maximum(mask.sum(axis=-1, keepdims=True), 1)
    swapped = _people_as_objects(o.instance_ids, o.person_count, o.object_count)
    distances = mask_distances(swapped, o.object_count, o.person_count)
    return SeenPeople(
        keypoints=jnp.asarray(keypoints),
        Ts_camera_world=jnp.asarray(Ts_camera_world, jnp.float32),
        points_world=jnp.asarray(world, jnp.float32),
        point_weights=jnp.asarray(weights, jnp.float32),
        keypoint_depths=jnp.asarray(np.nan_to_num(np.stack(depths)), jnp.float32),
        detected=jnp.asarray(mask.any(axis=-1)),
        mask_distance=jnp.asarray(pack_corners(distances)),
    )


def _people_as_objects(instance_ids: ndarray, people: int, objects: int) -> ndarray:
    """Instance ids with people numbered after objects, as `mask_distances` counts."""
    order = np.zeros(256, np.uint8)
    order[1 : people + 1] = np.arange(people) + objects + 1
    order[people + 1 : people + objects + 1] = np.arange(objects) + 1
    return order[instance_ids]
