"""Pinhole camera: project, unproject, pixel rays. Pixel (u, v) has its center at integer + 0.5."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

NEAR = 0.05  # metres; points behind the camera are projected as if they lay this far in front of it


@dataclass(frozen=True)
class PinholeCamera:
    """Intrinsics in pixels. OpenCV axes; no distortion."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    @classmethod
    def from_field_of_view(
        cls, vertical_degrees: float, width: int, height: int
    ) -> "PinholeCamera":
        """Square pixels, principal point in the middle."""
        focal = 0.5 * height / np.tan(np.radians(vertical_degrees) / 2)
        return cls(focal, focal, width / 2, height / 2, width, height)

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) float32 intrinsic matrix."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float32)

    def ray_directions(self, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """(height, width, 3) directions in the camera frame through pixel centers, with z = 1; of a window."""
        u, v = np.meshgrid(np.arange(self.width)[columns] + 0.5, np.arange(self.height)[rows] + 0.5)
        return np.stack(
            [(u - self.cx) / self.fx, (v - self.cy) / self.fy, np.ones_like(u)], axis=-1
        ).astype(np.float32)


def camera_pitch(T_world_camera: Float[np.ndarray, "4 4"]) -> float:
    """Degrees by which a camera looks down, in a world whose y is up."""
    return float(np.degrees(np.arcsin(np.clip(-T_world_camera[1, 2], -1.0, 1.0))))


def project(
    points_camera: Float[Array, "*batch n 3"], intrinsics: Float[Array, "*#batch 3 3"]
) -> Float[Array, "*batch n 2"]:
    """Pixels of points in the camera frame; depth is clamped to NEAR so that gradients stay finite."""
    # Component by component: the gradient is then free of sums over an axis of two.
    inverse = 1.0 / jnp.maximum(points_camera[..., 2], NEAR)
    k = intrinsics[..., None, :, :]
    u = points_camera[..., 0] * inverse * k[..., 0, 0] + k[..., 0, 2]
    v = points_camera[..., 1] * inverse * k[..., 1, 1] + k[..., 1, 2]
    return jnp.stack([u, v], axis=-1)


def unproject(
    pixels: Float[Array, "*batch n 2"],
    depth: Float[Array, "*batch n"],
    intrinsics: Float[Array, "*batch 3 3"],
) -> Float[Array, "*batch n 3"]:
    """Points in the camera frame of pixels with a z depth in metres."""
    focal = jnp.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], axis=-1)[..., None, :]
    xy = (pixels - intrinsics[..., None, :2, 2]) / focal * depth[..., None]
    return jnp.concatenate([xy, depth[..., None]], axis=-1)
