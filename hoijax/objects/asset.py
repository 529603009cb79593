"""An object as the solver sees it: a triangle mesh in metres, part labels and seeded surface samples."""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from hoijax.errors import UserError, nearest_hint
from hoijax.objects.appearance import read_appearance
from hoijax.objects.mesh_files import (
    MAX_FACES,
    orient_outward,
    read_mesh,
    read_parts_file,
    write_mesh,
)
from hoijax.objects.orientation import check_axes, orientation_of
from hoijax.objects.surface_samples import sample_surface
from hoijax.objects.usual_sizes import UsualSize, size_remark
from hoijax.progress import Log, silent

LARGEST_PLAUSIBLE_SIDE = 20.0
SMALLEST_PLAUSIBLE_SIDE = 0.01
SMALLEST_SIDE_IN_KILOMETERS = 1e-4
"""Between this and the smallest plausible side an object is just small."""
SMALLEST_SIDE_READ, LARGEST_SIDE_READ = 1e-6, 1e5
"""Metres; in whatever unit a file is, things that people handle are within."""
LARGEST_COORDINATE = 1e9
FARTHEST_ORIGIN = 1000.0
"""Sides of the mesh: float32 keeps a ten-thousandth of the side at this distance from the origin."""


class MeshScaleWarning(UserWarning):
    """The size of a mesh makes sense in another unit than metres."""


@dataclass(frozen=True)
class Asset:
    """A triangle mesh in its own frame (metres), labeled by part, with points spread on its surface.

    Attributes:
        name: what the object is called in a part affordance graph.
        vertices, faces: the mesh, (V, 3) and (F, 3); every vertex belongs to some face.
        face_parts: index into `part_names` for every face, -1 for none.
        part_names: names of the parts, empty when the mesh has none.
        samples, sample_normals, sample_parts: points spread by area, their unit normals, their parts.
        appearance: a glb of the file's colored meshes in the same frame; None where it has no colors.
    """

    name: str
    vertices: Float32[np.ndarray, "V 3"]
    faces: Int32[np.ndarray, "F 3"]
    face_parts: Int32[np.ndarray, "F"]
    part_names: tuple[str, ...]
    samples: Float32[np.ndarray, "S 3"]
    sample_normals: Float32[np.ndarray, "S 3"]
    sample_parts: Int32[np.ndarray, "S"]
    appearance: bytes | None = field(default=None, repr=False)

    @property
    def center(self) -> Float32[np.ndarray, "3"]:
        """Center of the bounding box."""
        return (0.5 * (self.vertices.min(axis=0) + self.vertices.max(axis=0))).astype(np.float32)

    @property
    def radius(self) -> float:
        """Largest distance of a vertex from the center, in metres."""
        return float(np.linalg.norm(self.vertices - self.center, axis=1).max())

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
    scale: float | Callable[[float], float] = 1.0,
    up: str | None = None,
    front: str | None = None,
    usual: UsualSize | None = None,
    seed: int = 0,
    samples: int = 4096,
    has_appearance: bool = False,
    log: Log = silent,
) -> Asset:
    """Read a mesh file, or make one of the shipped procedural objects.

    Args:
        spec: path of a glb, gltf, obj, ply, stl ... file, or the name of a procedural object.
        name: name in the affordance graph; the file's stem by default.
        scale: factor from the file's unit to metres (0.001 for millimetres), or what gives it for the
            longest side of a file's mesh.
        up, front: axes of the file ("y", "-z", ...) that become +y and +z; None takes the file as it is,
            up="guess" decides by the format, `usual` and the shape (`hoijax.objects.orientation`).
        usual: the size of such things, where it is known what the object is.
        has_appearance: also read the colors, for showing it.
        log: told which axes were taken, where they are not the file's own by default.
        seed: of the surface samples.
        samples: number of surface samples.

    Parts come from `<stem>.parts.json` beside the file ({"part_names": [...], "face_parts": [...]}),
    else from named sub-meshes. Raises UserError for every file that is not a usable mesh, and warns
    (MeshScaleWarning) where the size hints at another unit.
    """
    from hoijax.objects.procedural import PROCEDURAL_OBJECTS, make_procedural

    if not callable(scale) and not (np.isfinite(scale) and scale > 0.0):
        raise UserError(f"--scale must be a positive number, got {scale}.")
    path = Path(spec)
    if str(spec) in PROCEDURAL_OBJECTS and not path.is_file():
        scale = 1.0 if callable(scale) else scale
        made = make_procedural(str(spec))
        return asset_from_arrays(name or str(spec), made[0] * scale, *made[1:], seed, samples)
    vertices, faces, face_parts, part_names = _read_file(path, str(spec))
    # In double precision, before anything else: a scan in map coordinates is a million metres away.
    middle = _offset_to_origin(vertices, faces, str(path))
    if callable(scale):
        scale = scale(float(np.ptp(vertices[np.unique(faces)], axis=0).max()))
    vertices = (vertices - middle) * scale
    R_asset_file = np.eye(3)
    if up is not None or front is not None:
        axes = (None if up == "guess" else up, front)
        check_axes(*axes, str(path))
        chosen = orientation_of(vertices, faces, path.suffix.lower(), usual, *axes)
        R_asset_file = chosen.rotation()
        vertices = vertices @ R_asset_file.T
        log(f"up {chosen.up} ({chosen.reason}), front {chosen.front}")
    surface = vertices, orient_outward(vertices, faces), face_parts, part_names
    asset = asset_from_arrays(name or graph_name(path.stem), *surface, seed, samples, str(path))
    _warn_about_unit(asset, str(path), scale, usual)
    if not has_appearance:
        return asset
    T_asset_file = np.eye(4)
    T_asset_file[:3, :3] = scale * R_asset_file
    T_asset_file[:3, 3] = -T_asset_file[:3, :3] @ middle
    return replace(asset, appearance=read_appearance(path, T_asset_file))


