"""MoGe and MoGe-2 (Wang et al., 2025): point maps up to a shift (and, first version, a scale).

The network comes from the PyPI package `depth-estimation` (MIT), which is optional. Its own
post-processing stops early and drops points and focal length, so only the network is used:
`priors.models.point_maps` solves for camera and shift.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy import ndarray

from hoijax.errors import UserError
from priors.models.depth import STAGE, GeometryPrior
from priors.models.point_maps import (
    intrinsics_from_focal,
    one_focal,
    solve_focal_shift,
    solve_shift,
)
from priors.models.torch_runtime import (
    device_and_dtype,
    readable_errors,
    require,
)
from priors.protocols import ModelId, PointMaps

__all__ = ["MOGE_2", "MoGe"]

MOGE_2 = ModelId("Ruicheng/moge-2-vitl")
INSTALL = "pip install --no-deps depth-estimation"
WEIGHTS = "model.pt"


class MoGe(GeometryPrior):
    """`GeometryModel` of MoGe-1 and MoGe-2 checkpoints (`model.pt`), metric with MoGe-2.

    model_id: a hub id, or a directory that holds model.pt. It is read with `weights_only=True`.
    """

    default_id = MOGE_2

    @cached_property
    def network(self) -> Any:
        torch = require("torch")
        moge = require("depth_estimation.models.moge.modeling_moge", remedy=INSTALL)
        device, _ = device_and_dtype(self.runtime)
        with readable_errors(STAGE, self._model_id, loading=True):
            checkpoint = torch.load(self._file(WEIGHTS), map_location="cpu", weights_only=True)
            config, weights = checkpoint["model_config"], checkpoint["model"]
            # The first version names its encoder, the second describes it.
            second = isinstance(config["encoder"], dict)
            network = (moge._MoGeModelV2 if second else moge._MoGeModelV1)(**config)
            lacking = network.load_state_dict(weights, strict=False).missing_keys
        if lacking:
            raise UserError(
                f"{STAGE}: {self._model_id.name} lacks {len(lacking)} weights of MoGe (such as "
                f"{lacking[0]}). Download it again with `hf download {MOGE_2.name}`"
            )
        return network.to(device).eval()

    def _estimate(self, frames: ndarray, intrinsics: ndarray | None) -> PointMaps:
        points, valid, scales = self._forward(frames)
        height, width = frames.shape[1:3]
        if intrinsics is None:
            pairs = zip(points, valid, strict=True)
            focals = np.array([solve_focal_shift(p, v)[0] for p, v in pairs])
            focal = one_focal(focals, height)
            intrinsics = intrinsics_from_focal(np.full(len(frames), focal), height, width)
        shifts = np.array(
            [solve_shift(p, v, k) for p, v, k in zip(points, valid, intrinsics, strict=True)]
        )
        depth = (points[..., 2] + shifts[:, None, None]) * scales[:, None, None]
        return self._assemble(depth.astype(np.float32), valid, intrinsics)

    def _forward(self, frames: ndarray) -> tuple[ndarray, ndarray, ndarray]:
        """(T, H, W, 3) affine points, (T, H, W) validity, (T,) metric scale of all frames."""
        torch = require("torch")
        device, dtype = device_and_dtype(self.runtime)
        half = dtype != torch.float32
        tokens = max(self.network.num_tokens_range)
        batches: list[tuple[ndarray, ndarray, ndarray]] = []
        for pixels in self._batches(frames):
            # As its authors run it: weights and outputs in float32, products in float16. bfloat16
            # has three bits less, and a wall at 3 m would stand in steps of centimeters.
            with torch.autocast(device.type, dtype=torch.float16, enabled=half):
                output = self.network(pixels, num_tokens=tokens)
            points = output["points"].float().cpu().numpy()
            mask, scale = output.get("mask"), output.get("metric_scale")
            valid = np.isfinite(points).all(-1)
            if mask is not None:
                valid &= mask.float().cpu().numpy() > 0.5
            batches.append(
                (
                    np.nan_to_num(points),
                    valid,
                    np.ones(len(points)) if scale is None else scale.float().cpu().numpy(),
                )
            )
        points, valid, scales = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        return points, valid, scales
