"""Distances from points to a rigid object by one look-up in a grid fixed to the object.

The eight corner values of every cell lie side by side, so the value and its gradient come from a single
gather of 32 contiguous bytes per point.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hoijax.numerics import safe_norm, safe_normalize
from hoijax.objects.asset import Asset

SIGNED, UNSIGNED, FIRST_PART = 0, 1, 2
"""Grid indices: signed distance, unsigned distance to the whole surface, distance to part 0."""


@flax.struct.dataclass
class DistanceGrids:
    """Distance grids of one object in its own frame, metres.

    Attributes:
        corners: (G, n, n, n, 8) corner values of each cell, corner (i, j, k) at 4 i + 2 j + k.
            Grid 0 is the signed distance (negative inside), 1 the unsigned distance to the whole
            surface, 2 + p the unsigned distance to part p.
        lower: (3,) corner of the grid's box with the smallest coordinates.
        spacing: (3,) size of a cell along each axis.
    """

    corners: Any
    lower: Any
    spacing: Any

    @property
    def bound(self) -> float:
        """Diagonal of a cell in metres: the scale of the interpolation error."""
        return float(np.linalg.norm(np.asarray(self.spacing)))


def build_distance_grids(asset: Asset, resolution: int = 48, margin: float = 0.15) -> DistanceGrids:
    """Exact distances of an asset on a grid of `resolution` cells per axis (numpy arrays).

    Distances are libigl's exact point-to-triangle distances at the grid nodes; the sign is that of the
    generalised winding number (Barill et al. 2018), which bears holes and self-intersections. The box is
    the bounding box grown on each side by `margin` of its extent along that axis, and by no less than a
    third of `margin` of its longest side, so thin objects get finer cells across.
    """
    import igl

    vertices = np.asarray(asset.vertices, np.float64)
    faces = np.asarray(asset.faces, np.int64)
    lower, spacing = _grid_box(vertices, resolution, margin)
    steps = [lower[i] + spacing[i] * np.arange(resolution + 1) for i in range(3)]
    nodes = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)

    def distance_to(subset: np.ndarray) -> np.ndarray:
        if len(subset) == 0:
            return np.full(len(nodes), np.linalg.norm(spacing * resolution))
        return np.sqrt(igl.point_mesh_squared_distance(nodes, vertices, subset)[0])

    parts = [distance_to(faces[asset.face_parts == p]) for p in range(len(asset.part_names))]
    rest = faces[asset.face_parts < 0]
    unsigned = np.min([*parts, distance_to(rest)] if len(rest) else parts, axis=0)
    winding = igl.fast_winding_number(vertices, faces, nodes)
    signed = np.where(np.abs(winding) > 0.5, -unsigned, unsigned)
    grids = np.stack([signed, unsigned, *parts]).astype(np.float32)
    grids = grids.reshape(-1, *(resolution + 1,) * 3)
    return DistanceGrids(
        _corner_layout(grids), lower.astype(np.float32), spacing.astype(np.float32)
    )


def query(
    grids: DistanceGrids,
    points_object: Float[Array, "*batch 3"],
    grid_index: Int[Array, "*index"] | int = SIGNED,
) -> Float[Array, "*batch"]:
    """Distance of points to the object, metres; differentiable in the points.

    `points_object` are in the object's frame; `grid_index` is one index or one per point (it must
    broadcast against the points' batch shape). Outside the grid's box: the value at the nearest point
    of the box plus the distance to that point, so an object metres away is still pulled home. The
    distance is continuous everywhere; its gradient jumps between cells (by no more than the surface
    bends within a cell) and at the box, where the inward side is the trilinear interpolant's.
    """
    index = jnp.broadcast_to(jnp.asarray(grid_index, jnp.int32), points_object.shape[:-1])
    return _distance(*_arrays(grids), points_object, index)


def query_with_gradient(
    grids: DistanceGrids,
    points_object: Float[Array, "*batch 3"],
    grid_index: Int[Array, "*index"] | int = SIGNED,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch 3"]]:
    """Distance and its gradient in the object's frame, from the same single gather; see `query`."""
    index = jnp.broadcast_to(jnp.asarray(grid_index, jnp.int32), points_object.shape[:-1])
    return _distance_and_gradient(*_arrays(grids), points_object, index)


def _arrays(grids: DistanceGrids) -> tuple[Array, Array, Array]:
    return jnp.asarray(grids.corners), jnp.asarray(grids.lower), jnp.asarray(grids.spacing)


def _distance_and_gradient(
    corners: Float[Array, "G n n n 8"],
    lower: Float[Array, "3"],
    spacing: Float[Array, "3"],
    points: Float[Array, "*batch 3"],
    index: Int[Array, "*batch"],
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch 3"]]:
    """Trilinear value and gradient, continued outside the box."""
    n = corners.shape[1]
    local = (points - lower) / spacing
    clamped = jnp.clip(local, 0.0, float(n))
    cell = jnp.clip(jnp.floor(clamped), 0.0, float(n - 1))
    u, v, w = jnp.moveaxis(clamped - cell, -1, 0)
    i, j, k = jnp.moveaxis(cell.astype(jnp.int32), -1, 0)
    row = ((index * n + i) * n + j) * n + k
    table = jnp.reshape(corners, (-1, 8))
    c = jnp.moveaxis(table.at[row].get(mode="promise_in_bounds"), -1, 0)

    along_z = c[0::2] + w * (c[1::2] - c[0::2])
    low, high = along_z[0::2] + v * (along_z[1::2] - along_z[0::2])
    slope_x = high - low
    slope_y = (along_z[1] - along_z[0]) * (1.0 - u) + (along_z[3] - along_z[2]) * u
    slopes_z = c[1::2] - c[0::2]
    near, far = slopes_z[0::2] + v * (slopes_z[1::2] - slopes_z[0::2])
    slope_z = near + u * (far - near)

    inside = local == clamped
    gradient = jnp.stack([slope_x, slope_y, slope_z], axis=-1) / spacing
    offset = (local - clamped) * spacing
    beyond = safe_norm(offset)
    gradient = jnp.where(inside, gradient, 0.0) + safe_normalize(offset)
    return low + u * slope_x + beyond, gradient


@jax.custom_jvp
def _distance(
    corners: Float[Array, "G n n n 8"],
    lower: Float[Array, "3"],
    spacing: Float[Array, "3"],
    points: Float[Array, "*batch 3"],
    index: Int[Array, "*batch"],
) -> Float[Array, "*batch"]:
    """The distance alone; its derivative comes from the same gather and knows the points only."""
    return _distance_and_gradient(corners, lower, spacing, points, index)[0]


@_distance.defjvp
def _distance_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    value, gradient = _distance_and_gradient(*primals)
    return value, jnp.sum(gradient * tangents[3], axis=-1)


def _grid_box(
    vertices: np.ndarray, resolution: int, margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lower corner and spacing of the grid, in float32-representable float64."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    extent = high - low
    grow = np.maximum(margin * extent, margin / 3.0 * extent.max())
    lower = np.float32(low - grow).astype(np.float64)
    spacing = np.float32((extent + 2.0 * grow) / resolution).astype(np.float64)
    return lower, spacing


def _corner_layout(grids: np.ndarray) -> np.ndarray:
    """(G, n+1, n+1, n+1) node values to (G, n, n, n, 8) corner values of each cell."""
    low, high = slice(None, -1), slice(1, None)
    shifts = [(i, j, k) for i in (low, high) for j in (low, high) for k in (low, high)]
    return np.stack([grids[:, i, j, k] for i, j, k in shifts], axis=-1)
