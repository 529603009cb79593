"""A person as meshes in the camera, frame by frame: SAM 3D Body's plys and npz, or any other body's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.importers.containers import read_arrays, read_json
from hoijax.importers.intrinsics import GivenIntrinsics, intrinsics_in

__all__ = ["BodyMeshes", "body_meshes", "is_body_meshes", "read_body_meshes"]

MESH_FILES = (".ply", ".obj", ".glb")
FLIP = np.diag([1.0, -1.0, -1.0])
"""From a camera as in OpenGL (y up, looking along -z) to one as in OpenCV."""
HEIGHTS = (0.5, 2.6)
"""Metres that a body may reach in its longest direction."""


@dataclass(frozen=True)
class BodyMeshes:
    """One body of one topology in the camera (OpenCV axes), metres."""

    source: str
    vertices: Float[ndarray, "T V 3"]
    faces: Int[ndarray, "F 3"]
    flipped: bool
    """The file has a camera that looks along -z."""
    intrinsics: GivenIntrinsics | None = None


def is_body_meshes(path: Path) -> bool:
    """Whether a path is a mesh file, or a folder of them."""
    if path.is_dir():
        return any(p.suffix.lower() in MESH_FILES for p in path.iterdir())
    return path.suffix.lower() in MESH_FILES


def read_body_meshes(path: str | Path) -> BodyMeshes:
    """A mesh file, a folder of them (one a frame, by name), or an npz with `vertices` and `faces`.

    SAM 3D Body's `pred_vertices` are moved by `pred_cam_t`. A file of focal length beside the meshes
    (`*focal_length.json`) is read. UserError for meshes that are not in front of a camera, of another
    unit, or of different topologies.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder. Give meshes of a person.")
    if is_body_meshes(path):
        files = (
            [path]
            if path.is_file()
            else sorted(p for p in path.iterdir() if p.suffix.lower() in MESH_FILES)
        )
        meshes = [_load(file) for file in files]
        faces = meshes[0][1]
        if any(f.shape != faces.shape or (f != faces).any() for _, f in meshes):
            raise UserError(
                f"--body {path}: the meshes have different topologies: they are no one body."
            )
        home = path if path.is_dir() else path.parent
        focal = next(iter(sorted(home.glob("*focal_length.json"))), None)
        camera = None if focal is None else intrinsics_in(read_json(focal), str(focal))
        vertices = np.stack([vertices for vertices, _ in meshes])
    else:
        arrays = read_arrays(path)
        vertices = next((arrays[k] for k in ("pred_vertices", "vertices") if k in arrays), None)
        faces = next((arrays[k] for k in ("faces", "mhr_faces") if k in arrays), None)
        if vertices is None or faces is None:
            raise UserError(f"--body {path}: has no vertices and faces of a body.")
        vertices = vertices[None] if vertices.ndim == 2 else vertices
        if "pred_cam_t" in arrays:
            vertices = vertices + arrays["pred_cam_t"].reshape(len(vertices), 1, 3)
        camera = intrinsics_in(arrays, str(path))
    return body_meshes(str(path), np.asarray(vertices, np.float64), np.asarray(faces), camera)


def _load(path: Path) -> tuple[ndarray, ndarray]:
    import trimesh

    try:
        mesh = trimesh.load(path, force="mesh", process=False)
    except Exception as error:  # of any of its readers
        raise UserError(f"--body {path}: cannot be read as a mesh ({error}).") from error
    if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
        raise UserError(f"--body {path}: holds no triangles.")
    return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces)


def body_meshes(
    source: str, vertices: ndarray, faces: ndarray, camera: GivenIntrinsics | None = None
) -> BodyMeshes:
    """Vertices (T, V, 3) and faces (F, 3) from `source` as one body. UserError where they are none, of
    another unit, or not in front of a camera."""
    good = (
        vertices.ndim == 3
        and vertices.shape[-1] == 3
        and vertices.size
        and np.isfinite(vertices).all()
    )
    good = (
        good and faces.ndim == 2 and faces.shape[1] == 3 and np.issubdtype(faces.dtype, np.integer)
    )
    if not good or faces.min() < 0 or faces.max() >= vertices.shape[1]:
        raise UserError(
            f"--body {source}: vertices must be finite (T, V, 3), faces indices of them (F, 3)."
        )
    size = float(np.median(np.ptp(vertices, axis=1).max(-1)))
    if not HEIGHTS[0] < size < HEIGHTS[1]:
        raise UserError(f"--body {source}: the body measures {size:g}; metres are needed.")
    front = vertices[..., 2]
    if (front > 0.1).all():
        return BodyMeshes(source, vertices, faces.astype(np.int64), False, camera)
    if (front < -0.1).all():
        return BodyMeshes(source, vertices @ FLIP, faces.astype(np.int64), True, camera)
    raise UserError(
        f"--body {source}: the meshes stand around the camera's own place, not before it. Give them in the "
        "camera's axes (SAM 3D Body: vertices plus pred_cam_t, as its notebook saves them)."
    )
