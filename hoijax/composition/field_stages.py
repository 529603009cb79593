"""Fields of interaction composition: the coarse one, its person and its object part, the finished object."""

from collections.abc import Callable
from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from hoijax.composition.fields.cameras import ring_cameras
from hoijax.composition.fields.composition import (
    Entity,
    background_of,
    new_entity,
    refresh_occupancy,
    render_rays,
    values_at,
)
from hoijax.composition.fields.distillation import stack_cameras
from hoijax.composition.fields.guidance import ViewCameras
from hoijax.composition.fields.volume_rendering import RenderedRays, camera_rays, orientation
from hoijax.composition.settings import ComposeSettings
from hoijax.errors import UserError
from hoijax.geometry.descent import descend

__all__ = ["FieldRender", "MeshLayer", "align_part", "check_field", "render_views", "start_field"]

ALIGN_RAYS = 4096
SURFACE_MARGIN = 0.03  # metres behind what is seen that still belongs to it
EMPTY_WEIGHT, EMPTY_POINTS, EMPTY_LENGTH = 6e-3, 2048, 0.03
"""A part is empty wherever no ray says otherwise: price of the opacity of so many metres, at random points."""


@flax.struct.dataclass
class MeshLayer:
    """Opaque images of a mesh that stands in front of or behind the field, a view each."""

    color: Float[Array, "N R 3"]
    coverage: Float[Array, "N R"]
    distance: Float[Array, "N R"]
    """Metres along the ray."""


def start_field(settings: ComposeSettings) -> Entity:
    """The coarse field before the first step."""
    return new_entity(settings.radiance, jax.random.key(settings.seed), cells=settings.cells)


def FieldRender(settings: ComposeSettings) -> Callable:
    """`hoijax.composition.fields.distillation.Render` of one field; constants: (entity, MeshLayer or None)."""
    size = (settings.size, settings.size)
    pixels = float(settings.size**2)

    def one(entity: Entity, layer, intrinsics, T_world_camera, key):
        origins, directions = camera_rays(
            intrinsics=intrinsics, T_world_camera=T_world_camera, size=size
        )
        stop, behind = None, None
        if layer is not None:
            stop = jnp.where(layer.coverage > 0.5, layer.distance, jnp.inf)
            covered = layer.coverage[:, None]
            behind = covered * layer.color + (1.0 - covered) * background_of(entity, directions)
        rendered, by = render_rays(
            entities=(entity,),
            origins=origins,
            directions=directions,
            key=key,
            samples=settings.samples,
            budget=settings.budget,
            stop=stop,
            behind=behind,
        )
        price = settings.entropy_weight * by.entropy + settings.opacity_weight * by.opacity
        if settings.distortion_weight:
            price = price + settings.distortion_weight * by.distortion
        if settings.orientation_weight:
            price = price + settings.orientation_weight * _facing_away(
                entity, rendered, origins, directions
            )
        return rendered.color.reshape(*size, 3), pixels * price, by

    def render(params, constants, intrinsics, Ts_world_camera, key):
        entity, layer = constants
        entity = entity.replace(params=params)
        keys = jax.random.split(key, intrinsics.shape[0])
        views = []
        for i in range(intrinsics.shape[0]):  # a few; vmap would evaluate packed samples sparsely
            seen = None if layer is None else jax.tree.map(lambda x, i=i: x[i], layer)
            views.append(one(entity, seen, intrinsics[i], Ts_world_camera[i], keys[i]))
        images, prices, by = (
            jax.tree.map(lambda *x: jnp.stack(x), *v) for v in zip(*views, strict=True)
        )
        values = {"entropy": jnp.mean(by.entropy), "opacity": jnp.mean(by.opacity)}
        return images, jnp.sum(prices), values | {"share": jnp.min(by.share)}

    return render


