"""Monocular depth from transformers: Depth Pro (Bochkovskii et al., 2024) and Depth Anything V2
metric (Yang et al., 2024). For MoGe, which gives the camera too, see `priors.models.moge`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from priors.models.frozen import FrozenModel
from priors.models.point_maps import (
    DEFAULT_FOV,
    EDGE,
    FAR,
    FOV_LIMITS,
    assemble,
    given_intrinsics,
    intrinsics_from_focal,
    one_focal,
)
from priors.models.torch_runtime import (
    device_and_dtype,
    readable_errors,
    require,
)
from priors.protocols import ModelId, PointMaps

__all__ = [
    "DEPTH_ANYTHING_INDOOR",
    "DEPTH_PRO",
    "DepthAnything",
    "DepthPro",
    "DepthSettings",
    "GeometryPrior",
]

STAGE = "depth"
DEPTH_PRO = ModelId("apple/DepthPro-hf")
DEPTH_ANYTHING_INDOOR = ModelId("depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf")


@dataclass(frozen=True)
class DepthSettings:
    """What is kept of a depth map, and how many frames go through the network at once."""

    edge: float = EDGE
    """Relative depth step between neighboring pixels that counts as an edge."""
    far: float = FAR
    """Metres."""
    batch: int = 4
    field_of_view: float = DEFAULT_FOV
    """Degrees, vertical: of a model that says nothing about the camera, where none is given."""


class GeometryPrior(FrozenModel[DepthSettings], ABC):
    """What the `GeometryModel`s share."""

    stage, default_settings = STAGE, DepthSettings()

    def point_maps(
        self,
        frames: UInt8[ndarray, "T H W 3"],
        intrinsics: Float[ndarray, "T 3 3"] | None = None,
    ) -> PointMaps:
        """Points of every pixel; one focal length for the whole clip unless intrinsics are given.

        UserError for missing weights, too little memory and intrinsics that cannot be.
        """
        if len(frames) == 0:
            raise UserError(f"{STAGE}: there are no frames")
        given = given_intrinsics(intrinsics, frames)
        torch = require("torch")
        with (
            readable_errors(STAGE, self._model_id, smaller="a smaller batch"),
            torch.inference_mode(),
        ):
            return self._estimate(frames, given)

    @abstractmethod
    def _estimate(self, frames: ndarray, intrinsics: ndarray | None) -> PointMaps:
        """Point maps of checked input."""

    def _batches(self, frames: ndarray) -> Iterator[Any]:
        """(n, 3, H, W) float32 tensors in [0, 1] on the device: resizing knows no half precision."""
        torch = require("torch")
        device, _ = device_and_dtype(self.runtime)
        for start in range(0, len(frames), self.settings.batch):
            some = np.ascontiguousarray(frames[start : start + self.settings.batch])
            pixels = torch.from_numpy(some.astype(np.float32) / 255.0)
            yield pixels.permute(0, 3, 1, 2).to(device)

    def _assemble(self, depth: ndarray, valid: ndarray, intrinsics: ndarray) -> PointMaps:
        return assemble(depth, valid, intrinsics, edge=self.settings.edge, far=self.settings.far)


def resized(images: Any, height: int, width: int) -> Any:
    """Bilinear, antialiased where it shrinks."""
    return require("torch").nn.functional.interpolate(
        images, size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )


class DepthPro(GeometryPrior):
    """`GeometryModel` of Depth Pro: metric depth and a field of view for every frame."""

    default_id = DEPTH_PRO

    @cached_property
    def network(self) -> Any:
        return self._loaded("DepthProForDepthEstimation")

    def _estimate(self, frames: ndarray, intrinsics: ndarray | None) -> PointMaps:
        config = self.network.config
        side = round(config.patch_size / min(config.scaled_images_ratios))
        height, width = frames.shape[1:3]
        inverse, fovs = [], []
        for pixels in self._batches(frames):
            small = (resized(pixels, side, side) - 0.5) / 0.5
            output = self.network(pixel_values=small.to(self.network.dtype))
            canonical = resized(output.predicted_depth[:, None].float(), height, width)
            inverse.append(canonical[:, 0].cpu().numpy())
            if output.field_of_view is not None:
                fovs.append(output.field_of_view.float().cpu().numpy())
        if intrinsics is None:
            angles = np.concatenate(fovs) if fovs else np.zeros(0)
            usable = (angles >= FOV_LIMITS[0]) & (angles <= FOV_LIMITS[1])
            focals = 0.5 * width / np.tan(np.radians(angles[usable]) / 2)
            focal = one_focal(focals, height)
            intrinsics = intrinsics_from_focal(np.full(len(frames), focal), height, width)
        # The network sees depth as through a camera one image wide: inverse depth times f / width.
        metric = np.concatenate(inverse) * (width / intrinsics[:, 0, 0])[:, None, None]
        depth = 1.0 / np.maximum(metric, 1e-4)
        return self._assemble(depth, metric > 1e-4, intrinsics)


class DepthAnything(GeometryPrior):
    """`GeometryModel` of Depth Anything V2's metric checkpoints.

    They know nothing of the camera: give intrinsics, or the settings' field of view is taken.
    """

    default_id = DEPTH_ANYTHING_INDOOR

    @cached_property
    def network(self) -> Any:
        network = self._loaded("DepthAnythingForDepthEstimation")
        if network.config.depth_estimation_type != "metric":
            raise UserError(
                f"{STAGE}: {self._model_id.name} estimates relative depth, from which no points "
                f"follow. Use a metric checkpoint such as {DEPTH_ANYTHING_INDOOR.name}"
            )
        return network

    @cached_property
    def processor(self) -> Any:
        return self._part("AutoImageProcessor")

    def _estimate(self, frames: ndarray, intrinsics: ndarray | None) -> PointMaps:
        torch = require("torch")
        device, dtype = device_and_dtype(self.runtime, measures=True)
        height, width = frames.shape[1:3]
        depths = []
        for start in range(0, len(frames), self.settings.batch):
            some = list(frames[start : start + self.settings.batch])
            pixels = self.processor(images=some, return_tensors="pt")["pixel_values"]
            output = self.network(pixel_values=torch.as_tensor(pixels).to(device, dtype))
            depths.append(
                resized(output.predicted_depth[:, None].float(), height, width)[:, 0].cpu()
            )
        depth = torch.cat(depths).numpy()
        if intrinsics is None:
            fov = self.settings.field_of_view
            camera = PinholeCamera.from_field_of_view(fov, width, height)
            intrinsics = intrinsics_from_focal(np.full(len(frames), camera.fx), height, width)
        return self._assemble(depth, depth > 0, intrinsics)
