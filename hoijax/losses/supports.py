"""What carries an object must touch it: the part of its weight that its contacts cannot bear."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.geometry.point_transforms import to_world
from hoijax.losses.curvature import LeastSquares, Residuals, declare_curvature
from hoijax.scene.posed import PosedScene, contact_points_in_target

FRICTION = 0.6
SIGMA = 0.02
"""Metres of a gap at which bearing costs twice what it costs in touch."""
SOFTNESS = 0.01
"""Price of a squared force in touch, in object weights; contacts share the load by it."""
POINTS = 8
"""Of each side of an edge, and of the ground, that may bear."""
GROUND_SAMPLES = 512
ACTIVE_SETS = 10
Values = Float[Array, "O frames"]
Mask = Bool[Array, "O frames"]


def support(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared missing force and moment, in object weights, plus the price of what bears. (O, T)

    min over forces f in friction pyramids of |w - A f|^2 + sum c (1 + (gap / SIGMA)^2) f^2: the wrench w is
    the weight (accelerations of estimates are noise, and left out), moments are over the object's radius.
    Contacts are the ends of the graph's edges, and the ground. Frames in which no edge of an object is
    in contact by its state are left out: it may fly. The gradient is that at the best forces (Danskin).
    """
    residuals = support_residuals(posed)
    return jnp.sum(residuals.values**2, axis=-1), residuals.weights[..., 0] > 0.0


def support_residuals(posed: PosedScene) -> Residuals:
    """Missing wrench (6), then the root of every contact's price."""
    points, inward, gap, may = _contacts(posed)
    radius = jnp.linalg.norm(posed.scene.objects.samples, axis=-1).max(axis=1)
    center = jnp.mean(posed.scene.objects.samples, axis=1)[:, None, None]
    shape = (*posed.object_translations.shape[:2], 1, 3)
    center = to_world(
        posed.object_rotations, posed.object_translations, jnp.broadcast_to(center, shape)
    )
    levers = (points - center) / radius[:, None, None, None]
    edges = _pyramids(inward)
    moments = jnp.cross(levers[..., None, :], edges)
    columns = jnp.concatenate([edges, moments], axis=-1)  # O T C 4 6
    price = SOFTNESS * (1.0 + (gap / SIGMA) ** 2)
    weight = jnp.zeros(6).at[1].set(1.0)
    forces = jax.lax.stop_gradient(_best_forces(columns, may / price, weight))
    missing = weight - jnp.einsum("otce,otcei->oti", forces, columns)
    bearing = jnp.sqrt(price) * jnp.linalg.norm(forces, axis=-1)
    values = jnp.concatenate([missing, bearing], axis=-1)
    return Residuals(values, jnp.broadcast_to(_counts(posed)[..., None], values.shape))


def _best_forces(
    columns: Float[Array, "O T C 4 6"],
    compliance: Float[Array, "O T C"],
    wrench: Float[Array, " 6"],
) -> Float[Array, "O T C 4"]:
    """Forces of the least price, by active sets of the dual: y = missing wrench, f = compliance [A^T y]+."""

    def step(missing: Array, _: None) -> tuple[Array, None]:
        pushes = jnp.einsum("otcei,oti->otce", columns, missing) > 0.0
        active = jnp.where(pushes, compliance[..., None], 0.0)
        matrix = jnp.eye(6) + jnp.einsum("otcei,otce,otcej->otij", columns, active, columns)
        return jnp.linalg.solve(matrix, jnp.broadcast_to(wrench, missing.shape)[..., None])[
            ..., 0
        ], None

    start = jnp.broadcast_to(wrench, (*columns.shape[:2], 6))
    missing, _ = jax.lax.scan(step, start, None, length=ACTIVE_SETS)
    pushes = jnp.einsum("otcei,oti->otce", columns, missing)
    return compliance[..., None] * jnp.maximum(pushes, 0.0)