def _facing_away(entity: Entity, rendered: RenderedRays, origins, directions) -> Float[Array, ""]:
    """Orientation loss at the mean depth of every ray: one normal a ray keeps it affordable."""
    points = origins + rendered.depth[:, None] * directions

    def total(p: Array) -> Array:
        return jnp.sum(values_at(entity, p).density)

    slope = -jax.grad(total)(points)
    normals = slope / jnp.sqrt(jnp.sum(slope**2, axis=-1, keepdims=True) + 1e-8)
    return orientation(
        weights=rendered.opacity[:, None], normals=normals[:, None], directions=directions
    )


@partial(jax.jit, static_argnames=("size", "samples", "budget"))
def _render_view(entity, intrinsics, T_world_camera, *, size, samples, budget) -> RenderedRays:
    origins, directions = camera_rays(
        intrinsics=intrinsics, T_world_camera=T_world_camera, size=size
    )
    return render_rays(
        entities=(entity,),
        origins=origins,
        directions=directions,
        key=jax.random.key(0),
        samples=samples,
        budget=budget,
        jitter=False,
    )[0]


def render_views(
    entity: Entity, cameras: ViewCameras, settings: ComposeSettings, size: int | None = None
) -> RenderedRays:
    """A field seen by cameras of square images: leaves (N, R, ...), host arrays; nothing is random."""
    side = size or settings.size
    scale = max((side / settings.size) ** 2, 1.0)
    options = {
        "size": (side, side),
        "samples": settings.samples,
        "budget": int(2 * scale * settings.budget),
    }
    views = [
        jax.tree.map(np.asarray, _render_view(entity, K, T, **options))
        for K, T in zip(*stack_cameras(cameras), strict=True)
    ]
    return jax.tree.map(lambda *x: np.stack(x), *views)


def check_field(entity: Entity, settings: ComposeSettings, what: str) -> float:
    """Mean opacity of a field from around. UserError where it is all empty or all full: not to be meshed."""
    cameras = ring_cameras(settings.orbit, 4, (32, 32))
    opacity = float(np.mean(render_views(entity, cameras, settings, 32).opacity))
    occupied = float(jnp.mean(entity.occupancy.occupied.astype(jnp.float32)))
    if not 1e-3 < opacity < 0.95:
        state = "empty" if opacity <= 1e-3 else "full"
        raise UserError(
            f"the {what} field is {state} (mean opacity {opacity:.4f}, {100 * occupied:.0f} % of its cells "
            "occupied): nothing was distilled that could be meshed. Try another --seed, more --steps, or "
            "a prompt that the guidance knows better."
        )
    return opacity


@flax.struct.dataclass
class _Features:
    """Masked RGB features of the coarse field, a row a ray."""

    origins: Float[Array, "n 3"]
    directions: Float[Array, "n 3"]
    color: Float[Array, "n 3"]
    """Premultiplied by opacity; zero outside of the mask."""
    opacity: Float[Array, " n"]
    stop: Float[Array, " n"]
    """Where something else is in front: how far one can see. Infinite elsewhere."""


def _features(
    coarse: Entity, cameras: ViewCameras, masks: Int[np.ndarray, "N H W"], part: int, settings
) -> _Features:
    """Features of one part in fixed views of the coarse field."""
    side = masks.shape[1]
    seen = render_views(coarse, cameras, settings, side)
    rays = [
        camera_rays(intrinsics=K, T_world_camera=T, size=(side, side))
        for K, T in zip(*stack_cameras(cameras), strict=True)
    ]
    origins, directions = (np.concatenate([np.asarray(r[i]) for r in rays]) for i in (0, 1))
    mask = masks.reshape(-1)
    opacity = np.asarray(seen.opacity).reshape(-1)
    behind = np.asarray(background_of(coarse, jnp.asarray(directions)))
    color = np.asarray(seen.color).reshape(-1, 3) - (1.0 - opacity)[:, None] * behind
    depth = np.asarray(seen.depth).reshape(-1)
    other = (mask != 0) & (mask != part)
    in_part = mask == part
    # Behind another part nothing is known: there the rays end, instead of asking for emptiness.
    stop = np.where(other & (opacity > 0.3), depth + SURFACE_MARGIN, np.inf)
    rows = (
        origins,
        directions,
        np.where(in_part[:, None], np.maximum(color, 0.0), 0.0),
        np.where(in_part, opacity, 0.0),
        stop,
    )
    return _Features(*(jnp.asarray(row, jnp.float32) for row in rows))


