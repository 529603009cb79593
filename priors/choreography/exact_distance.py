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


def distance_to_part(asset: Asset, part: str, points: Float[ndarray, "N 3"]) -> Float[ndarray, "N"]:
    """Exact unsigned distance to a part, or to the whole mesh where it has no such part; mesh frame."""
    import igl

    faces = np.asarray(asset.faces, np.int64)
    if part in asset.part_names:
        faces = faces[asset.face_parts == asset.part_names.index(part)]
    vertices = np.asarray(asset.vertices, np.float64)
    points = np.ascontiguousarray(points, np.float64)
    return np.sqrt(igl.point_mesh_squared_distance(points, vertices, faces)[0])
