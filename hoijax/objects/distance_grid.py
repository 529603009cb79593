"""Distances from points to a rigid object by one look-up in a grid fixed to the object.

The eight corner values of every cell lie side by side, so value and gradient come from a single gather of
32 contiguous bytes per point. The arithmetic is written component by component: XLA then fuses all of it
into the loops around the gather, which is several times faster on CPU than work on (..., 3) arrays.

A cell that the surface crosses may be *folded*: its corners carry the sign of the side they are on and the
look-up returns the absolute value. An unsigned distance is then as sharp at the surface as a signed one,
also for open meshes (see `grid_signs`). The lowest bit of a cell's first corner says which cells are folded.
"""

from typing import Any, TypeVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int

from hoijax.geometry.point_transforms import axes_of, in_one_array
from hoijax.objects.asset import Asset
from hoijax.objects.content_cache import remember
from hoijax.objects.grid_signs import SurfaceDistances, corner_windows, fold_signs, signed_distances

SIGNED, UNSIGNED, FIRST_PART = 0, 1, 2
"""Grid indices: signed distance, unsigned distance to the whole surface, distance to part 0."""
Values = TypeVar("Values", Array, np.ndarray)


@flax.struct.dataclass
class DistanceGrids:
    """Distance grids of one object in its own frame, metres.

    Attributes:
        corners: (G, n, n, n, 8) float32 corner values of each cell, corner (i, j, k) at 4 i + 2 j + k,
            as packed by `pack_corners`. Grid 0 is the signed distance (negative inside), 1 the unsigned
            distance to the whole surface, 2 + p the unsigned distance to part p.
        lower: (3,) corner of the grid's box with the smallest coordinates.
        spacing: (3,) size of a cell along each axis.

    One table may hold the grids of several objects: `lower` and `spacing` then have a row per queried
    point, (..., 3), that broadcasts against the points.
    """

    corners: Any
    lower: Any
    spacing: Any


def scaled_corners(
    corners: Float32[np.ndarray, "*grids 8"], factor: float
) -> Float32[np.ndarray, "*grids 8"]:
    """Packed corners of an object `factor` times as large; folded cells stay folded."""
    flag = np.ascontiguousarray(corners[..., 0]).view(np.int32) & np.int32(1)
    return _flagged(corners * np.float32(factor), flag)


def _flagged(cells: np.ndarray, flag: Int[np.ndarray, "*grids"]) -> np.ndarray:
    """Corners with the fold flag in the lowest bit of each cell's first."""
    cells = np.ascontiguousarray(cells, np.float32)
    bits = cells.view(np.int32)
    bits[..., 0] = (bits[..., 0] & ~np.int32(1)) | flag
    return cells


def resized_grids(grids: DistanceGrids, factor: float) -> DistanceGrids:
    """Grids of an object `factor` times as large about its origin (numpy arrays)."""
    scale = np.float32(factor)
    corners = scaled_corners(grids.corners, factor)
    return DistanceGrids(corners, grids.lower * scale, grids.spacing * scale)


