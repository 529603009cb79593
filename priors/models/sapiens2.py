"""Sapiens2 (Meta, 2026), in transformers: keypoints of one person, and metric points of people.

Its image processor needs torchvision; what it does is done here with PyTorch alone: crops of
1.25 times the box, heatmaps refined below the pixel (DARK; Zhang et al., 2020), padded images.
"""

import math
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.errors import UserError
from priors.models.depth import GeometryPrior, resized
from priors.models.keypoints import PoseModel
from priors.models.point_maps import intrinsics_from_focal, one_focal, pixel_offsets
from priors.models.segmentation import IMAGENET
from priors.models.torch_runtime import (
    require,
)
from priors.protocols import ModelId, PointMaps

__all__ = ["SAPIENS2_POINTS", "SAPIENS2_POSE", "Sapiens2Points", "Sapiens2Pose"]

SAPIENS2_POSE = ModelId("facebook/sapiens2-pose-0.4b")
SAPIENS2_POINTS = ModelId("facebook/sapiens2-pointmap-0.4b")
KEYPOINTS = 308
COCO = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 62, 41, 9, 10, 11, 12, 13, 14])
"""COCO's 17 among them: the wrists are listed with the hands."""
PADDING = 1.25
BLUR = 11
LARGEST_STEP = 2.0
"""Cells of the heatmap; the refinement of a peak that is none would go anywhere."""


class Sapiens2Pose(PoseModel):
    """Sapiens2's 308 keypoints, of which OpenPose's 18 are kept."""

    default_id = SAPIENS2_POSE

    @cached_property
    def _network(self) -> Any:
        network = self._loaded("Sapiens2ForPoseEstimation")
        if network.config.num_labels != KEYPOINTS:
            raise UserError(
                f"keypoints: {self._model_id.name} finds {network.config.num_labels} keypoints, not "
                f"Sapiens2's {KEYPOINTS}. Use {SAPIENS2_POSE.name}"
            )
        return network

    def _coco(self, frames: ndarray, boxes: ndarray) -> Float[ndarray, "B 17 3"]:
        torch, network = require("torch"), self._network
        size = _height_width(network.config.image_size)
        middles, sizes = crop_windows(boxes, size)
        crops = [
            crop(torch.from_numpy(np.ascontiguousarray(f)).to(network.device), m, s, size)
            for f, m, s in zip(frames, middles, sizes, strict=True)
        ]
        output = network(pixel_values=torch.stack(crops).to(network.dtype))
        peaks = refined_peaks(output.heatmaps[:, COCO.tolist()].float()).cpu().numpy()
        cells = np.array(output.heatmaps.shape[:1:-1]) - 1
        places = peaks[..., :2] / cells * sizes[:, None] + middles[:, None] - sizes[:, None] / 2
        return np.concatenate([places + 0.5, peaks[..., 2:]], -1)


def crop_windows(
    boxes: Float[ndarray, "B 4"], size: tuple[int, int]
) -> tuple[Float[ndarray, "B 2"], Float[ndarray, "B 2"]]:
    """Middle and (width, height) of the crops, counted from the center of the first pixel, in the
    network's aspect."""
    sides = PADDING * (boxes[:, 2:] - boxes[:, :2])
    width = np.maximum(sides[:, 0], sides[:, 1] * size[1] / size[0])
    middles = 0.5 * (boxes[:, :2] + boxes[:, 2:]) - 0.5
    return middles, np.stack([width, width * size[0] / size[1]], -1)


def crop(image: Any, middle: ndarray, window: ndarray, size: tuple[int, int]) -> Any:
    """(3, h, w) of a window of an (H, W, 3) image, black outside, normalized."""
    torch = require("torch")
    height, width = image.shape[:2]
    axes = [
        middle[i] + window[i] * (torch.linspace(0, 1, size[1 - i], dtype=torch.float64) - 0.5)
        for i in (0, 1)
    ]
    u, v = (2 * axis / (count - 1) - 1 for axis, count in zip(axes, (width, height), strict=True))
    grid = torch.stack(torch.meshgrid(u, v, indexing="xy"), -1)[None].float().to(image.device)
    grows = min(size[1] / window[0], size[0] / window[1]) >= 1
    batch = image.permute(2, 0, 1)[None].float()
    taken = torch.nn.functional.grid_sample(
        batch, grid, mode="bicubic" if grows else "bilinear", align_corners=True
    )[0]
    return normalized(taken / 255)


def normalized(pixels: Any) -> Any:
    """(..., 3, h, w) pixels in [0, 1] less ImageNet's mean over its spread."""
    torch = require("torch")
    mean, spread = (torch.tensor(x, device=pixels.device)[:, None, None] for x in IMAGENET)
    return (pixels - mean) / spread


