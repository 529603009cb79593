"""Several fields in one world: each is placed by its T_world_object, and light meets all of them."""

from collections.abc import Sequence
from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hoijax.composition.fields.occupancy import (
    Occupancy,
    cell_points,
    full_occupancy,
    is_occupied,
    pack,
    updated,
)
from hoijax.composition.fields.radiance_field import (
    Background,
    FieldSettings,
    FieldValues,
    Params,
    RadianceField,
    init_field,
)
from hoijax.composition.fields.volume_rendering import (
    RenderedRays,
    box_interval,
    composite,
    distortion,
    opacity_entropy,
    sample_depths,
)

__all__ = [
    "Entity",
    "RaySamples",
    "background_of",
    "new_entity",
    "refresh_occupancy",
    "render_rays",
    "values_at",
]


@flax.struct.dataclass
class Entity:
    """One field in the world."""

    params: Params
    """{"field", "background"}; only the first entity's background is seen."""
    occupancy: Occupancy
    T_world_object: Float[Array, "4 4"]
    """Rigid."""
    settings: FieldSettings = flax.struct.field(pytree_node=False)


@flax.struct.dataclass
class RaySamples:
    """By-products of a render: what its regularizers read."""

    entropy: Float[Array, ""]
    opacity: Float[Array, ""]
    distortion: Float[Array, ""]
    share: Float[Array, ""]
    """Smallest share of the occupied samples that found room in the budget."""


def new_entity(
    settings: FieldSettings,
    key: Array,
    *,
    cells: int = 48,
    T_world_object: Array | None = None,
) -> Entity:
    """A fresh field, at the world's origin or where told."""
    return Entity(
        params=init_field(settings, key),
        occupancy=full_occupancy(cells),
        T_world_object=jnp.eye(4) if T_world_object is None else T_world_object,
        settings=settings,
    )


@partial(jax.jit, static_argnames=("threshold",))
def refresh_occupancy(entity: Entity, key: Array, *, threshold: float = 1.0) -> Entity:
    """The entity with its occupancy looked at again. threshold: density per metre."""
    cells = entity.occupancy.density.shape[0]
    points = cell_points(entity.settings, cells, key)
    density = values_at(entity, points).density
    return entity.replace(occupancy=updated(entity.occupancy, density, threshold))  # pyright: ignore


def values_at(entity: Entity, points: Float[Array, "n 3"]) -> FieldValues:
    """Values at points of the entity's own frame."""
    return RadianceField(entity.settings).apply({"params": entity.params["field"]}, points)  # pyright: ignore


def background_of(entity: Entity, directions: Float[Array, "R 3"]) -> Float[Array, "R 3"]:
    """Color behind everything, as the entity has it."""
    return Background().apply({"params": entity.params["background"]}, directions)  # pyright: ignore


def to_object(
    T_world_object: Float[Array, "4 4"], points_world: Float[Array, "n 3"]
) -> Float[Array, "n 3"]:
    """Points in the object's frame; rigid transforms only."""
    moved = points_world - T_world_object[:3, 3]
    return jnp.sum(moved[:, :, None] * T_world_object[:3, :3], axis=1)


def world_box(entities: Sequence[Entity]) -> tuple[Float[Array, " 3"], Float[Array, " 3"]]:
    """Axis-aligned box around the cubes of all entities."""
    lowers, uppers = [], []
    for entity in entities:
        s, T = entity.settings, entity.T_world_object
        middle = T[:3, :3] @ jnp.asarray(s.center) + T[:3, 3]
        reach = jnp.sum(jnp.abs(T[:3, :3]), axis=1) * s.half_side
        lowers.append(middle - reach)
        uppers.append(middle + reach)
    return jnp.min(jnp.stack(lowers), axis=0), jnp.max(jnp.stack(uppers), axis=0)


def render_rays(
    *,
    entities: Sequence[Entity],
    origins: Float[Array, "R 3"],
    directions: Float[Array, "R 3"],
    key: Array,
    samples: int,
    budget: int,
    stop: Float[Array, " R"] | None = None,
    behind: Float[Array, "R 3"] | None = None,
    jitter: bool = True,
) -> tuple[RenderedRays, RaySamples]:
    """What rays (world, unit directions) see of all entities together.

    samples: along each ray through the box around all cubes. budget: samples of one entity that are
    evaluated at most (see `occupancy.pack`). stop: distance behind which nothing is seen of the fields,
    such as an opaque surface there. behind: color behind the fields; the first entity's background by
    default. Densities add up; colors mix by density.
    """
    lower, upper = world_box(entities)
    near, far = box_interval(origins=origins, directions=directions, lower=lower, upper=upper)
    key_depth, key_pack = jax.random.split(key)
    depths, deltas = sample_depths(
        near=near, far=far, count=samples, key=key_depth if jitter else None
    )
    points = (origins[:, None] + depths[..., None] * directions[:, None]).reshape(-1, 3)
    open_way = (deltas > 0.0).reshape(-1)
    if stop is not None:
        open_way &= (depths < stop[:, None]).reshape(-1)
    density, mixed, shares = jnp.zeros(points.shape[0]), jnp.zeros_like(points), []
    for i, entity in enumerate(entities):
        local = to_object(entity.T_world_object, points)
        active = open_way & is_occupied(entity.occupancy, entity.settings, local)
        packed = pack(active, budget, jax.random.fold_in(key_pack, i))
        chosen = local.at[packed.index].get(mode="fill", fill_value=1e6)
        values = values_at(entity, chosen)
        thick = values.density / packed.share
        density = density.at[packed.index].add(thick, mode="drop")
        mixed = mixed.at[packed.index].add(thick[:, None] * values.color, mode="drop")
        shares.append(packed.share)
    if behind is None:
        behind = background_of(entities[0], directions)
    color = mixed / jnp.maximum(density, 1e-6)[:, None]
    shape = depths.shape
    rendered, weights = composite(
        density=density.reshape(shape),
        color=color.reshape(*shape, 3),
        depths=depths,
        deltas=deltas,
        background=behind,
    )
    return rendered, RaySamples(
        entropy=opacity_entropy(opacity=rendered.opacity),
        opacity=jnp.mean(rendered.opacity),
        distortion=distortion(weights=weights, depths=depths, deltas=deltas),
        share=jnp.min(jnp.stack(shares)),
    )
