"""Wan image to video (Wan team, Alibaba, 2025): 2.1 (14B, CLIP image encoder) and 2.2 checkpoints."""

from dataclasses import dataclass
from typing import Any

from priors.models.torch_runtime import TorchSettings, device_and_dtype, load_pretrained, require
from priors.models.video_models import STAGE, DiffusionVideoModel, Limits, SamplingSettings
from priors.protocols import ModelId

__all__ = ["WAN_I2V_480P", "Wan", "WanSettings"]

WAN_I2V_480P = ModelId("Wan-AI/Wan2.1-I2V-14B-480P-Diffusers")


@dataclass(frozen=True)
class WanSettings(SamplingSettings):
    """The authors' for 480p: 50 steps, guidance 5."""

    guidance: float = 5.0
    seconds: float | None = 5.0
    area: int = 480 * 832
    """Pixels of a frame: 480 x 832, or 720 x 1280 with the 720P checkpoint."""
    most_frames: int = 81


class Wan(DiffusionVideoModel):
    """`VideoModel` of Wan: 4k + 1 frames up to 81, 16 a second, any shape of about `area` pixels."""

    fps = 16.0

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

    def _limits(self) -> Limits:
        settings, pipeline = self.settings, self.pipeline
        assert isinstance(settings, WanSettings)
        network = pipeline.transformer or pipeline.transformer_2
        return Limits(
            area=settings.area,
            multiple=pipeline.vae_scale_factor_spatial
            * max(network.config.patch_size[1:], default=2),
            frame_step=pipeline.vae_scale_factor_temporal,
            most_frames=settings.most_frames,
        )

    def _arguments(self, prompt: str) -> dict[str, Any]:
        return {
            "prompt": prompt,
            "negative_prompt": self.settings.negative_prompt,
            "max_sequence_length": self.settings.prompt_tokens or 512,
        }