def refined_peaks(heatmaps: Any) -> Any:
    """(B, K, 3): column and row of every heatmap's peak, below the cell, and its height.

    A Newton step on the logarithm of the blurred heatmap, which is a parabola where the heatmap is
    a Gaussian.
    """
    torch = require("torch")
    people, count, rows, columns = heatmaps.shape
    flat = heatmaps.reshape(people * count, -1)
    height, index = flat.max(-1)
    row, column = index // columns, index % columns
    log = blurred(heatmaps.reshape(people * count, 1, rows, columns))[:, 0].clamp(1e-3, 50).log()
    log = torch.nn.functional.pad(log[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    here = torch.arange(len(flat), device=flat.device)

    def at(down: int, right: int) -> Any:
        return log[here, row + 1 + down, column + 1 + right]

    middle = at(0, 0)
    dx, dy = (at(0, 1) - at(0, -1)) / 2, (at(1, 0) - at(-1, 0)) / 2
    xx, yy = at(0, 1) - 2 * middle + at(0, -1), at(1, 0) - 2 * middle + at(-1, 0)
    xy = (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1)) / 4
    determinant = xx * yy - xy * xy
    is_peak = (xx < 0) & (determinant > 0)
    below = torch.where(is_peak, determinant, torch.ones_like(determinant))
    steps = torch.stack([yy * dx - xy * dy, xx * dy - xy * dx], -1) / below[:, None]
    steps = torch.where(is_peak[:, None], steps, torch.zeros_like(steps))
    places = torch.stack([column, row], -1) - steps.clamp(-LARGEST_STEP, LARGEST_STEP)
    return torch.cat([places, height[:, None]], -1).reshape(people, count, 3)


def blurred(heatmaps: Any) -> Any:
    """(N, 1, h, w) under OpenCV's Gaussian of BLUR cells."""
    torch = require("torch")
    spread = 0.3 * ((BLUR - 1) * 0.5 - 1) + 0.8
    offsets = torch.arange(BLUR, device=heatmaps.device) - BLUR // 2
    line = torch.exp(-0.5 * (offsets / spread) ** 2)
    line = line / line.sum()
    kernel = (line[:, None] * line[None])[None, None]
    return torch.nn.functional.conv2d(heatmaps, kernel.to(heatmaps.dtype), padding=BLUR // 2)


class Sapiens2Points(GeometryPrior):
    """`GeometryModel` by Sapiens2: metric points, of people above all, and the camera they lie on."""

    default_id = SAPIENS2_POINTS

    @cached_property
    def network(self) -> Any:
        return self._loaded("Sapiens2ForPointmapEstimation")

    def _estimate(self, frames: ndarray, intrinsics: ndarray | None) -> PointMaps:
        torch, network = require("torch"), self.network
        rows, columns = _height_width(network.config.image_size)
        height, width = frames.shape[1:3]
        scale = min(rows / height, columns / width)
        fitted = max(1, math.floor(height * scale)), max(1, math.floor(width * scale))
        top, left = (rows - fitted[0]) // 2, (columns - fitted[1]) // 2
        window = np.s_[:, :, top : top + fitted[0], left : left + fitted[1]]
        maps = []
        for pixels in self._batches(frames):
            padded = torch.zeros((len(pixels), 3, rows, columns), device=pixels.device)
            padded[window] = resized(pixels, *fitted)
            output = network(pixel_values=normalized(padded).to(network.dtype))
            points = output.pointmaps.float()
            if output.scales is not None:  # canonical, as of one focal length, to meters
                points = points / output.scales.float()[:, :, None, None]
            maps.append(resized(points[window], height, width).cpu().numpy())
        points = np.concatenate(maps).transpose(0, 2, 3, 1)
        valid = np.isfinite(points).all(-1) & (points[..., 2] > 1e-3)
        if intrinsics is None:
            focals = [focal_of(p, v) for p, v in zip(points, valid, strict=True)]
            focal = one_focal(np.array(focals), height)
            intrinsics = intrinsics_from_focal(np.full(len(frames), focal), height, width)
        return self._assemble(points[..., 2], valid, intrinsics)


def focal_of(points: Float[ndarray, "H W 3"], valid: Bool[ndarray, "H W"]) -> float:
    """Focal length in pixels that projects points onto their own pixels, by least squares; nan
    where there are none."""
    rays = points[valid][:, :2].astype(np.float64) / points[valid][:, 2:]
    squares = float((rays**2).sum())
    if squares < 1e-9:
        return float("nan")
    focal = float((rays * pixel_offsets(*valid.shape)[valid]).sum()) / squares
    return focal if focal > 0 else float("nan")


def _height_width(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
