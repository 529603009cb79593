"""An object as the solver sees it: a triangle mesh in metres, part labels and seeded surface samples."""

import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from hoijax.errors import UserError

if TYPE_CHECKING:
    import trimesh

UNLABELLED = "unlabelled"
"""Name of the sub-mesh that holds the faces of no part in a saved file."""

LARGEST_PLAUSIBLE_SIDE = 20.0
SMALLEST_PLAUSIBLE_SIDE = 0.01


class MeshScaleWarning(UserWarning):
    """The size of a mesh makes sense in another unit than metres."""


@dataclass(frozen=True)
class Asset:
    """A triangle mesh in its own frame (metres), labelled by part, with points spread on its surface.

    Attributes:
        name: what the object is called in a part affordance graph.
        vertices, faces: the mesh, (V, 3) and (F, 3); every vertex belongs to some face.
        face_parts: index into `part_names` for every face, -1 for none.
        part_names: names of the parts, empty when the mesh has none.
        samples, sample_normals, sample_parts: points spread by area, their unit normals, their parts.
    """

    name: str
    vertices: Float32[np.ndarray, "V 3"]
    faces: Int32[np.ndarray, "F 3"]
    face_parts: Int32[np.ndarray, "F"]
    part_names: tuple[str, ...]
    samples: Float32[np.ndarray, "S 3"]
    sample_normals: Float32[np.ndarray, "S 3"]
    sample_parts: Int32[np.ndarray, "S"]

    @property
    def centre(self) -> Float32[np.ndarray, "3"]:
        """Centre of the bounding box."""
        return (0.5 * (self.vertices.min(axis=0) + self.vertices.max(axis=0))).astype(np.float32)

    @property
    def radius(self) -> float:
        """Largest distance of a vertex from the centre, in metres."""
        return float(np.linalg.norm(self.vertices - self.centre, axis=1).max())

    @property
    def extents(self) -> Float32[np.ndarray, "3"]:
        """Side lengths of the bounding box, in metres."""
        return self.vertices.max(axis=0) - self.vertices.min(axis=0)

    def part_index(self, part: str) -> int:
        """Index of a part by name. Raises UserError that lists the known parts."""
        if part not in self.part_names:
            known = ", ".join(self.part_names) or "none; the mesh has no parts"
            raise UserError(f"object '{self.name}' has no part '{part}'. Its parts: {known}.")
        return self.part_names.index(part)


def load_asset(
    spec: str | Path,
    *,
    name: str | None = None,
    scale: float = 1.0,
    seed: int = 0,
    samples: int = 4096,
) -> Asset:
    """Read a mesh file, or make one of the shipped procedural objects.

    Args:
        spec: path of a glb, gltf, obj, ply, stl ... file, or the name of a procedural object.
        name: name in the affordance graph; the file's stem by default.
        scale: factor from the file's unit to metres (0.001 for millimetres).
        seed: of the surface samples.
        samples: number of surface samples.

    Parts come from `<stem>.parts.json` beside the file ({"part_names": [...], "face_parts": [...]}),
    else from named sub-meshes. Raises UserError for every file that is not a usable mesh, and warns
    (MeshScaleWarning) where the size hints at another unit.
    """
    from hoijax.objects.procedural import PROCEDURAL_OBJECTS, make_procedural

    if not np.isfinite(scale) or scale <= 0.0:
        raise UserError(f"--scale must be a positive number, got {scale}.")
    path = Path(spec)
    if str(spec) in PROCEDURAL_OBJECTS and not path.is_file():
        vertices, faces, face_parts, part_names = make_procedural(str(spec))
        return asset_from_arrays(
            name or str(spec), vertices * scale, faces, face_parts, part_names, seed, samples
        )
    if not path.is_file():
        what = "is a folder, not a mesh file" if path.is_dir() else "does not exist"
        raise UserError(
            f"object '{spec}' {what}. Give the path of a mesh (glb, obj, ply, stl), or one of the "
            f"procedural objects: {', '.join(PROCEDURAL_OBJECTS)}."
        )
    vertices, faces, face_parts, part_names = _read_mesh(path)
    sidecar = path.with_name(f"{path.stem}.parts.json")
    if sidecar.is_file():
        face_parts, part_names = _read_parts_file(sidecar, len(faces))
    asset = asset_from_arrays(
        name or path.stem, vertices * scale, faces, face_parts, part_names, seed, samples, str(path)
    )
    _warn_about_unit(asset, str(path), scale)
    return asset


