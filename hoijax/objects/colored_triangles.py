"""Triangles with a color each, of an object's own materials and textures: what renderers and USD take."""

import functools
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy import ndarray

from hoijax.errors import UserError

if TYPE_CHECKING:
    import trimesh

TEXEL = 0.012
"""Metres: triangles are divided to this size where colors change along them."""
MAX_RENDERED_FACES = 60_000
PLAIN = 0.6
"""Linear grey of meshes without colors beside colored ones."""


@functools.lru_cache(maxsize=16)
def colored_triangles(
    appearance: bytes,
) -> tuple[Float32[ndarray, "V 3"], Int[ndarray, "F 3"], Float32[ndarray, "F 3"]]:
    """Vertices, faces and linear RGB of every face of an appearance; textured faces are divided.

    Raises UserError where the bytes are no glb.
    """
    meshes = shown_meshes(appearance)
    pieces = [_colored_faces(mesh, MAX_RENDERED_FACES // len(meshes)) for mesh in meshes]
    if not pieces:
        raise UserError("an object's colors hold no triangles.")
    starts = np.cumsum([0] + [len(v) for v, _, _ in pieces[:-1]])
    vertices = np.concatenate([v for v, _, _ in pieces]).astype(np.float32)
    faces = np.concatenate([f + start for (_, f, _), start in zip(pieces, starts, strict=True)])
    colors = np.concatenate([c for _, _, c in pieces]).astype(np.float32)
    for array in (vertices, faces, colors):
        array.flags.writeable = False
    return vertices, faces, colors


def shown_meshes(appearance: bytes) -> "list[trimesh.Trimesh]":
    """The meshes of an appearance in the asset's frame, with their visuals.

    Raises UserError where the bytes are no glb.
    """
    import trimesh

    try:
        scene = trimesh.load_scene(io.BytesIO(appearance), file_type="glb", process=False)
    except Exception as error:
        raise UserError(f"an object's colors cannot be read again ({error}).") from error
    meshes = []
    for node in scene.graph.nodes_geometry:
        T_asset_node, name = scene.graph[node]
        mesh = scene.geometry[name]
        if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces):
            placed = mesh.vertices @ T_asset_node[:3, :3].T + T_asset_node[:3, 3]
            meshes.append(trimesh.Trimesh(placed, mesh.faces, visual=mesh.visual, process=False))
    return meshes


def base_color(material: Any) -> Float[ndarray, "3"]:
    """Linear base color of a glTF material, which its texture is multiplied by."""
    factor = getattr(material, "baseColorFactor", None)
    return np.ones(3) if factor is None else np.asarray(factor, np.float64)[:3] / 255.0


def _colored_faces(mesh: "trimesh.Trimesh", most: int) -> tuple[ndarray, ndarray, ndarray]:
    """Vertices, faces and linear face colors of one mesh, fine enough for its colors."""
    from trimesh.visual import ColorVisuals

    vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    visual: Any = mesh.visual
    if isinstance(visual, ColorVisuals):
        if visual.kind is None:
            return vertices, faces, np.full((len(faces), 3), PLAIN)
        table = np.asarray(visual.vertex_colors, np.float64)[:, :3] / 255.0
        vertices, faces, table = _divided(vertices, faces, table, most)
        return vertices, faces, table[faces].mean(axis=1)
    tint = base_color(visual.material)
    image, uv = getattr(visual.material, "baseColorTexture", None), visual.uv
    if image is None or uv is None:
        return vertices, faces, np.broadcast_to(tint, (len(faces), 3))
    vertices, faces, table = _divided(vertices, faces, np.asarray(uv, np.float64), most)
    return vertices, faces, tint * _texture_colors(image, table[faces].mean(axis=1))


def _texture_colors(image: Any, uv: Float[ndarray, "N 2"]) -> Float[ndarray, "N 3"]:
    """Linear colors of a texture, repeated beyond [0, 1]; v grows upwards in trimesh."""
    pixels = np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    uv = np.where(np.isfinite(uv), uv, 0.0)
    uv = np.where((uv < 0.0) | (uv > 1.0), uv % 1.0, uv)
    column = np.minimum((uv[:, 0] * width).astype(int), width - 1)
    row = np.minimum(((1.0 - uv[:, 1]) * height).astype(int), height - 1)
    return linear_rgb(pixels[row, column])


def _divided(
    vertices: ndarray, faces: ndarray, table: ndarray, most: int
) -> tuple[ndarray, ndarray, ndarray]:
    """Every triangle in four until edges are short enough or there are too many; `table` goes along."""
    while 4 * len(faces) <= most:
        corners = vertices[faces]
        edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1)
        if edges.max(initial=0.0) <= TEXEL:
            break
        pairs = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        pairs, inverse = np.unique(pairs, axis=0, return_inverse=True)
        middle = (len(vertices) + inverse).reshape(-1, 3)
        vertices = np.concatenate([vertices, vertices[pairs].mean(axis=1)])
        table = np.concatenate([table, table[pairs].mean(axis=1)])
        (a, b, c), (ab, bc, ca) = faces.T, middle.T
        parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        faces = np.concatenate([np.stack(part, axis=1) for part in parts])
    return vertices, faces, table


def linear_rgb(srgb: ndarray) -> Float[ndarray, "... 3"]:
    """8-bit sRGB as linear values in [0, 1]."""
    value = np.asarray(srgb, np.float64) / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
