"""A triangle mesh as a prim of a USD stage."""

# pxr is compiled and has no stubs:
# pyright: reportAttributeAccessIssue=false

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def add_mesh(
    stage: Any, place: str, vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]
) -> Any:
    """Define a UsdGeom.Mesh of triangles, not to be subdivided, with its extent."""
    from pxr import UsdGeom, Vt

    mesh = UsdGeom.Mesh.Define(stage, place)
    points = np.ascontiguousarray(vertices, dtype=np.float32)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    mesh.CreateFaceVertexCountsAttr(np.full(len(faces), 3, np.int32))
    mesh.CreateFaceVertexIndicesAttr(np.ascontiguousarray(faces, dtype=np.int32).ravel())
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(mesh.GetPointsAttr().Get()))
    return mesh
