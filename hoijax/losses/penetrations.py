"""Nothing passes through anything: body in object, object in object, object in the ground."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hoijax.geometry.point_transforms import to_local, to_world
from hoijax.geometry.safe_math import safe_min
from hoijax.losses.curvature import (
    Curvature,
    declare_curvature,
    distance_rows,
    gram,
    moving_points,
    to_world_axes,
    twist_rows,
)
from hoijax.scene.objects import WHOLE_SIGNED
from hoijax.scene.posed import PosedScene
from hoijax.scene.scene import Scene

SOFT_DEPTH = 0.005  # metres: below this a depth counts as this deep where it is divided by
OBJECT_SAMPLES = 512
NEAREST_OBJECTS = 3  # others that one object is tested against in a frame
GROUND_SAMPLES = 512
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def penetration(posed: PosedScene) -> tuple[Values, Mask]:
    """Depth of body vertices inside each object, summed and divided by 1,000 vertices. (O, P, T)

    The published form divides by the number of vertices that penetrate at the moment, which makes
    one deep vertex cost more than a hundred; a fixed denominator does not. Only the vertices in
    the neighbor list are looked up: the rest are too far away to penetrate.
    """
    o, p, t, a = posed.neighbors.active_vertices.shape
    distance = posed.object_distance(_active_vertices(posed), WHOLE_SIGNED)
    depth = jnp.maximum(-distance, 0.0).reshape(o, t, p, a)
    values = jnp.moveaxis(jnp.sum(depth, axis=-1), 2, 1) / 1000.0
    return values, jnp.ones_like(values, dtype=bool)


def _active_vertices(posed: PosedScene) -> Float[Array, "O T n 3"]:
    """Neighbor-list vertices of all people, per object and frame."""
    index = posed.neighbors.active_vertices[..., None]
    vertices = jnp.take_along_axis(posed.body_vertices_world[None], index, axis=3, mode="clip")
    o, p, t, a = index.shape[:4]
    return jnp.moveaxis(vertices, 1, 2).reshape(o, t, p * a, 3)


def _linear_weight(distance: Array) -> Array:
    """Weight that makes a squared depth of the same slope: a depth is half of depth^2 / depth."""
    depth = jnp.maximum(-distance, 0.0)
    return jnp.where(depth > 0.0, 0.5 / jnp.maximum(depth, SOFT_DEPTH), 0.0)


def penetration_curvature(posed: PosedScene) -> Curvature:
    """Of `penetration`, as reweighted least squares."""
    rows = posed.scene.objects.first_grid + WHOLE_SIGNED
    distance, jacobian = distance_rows(posed, _active_vertices(posed), rows)
    blocks = gram(jacobian, _linear_weight(distance) / 1000.0)
    return Curvature(to_world_axes(blocks, posed.object_rotations))


def object_penetration(posed: PosedScene) -> tuple[Values, Mask]:
    """Mean depth of each object's surface samples inside every other object. (O, O, T)

    Axis 0 is whose samples they are. What hangs on a joint may reach into what holds it. Each object looks at the NEAREST_OBJECTS that come closest to it
    in a frame, so that the work grows with the number of objects and not with its square.
    """
    scene = posed.scene
    count = scene.object_count
    if count == 1:  # known from shapes: a lone object costs nothing
        nothing = jnp.zeros((1, 1, scene.frame_count))
        return nothing, nothing > 0.0
    pairs = _pairs(posed)
    distance = scene.distance(pairs.points, scene.objects.first_grid + WHOLE_SIGNED, pairs.owner)
    depth = jnp.mean(jnp.maximum(-distance, 0.0), axis=-1)
    values = jnp.einsum("atmb,atm->bat", pairs.is_other, depth)
    return values, jnp.broadcast_to(_may_not_touch(scene)[:, :, None], values.shape)


def _may_not_touch(scene: Scene) -> Bool[np.ndarray, "O O"]:
    """Pairs of objects that are held apart: all but those that a joint joins."""
    apart = ~np.eye(scene.object_count, dtype=bool)
    if scene.joints is not None:
        ends = np.array(scene.joints.parents), np.array(scene.joints.children)
        apart[ends] = apart[ends[::-1]] = False
    return apart


class _Pairs(NamedTuple):
    """Samples of M other objects as every object has them in its asset frame."""

    owner: Int[Array, " O"]
    is_other: Float[Array, "O T M O"]
    """One-hot: which object the samples belong to."""
    rotations: Float[Array, "O T M 3 3"]
    """From the other's centerd frame to the object's."""
    samples: Float[Array, "O T M n 3"]
    """In the other's centerd frame."""
    points: Float[Array, "O T M n 3"]


