"""A composed still as the image that a video model starts from."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import look_at
from hoijax.rendering.raycast import RenderMesh, cast
from hoijax.rendering.shading import shade

__all__ = ["still_image"]

FIELD_OF_VIEW, AZIMUTH, ELEVATION = 40.0, np.radians(30.0), np.radians(8.0)
"""Degrees, upright; a three-quarter view at about shoulder height, as the video prompts say."""
MARGIN = 1.25
"""Of the scene's radius: whole bodies have room to move in."""
FINE = 2
"""Rays along the side of a pixel."""


def still_image(folder: Path, height: int, width: int) -> UInt8[ndarray, "{height} {width} 3"]:
    """Shaded sRGB image of the scene.glb of a composed still. UserError for what is none."""
    path = folder / "scene.glb"
    if not path.is_file():
        raise UserError(f"{path} is missing: compose the static scene again.")
    meshes = _meshes(path)
    points = np.concatenate([mesh.vertices_world for mesh in meshes])
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    radius = float(np.linalg.norm(points - middle, axis=1).max())
    narrower = np.radians(FIELD_OF_VIEW) * min(1.0, width / height)
    distance = MARGIN * radius / np.sin(0.5 * narrower)
    away = np.array(
        [
            np.cos(ELEVATION) * np.sin(AZIMUTH),
            np.sin(ELEVATION),
            np.cos(ELEVATION) * np.cos(AZIMUTH),
        ]
    )
    T_world_camera = np.asarray(look_at(middle + distance * away, middle), np.float32)
    lens = PinholeCamera.from_field_of_view(FIELD_OF_VIEW, FINE * width, FINE * height)
    fine = shade(cast(meshes, lens, T_world_camera)).astype(np.float32)
    blocks = fine.reshape(height, FINE, width, FINE, 3).mean(axis=(1, 3))
    return blocks.round().astype(np.uint8)


def _meshes(path: Path) -> list[RenderMesh]:
    import trimesh

    scene: Any = trimesh.load(path, force="scene")
    meshes = []
    for number, mesh in enumerate(scene.dump(), start=1):
        if mesh.visual.kind != "vertex":
            raise UserError(
                f"{path} is not that of a composed scene, whose vertices have colors. Make one with "
                "`hoijax compose`."
            )
        shown: Float[ndarray, "V 3"] = np.asarray(mesh.visual.vertex_colors)[:, :3] / 255.0
        color = (shown**2.2)[np.asarray(mesh.faces)].mean(axis=1).astype(np.float32)
        vertices = np.asarray(mesh.vertices, np.float32)
        meshes.append(RenderMesh(vertices, np.asarray(mesh.faces), number, color=color))
    return meshes