def asset_from_arrays(
    name: str,
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    face_parts: Int[np.ndarray, "F"] | None = None,
    part_names: tuple[str, ...] = (),
    seed: int = 0,
    samples: int = 4096,
    where: str | None = None,
) -> Asset:
    """Build an Asset from a mesh in metres; drops unused vertices and faces without area.

    Raises UserError when the mesh is empty, is not finite, indexes missing vertices or has no area;
    `where` (a path) names the culprit in the message.
    """
    where = where or f"object '{name}'"
    if face_parts is None:
        face_parts = np.full(len(faces), -1)
    _check_mesh(vertices, faces, where)
    corners = np.asarray(vertices, np.float64)[faces]
    doubled_area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    largest_side = float(np.ptp(corners.reshape(-1, 3), axis=0).max())
    keep = doubled_area > 1e-12 * largest_side**2
    if not keep.any():
        raise UserError(
            f"{where}: the surface has no area ({len(faces)} faces, all degenerate). "
            "Export it again as a triangle mesh."
        )
    used, faces = np.unique(faces[keep], return_inverse=True)
    vertices = np.asarray(vertices, np.float32)[used]
    faces = faces.reshape(-1, 3).astype(np.int32)
    face_parts = face_parts[keep].astype(np.int32)
    points, normals, face_ids = sample_surface(vertices, faces, samples, seed)
    return Asset(
        name, vertices, faces, face_parts, part_names, points, normals, face_parts[face_ids]
    )


def sample_surface(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], count: int, seed: int
) -> tuple[Float32[np.ndarray, "S 3"], Float32[np.ndarray, "S 3"], Int[np.ndarray, "S"]]:
    """Points spread by area, their unit normals and their faces.

    Stratified: one draw from each of `count` equal shares of the cumulative area, so every face gets
    its due number of samples to within one, and thin parts are never missed by chance.
    """
    rng = np.random.default_rng(seed)
    a, b, c = np.moveaxis(np.asarray(vertices, np.float64)[faces], 1, 0)
    normals = np.cross(b - a, c - a)
    doubled_area = np.linalg.norm(normals, axis=1)
    cumulative = np.cumsum(doubled_area)
    draws = (np.arange(count) + rng.random(count)) / count * cumulative[-1]
    face_ids = np.minimum(np.searchsorted(cumulative, draws, side="right"), len(faces) - 1)
    u, v = rng.random((2, count, 1))
    root = np.sqrt(u)
    points = (1 - root) * a[face_ids] + root * (1 - v) * b[face_ids] + root * v * c[face_ids]
    unit = normals[face_ids] / doubled_area[face_ids, None]
    return points.astype(np.float32), unit.astype(np.float32), face_ids


def save_asset(asset: Asset, path: str | Path) -> Path:
    """Write a glb with one named sub-mesh per part; `load_asset` gives the parts back."""
    import trimesh

    path = Path(path)
    if path.suffix.lower() != ".glb":
        raise UserError(f"{path}: objects are saved as .glb (binary glTF).")
    scene = trimesh.Scene()
    scene.metadata["hoijax_parts"] = list(asset.part_names)
    for part in range(-1, len(asset.part_names)):
        faces = asset.faces[asset.face_parts == part]
        if len(faces) == 0:
            continue
        used, local = np.unique(faces, return_inverse=True)
        mesh = trimesh.Trimesh(asset.vertices[used], local.reshape(-1, 3), process=False)
        label = UNLABELLED if part < 0 else asset.part_names[part]
        scene.add_geometry(mesh, node_name=label, geom_name=label)
    payload = scene.export(file_type="glb")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(payload)
    partial.replace(path)
    return path


