"""Exact signed distance to a mesh, where grids are too coarse: thin handles, fingers."""

from jaxtyping import Float
from numpy import ndarray

from hoijax.geometry import mesh_queries
from hoijax.objects.asset import Asset


def signed_distance(asset: Asset, points: Float[ndarray, "N 3"]) -> Float[ndarray, "N"]:
    """Exact distance to the mesh, negative inside (winding number); mesh frame, metres."""
    return mesh_queries.signed_distance(points, asset.vertices, asset.faces)


def distance_to_part(asset: Asset, part: str, points: Float[ndarray, "N 3"]) -> Float[ndarray, "N"]:
    """Exact unsigned distance to a part, or to the whole mesh where it has no such part; mesh frame."""
    faces = asset.faces
    if part in asset.part_names:
        faces = faces[asset.face_parts == asset.part_names.index(part)]
    return mesh_queries.nearest_on_mesh(points, asset.vertices, faces).distances
