"""A scene that is known: what a perfect image model would have seen. Closed-form guidance draws from it.

One person and one object, posed, and the person alone standing. Light and background do not depend on the
camera, so that a field can hold exactly what the images show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.composition.fields.guidance import Prompts, ViewCameras
from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.rendering.raycast import RayScene, RenderMesh

__all__ = [
    "HUMAN",
    "OBJECT",
    "KnownScene",
    "Prompts",
    "known_images",
    "known_skeletons",
    "silhouettes",
]

HUMAN, OBJECT = 1, 2
"""Instance numbers in masks; 0 is the background."""
BACKGROUND = np.array([0.85, 0.85, 0.85], np.float32)
LIGHT = np.array([0.35, 0.80, 0.48], np.float32)
AMBIENT, KEY = 0.55, 0.45
SUPERSAMPLING = 2  # rays along a pixel's edge


@dataclass(frozen=True)
class KnownScene:
    """Meshes of the ground truth (world, metres) and the numbers that a result is measured against."""

    prompts: Prompts
    human: RenderMesh
    """Posed, instance HUMAN."""
    object: RenderMesh
    """Posed, instance OBJECT."""
    standing: RenderMesh
    """The person alone in the canonical pose, on the ground, at the origin."""
    keypoints_world: Float[ndarray, "18 3"]
    joints_world: Float[ndarray, "55 3"]
    ground_truth: Mapping[str, ndarray] = field(default_factory=dict)
    """Body rotations, translation, betas, rest_joints; T_world_object."""

    def meshes(self, prompt: str) -> tuple[RenderMesh, ...]:
        """What a prompt shows; UserError for a text that the scene knows nothing of."""
        known = {
            self.prompts.interaction: (self.human, self.object),
            self.prompts.human: (self.standing,),
            self.prompts.object: (self.object,),
        }
        if prompt not in known:
            raise UserError(
                f"closed-form guidance has no images of {prompt!r}; it knows "
                f"{', '.join(map(repr, known))}"
            )
        return known[prompt]

    @cached_property
    def _ray_scenes(self) -> dict[str, RayScene]:
        return {prompt: RayScene(self.meshes(prompt)) for prompt in self.prompts.all}

    def ray_scene(self, prompt: str) -> RayScene:
        self.meshes(prompt)
        return self._ray_scenes[prompt]

    def masks(
        self, prompt: str, cameras: ViewCameras, size: tuple[int, int]
    ) -> Int[ndarray, "N H W"]:
        """Exact instance numbers at pixel centers: the segmentation of the closed form."""
        return np.stack(
            [
                _hit_instances(self.ray_scene(prompt), K, T, size)
                for K, T in zip(cameras.intrinsics, cameras.Ts_world_camera, strict=True)
            ]
        )


def known_images(scenes: Sequence[KnownScene]):
    """`ImageSet` of one or several scenes that fit the same words: M of them."""

    def images(
        prompts: Sequence[str], cameras: ViewCameras, size: tuple[int, int]
    ) -> Float[ndarray, "N M H W 3"]:
        views = zip(prompts, cameras.intrinsics, cameras.Ts_world_camera, strict=True)
        return np.stack(
            [
                np.stack([shaded_view(s.ray_scene(p), K, T, size) for s in scenes])
                for p, K, T in views
            ]
        )

    return images


def shaded_view(
    scene: RayScene,
    intrinsics: Float[ndarray, "3 3"],
    T_world_camera: Float[ndarray, "4 4"],
    size: tuple[int, int],
) -> Float[ndarray, "H W 3"]:
    """Antialiased linear RGB of meshes under a light that stands still, over an even background."""
    n = SUPERSAMPLING
    fine = (size[0] * n, size[1] * n)
    scaled = np.asarray(intrinsics, np.float32) * np.array([[n], [n], [1]], np.float32)
    hits = _cast(scene, scaled, T_world_camera, fine)
    seen = np.flatnonzero(hits.face_ids >= 0)
    color = np.broadcast_to(BACKGROUND, (fine[0] * fine[1], 3)).copy()
    normals = scene.smooth_normals(hits.subset(seen))
    facing = np.maximum(normals @ (LIGHT / np.linalg.norm(LIGHT)), 0.0)
    color[seen] = scene.colors[hits.face_ids[seen]] * (AMBIENT + KEY * facing)[:, None]
    return color.reshape(size[0], n, size[1], n, 3).mean(axis=(1, 3))


def silhouettes(
    meshes: Sequence[RenderMesh], cameras: ViewCameras, size: tuple[int, int]
) -> Bool[ndarray, "N H W"]:
    """Pixels whose center shows any of the meshes."""
    scene = RayScene(meshes)
    return np.stack(
        [
            _hit_instances(scene, K, T, size) > 0
            for K, T in zip(cameras.intrinsics, cameras.Ts_world_camera, strict=True)
        ]
    )


def _hit_instances(scene, intrinsics, T_world_camera, size) -> ndarray:
    hits = _cast(scene, intrinsics, T_world_camera, size)
    ids = np.where(hits.face_ids >= 0, scene.instance_ids[hits.face_ids], 0)
    return ids.reshape(size).astype(np.int32)


def _cast(scene: RayScene, intrinsics: ndarray, T_world_camera: ndarray, size: tuple[int, int]):
    camera = PinholeCamera(
        float(intrinsics[0, 0]),
        float(intrinsics[1, 1]),
        float(intrinsics[0, 2]),
        float(intrinsics[1, 2]),
        size[1],
        size[0],
    )
    T = np.asarray(T_world_camera, np.float32)
    rays = np.einsum("hwi,ji->hwj", camera.ray_directions(), T[:3, :3]).reshape(-1, 3)
    return scene.intersect(np.broadcast_to(T[:3, 3], rays.shape), rays)


def known_skeletons(
    scene: KnownScene, *, pixel_noise: float = 1.0, seed: int = 0, visible: float = 0.06
):
    """Skeleton detector of the closed form: (images (N, H, W, 3), cameras) -> keypoints (N, 18, 3).

    Where the true joints project, with noise (pixels of a 128-pixel image), but only what the images
    show: a keypoint over bare background (colors within `visible`) is not detected.
    """

    def detect(images: Float[ndarray, "N H W 3"], cameras: ViewCameras) -> Float[ndarray, "N 18 3"]:
        rng = np.random.default_rng((seed, 18))
        height, width = images.shape[1:3]
        keypoints = np.zeros((len(images), 18, 3), np.float32)
        views = zip(images, cameras.intrinsics, cameras.Ts_world_camera, strict=True)
        for i, (image, K, T) in enumerate(views):
            local = (scene.keypoints_world - T[:3, 3]) @ T[:3, :3]
            pixel = local @ K.T
            pixel = pixel[:, :2] / pixel[:, 2:]
            pixel = pixel + rng.normal(0.0, pixel_noise * height / 128.0, pixel.shape)
            column = np.clip(pixel[:, 0], 0, width - 1).astype(int)
            row = np.clip(pixel[:, 1], 0, height - 1).astype(int)
            border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
            shown = np.abs(image[row, column] - np.median(border, axis=0)).max(axis=1) > visible
            keypoints[i] = np.column_stack([pixel, shown])
        return keypoints

    return detect
