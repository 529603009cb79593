"""Mesh files and their parts: reading any format trimesh knows, writing glb."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from hoijax.errors import UserError
from hoijax.io.npz import read_regular_file
from hoijax.io.validation import MAX_JSON_BYTES, parse_json
from hoijax.objects.mesh_checks import check_mesh_file
from hoijax.objects.quantized import mesh_source

if TYPE_CHECKING:
    import trimesh

UNLABELED = "unlabelled"
"""Name of the sub-mesh that holds the faces of no part in a saved file."""

MAX_FACES = 5_000_000
MAX_FACES_OF_EDGE = 64
"""More faces than this on one edge are no surface."""

MAX_CELL = 1_000_000
"""Cells along the longest side of a mesh; vertices in one cell are one place."""

PARTS_KEY = "hoijax_parts"
"""Scene metadata of our files: all part names in order, also of parts without faces."""


def write_mesh(
    path: Path,
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    face_parts: Int[np.ndarray, "F"],
    part_names: tuple[str, ...],
) -> None:
    """Write a glb with one named sub-mesh per part, whole or not at all."""
    import trimesh
    from trimesh.exchange.gltf import export_glb

    if path.suffix.lower() != ".glb":
        raise UserError(f"{path}: objects are saved as .glb (binary glTF).")
    scene = trimesh.Scene()
    scene.metadata[PARTS_KEY] = list(part_names)
    for part in range(-1, len(part_names)):
        subset = faces[face_parts == part]
        if len(subset) == 0:
            continue
        used, local = np.unique(subset, return_inverse=True)
        mesh = trimesh.Trimesh(vertices[used], local.reshape(-1, 3), process=False)
        label = UNLABELED if part < 0 else part_names[part]
        scene.add_geometry(mesh, node_name=label, geom_name=label)
    payload = export_glb(scene)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(payload)
    partial.replace(path)


def read_mesh(
    path: Path, split: bool = True
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"], Int[np.ndarray, "F"], tuple[str, ...]]:
    """Vertices, faces, face parts and part names of a file, in the file's unit and frame.

    Parts are the named sub-meshes (glb, gltf) or objects and groups (obj); `split=False` keeps an obj
    file's faces in their order. Raises UserError where there is no triangle surface to read.
    """
    import trimesh

    if path.suffix.lower() == ".urdf":
        raise UserError(
            f"{path}: objects with joints (URDF) are taken by hoijax generate; here give a mesh of it."
        )
    check_mesh_file(path)
    options: dict[str, Any] = {"process": False}
    if path.suffix.lower() == ".obj":
        # split_object is the name before trimesh 5.
        options |= dict.fromkeys(("split_object", "split_objects", "split_groups"), split)
        options |= {"group_material": False, "skip_materials": True, "maintain_order": True}
    try:
        source, given = mesh_source(path)
        scene = trimesh.load_scene(source, **options, **given)
        pieces = _scene_pieces(scene)
    except UserError:
        raise
    except Exception as error:  # trimesh's readers raise whatever their parsers raise
        raise UserError(
            f"{path}: cannot be read as a mesh ({_what_is_wrong(error)}). Export it again; read are glb, gltf, "
            "obj, ply, stl, off, 3mf and dae."
        ) from error
    if path.suffix.lower() == ".obj":
        pieces.reverse()  # trimesh returns them last first
    pieces = [(label, v, f) for label, v, f in pieces if len(f)]
    if not pieces:
        raise UserError(
            f"{path}: the file holds no triangles. Objects need a triangle surface; "
            "point clouds must be meshed first."
        )
    declared = scene.metadata.get(PARTS_KEY) if isinstance(scene.metadata, dict) else None
    part_names = _part_names([label for label, _, _ in pieces], declared)
    starts = np.cumsum([0] + [len(v) for _, v, _ in pieces])
    vertices = np.concatenate([v for _, v, _ in pieces])
    faces = np.concatenate([f + start for (_, _, f), start in zip(pieces, starts, strict=False)])
    face_parts = np.concatenate(
        [
            np.full(len(f), part_names.index(label) if label in part_names else -1)
            for label, _, f in pieces
        ]
    )
    return vertices, faces, face_parts, part_names


def _what_is_wrong(error: Exception) -> str:
    """A reader's words in a line; of errors that are no sentence: that something is missing."""
    words = str(error).strip().splitlines()
    if not words or isinstance(error, LookupError | StopIteration | AttributeError):
        return "it is damaged, or what its format needs is missing"
    return words[0]


