"""Which cells of a field's cube hold anything: samples elsewhere are not evaluated.

Shapes stay static: the samples that lie in occupied cells are packed into a budget of fixed size. Where
more are occupied than the budget holds, a random share of them is kept and their densities are raised by
the inverse of that share, so that the optical depth of every ray stays right in the mean.
"""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hoijax.composition.fields.radiance_field import FieldSettings

__all__ = ["Occupancy", "Packed", "full_occupancy", "is_occupied", "pack", "updated"]

DECAY = 0.8
"""How much of a cell's density an update keeps, where the field has become thinner."""


@flax.struct.dataclass
class Occupancy:
    """Largest recent density in every cell of a cube (x, y, z), per metre."""

    density: Float[Array, "G G G"]
    occupied: Bool[Array, "G G G"]


@flax.struct.dataclass
class Packed:
    """Which of n samples are evaluated, B of them."""

    index: Int[Array, " B"]
    """Their numbers, ascending; n stands for an empty place."""
    share: Float[Array, ""]
    """Share of the occupied samples that were kept."""


def full_occupancy(cells: int) -> Occupancy:
    """Nothing known yet: everything may be occupied. cells: along an edge."""
    shape = (cells, cells, cells)
    return Occupancy(density=jnp.zeros(shape), occupied=jnp.ones(shape, bool))


def cell_points(settings: FieldSettings, cells: int, key: Array) -> Float[Array, "n 3"]:
    """A random point in each of cells^3 cells (field's frame, metres), z fastest."""
    axis = jnp.arange(cells, dtype=jnp.float32)
    corner = jnp.stack(jnp.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    position = (corner + jax.random.uniform(key, corner.shape)) / cells
    return jnp.asarray(settings.center) + settings.half_side * (2.0 * position - 1.0)


def updated(
    occupancy: Occupancy, density: Float[Array, " n"], threshold: float | Array
) -> Occupancy:
    """Occupancy after looking at one point a cell; cells beside an occupied one count as occupied."""
    seen = jnp.maximum(DECAY * occupancy.density, density.reshape(occupancy.density.shape))
    solid = (seen > threshold).astype(jnp.float32)
    near = jax.lax.reduce_window(solid, 0.0, jax.lax.max, (3, 3, 3), (1, 1, 1), "SAME")
    return Occupancy(density=seen, occupied=near > 0.5)


def is_occupied(
    occupancy: Occupancy, settings: FieldSettings, points: Float[Array, "n 3"]
) -> Bool[Array, " n"]:
    """Whether points (field's frame) lie in occupied cells; False outside of the cube."""
    cells = occupancy.occupied.shape[0]
    unit = 0.5 * ((points - jnp.asarray(settings.center)) / settings.half_side + 1.0)
    inside = jnp.all((unit >= 0.0) & (unit <= 1.0), axis=-1)
    cell = jnp.clip(unit * cells, 0.0, float(cells - 1)).astype(jnp.int32)
    row = (cell[:, 0] * cells + cell[:, 1]) * cells + cell[:, 2]
    return inside & occupancy.occupied.reshape(-1).at[row].get(mode="promise_in_bounds")


def pack(active: Bool[Array, " n"], budget: int, key: Array) -> Packed:
    """Numbers of the active samples, at most `budget`: see the module."""
    count = jnp.sum(active, dtype=jnp.int32)
    # A little under the budget: a random share varies by its square root.
    wanted = 0.98 * budget / jnp.maximum(count, 1).astype(jnp.float32)
    share = jnp.where(count <= budget, 1.0, wanted)
    sampled = active & (jax.random.uniform(key, active.shape) < share)
    (index,) = jnp.nonzero(sampled, size=budget, fill_value=active.shape[0])
    return Packed(index=index.astype(jnp.int32), share=share)