def _contacts(posed: PosedScene) -> tuple[Array, Array, Array, Array]:
    """(points (O, T, C, 3), normals into the object, gaps, 1 where a contact is the object's)."""
    scene, edges = posed.scene, posed.scene.edges
    objects, frames = posed.object_translations.shape[:2]
    step = max(1, edges.points.shape[3] // POINTS)
    local = contact_points_in_target(posed)[:, :, :, ::step][:, :, :, :POINTS]
    distance, slope = scene.distance_with_gradient(local, edges.grid, edges.target)
    turned = jnp.einsum("etij,estcj->estci", posed.object_rotations[edges.target], slope)
    outward = _unit(jax.lax.stop_gradient(turned))
    world = to_world(
        jnp.broadcast_to(posed.object_rotations[edges.target][:, None], (*local.shape[:3], 3, 3)),
        jnp.broadcast_to(posed.object_translations[edges.target][:, None], (*local.shape[:3], 3)),
        local - scene.objects.centers[edges.target][:, None, None, None],
    )
    is_target = edges.target == jnp.arange(objects)[:, None]
    is_source = edges.source == jnp.arange(objects)[:, None]
    sign = is_source.astype(jnp.float32) - is_target.astype(jnp.float32)  # O E
    bears = (edges.mask & (sign != 0.0))[..., None] & edges.slot_mask  # O E 2

    def by_object(values: Array) -> Array:
        """(E, 2, T, c, ...) to (O, T, E * 2 * c, ...)."""
        moved = jnp.moveaxis(values, 2, 0)
        flat = moved.reshape(frames, -1, *values.shape[4:])
        return jnp.broadcast_to(flat, (objects, *flat.shape))

    count = local.shape[3]
    per_point = jnp.repeat(bears.reshape(objects, -1), count, axis=1)[:, None]
    signs = jnp.repeat(jnp.repeat(sign, 2, axis=1), count, axis=1)[:, None, :, None]
    ground = _ground(posed)
    return (
        jnp.concatenate([by_object(world), ground], axis=2),
        jnp.concatenate(
            [by_object(outward) * signs, jnp.broadcast_to(jnp.eye(3)[1], ground.shape)], axis=2
        ),
        jnp.maximum(jnp.concatenate([by_object(distance), ground[..., 1]], axis=2), 0.0),
        jnp.concatenate(
            [
                jnp.broadcast_to(per_point, (objects, frames, per_point.shape[-1])),
                jnp.ones(ground.shape[:3], bool),
            ],
            axis=2,
        ).astype(jnp.float32),
    )


def _ground(posed: PosedScene) -> Float[Array, "O T c 3"]:
    """The lowest surface samples of every object."""
    samples = posed.samples_world(min(GROUND_SAMPLES, posed.scene.objects.samples.shape[1]))
    _, lowest = jax.lax.top_k(-jax.lax.stop_gradient(samples[..., 1]), POINTS)
    return jnp.take_along_axis(samples, lowest[..., None], axis=2)


def _counts(posed: PosedScene) -> Float[Array, "O T"]:
    """1 where an edge of the object is in contact by its state, of objects that move freely."""
    edges = posed.scene.edges
    objects = posed.scene.object_count
    mine = (edges.target == jnp.arange(objects)[:, None]) | (
        edges.source == jnp.arange(objects)[:, None]
    )
    touching = (posed.neighbors.contact_state > 0.5) & edges.mask[:, None]
    counts = jnp.any(mine[..., None] & touching, axis=1)
    counts &= posed.scene.objects.is_translational[:, None]
    if posed.scene.joints is not None:
        counts = counts.at[jnp.asarray(posed.scene.joints.children)].set(False)
    return counts.astype(jnp.float32)


def _pyramids(normals: Float[Array, "*batch 3"]) -> Float[Array, "*batch 4 3"]:
    """Four edges of the friction pyramid around each normal, which they have a component of 1 of."""
    helper = jnp.where(jnp.abs(normals[..., :1]) < 0.9, jnp.eye(3)[0], jnp.eye(3)[1])
    first = _unit(jnp.cross(normals, helper))
    second = jnp.cross(normals, first)
    around = jnp.stack([first, second, -first, -second], axis=-2)
    return normals[..., None, :] + FRICTION * around


def _unit(vectors: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    return vectors / jnp.sqrt(jnp.sum(vectors**2, axis=-1, keepdims=True) + 1e-12)


declare_curvature(support, LeastSquares(support_residuals, ties_frames=False, by_object=True))
