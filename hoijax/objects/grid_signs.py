"""Which side of a surface grid nodes are on, for meshes that may be open, torn or self-intersecting.

Winding numbers say inside or outside where the mesh encloses a volume (Barill et al., Fast Winding Numbers
for Soups and Clouds, 2018). Where it does not, two facts about exact distances keep the answer honest: the
surface crosses a grid edge of length h only if the distances at both ends sum to at most h, and a point d
deep inside has no outside point within d.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from hoijax.geometry.mesh_queries import nearest_on_mesh

OPEN_SHARE = 0.25
"""An enclosed region is no solid when more than this share of its border is no surface.

A box scanned without its bottom (1/6) is solid and gets a lid; a bowl (1/3) or a sheet is not."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Exact distance from every grid node to a surface, and where that surface is nearest."""

    distance: Float[np.ndarray, "a b c"]
    closest: Float[np.ndarray, "a b c 3"]

    @staticmethod
    def measure(
        nodes: Float[np.ndarray, "a b c 3"],
        vertices: Float[np.ndarray, "V 3"],
        faces: Int[np.ndarray, "F 3"],
    ) -> "SurfaceDistances":
        """Exact distances from libigl's bounding volume hierarchy."""
        nearest = nearest_on_mesh(nodes.reshape(-1, 3), vertices, faces)
        return SurfaceDistances(
            nearest.distances.reshape(nodes.shape[:-1]), nearest.closest.reshape(nodes.shape)
        )

    @staticmethod
    def union(surfaces: list["SurfaceDistances"]) -> "SurfaceDistances":
        """Distances to several surfaces taken together."""
        best = np.argmin([surface.distance for surface in surfaces], axis=0)
        distance = np.choose(best, [surface.distance for surface in surfaces])
        closest = np.choose(best[..., None], [surface.closest for surface in surfaces])
        return SurfaceDistances(distance, closest)


def corner_windows(nodes: np.ndarray) -> np.ndarray:
    """(a, b, c) node values to (a-1, b-1, c-1, 8) corner values, corner (i, j, k) at 4 i + 2 j + k."""
    low, high = slice(None, -1), slice(1, None)
    shifts = [(i, j, k) for i in (low, high) for j in (low, high) for k in (low, high)]
    return np.stack([nodes[shift] for shift in shifts], axis=-1)


def signed_distances(
    whole: SurfaceDistances,
    nodes: Float[np.ndarray, "a b c 3"],
    spacing: Float[np.ndarray, " 3"],
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
) -> Float[np.ndarray, "a b c"]:
    """Distance to the surface, negative inside solids.

    Inside means an absolute winding number above a half (so inside-out meshes work), unless the region is
    open (OPEN_SHARE). Depth is the distance to the surface, corrected where the nearest surface is buried
    in the solid (self-intersections) and never more than the distance to the nearest outside node (holes).
    """
    inside = _inside_hull(nodes, vertices[faces].reshape(-1, 3))
    inside[inside] = _enclosed(nodes[inside], vertices, faces)
    inside = _drop_open_regions(inside, whole.distance, spacing)
    if not inside.any():
        return whole.distance
    reach = np.asarray(ndimage.distance_transform_edt(inside, sampling=spacing))
    depth = whole.distance[inside]
    # Step a little past the nearest surface point: still inside means that surface is buried.
    outward = whole.closest[inside] - nodes[inside]
    outward /= np.maximum(depth, 1e-9)[:, None]
    step = 0.02 * spacing.min()
    buried = (depth > step) & _enclosed(whole.closest[inside] + step * outward, vertices, faces)
    at_least = reach[inside] - np.linalg.norm(spacing)
    depth = np.where(buried, np.maximum(depth, at_least), depth)
    signed = whole.distance.copy()
    signed[inside] = -np.minimum(depth, reach[inside])
    return signed


def _enclosed(
    points: Float[np.ndarray, "n 3"], vertices: np.ndarray, faces: np.ndarray
) -> Bool[np.ndarray, " n"]:
    import igl

    winding = igl.fast_winding_number(vertices, faces, np.ascontiguousarray(points))
    return np.abs(winding) > 0.5