def _scene_pieces(scene: "trimesh.Scene") -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(clean name, vertices in the scene's frame, faces) of every mesh node of a scene."""
    import trimesh

    pieces, total = [], 0
    for node in scene.graph.nodes_geometry:
        T_scene_node, geometry_name = scene.graph[node]
        geometry = scene.geometry[geometry_name]
        if not isinstance(geometry, trimesh.Trimesh):
            continue
        vertices = np.asarray(geometry.vertices, np.float64)
        with np.errstate(invalid="ignore"):  # infinite vertices are refused later, by name
            vertices = vertices @ T_scene_node[:3, :3].T + T_scene_node[:3, 3]
        faces = np.asarray(geometry.faces, np.int64)
        if np.linalg.det(T_scene_node[:3, :3]) < 0.0:
            faces = faces[:, ::-1]  # a mirroring node turns the surface inside out
        total += len(faces)
        if total > MAX_FACES:
            raise ValueError(f"its nodes show more than {MAX_FACES} faces")
        pieces.append((_clean_label(str(geometry_name)), vertices, faces))
    return pieces


def _clean_label(label: str) -> str:
    """Drop the counters that exporters append ("leg.001", "leg_2"): parts carry no numbers."""
    return re.sub(r"[ ._-]*\d+$", "", label).strip() or label


def _part_names(labels: list[str], declared: Any) -> tuple[str, ...]:
    """Part names in a stable order: as declared by `save_asset`, else as they come in the file.

    A foreign file of one sub-mesh has no parts: its name is the object's.
    """
    if isinstance(declared, list) and all(isinstance(label, str) for label in declared):
        return tuple(declared)
    distinct = tuple(dict.fromkeys(label for label in labels if label != UNLABELED))
    return distinct if len(distinct) > 1 else ()


def read_parts_file(path: Path, face_count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Part labels of every face from a sidecar file, checked against the mesh."""
    try:
        content = parse_json(read_regular_file(path, MAX_JSON_BYTES).decode("utf-8"))
        part_names = tuple(content["part_names"])
        face_parts = np.asarray(content["face_parts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path}: not a part file ({error!r}). Expected {{"part_names": [names], '
            '"face_parts": [one index per face, -1 for none]}.'
        ) from error
    if not all(isinstance(label, str) and label for label in part_names):
        raise UserError(f"{path}: part_names must be non-empty strings.")
    if face_parts.shape != (face_count,) or not np.issubdtype(face_parts.dtype, np.integer):
        raise UserError(
            f"{path}: face_parts must be {face_count} whole numbers, one per face of the mesh; "
            f"found shape {face_parts.shape}."
        )
    if len(set(part_names)) < len(part_names):
        raise UserError(f"{path}: part_names must be different.")
    if face_parts.min() < -1 or face_parts.max() >= len(part_names):
        raise UserError(
            f"{path}: face_parts must lie between -1 and {len(part_names) - 1}; "
            f"found {int(face_parts.min())} to {int(face_parts.max())}."
        )
    return face_parts, part_names


def orient_outward(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Int[np.ndarray, "F 3"]:
    """Turn the faces of every closed surface of a mesh to the outside; open surfaces stay as they are.

    Inside-out files and those with faces in mixed order are common; normals and winding numbers need one
    side. Vertices at the same place count as one.
    """
    import igl

    welded = _welded(vertices, faces)
    # Faces without area, and crowds on one edge, have no side, and igl's search grows without bound.
    is_face = (welded != np.roll(welded, 1, axis=1)).all(axis=1)
    if not is_face.any() or _edge_uses(welded[is_face]).max() > MAX_FACES_OF_EDGE:
        return faces
    if not is_face.all():
        turned = np.array(faces)
        turned[is_face] = orient_outward(vertices, faces[is_face])
        return turned
    oriented, patch = (np.asarray(array).astype(np.int64) for array in igl.bfs_orient(welded))
    is_border = (_edge_uses(oriented, patch) != 2).reshape(-1, 3).any(axis=1)
    is_closed = np.bincount(patch, weights=is_border) == 0
    flipped = np.any(oriented != welded, axis=1)
    turned = np.where(flipped[:, None], faces[:, ::-1], faces)
    a, b, c = np.moveaxis(np.asarray(vertices, np.float64)[turned], 1, 0)
    volume = np.bincount(patch, weights=np.sum(a * np.cross(b, c), axis=1))
    wrong = is_closed[patch] & (flipped != (volume < 0.0)[patch])
    return np.where(wrong[:, None], faces[:, ::-1], faces)


def _welded(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Int[np.ndarray, "F 3"]:
    """Faces by places instead of vertices: those nearer than a millionth of the mesh are one place."""
    used, corners = np.unique(faces, return_inverse=True)
    places = np.asarray(vertices, np.float64)[used]
    places = places - places.min(axis=0)
    cells = np.round(places * (MAX_CELL / max(float(places.max()), 1e-12))).astype(np.int64)
    keys = (
        (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    )  # one number sorts faster than rows
    _, weld = np.unique(keys, return_inverse=True)
    return weld.reshape(-1)[corners.reshape(-1)].reshape(-1, 3).astype(np.int64)


def _edge_uses(
    faces: Int[np.ndarray, "F 3"], patches: Int[np.ndarray, " F"] | None = None
) -> Int[np.ndarray, " E"]:
    """For every edge of every face, how many faces of its patch have it; two in a closed surface."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1).astype(np.int64)
    count = int(faces.max()) + 1
    keys = edges[:, 0] * count + edges[:, 1]
    if patches is not None:  # numbered again: the product must fit
        _, keys = np.unique(keys, return_inverse=True)
        keys = keys.reshape(-1) * (int(patches.max()) + 1) + np.repeat(patches, 3)
    _, inverse, uses = np.unique(keys, return_inverse=True, return_counts=True)
    return uses[inverse.reshape(-1)]