def _read_file(path: Path, spec: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """(vertices, faces, face_parts, part_names) of a mesh file and of the parts named beside it."""
    from hoijax.objects.procedural import PROCEDURAL_OBJECTS

    if not path.is_file():
        what = "is a folder, not a mesh file" if path.is_dir() else "does not exist"
        raise UserError(
            f"object '{spec}' {what}.{nearest_hint(spec, PROCEDURAL_OBJECTS)} Give the path of a "
            "mesh (glb, obj, ply, stl), or one of the procedural objects: "
            f"{', '.join(PROCEDURAL_OBJECTS)}."
        )
    sidecar = path.with_name(f"{path.stem}.parts.json")
    vertices, faces, face_parts, part_names = read_mesh(path, split=not sidecar.is_file())
    if sidecar.is_file():
        face_parts, part_names = read_parts_file(sidecar, len(faces))
    check_mesh(vertices, faces, str(path))
    return vertices, faces, face_parts, part_names


def graph_name(stem: str) -> str:
    """A file's stem as a name that a graph may hold; warns where it had to be changed.

    Graph names are at most 80 characters, without slashes and control characters, and no person's.
    """
    letters = stem.encode(errors="surrogateescape").decode(errors="replace")
    letters = "".join(
        letter if letter.isprintable() and letter not in "/\\" else "_" for letter in letters
    )
    name = letters.strip()[:80].strip()
    name = name if name.strip(".") else "object"
    if re.fullmatch(r"person[ _]?\d*", name.lower()):
        name = f"object {name}"
    if name != stem:
        warnings.warn(f"the object file {stem[:80]!r} is called {name!r} here.", stacklevel=2)
    return name


def _offset_to_origin(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], where: str
) -> Float[np.ndarray, "3"]:
    """Middle of the box of a mesh that lies so far away that float32 would lose its shape, else zero."""
    used = vertices[np.unique(faces)]
    middle = 0.5 * (used.min(axis=0) + used.max(axis=0))
    if np.abs(middle).max() <= FARTHEST_ORIGIN * float(np.ptp(used, axis=0).max()):
        return np.zeros(3)
    warnings.warn(
        f"{where}: the mesh lies {np.linalg.norm(middle):.4g} units from its origin; it is moved there.",
        stacklevel=3,
    )
    return middle


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
    check_mesh(vertices, faces, where)
    keep = _faces_with_area(vertices, faces)
    used, faces = np.unique(faces[keep], return_inverse=True)
    vertices = np.asarray(vertices, np.float32)[used]
    faces = faces.reshape(-1, 3).astype(np.int32)
    face_parts = face_parts[keep].astype(np.int32)
    points, normals, face_ids = sample_surface(vertices, faces, samples, seed)
    return Asset(
        name, vertices, faces, face_parts, part_names, points, normals, face_parts[face_ids]
    )


