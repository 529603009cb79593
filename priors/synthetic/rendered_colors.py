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
from priors.synthetic.rendered_observations import RenderedGroundTruth, posed_meshes

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
    people, frame_count = scene.person_vertices_world.shape[:2]
    shapes = []
    for o, asset in enumerate(scene.assets):
        vertices, faces, color = asset.vertices, asset.faces, RenderMesh.color
        if asset.appearance:
            vertices, faces, color = colored_triangles(asset.appearance)
        shapes.append(RenderMesh(vertices, faces, people + o + 1, color=color))
    frames = []
    for t in range(frame_count):
        image = cast(posed_meshes(scene, t, shapes), small, scene.T_world_camera)
        frames.append(shade(image, backdrop))
    balance = np.exp(WHITE_BALANCE * rng.normal(size=3))
    images = np.stack(frames) * balance + GREY_LEVELS * rng.normal(size=(len(frames), h, w, 3))
    return np.clip(np.round(images), 0, 255).astype(np.uint8)
