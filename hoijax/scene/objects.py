"""Constants of rigid objects: their shape, what was seen of them, cameras, contacts.

Every object is optimized in its *centerd* frame: the asset's frame moved to its bounding-box center,
so that rotation and translation do not fight.
"""

import flax.struct
from jaxtyping import Array, Bool, Float, Int

from hoijax.objects.distance_grid import FIRST_PART
from hoijax.objects.distance_grid import SIGNED as WHOLE_SIGNED
from hoijax.objects.distance_grid import UNSIGNED as WHOLE_UNSIGNED

__all__ = [
    "FIRST_PART",
    "WHOLE_SIGNED",
    "WHOLE_UNSIGNED",
    "Cameras",
    "ContactEdges",
    "ObjectConstants",
    "ObservedObjects",
]


@flax.struct.dataclass
class ObjectConstants:
    """What never changes about the O objects. Frame `centerd`: asset frame minus its center."""

    centers: Float[Array, "O 3"]
    samples: Float[Array, "O S 3"]
    """Surface samples, centerd frame, in random order: a prefix is a uniform subsample."""
    sample_parts: Int[Array, "O S"]
    first_grid: Int[Array, " O"]
    """Row of the object's signed grid in the table; unsigned and part grids follow it."""
    is_translational: Bool[Array, " O"]
    is_rotational: Bool[Array, " O"]


@flax.struct.dataclass
class ObservedObjects:
    """What was seen of the objects, in the world after point-map alignment."""

    points_world: Float[Array, "O T N 3"]
    pixels: Float[Array, "O T N 2"]
    point_mask: Bool[Array, "O T N"]
    part_shares: Float[Array, "O T N Q"]
    """One-hot part label divided by that part's number of points in the frame; 0 without label."""
    part_grids: Int[Array, "O T N"]
    """Grid row of the labeled part (of the whole object where there is no label)."""
    part_of_sample: Bool[Array, "O Q S"]
    detected: Bool[Array, "O T"]
    mask_distance: Float[Array, "O T h w 4"]
    """Pixels to the object's mask or an occluder, four corner values of each cell contiguous."""


@flax.struct.dataclass
class Cameras:
    """Point-map cameras: world -> pixels goes through the *inverse* of T_world_pointmap."""

    Ts_pointmap_world: Float[Array, "T 4 4"]
    intrinsics: Float[Array, "T 3 3"]
    cell_size: Float[Array, " 2"]
    """Image pixels in a cell of `mask_distance`, (u, v)."""


@flax.struct.dataclass
class ContactEdges:
    """PAG edges as arrays. Slot axis 2: the left and right side of one body-part pair.

    Points are in the source frame: the world for a body part (source = O), else the centerd frame
    of object `source`.
    """

    points: Float[Array, "E 2 T C 3"]
    slot_mask: Bool[Array, "E 2"]
    select_side: Bool[Array, " E"]
    """True: only the closer side counts (the graph named one side). False: the sides are one set."""
    source: Int[Array, " E"]
    target: Int[Array, " E"]
    grid: Int[Array, " E"]
    use_mean: Bool[Array, " E"]
    every_frame: Bool[Array, " E"]
    """True: contact counts in every frame, by its contact state. False: in the best frame only."""
    is_rel_static: Bool[Array, " E"]
    mask: Bool[Array, " E"]
    """False for padding."""