def _inside_hull(
    nodes: Float[np.ndarray, "a b c 3"], points: Float[np.ndarray, "n 3"]
) -> Bool[np.ndarray, "a b c"]:
    """Nodes inside the convex hull: outside it nothing is enclosed, and winding numbers are costly."""
    inside = np.all((nodes > points.min(axis=0)) & (nodes < points.max(axis=0)), axis=-1)
    try:
        planes = ConvexHull(points).equations
    except QhullError:  # a flat mesh encloses nothing
        return np.zeros_like(inside)
    # Coplanar facets repeat their plane; rounding keeps one of each.
    planes = np.unique(np.round(planes, 5), axis=0)
    candidates = nodes[inside]
    for start in range(0, len(planes), 64):
        block = planes[start : start + 64]
        is_inside = np.all(candidates @ block[:, :3].T + block[:, 3] < 1e-4, axis=1)
        inside[inside] = is_inside
        candidates = candidates[is_inside]
    return inside


def _drop_open_regions(
    inside: Bool[np.ndarray, "a b c"],
    distance: Float[np.ndarray, "a b c"],
    spacing: Float[np.ndarray, " 3"],
) -> Bool[np.ndarray, "a b c"]:
    """Keep the connected inside regions whose border is mostly real surface."""
    regions = np.zeros(inside.shape, np.int32)
    count = int(np.asarray(ndimage.label(inside, output=regions)))
    if count == 0:
        return inside
    border, hole = np.zeros(count + 1), np.zeros(count + 1)
    for axis in range(3):
        area = float(np.prod(spacing) / spacing[axis])
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        crossing = inside[low] != inside[high]
        region = np.maximum(regions[low], regions[high])[crossing]
        gap = (distance[low] + distance[high])[crossing] > 1.001 * spacing[axis]
        border += area * np.bincount(region, minlength=count + 1)
        hole += area * np.bincount(region, weights=gap, minlength=count + 1)
    solid = hole <= OPEN_SHARE * border
    solid[0] = False
    return solid[regions]


def fold_signs(
    surface: SurfaceDistances,
    inside: Bool[np.ndarray, "a b c"],
    nodes: Float[np.ndarray, "a b c 3"],
    spacing: Float[np.ndarray, " 3"],
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
) -> tuple[Int[np.ndarray, "a-1 b-1 c-1 8"], Bool[np.ndarray, "a-1 b-1 c-1"]]:
    """Sides (+-1) of the corners of each cell, and the cells that are better off folded.

    Between two sides of a surface an unsigned distance has a kink that trilinear interpolation smears over
    the cell; |interpolated signed distance| does not. Per cell near the surface two guesses of the sides
    (inside or outside the solid; along or against the longest way from the surface to a corner) compete
    with none, by their worst error against exact distances at a few points of the cell. So a wrong guess
    costs nothing, and open or torn surfaces are as sharp as closed ones.
    """

    distances = corner_windows(surface.distance)
    shape = distances.shape[:-1]
    near = distances.min(axis=-1) < np.linalg.norm(spacing)
    corner_distance = distances[near]
    offsets = np.stack(
        [corner_windows((nodes - surface.closest)[..., a])[near] for a in range(3)], axis=-1
    )
    longest = np.take_along_axis(offsets, corner_distance.argmax(axis=1)[:, None, None], axis=1)
    guesses = np.stack(
        [
            np.ones_like(corner_distance),
            np.where(corner_windows(inside)[near], -1.0, 1.0),
            np.where(np.sum(offsets * longest, axis=-1) < 0.0, -1.0, 1.0),
        ]
    )
    origin = nodes[:-1, :-1, :-1][near]
    errors = np.zeros(guesses.shape[:2])
    for fraction in PROBES:
        ground_truth = nearest_on_mesh(origin + fraction * spacing, vertices, faces).distances
        weights = np.prod(
            [np.where(CORNERS[:, a], fraction[a], 1 - fraction[a]) for a in range(3)], axis=0
        )
        errors = np.maximum(
            errors, np.abs(np.abs((guesses * corner_distance) @ weights) - ground_truth)
        )
    best = errors.argmin(axis=0)
    sides = np.ones((*shape, 8), np.int32)
    sides[near] = guesses[best, np.arange(len(best))].astype(np.int32)
    folded = (sides.min(axis=-1) < 0) & (sides.max(axis=-1) > 0)
    return np.where(folded[..., None], sides, 1).astype(np.int32), folded


CORNERS = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
PROBES = np.array([[1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]) / 4.0
"""Where in a cell the guesses are tried: a tetrahedron around its center."""