def _pairs(posed: PosedScene) -> _Pairs:
    objects, count = posed.scene.objects, posed.scene.object_count
    frames = jnp.arange(posed.scene.frame_count)[:, None]
    others = _others(posed)
    to_owner = jnp.swapaxes(posed.object_rotations, -1, -2)[:, :, None]
    rotations = to_owner @ posed.object_rotations[others, frames]
    between = posed.object_translations[others, frames] - posed.object_translations[:, :, None]
    translations = (to_owner @ between[..., None])[..., 0]
    samples = objects.samples[:, :OBJECT_SAMPLES][others]
    points = to_world(rotations, translations, samples)
    points = points + objects.centers[:, None, None, None]
    is_other = jax.nn.one_hot(others, count)
    return _Pairs(jnp.arange(count), is_other, rotations, samples, points)


def _others(posed: PosedScene) -> Int[Array, "O T M"]:
    """The objects whose bounding spheres come nearest to each object's center."""
    count, frames = posed.object_translations.shape[:2]
    if count - 1 <= NEAREST_OBJECTS:  # all of them, whatever the pose
        every = np.array([[b for b in range(count) if b != a] for a in range(count)])
        return jnp.broadcast_to(jnp.asarray(every)[:, None], (count, frames, count - 1))
    centers = jax.lax.stop_gradient(posed.object_translations)
    radii = jnp.max(jnp.linalg.norm(posed.scene.objects.samples, axis=-1), axis=-1)
    apart = jnp.linalg.norm(centers[:, None] - centers[None], axis=-1) - radii[:, None]
    apart = jnp.where(jnp.eye(count, dtype=bool)[:, :, None], jnp.inf, apart)
    return jax.lax.top_k(-jnp.moveaxis(apart, 1, 2), NEAREST_OBJECTS)[1]


def object_penetration_curvature(posed: PosedScene) -> Curvature:
    """Of `object_penetration`, as reweighted least squares."""
    objects = posed.scene.objects
    count, frames = posed.object_translations.shape[:2]
    if count == 1:
        return Curvature(jnp.zeros((1, frames, 6, 6)))
    pairs = _pairs(posed)
    grid = objects.first_grid + WHOLE_SIGNED
    distance, slope = posed.scene.distance_with_gradient(pairs.points, grid, pairs.owner)
    weight = _linear_weight(distance) / OBJECT_SAMPLES
    arm = pairs.points - objects.centers[:, None, None, None]
    blocks = jnp.sum(gram(twist_rows(slope, arm, -slope), weight), axis=2)
    slope_other = to_local(pairs.rotations, jnp.zeros_like(pairs.rotations[..., 0]), slope)
    moving = gram(twist_rows(pairs.samples, slope_other, slope_other), weight)
    blocks = blocks + jnp.einsum("atmb,atmij->btij", pairs.is_other, moving)
    return Curvature(to_world_axes(blocks, posed.object_rotations))


def ground(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared depth below y = 0 of the lowest sample; objects that never translate rest on it. (O, T)"""
    height = safe_min(posed.samples_world(GROUND_SAMPLES)[..., 1])
    rests = ~posed.scene.objects.is_translational[:, None]
    gap = jnp.where(rests, height, jnp.minimum(height, 0.0))
    return gap**2, jnp.ones_like(height, dtype=bool)


def ground_curvature(posed: PosedScene) -> Curvature:
    """Of `ground`: the lowest sample is pushed up."""
    samples = posed.samples_world(GROUND_SAMPLES)
    lowest = jnp.argmin(samples[..., 1], axis=-1)[..., None, None]
    point = jnp.take_along_axis(samples, lowest, axis=2)
    rests = ~posed.scene.objects.is_translational[:, None, None]
    weight = (rests | (point[..., 1] < 0.0)).astype(jnp.float32)
    up = jnp.broadcast_to(jnp.asarray([0.0, 1.0, 0.0]), point.shape)
    return Curvature(gram(moving_points(posed, point, up), weight))


# By hand: derived, they take twice as long.
declare_curvature(penetration, penetration_curvature)
declare_curvature(object_penetration, object_penetration_curvature)
declare_curvature(ground, ground_curvature)
