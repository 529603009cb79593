"""Where a hand could take hold of a surface: round a bar, over the edge of a plate, flat.

numpy on the host, all samples at once. Works from surface samples alone, so any mesh will do; part
labels narrow it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.objects.asset import Asset
from priors.choreography.exact_distance import signed_distance

NEIGHBORHOOD = 0.06  # metres: about half a hand
SPACING, NEIGHBORS = 0.008, 96  # metres between the neighbors that count, and how many at most
BAR_WIDTH = 0.065  # metres: what fingers can close around
PLATE_THICKNESS = 0.055  # metres: what fingers and thumb can close over
STRIP, STRAIGHT = 0.018, 0.055  # metres: depth of the strip along an edge, and how long it must be
FREE, PAST_EDGE = 0.004, 0.02  # metres above a surface, and past an edge, that must be outside
BARS, EDGES, FLATS = 140, 140, 240
"""Most candidates of each kind."""


@dataclass(frozen=True)
class Candidates:
    """Possible holds, in the mesh frame."""

    point: Float[ndarray, "N 3"]
    """On the surface; on the axis of a bar, and in the middle of a plate a little inside its edge."""
    normal: Float[ndarray, "N 3"]
    """Out of the surface; away from the plate, along it, at an edge."""
    axis: Float[ndarray, "N 3"]
    """Direction of a bar or an edge, zero where the surface is neither."""
    radius: Float[ndarray, "N"]
    """Of a bar, half the thickness of a plate, 0 where flat."""
    is_edge: Bool[ndarray, "N"]
    crowding: Float[ndarray, "N"]
    """0 where there is room for a hand, towards 1 where something is in its way."""

    @property
    def is_bar(self) -> Bool[ndarray, "N"]:
        return (self.radius > 0.0) & ~self.is_edge

    @property
    def is_flat(self) -> Bool[ndarray, "N"]:
        return self.radius == 0.0


@dataclass(frozen=True)
class _Shapes:
    """What the surface is like round each of N samples."""

    center: Float[ndarray, "N 3"]
    normal: Float[ndarray, "N 3"]
    axis: Float[ndarray, "N 3"]
    radius: Float[ndarray, "N"]
    is_bar: Bool[ndarray, "N"]
    is_edge: Bool[ndarray, "N"]


def part_samples(asset: Asset, part: str | None) -> Int[ndarray, "n"]:
    """Indices of the surface samples of a part; of the whole surface where the part is not labeled."""
    if part is not None and part in asset.part_names:
        chosen = np.flatnonzero(asset.sample_parts == asset.part_names.index(part))
        if len(chosen) >= 8:
            return chosen
    return np.arange(len(asset.samples))


def grasp_candidates(asset: Asset, part: str | None, rng: np.random.Generator) -> Candidates:
    """Holds on a part: those that a hand closes round, wherever they are, and flat ones."""
    indices = part_samples(asset, part)
    points = asset.samples[indices].astype(float)
    normals = asset.sample_normals[indices].astype(float)
    order = rng.permutation(len(points))
    shapes = _shapes(points, normals)
    flat = order[~(shapes.is_bar | shapes.is_edge)[order]]
    # Half from anywhere, half from upright sides, which are often a small share.
    upright = flat[np.abs(normals[flat, 1]) < 0.7]
    chosen = np.concatenate(
        [
            order[shapes.is_bar[order]][:BARS],
            order[shapes.is_edge[order]][:EDGES],
            np.union1d(flat[: FLATS // 2], upright[: FLATS // 2]),
        ]
    )
    # Bodies that overlap have faces inside each other, where no hand gets to; few samples look like edges.
    past_edge = shapes.center + (shapes.radius + PAST_EDGE)[:, None] * shapes.normal
    free = np.where(shapes.is_edge[:, None], past_edge, points + FREE * normals)
    is_outside = signed_distance(asset, free[chosen]) > 0.0
    chosen = chosen[is_outside] if is_outside.any() else chosen
    center, normal, axis = shapes.center[chosen], shapes.normal[chosen], shapes.axis[chosen]
    radius, is_edge = shapes.radius[chosen], shapes.is_edge[chosen]
    crowding = _crowding(asset, center, normal, axis, radius, is_edge)
    return Candidates(center, normal, axis, radius, is_edge, crowding)


def _shapes(points: Float[ndarray, "N 3"], normals: Float[ndarray, "N 3"]) -> _Shapes:
    """Bars are thin in two directions and closed round; edges of plates thin in one and end in another."""
    from scipy.spatial import KDTree

    cells = np.unique(np.floor(points / SPACING).astype(int), axis=0, return_index=True)[1]
    cloud, facing = points[cells], normals[cells]
    neighbors = max(2, min(NEIGHBORS, len(cloud)))  # of one neighbor the axis would be dropped
    away, near = map(
        np.asarray, KDTree(cloud).query(points, neighbors, distance_upper_bound=NEIGHBORHOOD)
    )
    is_near = np.isfinite(away)
    near = np.where(is_near, near, 0)
    offset = np.where(is_near[..., None], cloud[near] - points[:, None], 0.0)
    count = np.maximum(is_near.sum(axis=1), 1)
    mean = offset.sum(axis=1) / count[:, None]
    spread = np.einsum("nki,nkj->nij", offset, offset) / count[:, None, None]
    directions = np.linalg.eigh(spread - mean[:, :, None] * mean[:, None, :])[1][:, :, ::-1]
    along = offset @ directions
    low, high = _extremes(along, is_near)
    extent = high - low
    turned = facing[near] @ directions
    low_normal, high_normal = _extremes(turned, is_near)
    around = high_normal - low_normal
    enough = count >= 6
    is_bar = (
        enough
        & (extent[:, 1] < BAR_WIDTH)
        & (extent[:, 0] > 0.06)
        & (around[:, 1:].min(axis=1) > 1.5)
    )
    middle = 0.5 * (low + high)
    on_axis = np.where([[True, False, False]], 0.0, middle)
    radius = np.maximum(0.004, 0.25 * (extent[:, 1] + extent[:, 2]))
    center = points + np.einsum("nij,nj->ni", directions, on_axis)
    # A plate's faces look both ways; its thin direction is the normal of the face that the sample is on.
    depth = np.einsum("nki,ni->nk", offset, normals)[..., None]
    bottom, top = (side[:, 0] for side in _extremes(depth, is_near))
    opposite = np.where(is_near, np.einsum("nki,ni->nk", facing[near], normals), 1.0).min(axis=1)
    is_plate = enough & ~is_bar & (top - bottom < PLATE_THICKNESS) & (opposite < -0.9)
    to_edge, outward, edge_axis, is_edge = _edges(offset, is_near, mean, normals, is_plate)
    half = np.maximum(0.004, 0.5 * (top - bottom))
    edge = points + to_edge + 0.5 * (top + bottom)[:, None] * normals - half[:, None] * outward
    rows = is_bar[:, None]
    return _Shapes(
        center=np.where(rows, center, np.where(is_edge[:, None], edge, points)),
        normal=np.where(is_edge[:, None], outward, normals),
        axis=np.where(rows, directions[:, :, 0], np.where(is_edge[:, None], edge_axis, 0.0)),
        radius=np.where(is_bar, radius, np.where(is_edge, half, 0.0)),
        is_bar=is_bar,
        is_edge=is_edge,
    )


def _extremes(
    values: Float[ndarray, "N K D"], is_near: Bool[ndarray, "N K"]
) -> tuple[Float[ndarray, "N D"], Float[ndarray, "N D"]]:
    """Smallest and largest over the neighbors."""
    low = np.where(is_near[..., None], values, np.inf).min(axis=1)
    high = np.where(is_near[..., None], values, -np.inf).max(axis=1)
    return low, high


def _edges(
    offset: Float[ndarray, "N K 3"],
    is_near: Bool[ndarray, "N K"],
    mean: Float[ndarray, "N 3"],
    thin: Float[ndarray, "N 3"],
    is_plate: Bool[ndarray, "N"],
) -> tuple[Float[ndarray, "N 3"], Float[ndarray, "N 3"], Float[ndarray, "N 3"], Bool[ndarray, "N"]]:
    """Where plates end in a straight line: offset to it, direction off the plate, the line's direction.

    mean: of the neighbors' offsets: it lies away from an edge. thin: unit direction across the plate.
    """
    inward = mean - np.sum(mean * thin, axis=1, keepdims=True) * thin
    lopsided = np.linalg.norm(inward, axis=1)
    outward = -inward / np.maximum(lopsided, 1e-9)[:, None]
    for _ in range(2):  # the strip that lies farthest out says which way the edge runs
        line = np.cross(thin, outward)
        out, aside = np.einsum("nki,ni->nk", offset, outward), np.einsum("nki,ni->nk", offset, line)
        farthest = np.where(is_near, out, -np.inf).max(axis=1)
        strip = is_near & (out > farthest[:, None] - STRIP)
        members = np.maximum(strip.sum(axis=1), 1)
        out_mean = np.sum(np.where(strip, out, 0.0), axis=1) / members
        aside_mean = np.sum(np.where(strip, aside, 0.0), axis=1) / members
        aside_off = np.where(strip, aside - aside_mean[:, None], 0.0)
        slope = np.sum(aside_off * (out - out_mean[:, None]), axis=1)
        slope /= np.maximum(np.sum(aside_off**2, axis=1), 1e-9)
        outward = outward - 0.7 * slope[:, None] * line
        outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9)
    line = np.cross(thin, outward)
    low = np.where(strip, aside, np.inf).min(axis=1)
    high = np.where(strip, aside, -np.inf).max(axis=1)
    farthest = np.where(is_near, np.einsum("nki,ni->nk", offset, outward), -np.inf).max(axis=1)
    is_edge = (
        is_plate & (lopsided > 0.008) & (high - low > STRAIGHT) & (farthest < 0.7 * NEIGHBORHOOD)
    )
    return np.where(is_edge, farthest, 0.0)[:, None] * outward, outward, line, is_edge


def _crowding(
    asset: Asset,
    center: ndarray,
    normal: ndarray,
    axis: ndarray,
    radius: ndarray,
    is_edge: Bool[ndarray, "N"],
) -> Float[ndarray, "N"]:
    """How much of a hand's place above a surface, round a bar or off an edge is taken by the object itself."""
    angles = np.linspace(0.0, 2 * np.pi, 8, endpoint=False)
    closes = radius > 0.0
    pole = np.where(closes[:, None], axis, normal)
    first = np.cross(pole, np.eye(3)[np.argmin(np.abs(pole), axis=1)])
    first = np.where(is_edge[:, None], -normal, first)  # into the plate
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(pole, first)
    ring = np.cos(angles)[:, None, None] * first + np.sin(angles)[:, None, None] * second
    width = np.where(closes, radius + 0.022, 0.06)[:, None]
    shift = np.where(closes, 0.045, 0.014)[:, None] * pole
    rings = [center + width * ring + shift]
    rings.append(center + width * ring - shift if closes.any() else rings[0])
    both = np.concatenate(rings)  # a flat hold has nothing below the surface to look at
    both[8:, ~closes] = both[:8, ~closes]
    clear = signed_distance(asset, both.reshape(-1, 3)).reshape(16, -1)
    clear[::8] = np.where(is_edge, np.inf, clear[::8])  # the plate itself is there
    return np.clip((0.008 - clear) / 0.01, 0.0, 1.0).mean(axis=0)
