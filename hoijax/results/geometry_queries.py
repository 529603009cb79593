"""What metrics ask of geometry: joints of people, points of objects, distances to either."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy import ndarray

from hoijax.bodies.body_field import BodyField
from hoijax.bodies.posed_person import pose_joints
from hoijax.bodies.skinned_body import ShapedBody, SkinnedBody
from hoijax.bundle.schema import GroundTruth
from hoijax.geometry.transforms import invert_rigid
from hoijax.objects.distance_grid import DistanceGrids, query
from hoijax.programs import program
from hoijax.results.result import Result
from hoijax.runtime import on_device

_query = program(query)


@program
def field_distance(
    field: BodyField, shaped: ShapedBody, points: Array, rotations: Array, translations: Array
) -> Float[Array, "T n"]:
    """Distance of points (T, n, 3) to a person's skin, negative inside."""
    Ts_world_joint = jax.vmap(shaped.pose_joints)(rotations, translations)
    return jax.vmap(field.distance)(points, Ts_world_joint)


@program
def _joints(
    body: SkinnedBody, betas: Array, rest_joints: Array, rotations: Array, translations: Array
) -> Float[Array, "T 55 3"]:
    shaped = body.shape(betas).with_rest_joints(rest_joints)
    return pose_joints(shaped, rotations, translations)[..., :3, 3]


def joints_of(body: SkinnedBody, motion: GroundTruth | Result) -> Float[ndarray, "P T 55 3"]:
    """World joints of all people of a ground truth, or of a result's winner."""
    constants = jax.device_put(body)
    people = zip(
        motion.body_betas,
        motion.body_rest_joints,
        motion.body_rotations,
        motion.body_translations,
        strict=True,
    )
    return np.stack(
        [
            np.asarray(_joints(constants, *(on_device(x, jnp.float32) for x in person)))
            for person in people
        ]
    )


def distance_to_object(
    grids: DistanceGrids, points_world: ndarray, poses: ndarray, row: int
) -> Float[ndarray, "T n"]:
    """Distance of world points (T, n, 3) to an object at poses (T, 4, 4)."""
    T_object_world = invert_rigid(poses)
    local = points_world @ T_object_world[:, :3, :3].swapaxes(-1, -2)
    local = local + T_object_world[:, None, :3, 3]
    return np.asarray(_query(grids, on_device(local, jnp.float32), np.int32(row)))


def moved_points(points_object: ndarray, poses: ndarray) -> Float[ndarray, "T n 3"]:
    """Points of an object at its poses (T, 4, 4)."""
    return points_object @ poses[:, :3, :3].swapaxes(-1, -2) + poses[:, None, :3, 3]
