"""What a camera's small color images show of a known scene; only where an object has colors of its own."""

import dataclasses

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hoijax.bundle.observations import Observations
from hoijax.objects.colored_triangles import colored_triangles
from hoijax.rendering.raycast import RenderMesh, cast
from hoijax.rendering.shading import make_backdrop, shade
from hoijax.rendering.small_images import small_size
from priors.synthetic.rendered_observations import RenderedGroundTruth

WHITE_BALANCE, GREY_LEVELS = 0.1, 4.0
"""Deviations of a clip's channels (logarithm), and of a pixel."""


def with_colors(o: Observations, scene: RenderedGroundTruth, seed: int) -> Observations:
    """With color images where any object of the scene has colors."""
    if not any(asset.appearance for asset in scene.assets):
        return o
    return dataclasses.replace(o, color_images=rendered_colors(scene, seed))


def rendered_colors(scene: RenderedGroundTruth, seed: int) -> UInt8[ndarray, "T h w 3"]:
    """Shaded images with a white balance and noise of the seed."""
    rng = np.random.default_rng((seed, 2))
    camera = scene.camera
    h, w = small_size(camera.height, camera.width)
    x, y = w / camera.width, h / camera.height
    small = dataclasses.replace(
        camera,
        fx=camera.fx * x,
        fy=camera.fy * y,
        cx=camera.cx * x,
        cy=camera.cy * y,
        width=w,
        height=h,
    )
    backdrop = make_backdrop(small, scene.T_world_camera)
    frames = []
    for t in range(scene.person_vertices_world.shape[1]):
        meshes = [
            RenderMesh(skin[t], scene.person_faces, 1) for skin in scene.person_vertices_world
        ]
        for o, asset in enumerate(scene.assets):
            vertices, faces, color = asset.vertices, asset.faces, RenderMesh.color
            if asset.appearance:
                vertices, faces, color = colored_triangles(asset.appearance)
            T = scene.Ts_world_object[o, t]
            posed = (vertices @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
            meshes.append(RenderMesh(posed, faces, 2, color=color))
        frames.append(shade(cast(meshes, small, scene.T_world_camera), backdrop))
    balance = np.exp(WHITE_BALANCE * rng.normal(size=3))
    images = np.stack(frames) * balance + GREY_LEVELS * rng.normal(size=(len(frames), h, w, 3))
    return np.clip(np.round(images), 0, 255).astype(np.uint8)
