"""LTX-2 image to video (Lightricks, 2026): image and sound at once, of which the image is kept."""

import inspect
from dataclasses import dataclass
from typing import Any

from priors.models.torch_runtime import TorchSettings, device_and_dtype, load_pretrained, require
from priors.models.video_models import (
    STAGE,
    DiffusionVideoModel,
    Limits,
    Published,
    SamplingSettings,
)
from priors.protocols import ModelId

__all__ = ["LTX_2", "Ltx2", "Ltx2Settings"]

LTX_2 = ModelId("Lightricks/LTX-2")
FPS = 24.0
PIXEL_MULTIPLE = 32


@dataclass(frozen=True)
class Ltx2Settings(SamplingSettings):
    """The pipeline's own steps and guidance."""

    seconds: float | None = 5.0
    area: int = 512 * 768
    max_frames: int = 481
    """20 seconds."""
    recompression: int | None = None
    """H.264 quality (CRF) at which the first image is compressed, as the training frames were; None
    takes the pipeline's, 0 none. Needs PyAV."""


class Ltx2(DiffusionVideoModel):
    """`VideoModel` of LTX-2: 8k + 1 frames, 24 a second, any shape of about `area` pixels."""

    def __init__(
        self,
        model_id: ModelId = LTX_2,
        settings: Ltx2Settings | None = None,
        runtime: TorchSettings | None = None,
    ):
        super().__init__(model_id, settings or Ltx2Settings(), runtime)

    def _load(self) -> Any:
        diffusers = require("diffusers", "transformers")
        _, dtype = device_and_dtype(self.runtime)
        pipeline = diffusers.LTX2ImageToVideoPipeline
        return load_pretrained(pipeline, self._model_id, stage=STAGE, dtype=dtype)

    def _standard(self, name: str) -> Any:
        return inspect.signature(type(self.pipeline).__call__).parameters[name].default

    @property
    def published(self) -> Published:
        settings = self.settings
        assert isinstance(settings, Ltx2Settings)
        return Published(
            FPS,
            settings.max_frames,
            settings.area,
            guidance=self._standard("guidance_scale"),
            steps=self._standard("num_inference_steps"),
        )

    @property
    def prompt_window(self) -> int:
        return self.settings.prompt_tokens or self._standard("max_sequence_length")

    def _limits(self) -> Limits:
        settings, pipeline = self.settings, self.pipeline
        assert isinstance(settings, Ltx2Settings)
        return Limits(
            area=settings.area,
            multiple=PIXEL_MULTIPLE,
            frame_step=pipeline.vae_temporal_compression_ratio,
            max_frames=settings.max_frames,
        )

    def _arguments(self, prompt: str) -> dict[str, Any]:
        assert isinstance(self.settings, Ltx2Settings)
        return {
            "image_crf": self.settings.recompression,
            "prompt": prompt,
            "negative_prompt": self.settings.negative_prompt,
            "frame_rate": FPS,
            "max_sequence_length": self.prompt_window,
        }