def align_part(
    coarse: Entity,
    cameras: ViewCameras,
    masks: Int[np.ndarray, "N H W"],
    part: int,
    settings: ComposeSettings,
) -> tuple[Entity, Float[np.ndarray, " steps"]]:
    """One part of the coarse field as a field of its own (the anchor NeRF: the person), and the losses.

    Multi-view feature alignment: squared error between masked RGB features of the new and the coarse
    field, over random backgrounds, so that emptiness cannot be painted in the background's color.
    """
    features = _features(coarse, cameras, masks, part, settings)
    ray_fraction = ALIGN_RAYS / settings.size**2
    cells, cell = _occupied_cells(coarse)
    entity, losses = _align(
        coarse,
        features,
        (jnp.asarray(cells), jnp.asarray(cell)),
        jax.random.key(settings.seed + part),
        steps=settings.anchor_steps,
        rate=settings.learning_rate,
        samples=settings.samples,
        budget=int(max(ray_fraction, 1.0) * settings.budget),
    )
    return entity, np.asarray(losses)


def _occupied_cells(entity: Entity) -> tuple[Float[np.ndarray, "n 3"], np.float32]:
    """Lower corners of occupied cells (field's frame), repeated to a few sizes, and a cell's edge (host)."""
    occupied = np.asarray(entity.occupancy.occupied)
    cell = np.float32(2.0 * entity.settings.half_side / occupied.shape[0])
    corners = np.argwhere(occupied if occupied.any() else ~occupied).astype(np.float32)
    size = 1 << max(len(corners) - 1, 1).bit_length()  # few shapes, few programs
    corners = np.resize(corners, (size, 3))
    low = np.asarray(entity.settings.center, np.float32) - entity.settings.half_side
    return (low + cell * corners).astype(np.float32), cell


@partial(jax.jit, static_argnames=("steps", "rate", "samples", "budget"))
def _align(coarse, features, occupied, key, *, steps, rate, samples, budget):
    cells, cell = occupied
    adam = optax.adam(optax.cosine_decay_schedule(rate, steps, 0.1), b2=0.99, eps=1e-12)
    count = features.origins.shape[0]

    def loss(params, _, number):
        key_rays, key_loss = jax.random.split(jax.random.fold_in(key, number))
        index = jax.random.randint(key_rays, (ALIGN_RAYS,), 0, count)
        rays = jax.tree.map(lambda x: x[index], features)
        key_behind, key_render, key_cells, key_place = jax.random.split(key_loss, 4)
        entity = coarse.replace(params=params)
        behind = jax.random.uniform(key_behind, (index.shape[0], 3))
        wanted = rays.color + (1.0 - rays.opacity)[:, None] * behind
        rendered, _ = render_rays(
            entities=(entity,),
            origins=rays.origins,
            directions=rays.directions,
            key=key_render,
            samples=samples,
            budget=budget,
            stop=rays.stop,
            behind=behind,
        )
        points = cells[jax.random.randint(key_cells, (EMPTY_POINTS,), 0, cells.shape[0])]
        points = points + cell * jax.random.uniform(key_place, points.shape)
        unseen = jnp.mean(-jnp.expm1(-EMPTY_LENGTH * values_at(entity, points).density))
        return jnp.mean((rendered.color - wanted) ** 2) + EMPTY_WEIGHT * unseen

    params, losses = descend(loss, coarse.params, adam, steps)
    entity = coarse.replace(params=params)
    # The cells of the coarse field, fewer now: look anew, without the memory of what was there.
    fresh = entity.replace(
        occupancy=entity.occupancy.replace(density=jnp.zeros_like(entity.occupancy.density))
    )
    return refresh_occupancy(fresh, key), losses
