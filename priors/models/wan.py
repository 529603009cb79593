"""Wan image to video (Wan team, Alibaba, 2025): 2.1 (14B, CLIP image encoder) and 2.2 checkpoints."""

from dataclasses import dataclass, replace
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

__all__ = ["WAN_I2V_480P", "Wan", "WanSettings"]

WAN_I2V_480P = ModelId("Wan-AI/Wan2.1-I2V-14B-480P-Diffusers")


@dataclass(frozen=True)
class WanSettings(SamplingSettings):
    """The authors' for each checkpoint."""

    seconds: float | None = 5.0
    area: int | None = None
    """Pixels of a frame; None takes the checkpoint's."""
    max_frames: int | None = None


WAN_21 = Published(fps=16.0, max_frames=81, area=480 * 832, guidance=5.0)
WAN_21_720P = replace(WAN_21, area=720 * 1280)
"""Its configuration is that of 480P: only its name tells."""
WAN_22_A14B = Published(fps=16.0, max_frames=81, area=480 * 832, guidance=3.5, steps=40)
"""Two transformers, one for each range of noise: `boundary_ratio` is set."""
WAN_22_TI2V = Published(fps=24.0, max_frames=121, area=704 * 1280, guidance=5.0)
"""One transformer for text and image: `expand_timesteps` is set."""


class Wan(DiffusionVideoModel):
    """`VideoModel` of Wan: 4k + 1 frames, any shape of about `area` pixels; see `Published`."""

    def __init__(
        self,
        model_id: ModelId = WAN_I2V_480P,
        settings: WanSettings | None = None,
        runtime: TorchSettings | None = None,
    ):
        super().__init__(model_id, settings or WanSettings(), runtime)

    def _load(self) -> Any:
        diffusers = require("diffusers", "transformers", "ftfy")
        torch = require("torch")
        _, dtype = device_and_dtype(self.runtime)
        # The authors keep the autoencoder and the image encoder in float32: half precision bands.
        parts = {"default": dtype, "vae": torch.float32, "image_encoder": torch.float32}
        return load_pretrained(
            diffusers.WanImageToVideoPipeline, self._model_id, stage=STAGE, dtype=parts
        )

    @property
    def published(self) -> Published:
        config = self.pipeline.config
        if config.get("expand_timesteps"):
            return WAN_22_TI2V
        if config.get("boundary_ratio") is not None:
            return WAN_22_A14B
        return WAN_21_720P if "720p" in self._model_id.name.lower() else WAN_21

    @property
    def prompt_window(self) -> int:
        return self.settings.prompt_tokens or 512

    def _limits(self) -> Limits:
        settings, pipeline = self.settings, self.pipeline
        assert isinstance(settings, WanSettings)
        network = pipeline.transformer or pipeline.transformer_2
        return Limits(
            area=settings.area or self.published.area,
            multiple=pipeline.vae_scale_factor_spatial
            * max(network.config.patch_size[1:], default=2),
            frame_step=pipeline.vae_scale_factor_temporal,
            max_frames=settings.max_frames or self.published.max_frames,
        )

    def _arguments(self, prompt: str) -> dict[str, Any]:
        return {
            "prompt": prompt,
            "negative_prompt": self.settings.negative_prompt,
            "max_sequence_length": self.prompt_window,
        }