def save_asset(asset: Asset, path: str | Path) -> Path:
    """Write a glb with one named sub-mesh per part; `load_asset` gives the parts back."""
    write_mesh(Path(path), asset.vertices, asset.faces, asset.face_parts, asset.part_names)
    return Path(path)


def check_mesh(vertices: np.ndarray, faces: np.ndarray, where: str) -> None:
    """Refuse meshes nothing can be computed from."""
    if len(vertices) == 0 or len(faces) == 0:
        raise UserError(
            f"{where}: the mesh is empty ({len(vertices)} vertices, {len(faces)} faces). "
            "Objects need a triangle surface; point clouds must be meshed first."
        )
    if len(faces) > MAX_FACES or len(vertices) > 3 * MAX_FACES:
        raise UserError(
            f"{where}: the mesh has {len(faces)} faces; at most {MAX_FACES} are taken. Decimate it "
            "first (in Blender: the Decimate modifier)."
        )
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise UserError(
            f"{where}: a face refers to vertex {int(faces.max())}, but there are {len(vertices)} "
            "vertices. The file is damaged; export it again."
        )
    bad = np.any(~np.isfinite(vertices[np.unique(faces)]), axis=1, keepdims=True)
    if bad.any():
        raise UserError(
            f"{where}: {int(bad.sum())} of {len(bad)} vertices are NaN or infinite. "
            "Repair the mesh (in Blender: Mesh > Clean Up) and export it again."
        )
    if np.abs(vertices[np.unique(faces)]).max() > LARGEST_COORDINATE:
        raise UserError(
            f"{where}: coordinates reach {np.abs(vertices[np.unique(faces)]).max():.3g}; no mesh is "
            f"that large (at most {LARGEST_COORDINATE:g}). The file is damaged; export it again."
        )
    if not has_area(vertices, faces):
        raise UserError(
            f"{where}: the surface has no area ({len(faces)} faces, all degenerate). "
            "Export it again as a triangle mesh, without compression."
        )


def has_area(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> bool:
    """Whether any face has an area to speak of, for the size of the mesh."""
    return bool(_faces_with_area(vertices, faces).any())


def _faces_with_area(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Bool[np.ndarray, "F"]:
    corners = np.asarray(vertices, np.float64)[faces]
    doubled_area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    largest_side = float(np.ptp(corners.reshape(-1, 3), axis=0).max())
    return doubled_area > 1e-12 * largest_side**2


def _warn_about_unit(asset: Asset, where: str, scale: float, usual: UsualSize | None) -> None:
    """Warn where the size cannot be metres; the mesh is used as it is."""
    size = " x ".join(f"{side:.4g}" for side in asset.extents)
    largest = float(asset.extents.max())
    if not SMALLEST_SIDE_READ <= largest <= LARGEST_SIDE_READ:
        raise UserError(
            f"{where}: the object measures {size} m; sides of {SMALLEST_SIDE_READ:g} to "
            f"{LARGEST_SIDE_READ:g} m are read. Give the unit of the file: --scale FACTOR."
        )
    if largest > LARGEST_PLAUSIBLE_SIDE:
        guess = (
            "looks like "
            f"millimetres (use --scale {0.001 * scale:g}) or centimetres (--scale {0.01 * scale:g})"
        )
    elif largest < SMALLEST_PLAUSIBLE_SIDE:
        guess = (
            f"looks like kilometres (use --scale {1000.0 * scale:g})"
            if largest < SMALLEST_SIDE_IN_KILOMETERS
            else f"is too small to be held (--scale {10.0 * scale:g} makes it ten times larger)"
        )
    else:
        return
    if usual is not None and (remark := size_remark(largest, usual)):
        guess = f"cannot be: {remark}"
    warnings.warn(
        f"{where}: the object measures {size} m, which {guess}.",
        MeshScaleWarning,
        stacklevel=3,
    )
