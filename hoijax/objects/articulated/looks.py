"""How the links of a URDF look: materials by name or in place, else what the mesh files bring."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.objects.appearance import MAX_VISUAL_BYTES, VISUAL_KEY, as_glb, colored_scene
from hoijax.objects.colored_triangles import PLAIN, linear_rgb

if TYPE_CHECKING:
    import trimesh

Colors = dict[str, Float[ndarray, " 3"]]


@dataclass(frozen=True)
class Shape:
    """One visual of a link, in the link's frame."""

    vertices: Float[ndarray, "V 3"]
    faces: Int[ndarray, "F 3"]
    color: Float[ndarray, " 3"] | None
    """sRGB in [0, 1]; None where the URDF names no color."""
    file: Path | None
    """Of a mesh."""
    T_link_file: Float[ndarray, "4 4"]


def named_colors(robot: ElementTree.Element, where: str) -> Colors:
    """Colors of the materials that a robot declares, wherever it does."""
    colors: Colors = {}
    for material in robot.iter("material"):
        color, name = material_color(material, {}, where), material.get("name")
        if name and color is not None:
            colors.setdefault(name, color)
    return colors


def material_color(
    material: ElementTree.Element | None, named: Colors, where: str
) -> Float[ndarray, " 3"] | None:
    """sRGB of a <material>: its own, or that of its name. UserError for what is no color."""
    if material is None:
        return None
    color = material.find("color")
    if color is None:
        return named.get(material.get("name", ""))
    text = color.get("rgba", "")
    try:
        rgba = np.array([float(word) for word in text.split()])
    except ValueError:
        rgba = np.zeros(0)
    if rgba.shape not in ((3,), (4,)) or not np.isfinite(rgba).all():
        raise UserError(f"{where}: '{text}' is not a color; write rgba=\"red green blue alpha\"")
    return np.clip(rgba[:3], 0.0, 1.0)


def link_appearance(shapes: Sequence[Shape]) -> bytes | None:
    """The glb of a link's shapes; None where neither the URDF nor a mesh file has a color."""
    import trimesh

    scene, has_colors = trimesh.Scene(metadata={VISUAL_KEY: True}), False
    for index, shape in enumerate(shapes):
        appearance = None if shape.file is None or shape.color is not None else _of_file(shape.file)
        has_colors |= shape.color is not None or appearance is not None
        meshes = [_painted(shape)]
        if appearance is not None:
            appearance.apply_transform(shape.T_link_file)
            meshes = list(appearance.dump())
        for part, mesh in enumerate(meshes):
            scene.add_geometry(mesh, geom_name=f"shape_{index}_{part}")
    if not has_colors:
        return None
    glb = as_glb(scene)
    return glb if len(glb) <= MAX_VISUAL_BYTES else None


def _of_file(path: Path) -> "trimesh.Scene | None":
    try:
        return colored_scene(path)
    except (
        Exception
    ):  # readers of colors raise whatever their parsers raise; geometry was read before
        return None


def _painted(shape: Shape) -> "trimesh.Trimesh":
    import trimesh
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    mesh = trimesh.Trimesh(shape.vertices, shape.faces, process=False)
    rgb = np.full(3, PLAIN) if shape.color is None else linear_rgb(np.round(255.0 * shape.color))
    material = PBRMaterial(baseColorFactor=[*rgb, 1.0], metallicFactor=0.0, roughnessFactor=0.8)
    mesh.visual = TextureVisuals(material=material)
    return mesh
