"""A moving body: observed surface, silhouette, smoothness, feet on the ground, no self-penetration."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hoijax.bodies.fitting.residuals import (
    FEET,
    FOOT_HEIGHTS,
    bend,
    ground_energy,
    slip_energy,
    surface_energy,
)
from hoijax.bodies.kinematics import BODY_JOINT_COUNT
from hoijax.geometry.bilinear import bilinear
from hoijax.geometry.camera import project
from hoijax.geometry.safe_math import Scale, geman_mcclure
from hoijax.scene.bodies import FACE_COUNT, MovingBodies
from hoijax.scene.posed import PosedScene, present

POINT_RHO = 0.10  # metres; a seen point further from the skin says little
CLEARANCE = 0.03  # metres that the ball of a foot is lifted above its floor in a step, or more
SILHOUETTE_STRIDE = 4
MASK_RHO = 8.0  # pixels; skin further outside the mask than this says little
ESTIMATE_RHO = 0.10  # metres; a joint that moves further is wrong in the estimate
_FEET = np.array(FEET)
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def _bodies(posed: PosedScene) -> MovingBodies:
    return present(posed.scene.bodies, "moving bodies")


def _joints(posed: PosedScene) -> Float[Array, "P T 55 3"]:
    return present(posed.joints_world, "joints of moving bodies")


def _transforms(posed: PosedScene) -> Float[Array, "P T 55 4 4"]:
    return present(posed.Ts_world_joint, "joints of moving bodies")


def _plants(posed: PosedScene) -> Int[Array, "P T 4"]:
    return present(posed.neighbors.plants, "plants of moving feet")


def body_points(posed: PosedScene, scale: Scale = POINT_RHO) -> tuple[Values, Mask]:
    """3D chamfer of the observed points of a person to the skin, robust by point. (P, T)"""
    observed = present(posed.scene.observed_people, "observed points of people")
    nearest = present(posed.neighbors.nearest_vertex, "skin of moving bodies")
    values = jnp.stack(
        [
            surface_energy(
                observed.points_world[p],
                observed.point_weights[p],
                posed.body_vertices_world[p],
                nearest[p],
                scale,
            )
            for p in range(posed.scene.person_count)
        ]
    )
    return values, observed.detected


def body_mask(posed: PosedScene, scale: Scale = MASK_RHO) -> tuple[Values, Mask]:
    """Projected skin must fall on the person's mask or behind an occluder: robust px^2. (P, T)"""
    observed = present(posed.scene.observed_people, "observed masks of people")
    cameras = posed.scene.cameras
    in_camera = posed.in_camera(posed.body_vertices_world[:, :, ::SILHOUETTE_STRIDE])
    pixels = project(in_camera, cameras.intrinsics[None])
    lookup = jax.vmap(jax.vmap(bilinear))
    distance = lookup(observed.mask_distance, pixels / cameras.cell_size - 0.5)
    return jnp.mean(geman_mcclure(distance**2, scale), axis=-1), observed.detected


def body_estimate(posed: PosedScene, scale: Scale = ESTIMATE_RHO) -> tuple[Values, Mask]:
    """Squared distance of the body joints from where the motion that they start from has them, robust;
    mean over joints. (P, T)"""
    estimate = present(_bodies(posed).estimated_joints, "joints of the estimated body motion")
    away = _joints(posed)[:, :, :BODY_JOINT_COUNT] - estimate
    values = jnp.mean(geman_mcclure(jnp.sum(away**2, axis=-1), scale), axis=-1)
    return values, jnp.ones_like(values, dtype=bool)