@remember(16, resized=resized_grids)
def build_distance_grids(asset: Asset, resolution: int = 48, margin: float = 0.15) -> DistanceGrids:
    """Distances of an asset on a grid of `resolution` cells per axis (numpy arrays).

    Nodes carry libigl's exact point-to-triangle distances; which nodes are inside is decided by
    `grid_signs.signed_distances`. The box is the bounding box grown on each side by `margin` of its
    extent along that axis, and by no less than a third of `margin` of its longest side: thin objects get
    finer cells across.

    Interpolated values are off by at most half a cell diagonal, and by far less where the surface is
    smooth over a cell. Grids of the last assets are remembered (`objects.content_cache`).
    """
    vertices = np.asarray(asset.vertices, np.float64)
    faces = np.asarray(asset.faces, np.int64)
    lower, spacing = _grid_box(vertices, resolution, margin)
    steps = [lower[i] + spacing[i] * np.arange(resolution + 1) for i in range(3)]
    nodes = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)

    labels = np.arange(-1, len(asset.part_names))
    surfaces = {p: faces[asset.face_parts == p] for p in labels}
    measured = {
        p: SurfaceDistances.measure(nodes, vertices, subset)
        for p, subset in surfaces.items()
        if len(subset)
    }
    whole = SurfaceDistances.union(list(measured.values()))
    signed = signed_distances(whole, nodes, spacing, vertices, faces)
    inside = signed < 0.0

    never = np.linalg.norm(spacing * resolution)  # a part without faces is out of reach everywhere
    cells = [pack_corners(signed)]
    for p, surface in [(None, whole), *((p, measured.get(p)) for p in labels[1:])]:
        if surface is None:
            cells.append(pack_corners(np.full(nodes.shape[:-1], never)))
            continue
        subset = faces if p is None else surfaces[p]
        sides, folded = fold_signs(surface, inside, nodes, spacing, vertices, subset)
        cells.append(pack_corners(surface.distance, sides, folded))
    return DistanceGrids(np.stack(cells), lower.astype(np.float32), spacing.astype(np.float32))


def pack_corners(
    nodes: Float[np.ndarray, "a b c"],
    sides: Int[np.ndarray, "a-1 b-1 c-1 8"] | None = None,
    folded: Bool[np.ndarray, "a-1 b-1 c-1"] | None = None,
) -> Float32[np.ndarray, "a-1 b-1 c-1 8"]:
    """Corner values of each cell from node values; folded cells take the sides (+-1) of their corners.

    The lowest bit of the first corner's float32 is the fold flag: an error of one part in 10^7.
    """
    cells = corner_windows(np.asarray(nodes, np.float32))
    flag = np.zeros(cells.shape[:-1], np.int32)
    if sides is not None and folded is not None:
        cells = np.where(folded[..., None], cells * sides.astype(np.float32), cells)
        flag = folded.astype(np.int32)
    return _flagged(cells, flag)


def query(
    grids: DistanceGrids,
    points_object: Float[Array, "*batch 3"],
    grid_index: Int[Array, "..."] | int = SIGNED,
) -> Float[Array, "*batch"]:
    """Distance of points to the object, metres; differentiable in the points.

    `points_object` are in the object's frame; `grid_index` is one index or one per point (it must
    broadcast against the points' batch shape). Outside the grid's box: the value at the nearest point of
    the box plus the distance to that point, so an object metres away is still pulled home (an upper bound
    of the true distance). The distance is continuous there and between plain cells, up to half a cell
    diagonal beside folded ones; its gradient jumps between cells and at the box. NaN points give NaN.

    Fastest when the points are built component by component (`jnp.stack([x, y, z], axis=-1)`): XLA fuses
    that with the look-up.
    """
    index = jnp.broadcast_to(jnp.asarray(grid_index, jnp.int32), points_object.shape[:-1])
    return _distance(*_arrays(grids), points_object, index)


