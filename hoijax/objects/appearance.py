"""How a user's object looks: its own materials, textures and vertex colors, kept beside the geometry.

Solving needs a plain triangle surface; what that drops is kept as one glb of the file's meshes in the
asset's frame. Exporters embed it as it is; renderers take its triangles with a color each.
"""

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.io.npz import read_regular_file
from hoijax.objects.colored_triangles import linear_rgb
from hoijax.objects.mesh_checks import check_gltf, gltf_json
from hoijax.objects.quantized import mesh_source

if TYPE_CHECKING:
    import trimesh

VISUAL_KEY = "hoijax_visual"
"""Scene extras of our glbs that hold what an object looks like, not its geometry."""
MAX_TEXTURE = 2048
"""Pixels along a side; larger textures are made smaller."""
MAX_VISUAL_BYTES = 64 << 20
SOURCES = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off", ".3mf", ".dae")
LINEAR_COLORS = (".glb", ".gltf")
"""Formats whose vertex colors are linear; elsewhere they are sRGB."""


def read_appearance(path: Path, T_asset_file: Float[ndarray, "4 4"]) -> bytes | None:
    """The glb of a file's colored meshes in the asset's frame; None where the file has no colors.

    Warns where there are colors that cannot be read; the object is then shown without them.
    """
    try:
        scene = colored_scene(path)
        if scene is None:
            return None
        scene.apply_transform(T_asset_file)
        glb = as_glb(scene)
    except Exception as error:  # trimesh's and Pillow's readers raise whatever their parsers raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        warnings.warn(
            f"{path}: its colors cannot be read ({reason}); it is shown plain.", stacklevel=3
        )
        return None
    if len(glb) > MAX_VISUAL_BYTES:
        warnings.warn(
            f"{path}: its colors take {len(glb) >> 20} MB, more than {MAX_VISUAL_BYTES >> 20}; it is "
            "shown plain. Make its textures smaller or decimate it.",
            stacklevel=3,
        )
        return None
    return glb


def checked_appearance(content: bytes | None) -> bytes | None:
    """A glb of `read_appearance` that may be embedded elsewhere; None for anything else.

    Counts and node trees must be sound and nothing may lie outside the file.
    """
    if content is None or len(content) > MAX_VISUAL_BYTES:
        return None
    try:
        data = gltf_json(content, is_binary=True)
        is_ours = bool(data["scenes"][0].get("extras", {}).get(VISUAL_KEY))
        check_gltf(Path("appearance.glb"), data)
        outside = [
            row for key in ("buffers", "images") for row in data.get(key, []) if "uri" in row
        ]
    except (ValueError, TypeError, AttributeError, LookupError, UserError):
        return None
    return content if is_ours and not outside else None


def transformed(content: bytes | None, T: Float[ndarray, "4 4"]) -> bytes | None:
    """An appearance under an affine map of the asset's frame; None where there is none."""
    import trimesh

    if content is None:
        return None
    scene = trimesh.load_scene(io.BytesIO(content), file_type="glb", process=False)
    moved = trimesh.Scene(metadata={VISUAL_KEY: True})
    for node in scene.graph.nodes_geometry:
        T_scene_node, name = scene.graph[node]
        mesh = scene.geometry[name].copy()
        mesh.apply_transform(T @ T_scene_node)
        moved.add_geometry(mesh, geom_name=str(name))
    return as_glb(moved)


def read_saved(path: Path) -> bytes | None:
    """The appearance in a file of a result folder; None where there is none, or none that is sound."""
    try:
        return checked_appearance(read_regular_file(path, MAX_VISUAL_BYTES))
    except OSError:
        return None


class _FolderResolver:
    """Files that a mesh file names, in its folder or below; trimesh asks it."""

    def __new__(cls, path: Path) -> Any:
        from trimesh.resolvers import FilePathResolver

        class Resolver(FilePathResolver):
            def get(self, name: str) -> bytes:
                path = (Path(self.parent) / str(name).strip()).resolve()
                if not path.is_relative_to(Path(self.parent).resolve()) or not path.is_file():
                    raise ValueError(f"the file {name!r} it names is not in its folder")
                return path.read_bytes()

        return Resolver(str(path.absolute()))


def colored_scene(path: Path) -> "trimesh.Scene | None":
    """The file's scene with one mesh per node, where any of them has colors."""
    import trimesh

    suffix = path.suffix.lower()
    if suffix not in SOURCES:
        return None
    options: dict[str, Any] = {"process": False}
    if suffix == ".obj":
        options |= {
            "split_object": False,
            "group_material": True,
            "resolver": _FolderResolver(path),
        }
    source, given = mesh_source(path)
    scene = trimesh.load_scene(source, **options, **given)
    colored = trimesh.Scene(metadata={VISUAL_KEY: True})
    has_colors = False
    for node in scene.graph.nodes_geometry:
        T_scene_node, geometry_name = scene.graph[node]
        mesh = scene.geometry[geometry_name]
        if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
            continue
        mesh = mesh.copy()
        mesh.visual = _tidy_visual(mesh, suffix)
        has_colors |= _has_colors(mesh)
        mesh.apply_transform(T_scene_node)
        colored.add_geometry(mesh, geom_name=f"{geometry_name}_{len(colored.geometry)}")
    return colored if has_colors else None


def _tidy_visual(mesh: "trimesh.Trimesh", suffix: str) -> Any:
    """The visual as glTF stores it: vertex colors linear, textures of a bounded size."""
    from trimesh.visual import ColorVisuals
    from trimesh.visual.material import SimpleMaterial

    visual: Any = mesh.visual
    if isinstance(visual, ColorVisuals):
        if visual.kind == "face":
            mesh.unmerge_vertices()
            visual = mesh.visual
        if visual.kind is None:
            return visual
        colors = np.array(visual.vertex_colors, np.uint8)
        if suffix not in LINEAR_COLORS:
            colors[:, :3] = np.round(255.0 * linear_rgb(colors[:, :3]))
        return ColorVisuals(mesh, vertex_colors=colors)
    material: Any = visual.material
    if isinstance(material, SimpleMaterial):
        material = material.to_pbr()
    for key in ("baseColorTexture", "metallicRoughnessTexture", "normalTexture", "emissiveTexture"):
        image = getattr(material, key, None)
        if image is not None and max(image.size) > MAX_TEXTURE:
            small = image.copy()
            small.thumbnail((MAX_TEXTURE, MAX_TEXTURE))
            setattr(material, key, small)
    visual.material = material
    return visual


def _has_colors(mesh: "trimesh.Trimesh") -> bool:
    from trimesh.visual import ColorVisuals

    visual: Any = mesh.visual
    if isinstance(visual, ColorVisuals):
        return visual.kind is not None
    material = visual.material
    if getattr(material, "baseColorTexture", None) is not None:
        return True
    factor = getattr(material, "baseColorFactor", None)
    return factor is not None and not _is_default(np.asarray(factor)[:3])


def _is_default(rgb: ndarray) -> bool:
    """White, and the grey that exporters write where there is no color, are no colors."""
    return bool(np.ptp(rgb.astype(float)) < 1.0 and rgb.max() > 100)


def as_glb(scene: "trimesh.Scene") -> bytes:
    from trimesh.exchange.gltf import export_glb

    return export_glb(scene)