def _check_mesh(vertices: np.ndarray, faces: np.ndarray, where: str) -> None:
    """Refuse meshes nothing can be computed from."""
    if len(vertices) == 0 or len(faces) == 0:
        raise UserError(
            f"{where}: the mesh is empty ({len(vertices)} vertices, {len(faces)} faces). "
            "Objects need a triangle surface; point clouds must be meshed first."
        )
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise UserError(
            f"{where}: a face refers to vertex {int(faces.max())}, but there are {len(vertices)} "
            "vertices. The file is damaged; export it again."
        )
    bad = ~np.isfinite(vertices[np.unique(faces)]).all(axis=1)
    if bad.any():
        raise UserError(
            f"{where}: {int(bad.sum())} of {len(bad)} vertices are NaN or infinite. "
            "Repair the mesh (in Blender: Mesh > Clean Up) and export it again."
        )


def _read_mesh(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Vertices, faces, face parts and part names of a file, in the file's unit and frame."""
    import trimesh

    options: dict[str, Any] = {"process": False}
    if path.suffix.lower() == ".obj":
        options |= {"split_object": True, "group_material": False}
    try:
        scene = trimesh.load_scene(str(path), **options)
        pieces = _scene_pieces(scene)
    except Exception as error:  # trimesh's readers raise whatever their parsers raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path}: cannot be read as a mesh ({reason}). Supported: glb, gltf, obj, ply, stl, off."
        ) from error
    pieces = [(label, v, f) for label, v, f in pieces if len(f)]
    if not pieces:
        raise UserError(
            f"{path}: the file holds no triangles. Objects need a triangle surface; "
            "point clouds must be meshed first."
        )
    declared = scene.metadata.get("hoijax_parts") if isinstance(scene.metadata, dict) else None
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


def _scene_pieces(scene: "trimesh.Scene") -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(clean name, vertices in the scene's frame, faces) of every mesh node of a scene."""
    import trimesh

    pieces = []
    for node in scene.graph.nodes_geometry:
        T_scene_node, geometry_name = scene.graph[node]
        geometry = scene.geometry[geometry_name]
        if not isinstance(geometry, trimesh.Trimesh):
            continue
        vertices = np.asarray(geometry.vertices, np.float64)
        vertices = vertices @ T_scene_node[:3, :3].T + T_scene_node[:3, 3]
        faces = np.asarray(geometry.faces, np.int64)
        if np.linalg.det(T_scene_node[:3, :3]) < 0.0:
            faces = faces[:, ::-1]  # a mirroring node turns the surface inside out
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
    distinct = tuple(dict.fromkeys(label for label in labels if label != UNLABELLED))
    return distinct if len(distinct) > 1 else ()


def _read_parts_file(path: Path, face_count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Part labels of every face from a sidecar file, checked against the mesh."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
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
    if face_parts.min() < -1 or face_parts.max() >= len(part_names):
        raise UserError(
            f"{path}: face_parts must lie between -1 and {len(part_names) - 1}; "
            f"found {int(face_parts.min())} to {int(face_parts.max())}."
        )
    return face_parts, part_names


def _warn_about_unit(asset: Asset, where: str, scale: float) -> None:
    """Warn where the size cannot be metres; the mesh is used as it is."""
    size = " x ".join(f"{side:.4g}" for side in asset.extents)
    largest = float(asset.extents.max())
    if largest > LARGEST_PLAUSIBLE_SIDE:
        guess, unit = 0.001, "millimetres (or centimetres: --scale 0.01)"
    elif largest < SMALLEST_PLAUSIBLE_SIDE:
        guess, unit = 1000.0, "kilometres"
    else:
        return
    warnings.warn(
        f"{where}: the object measures {size} m, which looks like {unit}. "
        f"If so, use --scale {guess * scale:g}.",
        MeshScaleWarning,
        stacklevel=3,
    )
