"""A vision language model on this machine as detector and judge: Qwen3-VL (Alibaba, 2025; Apache-2.0).

As in `priors.models.local_language_model`, answers can only be of the asked form. Images go through
the checkpoint's image processor alone: the whole processor also wants videos, and torchvision.
"""

import base64
import io
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from priors.models.chat_endpoint import Message
from priors.models.detection import VlmDetector, VlmSettings
from priors.models.language_model import LanguagePrior
from priors.models.local_language_model import STAGE, TransformersChat
from priors.models.torch_runtime import TorchSettings, load_pretrained, require
from priors.protocols import ModelId
from priors.settings import LanguageSettings
from priors.store import Store

__all__ = ["VisionChat", "local_detector", "local_judge"]

LONGEST = 1024
"""Pixels of the longer side of an image the detector is shown."""


class VisionChat(TransformersChat):
    """`Chat` of a model that sees images: a hub id, or a directory written by `save_pretrained`."""

    network_class = "AutoModelForImageTextToText"

    @cached_property
    def _pictures(self) -> Any:
        kind = require("transformers").AutoImageProcessor
        return load_pretrained(kind, self._model_id, stage=STAGE)

    def _inputs(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Tokens, with as many of the image's token as the network makes patches of it."""
        torch = require("torch")
        images = [_picture(part) for part in _parts(messages) if part["type"] == "image_url"]
        inputs = self._tokens(self._text([_as_template(message) for message in messages]))
        if not images:
            return inputs
        seen = self._pictures(images=images, return_tensors="pt").to(self.network.device)
        merged = self._pictures.merge_size**2
        counts = [int(grid.prod()) // merged for grid in seen["image_grid_thw"]]
        image = self.network.config.image_token_id
        ids = inputs["input_ids"][0]
        repeats = torch.ones_like(ids)
        repeats[ids == image] = torch.tensor(counts, device=ids.device)
        ids = torch.repeat_interleave(ids, repeats)[None]
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == image).int(),
            "pixel_values": seen["pixel_values"].to(self.network.dtype),
            "image_grid_thw": seen["image_grid_thw"],
        }


def _parts(messages: Sequence[Message]) -> list[dict[str, Any]]:
    contents = [message["content"] for message in messages]
    return [part for content in contents if not isinstance(content, str) for part in content]


def _picture(part: dict[str, Any]) -> Any:
    """The image of `priors.models.chat_endpoint.image_part`."""
    from PIL import Image

    encoded = part["image_url"]["url"].partition("base64,")[2]
    return Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")


def _as_template(message: Message) -> dict[str, Any]:
    """A message in the words of chat templates: texts, and places of images."""
    content = message["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    parts = [part if part["type"] == "text" else {"type": "image"} for part in content]
    return {"role": message["role"], "content": parts}


# ---- as the registry makes them


def local_judge(
    model_id: ModelId,
    settings: LanguageSettings,
    *,
    url: str | None = None,
    store: Store | None = None,
    runtime: TorchSettings | None = None,
) -> LanguagePrior:
    """The `PairwiseJudge` of images."""
    return LanguagePrior(VisionChat(model_id, settings, runtime), settings, store)


def local_detector(
    model_id: ModelId,
    settings: LanguageSettings,
    *,
    url: str | None = None,
    store: Store | None = None,
    runtime: TorchSettings | None = None,
) -> VlmDetector:
    """The `Detector`; Qwen3-VL writes thousandths of the image."""
    prior = local_judge(model_id, settings, store=store, runtime=runtime)
    return VlmDetector(prior.ask_about, model_id, VlmSettings(settings.coordinates, LONGEST))
