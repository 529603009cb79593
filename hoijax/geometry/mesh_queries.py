"""Exact distances from points to triangle meshes, by libigl's trees.

libigl keeps Python's lock while it works: many points go through in pieces, so that Ctrl-C and other
threads come in between.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

PIECE = 12_288
"""Points of one call: libigl takes all cores from 10,000 on."""
NEIGHBORS = 5
"""Points that a point is compared with to find its side: itself, mostly, and the nearest others."""
JOINED = 0.999
"""Of the distance to the surface: how near a point must be to lie surely on the same side."""


class NearestOnMesh(NamedTuple):
    """Where a surface is nearest to each of P points."""

    distances: Float[ndarray, " P"]
    faces: Int[ndarray, " P"]
    closest: Float[ndarray, "P 3"]


def nearest_on_mesh(
    points: Float[ndarray, "P 3"], vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]
) -> NearestOnMesh:
    """The nearest point of a mesh to each of `points`, in float64."""
    import igl

    points, vertices, faces = _for_igl(points, vertices, faces)
    tree = igl.AABB()
    tree.init(vertices, faces)
    pieces = [
        tree.squared_distance(vertices, faces, points[i : i + PIECE])
        for i in range(0, max(len(points), 1), PIECE)
    ]
    squared, nearest, closest = (
        np.concatenate([np.asarray(column) for column in columns])
        for columns in zip(*pieces, strict=True)
    )
    return NearestOnMesh(np.sqrt(squared.reshape(-1)), nearest.reshape(-1), closest.reshape(-1, 3))


def signed_distance(
    points: Float[ndarray, "P 3"], vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]
) -> Float[ndarray, " P"]:
    """Distance to a mesh; inside, where its winding number is above 0.5, it is negative.

    Nothing beyond the bounding box is inside.
    """
    import igl

    points, vertices, faces = _for_igl(points, vertices, faces)
    distances = nearest_on_mesh(points, vertices, faces).distances
    within = ((points >= vertices.min(axis=0)) & (points <= vertices.max(axis=0))).all(axis=1)
    if within.any():
        near = points[within]
        first, group = _on_one_side(near, distances[within])
        inside = np.abs(igl.fast_winding_number(vertices, faces, near[first])) > 0.5
        distances[within] *= np.where(inside, -1.0, 1.0)[group]
    return distances


def _on_one_side(
    points: Float[ndarray, "P 3"], distances: Float[ndarray, " P"]
) -> tuple[Int[ndarray, " G"], Int[ndarray, " P"]]:
    """Groups of points that no surface separates: one point of each, the farthest out, and everyone's.

    Two points that are nearer to each other than one of them is to the surface lie on the same side.
    A winding number costs ten times as much as a distance, and there are few groups.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    count = len(points)
    gaps, others = map(np.asarray, KDTree(points).query(points, NEIGHBORS))
    reach = np.append(distances, 0.0)  # of a neighbor that is not there, at an infinite gap
    joined = gaps < JOINED * np.maximum(distances[:, None], reach[others])
    one, _ = np.nonzero(joined)
    edges = coo_matrix((np.ones(len(one), bool), (one, others[joined])), (count, count))
    groups, group = connected_components(edges, directed=False)
    farthest = np.empty(groups, np.int64)
    outward = np.argsort(distances)
    farthest[group[outward]] = outward  # the last one written stays
    return farthest, group


def _for_igl(
    points: ndarray, vertices: ndarray, faces: ndarray
) -> tuple[Float[ndarray, "P 3"], Float[ndarray, "V 3"], Int[ndarray, "F 3"]]:
    return (
        np.ascontiguousarray(points, np.float64).reshape(-1, 3),
        np.ascontiguousarray(vertices, np.float64),
        np.ascontiguousarray(faces, np.int64),
    )
