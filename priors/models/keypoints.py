"""2D keypoints of one person by ViTPose (Xu et al., 2022; Apache-2.0), in OpenPose-18 order."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hoijax.bodies.keypoints import openpose18_from_coco
from hoijax.errors import UserError
from priors.models.torch_runtime import (
    TorchSettings,
    device_and_dtype,
    load_pretrained,
    readable_errors,
    require,
)
from priors.protocols import ModelId

STAGE = "keypoints"
VITPOSE_HUGE = ModelId("usyd-community/vitpose-plus-huge")
COCO_DATASET = 0  # expert of the ViTPose+ models that was trained on COCO
COCO_KEYPOINTS = 17


@dataclass(frozen=True)
class ViTPoseSettings:
    """How much is read at once."""

    batch: int = 16
    """Frames that go through the network together."""


class ViTPose:
    """`KeypointModel` by ViTPose or ViTPose+; the network is loaded at the first call."""

    def __init__(
        self,
        model_id: ModelId = VITPOSE_HUGE,
        settings: ViTPoseSettings | None = None,
        runtime: TorchSettings | None = None,
    ):
        """model_id: hub id or directory, in transformers format, with its image processor."""
        self._model_id = model_id
        self.settings, self.runtime = settings or ViTPoseSettings(), runtime or TorchSettings()

    @property
    def model_id(self) -> ModelId:
        return self._model_id

    @cached_property
    def _processor(self) -> Any:
        transformers = require("transformers", "torch", "scipy")
        return load_pretrained(transformers.AutoImageProcessor, self._model_id, stage=STAGE)

    @cached_property
    def _network(self) -> Any:
        transformers = require("transformers", "torch")
        device, dtype = device_and_dtype(self.runtime, measures=True)
        network = load_pretrained(
            transformers.VitPoseForPoseEstimation, self._model_id, stage=STAGE, dtype=dtype
        )
        return network.to(device)

    def keypoints(
        self,
        frames: UInt8[ndarray, "T H W 3"],
        boxes: Float[ndarray, "T 4"],
        present: Bool[ndarray, " T"],
    ) -> Float[ndarray, "T 18 3"]:
        """OpenPose-18 (u, v, confidence) of the person in the boxes; zeros where absent."""
        found = np.zeros((len(frames), 18, 3), np.float32)
        chosen = np.flatnonzero(present)
        check_boxes(boxes, chosen)
        with readable_errors(STAGE, self._model_id, smaller="a smaller batch"):
            for start in range(0, len(chosen), self.settings.batch):
                rows = chosen[start : start + self.settings.batch]
                coco = self._coco(frames[rows], np.asarray(boxes, np.float32)[rows])
                found[rows] = openpose18_from_coco(coco)
        height, width = frames.shape[1:3]
        inside = ((found[..., :2] >= 0) & (found[..., :2] <= (width, height))).all(-1)
        found[..., 2] *= inside
        return found

    def _coco(self, frames: ndarray, boxes: ndarray) -> Float[ndarray, "B 17 3"]:
        torch = require("torch")
        corners = boxes[:, :2] - 0.5  # the processor counts from the center of the first pixel
        rows = np.concatenate([corners, boxes[:, 2:] - boxes[:, :2]], axis=-1)
        per_image = [[row.tolist()] for row in rows]
        pixels = self._processor(list(frames), boxes=per_image, return_tensors="pt")["pixel_values"]
        device, dtype = self._network.device, self._network.dtype
        has_experts = getattr(self._network.config.backbone_config, "num_experts", 1) > 1
        dataset = torch.full((len(rows),), COCO_DATASET, device=device)
        extra = {"dataset_index": dataset} if has_experts else {}
        with torch.inference_mode():
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