def body_smoothness(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared acceleration of the body joints in (m/s^2)^2, summed over joints. (P, T)"""
    joints = _joints(posed)[:, :, :BODY_JOINT_COUNT]
    acceleration = jax.vmap(bend)(joints) * (2.0 * present(posed.scene.fps, "the frame rate") ** 2)
    values = jnp.sum(acceleration**2, axis=(-1, -2))
    return values, jnp.ones_like(values, dtype=bool)


def foot_slip(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared horizontal speed of planted feet, robust, (m/s)^2; mean over ankles and toes. (P, T)"""
    fps = present(posed.scene.fps, "the frame rate")
    values = jax.vmap(slip_energy, in_axes=(0, None))(_joints(posed)[:, :, _FEET], fps)
    return values, jnp.ones_like(values, dtype=bool)


def foot_lock(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared distance of standing feet from the mean position of their plant; mean over ankles and toes.

    Which frames are a plant is known here (see `bodies.fitting.foot_plants`), where it is stays open: a plant
    can still move as a whole. (P, T)
    """
    feet, plants = _joints(posed)[:, :, _FEET], _plants(posed)
    away = feet - jax.vmap(jax.vmap(_plant_means, in_axes=1, out_axes=1))(feet, plants)
    values = jnp.where(plants >= 0, jnp.sum(away**2, axis=-1), 0.0)
    return jnp.mean(values, axis=-1), jnp.ones(values.shape[:2], dtype=bool)


def _plant_means(path: Float[Array, "T 3"], plants: Int[Array, " T"]) -> Float[Array, "T 3"]:
    """Mean position of the plant that a frame belongs to; anything where there is none."""
    frames = path.shape[0]
    stands = (plants >= 0)[:, None]
    index = jnp.maximum(plants, 0)
    total = jnp.zeros((frames, 3)).at[index].add(jnp.where(stands, path, 0.0))
    count = jnp.zeros((frames, 1)).at[index].add(stands.astype(jnp.float32))
    return (total / jnp.maximum(count, 1.0))[index]


def foot_clearance(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared lack of height of the toes' roots in frames in which they step; mean over both. (P, T)

    A foot that steps is lifted: at least CLEARANCE above where it stands in the rest of the clip.
    """
    toes = _joints(posed)[:, :, _FEET[2:], 1]
    stands = (_plants(posed) >= 0)[..., 2:]
    count = jnp.sum(stands, axis=1, keepdims=True, dtype=toes.dtype)
    floor = jnp.sum(jnp.where(stands, jax.lax.stop_gradient(toes), 0.0), axis=1, keepdims=True)
    floor = jnp.where(count > 0, floor / jnp.maximum(count, 1), jnp.asarray(FOOT_HEIGHTS[2:]))
    lack = jnp.maximum(floor + CLEARANCE - toes, 0.0)
    values = jnp.mean(jnp.where(stands, 0.0, lack**2), axis=-1)
    return values, jnp.ones_like(values, dtype=bool)


def body_ground(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared depth of the lowest skin vertex below the ground. (P, T)"""
    values = jax.vmap(ground_energy)(posed.body_vertices_world[..., 1])
    return values, jnp.ones_like(values, dtype=bool)


def object_in_body(posed: PosedScene) -> tuple[Values, Mask]:
    """Depth of object samples inside the bodies, summed over the active ones / their number. (O, P, T)

    The other side of `penetration`: a thin object passes between skin vertices unnoticed.
    """
    active = present(posed.neighbors.active_samples, "samples near moving bodies")
    points, T = posed.chosen_samples_world(active), _transforms(posed)
    values = []
    for p, field in enumerate(_bodies(posed).fields):
        look_up = jax.vmap(jax.vmap(field.distance), in_axes=(0, None))
        distance = look_up(points[:, p], T[p])
        values.append(jnp.mean(jnp.maximum(-distance, 0.0), axis=-1))
    stacked = jnp.stack(values, axis=1)
    return stacked, jnp.ones_like(stacked, dtype=bool)


def self_penetration(posed: PosedScene) -> tuple[Values, Mask]:
    """Depth of the body's skin inside its other parts, summed and divided by 1,000 vertices. (P, T)"""
    values, T = [], _transforms(posed)
    for p, field in enumerate(_bodies(posed).fields):
        count = field.sample_vertices.shape[0]
        skin = posed.body_vertices_world[p, :, FACE_COUNT : FACE_COUNT + count]
        distance = jax.vmap(field.self_distances)(skin, T[p])
        values.append(jnp.sum(jnp.maximum(-distance, 0.0), axis=-1) / 1000.0)
    stacked = jnp.stack(values)
    return stacked, jnp.ones_like(stacked, dtype=bool)
