"""Exact signed distance to a mesh, where grids are too coarse: thin handles, fingers."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.objects.asset import Asset


def signed_distance(asset: Asset, points: Float[ndarray, "N 3"]) -> Float[ndarray, "N"]:
    """Exact distance to the mesh, negative inside (winding number); mesh frame, metres."""
    import igl

    vertices = np.asarray(asset.vertices, np.float64)
    faces = np.asarray(asset.faces, np.int64)
    points = np.ascontiguousarray(points, np.float64)
    distance = np.sqrt(igl.point_mesh_squared_distance(points, vertices, faces)[0])
    inside = np.abs(igl.fast_winding_number(vertices, faces, points)) > 0.5
    return np.where(inside, -distance, distance)