def query_with_gradient(
    grids: DistanceGrids,
    points_object: Float[Array, "*batch 3"],
    grid_index: Int[Array, "..."] | int = SIGNED,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch 3"]]:
    """Distance and its gradient in the object's frame, from the same single gather; see `query`."""
    index = jnp.broadcast_to(jnp.asarray(grid_index, jnp.int32), points_object.shape[:-1])
    return _distance_and_gradient(*_arrays(grids), points_object, index)


def _arrays(grids: DistanceGrids) -> tuple[Array, Array, Array]:
    return jnp.asarray(grids.corners), jnp.asarray(grids.lower), jnp.asarray(grids.spacing)


def _distance_and_gradient(
    corners: Float[Array, "G n n n 8"],
    lower: Float[Array, "*owner 3"],
    spacing: Float[Array, "*owner 3"],
    points: Float[Array, "*batch 3"],
    index: Int[Array, "*batch"],
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch 3"]]:
    """Trilinear value and gradient, continued outside the box."""
    n = corners.shape[1]
    sizes = [spacing[..., a] for a in range(3)]
    local = [(points[..., a] - lower[..., a]) / sizes[a] for a in range(3)]
    clamped = [jnp.clip(x, 0.0, float(n)) for x in local]
    cell = [jnp.clip(jnp.floor(x), 0.0, float(n - 1)) for x in clamped]
    row = index
    for axis in cell:
        row = row * n + axis.astype(jnp.int32)
    gathered = jnp.reshape(corners, (-1, 8)).at[row].get(mode="promise_in_bounds")
    fractions = [x - c for x, c in zip(clamped, cell, strict=True)]
    value, slopes = trilinear([gathered[..., i] for i in range(8)], fractions)

    # A folded cell holds side * distance: fold back.
    flag = jax.lax.bitcast_convert_type(gathered[..., 0], jnp.int32) & 1
    sign = jnp.where((flag == 1) & (value < 0.0), -1.0, 1.0)
    beyond = [(x - c) * size for x, c, size in zip(local, clamped, sizes, strict=True)]
    squared = beyond[0] * beyond[0] + beyond[1] * beyond[1] + beyond[2] * beyond[2]
    outside = squared > 0.0
    gap = jnp.sqrt(jnp.where(outside, squared, 1.0))
    gradient = [
        jnp.where(b == 0.0, sign * slope / size, b / gap)
        for b, slope, size in zip(beyond, slopes, sizes, strict=True)
    ]
    # Stacked, not selected by an iota: behind two rigid transforms XLA on CPU (jaxlib 0.10.2) then
    # compiles gradients that lose their third component (tests/test_fused_gradients.py).
    return sign * value + jnp.where(outside, gap, 0.0), jnp.stack(gradient, axis=-1)


def trilinear(c: list[Values], fractions: list[Values]) -> tuple[Values, list[Values]]:
    """Value and slopes per cell of the trilinear interpolant of eight corners."""
    u, v, w = fractions
    rise = [c[i + 1] - c[i] for i in (0, 2, 4, 6)]
    z00, z01, z10, z11 = (c[2 * i] + w * rise[i] for i in range(4))
    low, high = z00 + v * (z01 - z00), z10 + v * (z11 - z10)
    slope_y = (z01 - z00) + u * ((z11 - z10) - (z01 - z00))
    near, far = rise[0] + v * (rise[1] - rise[0]), rise[2] + v * (rise[3] - rise[2])
    return low + u * (high - low), [high - low, slope_y, near + u * (far - near)]


@jax.custom_jvp
def _distance(
    corners: Float[Array, "G n n n 8"],
    lower: Float[Array, "*owner 3"],
    spacing: Float[Array, "*owner 3"],
    points: Float[Array, "*batch 3"],
    index: Int[Array, "*batch"],
) -> Float[Array, "*batch"]:
    """The distance alone; its derivative comes from the same gather and knows the points only."""
    return _distance_and_gradient(corners, lower, spacing, points, index)[0]


@_distance.defjvp
def _distance_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    value, gradient = _distance_and_gradient(*primals)
    # Kept: otherwise XLA interpolates again in every sum of the backward pass.
    value, *slopes = in_one_array([value, *axes_of(gradient)])
    moved = axes_of(tangents[3])
    return value, sum(slope * by for slope, by in zip(slopes, moved, strict=True))  # pyright: ignore


def _grid_box(
    vertices: np.ndarray, resolution: int, margin: float
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """Lower corner and spacing of the grid: float64 that float32 represents exactly."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    extent = high - low
    grow = np.maximum(margin * extent, margin / 3.0 * extent.max())
    lower, spacing = low - grow, (extent + 2.0 * grow) / resolution
    return lower.astype(np.float32).astype(float), spacing.astype(np.float32).astype(float)
