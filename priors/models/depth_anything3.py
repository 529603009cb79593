"""Depth Anything 3's metric model (Lin et al., 2025; Apache-2.0): depth times a focal length.

transformers does not have it; the network comes from the PyPI package `depth-estimation`, as MoGe's.
"""

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from priors.models.depth import GeometryPrior, resized
from priors.models.moge import INSTALL
from priors.models.point_maps import intrinsics_from_focal
from priors.models.sapiens2 import normalized
from priors.models.torch_runtime import (
    device_and_dtype,
    readable_errors,
    require,
)
from priors.protocols import ModelId, PointMaps

__all__ = ["DA3_METRIC", "DepthAnything3"]

DA3_METRIC = ModelId("depth-anything/DA3METRIC-LARGE")
WEIGHTS = "model.safetensors"
LONGEST, PATCH = 504, 14
"""The image's long side, and what its sides are multiples of (published)."""
CANONICAL_FOCAL = 300.0
"""Pixels: the network's depth is that of a camera of this focal length, in meters."""
SKY = 0.3


class DepthAnything3(GeometryPrior):
    """`GeometryModel` of DA3METRIC-LARGE. It knows nothing of the camera: give intrinsics, or the
    settings' field of view is taken."""

    default_id = DA3_METRIC

    @cached_property
    def network(self) -> Any:
        package = "depth_estimation.models.depth_anything_v3"
        configuration = require(f"{package}.configuration_depth_anything_v3", remedy=INSTALL)
        modeling = require(f"{package}.modeling_depth_anything_v3", remedy=INSTALL)
        safetensors = require("safetensors.torch")
        device, dtype = device_and_dtype(self.runtime, measures=True)
        with readable_errors("depth", self._model_id, loading=True):
            network = modeling._DepthAnythingV3Net(
                configuration.DepthAnythingV3Config(backbone="metric_large")
            )
            weights = {
                name.removeprefix("model."): value
                for name, value in safetensors.load_file(self._file(WEIGHTS)).items()
            }
            lacking = network.load_state_dict(weights, strict=False).missing_keys
        if lacking:
            raise UserError(
                f"depth: {self._model_id.name} lacks {len(lacking)} weights of Depth Anything 3's metric "
                f"model (such as {lacking[0]}). Download it again with `hf download {DA3_METRIC.name}`"
            )
        return network.to(device, dtype).eval()

    def _estimate(self, frames: ndarray, intrinsics: ndarray | None) -> PointMaps:
        height, width = frames.shape[1:3]
        scale = LONGEST / max(height, width)
        size = tuple(PATCH * max(1, round(side * scale / PATCH)) for side in (height, width))
        if intrinsics is None:
            camera = PinholeCamera.from_field_of_view(self.settings.field_of_view, width, height)
            intrinsics = intrinsics_from_focal(np.full(len(frames), camera.fx), height, width)
        depths, skies = [], []
        for pixels in self._batches(frames):
            output = self.network._forward_full(normalized(resized(pixels, *size)))
            for name, maps_of in (("depth", depths), ("sky", skies)):
                maps_of.append(
                    resized(output[name].reshape(-1, 1, *size).float(), height, width).cpu()
                )
        depth, sky = (np.concatenate([x.numpy()[:, 0] for x in maps]) for maps in (depths, skies))
        # Of the image as the network sees it; sides may be stretched a little, so the mean.
        stretch = math.sqrt(size[0] * size[1] / (height * width))
        focals = np.sqrt(intrinsics[:, 0, 0] * intrinsics[:, 1, 1]) * stretch
        metric = depth * (focals / CANONICAL_FOCAL)[:, None, None]
        return self._assemble(metric.astype(np.float32), sky < SKY, intrinsics)
