"""2D keypoints of one person by ViTPose (Xu et al., 2022; Apache-2.0), in OpenPose-18 order."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hoijax.bodies.keypoints import openpose18_from_coco
from hoijax.errors import UserError
from priors.models.frozen import FrozenModel
from priors.models.torch_runtime import readable_errors, require
from priors.protocols import ModelId

STAGE = "keypoints"
VITPOSE_HUGE = ModelId("usyd-community/vitpose-plus-huge")
COCO_DATASET = 0  # expert of the ViTPose+ models that was trained on COCO
COCO_KEYPOINTS = 17


@dataclass(frozen=True)
class PoseSettings:
    """How much is read at once."""

    batch: int = 16
    """Frames that go through the network together."""


class PoseModel(FrozenModel[PoseSettings], ABC):
    """`KeypointModel` of a network that finds COCO's 17 points in boxes."""

    stage, default_settings = STAGE, PoseSettings()

    @abstractmethod
    def _coco(
        self, frames: UInt8[ndarray, "B H W 3"], boxes: Float[ndarray, "B 4"]
    ) -> Float[ndarray, "B 17 3"]:
        """Pixels and confidence, in inference mode."""

    def keypoints(
        self,
        frames: UInt8[ndarray, "T H W 3"],
        boxes: Float[ndarray, "T 4"],
        present: Bool[ndarray, " T"],
    ) -> Float[ndarray, "T 18 3"]:
        """OpenPose-18 (u, v, confidence) of the person in the boxes; zeros where absent."""
        torch = require("torch")
        points = np.zeros((len(frames), 18, 3), np.float32)
        chosen, boxes = np.flatnonzero(present), np.asarray(boxes, np.float64)
        check_boxes(boxes, chosen)
        with (
            readable_errors(STAGE, self._model_id, smaller="a smaller batch"),
            torch.inference_mode(),
        ):
            for start in range(0, len(chosen), self.settings.batch):
                rows = chosen[start : start + self.settings.batch]
                points[rows] = openpose18_from_coco(self._coco(frames[rows], boxes[rows]))
        height, width = frames.shape[1:3]
        inside = ((points[..., :2] >= 0) & (points[..., :2] <= (width, height))).all(-1)
        points[..., 2] *= inside
        return points


class ViTPose(PoseModel):
    """ViTPose or ViTPose+, with its image processor."""

    default_id = VITPOSE_HUGE

    @cached_property
    def _processor(self) -> Any:
        return self._part("AutoImageProcessor", "scipy")

    @cached_property
    def _network(self) -> Any:
        return self._loaded("VitPoseForPoseEstimation")

    def _coco(self, frames: ndarray, boxes: ndarray) -> Float[ndarray, "B 17 3"]:
        torch, boxes = require("torch"), boxes.astype(np.float32)
        corners = boxes[:, :2] - 0.5  # the processor counts from the center of the first pixel
        rows = np.concatenate([corners, boxes[:, 2:] - boxes[:, :2]], axis=-1)
        per_image = [[row.tolist()] for row in rows]
        pixels = self._processor(list(frames), boxes=per_image, return_tensors="pt")["pixel_values"]
        device, dtype = self._network.device, self._network.dtype
        has_experts = getattr(self._network.config.backbone_config, "num_experts", 1) > 1
        dataset = torch.full((len(rows),), COCO_DATASET, device=device)
        extra = {"dataset_index": dataset} if has_experts else {}
        output = self._network(pixels.to(device, dtype), **extra)
        output.heatmaps = output.heatmaps.float()
        results = self._processor.post_process_pose_estimation(output, boxes=per_image)
        points = [
            np.concatenate([r[0]["keypoints"], r[0]["scores"].reshape(-1, 1)], -1) for r in results
        ]
        coco = np.stack(points)
        if coco.shape[1] != COCO_KEYPOINTS:
            raise UserError(
                f"{STAGE}: {self._model_id.name} finds {coco.shape[1]} keypoints, not COCO's "
                f"{COCO_KEYPOINTS}. Use a ViTPose model trained on COCO, such as {VITPOSE_HUGE.name}"
            )
        return coco + np.array([0.5, 0.5, 0.0])


def check_boxes(boxes: ndarray, chosen: ndarray) -> None:
    boxes = np.asarray(boxes)[chosen]
    bad = ~np.isfinite(boxes).all(-1) | (boxes[:, 2:] - boxes[:, :2] < 1).any(-1)
    if bad.any():
        raise UserError(
            f"{STAGE}: the person's box in frame {chosen[bad.argmax()]} has no area. Mark the person "
            "as absent there, or run the masks stage again"
        )
