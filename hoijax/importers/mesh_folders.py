"""A person and an object as two folders of meshes, one file a frame."""

from pathlib import Path

import numpy as np
from numpy import ndarray

from hoijax.errors import UserError

BODY_FOLDERS = ("human", "body", "person", "smpl", "smplx", "smplh")
OBJECT_FOLDERS = ("object", "obj")
MESHES = (".ply", ".obj")


def mesh_folders(path: Path) -> tuple[Path, Path] | None:
    """(person's folder, object's folder) inside a folder; None where it is no such pair."""
    names = {p.name.lower(): p for p in path.iterdir() if p.is_dir()} if path.is_dir() else {}
    pair = [
        next((names[n] for n in known if n in names), None)
        for known in (BODY_FOLDERS, OBJECT_FOLDERS)
    ]
    return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])


def read_mesh_folders(pair: tuple[Path, Path]) -> dict[str, ndarray]:
    """The arrays of an npz of vertices, but for fps; files in the order of their names.

    Raises UserError for folders of different lengths, files that are no meshes, and topology that changes.
    """
    files = [_frames(folder) for folder in pair]
    if len(files[0]) != len(files[1]):
        raise UserError(
            f"'{pair[0]}' has {len(files[0])} meshes, '{pair[1]}' {len(files[1])}: one a frame of each."
        )
    arrays = {}
    for what, paths in zip(("body", "object"), files, strict=True):
        meshes = [_mesh(path) for path in paths]
        vertices, faces = zip(*meshes, strict=True)
        for file, v, f in zip(paths, vertices, faces, strict=True):
            if v.shape != vertices[0].shape or not np.array_equal(f, faces[0]):
                raise UserError(
                    f"{file}: another topology than {paths[0].name}; every frame must be the same mesh, "
                    "moved."
                )
        arrays |= {f"{what}_vertices": np.stack(vertices), f"{what}_faces": faces[0]}
    return arrays


def _frames(folder: Path) -> list[Path]:
    """Mesh files in the order of the numbers in their names: 2.ply comes before 10.ply."""
    import re

    paths = [p for p in folder.iterdir() if p.suffix.lower() in MESHES]
    if not paths:
        raise UserError(f"'{folder}' has no meshes ({', '.join(MESHES)}).")
    return sorted(paths, key=lambda p: [int(n) for n in re.findall(r"\d+", p.stem)] + [p.stem])


def _mesh(path: Path) -> tuple[ndarray, ndarray]:
    import trimesh

    try:
        mesh = trimesh.load_mesh(path, process=False, maintain_order=True)
        return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    except Exception as error:  # trimesh raises whatever its loaders raise
        raise UserError(f"{path}: cannot be read as a mesh: {error}") from error
