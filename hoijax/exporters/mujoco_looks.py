"""An object's own looks in MJCF: geoms that only show, with textures as PNG files beside the scene.

MuJoCo knows one texture or one color for a mesh. Colors of vertices become a texture with a square for
every face.
"""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.objects.colored_triangles import PLAIN, base_color, shown_meshes

SHOWN_GROUP, COLLIDING_GROUP = "2", "3"
"""MuJoCo's viewers show geoms of groups 0 to 2."""
SQUARE = 4
"""Pixels along a side of a face's square: neighbors do not bleed into its middle."""


def add_looks(
    assets: ElementTree.Element,
    body: ElementTree.Element,
    name: str,
    appearance: bytes,
    scene: Path,
) -> list[Path]:
    """Show an appearance on a body of `scene`, the XML file; meshes and textures that were written."""
    written: list[Path] = []
    for number, mesh in enumerate(shown_meshes(appearance), start=1):
        label = f"{name}_look_{number}"
        uv, uv_faces, image, tint = _looks(mesh)
        color = " ".join(f"{value:.6g}" for value in (*np.clip(tint, 0, 1) ** (1 / 2.2), 1.0))
        material = {"name": label, "rgba": color, "specular": "0.2"}
        if image is not None:
            texture = scene.with_name(f"{scene.stem}_{label}.png")
            image.save(texture)
            written.append(texture)
            ElementTree.SubElement(
                assets, "texture", {"name": label, "type": "2d", "file": texture.name}
            )
            material["texture"] = label
        ElementTree.SubElement(assets, "material", material)
        path = scene.with_name(f"{scene.stem}_{label}.obj")
        _write_textured_obj(path, np.asarray(mesh.vertices), np.asarray(mesh.faces), uv, uv_faces)
        written.append(path)
        shell = {"name": label, "file": path.name, "inertia": "shell"}  # may be flat or open
        ElementTree.SubElement(assets, "mesh", shell)
        geom = {"name": label, "type": "mesh", "mesh": label, "material": label, "mass": "0"}
        shown = {"contype": "0", "conaffinity": "0", "group": SHOWN_GROUP}
        ElementTree.SubElement(body, "geom", geom | shown)
    return written


def _looks(mesh: Any) -> tuple[ndarray, ndarray, Any, Float[ndarray, "3"]]:
    """(uv, their indices by face, image or None, linear tint) of a mesh; (0, 0) is the lower left."""
    from PIL import Image
    from trimesh.visual import ColorVisuals

    visual, faces = mesh.visual, np.asarray(mesh.faces)
    nothing = np.zeros((0, 2)), faces
    if isinstance(visual, ColorVisuals):
        if visual.kind is None:
            return *nothing, None, np.full(3, PLAIN)
        linear = np.asarray(visual.vertex_colors, np.float64)[:, :3][faces].mean(axis=1) / 255
        side = int(np.ceil(np.sqrt(len(faces))))
        squares = np.zeros((side * side, 3), np.uint8)
        squares[: len(faces)] = np.round(255 * linear ** (1 / 2.2))
        pixels = squares.reshape(side, side, 3).repeat(SQUARE, axis=0).repeat(SQUARE, axis=1)
        row, column = np.divmod(np.arange(len(faces)), side)
        uv = np.stack([column + 0.5, side - row - 0.5], axis=1) / side
        corners = np.arange(len(faces))[:, None].repeat(3, axis=1)
        return uv, corners, Image.fromarray(pixels), np.ones(3)
    tint = base_color(visual.material)
    image = getattr(visual.material, "baseColorTexture", None)
    if image is None or visual.uv is None:
        return *nothing, None, tint
    return np.nan_to_num(np.asarray(visual.uv, np.float64)), faces, image.convert("RGB"), tint


def _write_textured_obj(
    path: Path,
    vertices: Float[ndarray, "V 3"],
    faces: Int[ndarray, "F 3"],
    uv: Float[ndarray, "W 2"],
    uv_faces: Int[ndarray, "F 3"],
) -> None:
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in np.asarray(vertices, np.float64)]
    lines += [f"vt {u:.9g} {v:.9g}" for u, v in uv]
    if len(uv):
        corners = np.stack([faces, uv_faces], axis=-1) + 1
        lines += ["f " + " ".join(f"{v}/{t}" for v, t in face) for face in corners.tolist()]
    else:
        lines += ["f " + " ".join(map(str, face)) for face in (faces + 1).tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
