"""SAM 3 (Meta, 2025), in transformers: its tracker in SAM 2's place, and boxes of whatever a text names.

One checkpoint, `facebook/sam3`, holds both networks; each class reads its own half.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from priors.models.detection import TextDetector, best_boxes, clean_phrases
from priors.models.segmentation import Normalization, Sam2Segmenter, resized
from priors.models.torch_runtime import (
    TorchSettings,
    readable_errors,
    require,
)
from priors.protocols import Detection, ModelId

__all__ = ["SAM3", "Sam3Detector", "Sam3Segmenter"]

SAM3 = ModelId("facebook/sam3")
HALVES: Normalization = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
TEXT_TOKENS = 32
"""Of a phrase; its text encoder knows no more positions."""


class Sam3Segmenter(Sam2Segmenter):
    """`VideoSegmenter` by SAM 3's tracker, which is prompted as SAM 2 is."""

    network_class, session_class = "Sam3TrackerVideoModel", "Sam3TrackerVideoInferenceSession"
    normalization = HALVES

    def __init__(self, model_id: ModelId = SAM3, runtime: TorchSettings | None = None):
        super().__init__(model_id, runtime)


class Sam3Detector(TextDetector):
    """`Detector` by SAM 3's text prompts: every instance of a phrase.

    The image is encoded once for all phrases.
    """

    default_id = SAM3

    @cached_property
    def _network(self) -> Any:
        return self._loaded("Sam3Model")

    def detect(self, image: UInt8[ndarray, "H W 3"], phrases: Sequence[str]) -> list[Detection]:
        """All boxes over the threshold, best first; a box's score is the instance's times that the
        phrase is there at all. UserError for empty words."""
        torch = require("torch")
        phrases, network = clean_phrases(phrases), self._network
        height, width = image.shape[:2]
        side = network.config.vision_config.image_size
        shape = (side, side) if isinstance(side, int) else tuple(side)
        pixels = resized(image, shape, network.device, network.dtype, HALVES)
        scores, boxes_of = [], []
        with (
            readable_errors("detection", self._model_id, smaller="fewer phrases"),
            torch.inference_mode(),
        ):
            seen = network.get_vision_features(pixel_values=pixels[None])
            for phrase in phrases:
                tokens = self._tokenizer(
                    phrase,
                    padding="max_length",
                    max_length=TEXT_TOKENS,
                    truncation=True,
                    return_tensors="pt",
                ).to(network.device)
                output = network(
                    vision_embeds=seen,
                    input_ids=tokens.input_ids,
                    attention_mask=tokens.attention_mask,
                )
                score = torch.sigmoid(output.pred_logits[0].float())
                if output.presence_logits is not None:
                    score = score * torch.sigmoid(output.presence_logits[0].float())
                scores.append(score.cpu().numpy())
                boxes_of.append(output.pred_boxes[0].float().cpu().numpy())
        limit = np.array([width, height, width, height], np.float64)
        answer = []
        for number, (score, boxes) in enumerate(zip(scores, boxes_of, strict=True)):
            corners = np.clip(boxes.astype(np.float64), 0, 1) * limit
            of_phrase = best_boxes(score[None], corners, self.settings.score)
            answer += [Detection(number, one.box, one.score) for one in of_phrase]
        return sorted(answer, key=lambda detection: -detection.score)
