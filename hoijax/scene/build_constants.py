"""Shapes of objects and masks as padded arrays, so that few compiled programs exist (host)."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.ndimage import distance_transform_edt

from hoijax.affordance.contact_table import ContactTable
from hoijax.geometry.cropping import window_around
from hoijax.objects.asset import Asset
from hoijax.objects.distance_grid import FIRST_PART, DistanceGrids, build_distance_grids
from hoijax.runtime import on_all_cores, on_device
from hoijax.scene.objects import (
    ObjectConstants,
)

MASK_CELL = 4  # image pixels in a cell of the mask distance transform
NEAR_CELLS = 16
"""Cells around masks in which pixels are measured: farther away a pixel more or less says nothing."""
PARTS_STEP, EDGES_STEP, CELLS_STEP = 4, 4, 32
"""Parts, contact edges and mask cells are padded to multiples of these, points to what the settings
ask for, grids to what the parts imply: so scenes of one frame, person and object count share a few
compiled programs. Whatever is padded is masked, or never looked up."""


def pad_to(count: int, multiple: int) -> int:
    """Bucketed size: scenes of one bucket share compiled programs."""
    return -(-max(count, 1) // multiple) * multiple


def padded_parts(assets: tuple[Asset, ...]) -> int:
    """Length of the part axis."""
    return pad_to(max(len(asset.part_names) for asset in assets), PARTS_STEP)


def pad_points(array: ndarray, count: int) -> ndarray:
    """Axis 2 (points of a frame) cut or filled with zeros to `count`: False in masks."""
    array = array[:, :, :count]
    missing = count - array.shape[2]
    return np.pad(array, ((0, 0), (0, 0), (0, missing), *((0, 0),) * (array.ndim - 3)))


def pad_cells(distances: Float[ndarray, "O T h w"]) -> Float[ndarray, "O T H W"]:
    """Repeat the last row and column: what a look-up outside the image gives in any case."""
    h, w = distances.shape[-2:]
    # Packing corners takes one away.
    below, right = (pad_to(size - 1, CELLS_STEP) + 1 - size for size in (h, w))
    return np.pad(distances, ((0, 0), (0, 0), (0, below), (0, right)), mode="edge")


def stack_grids(assets: tuple[Asset, ...], resolution: int) -> tuple[DistanceGrids, ndarray]:
    """One table with every object's grids and each object's first row.

    The table has as many rows as if every object had the padded number of parts: rows and parts then
    change together, and do not multiply the number of shapes.
    """
    built = [build_distance_grids(asset, resolution=resolution) for asset in assets]
    sizes = [len(grids.corners) for grids in built]
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    corners = np.concatenate([np.asarray(grids.corners) for grids in built])
    rows = len(assets) * (FIRST_PART + padded_parts(assets))
    padding = max(rows, len(corners)) - len(corners)
    corners = np.pad(corners, ((0, padding), *((0, 0),) * 4))
    lower = np.stack([np.asarray(grids.lower) for grids in built])
    spacing = np.stack([np.asarray(grids.spacing) for grids in built])
    return DistanceGrids(on_device(corners), on_device(lower), on_device(spacing)), first


def object_constants(
    assets: tuple[Asset, ...], table: ContactTable, first_grid: ndarray, seed: int
) -> ObjectConstants:
    """Centerd surface samples in random order (so that a prefix is a uniform subsample)."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(asset.samples)) for asset in assets]
    pairs = list(zip(assets, orders, strict=True))
    return ObjectConstants(
        centers=on_device(np.stack([a.center for a in assets])),
        samples=on_device(np.stack([a.samples[order] - a.center for a, order in pairs])),
        sample_parts=on_device(np.stack([a.sample_parts[order] for a, order in pairs])),
        first_grid=on_device(first_grid),
        is_translational=on_device(table.object_is_translational),
        is_rotational=on_device(table.object_is_rotational),
    )


def mask_distances(instance_ids: ndarray, persons: int, objects: int) -> Float[ndarray, "O T h w"]:
    """Pixels to each object's mask or to anything that may hide it, at the centers of coarse cells.

    One pixel beside the mask still costs nothing: boundaries flicker by that much.
    """
    t, height, width = instance_ids.shape
    h, w = -(-height // MASK_CELL), -(-width // MASK_CELL)
    ids = np.pad(instance_ids, ((0, 0), (0, h * MASK_CELL - height), (0, w * MASK_CELL - width)))
    out = np.zeros((objects, t, h, w), np.float32)

    def of_frame(frame: int) -> None:
        present = [o for o in range(objects) if (ids[frame] == persons + 1 + o).any()]
        if present:
            out[present, frame] = _cell_distances(ids[frame] > 0)

    on_all_cores(of_frame, range(t))
    return out


def _cell_distances(mask: Bool[ndarray, "H W"]) -> Float[ndarray, "h w"]:
    """Pixels beyond one to a mask, mean of every cell; exact near the mask, from cell to cell farther away."""
    h, w = (size // MASK_CELL for size in mask.shape)
    rows_of_cells = mask.reshape(h, MASK_CELL, -1).any(axis=1)  # axis by axis: much faster
    blocks = np.asarray(rows_of_cells.reshape(h, w, MASK_CELL).any(axis=2), bool)
    rows, columns = window_around(blocks, NEAR_CELLS)
    cells = np.zeros((h, w), np.float32)
    if (rows.stop - rows.start) * (columns.stop - columns.start) < h * w:
        cells[:] = MASK_CELL * np.asarray(distance_transform_edt(~blocks))
    near = mask.reshape(h, MASK_CELL, w, MASK_CELL)[rows, :, columns]
    shape = near.shape
    away = np.asarray(distance_transform_edt(~near.reshape(shape[0] * MASK_CELL, -1)))
    cells[rows, columns] = np.maximum(away - 1.0, 0.0).reshape(shape).mean(axis=3).mean(axis=1)
    return cells
