"""CogVideoX image to video (Yang et al., 2024): HOI-PAGE's video model, 49 frames at 8 a second."""

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

__all__ = ["COGVIDEOX_5B_I2V", "CogVideoX", "CogVideoXSettings"]

COGVIDEOX_5B_I2V = ModelId("THUDM/CogVideoX-5b-I2V")


@dataclass(frozen=True)
class CogVideoXSettings(SamplingSettings):
    """HOI-PAGE's: 50 steps, guidance 6."""

    dynamic_guidance: bool = True
    """Guidance that grows over the steps, as the authors sample the 5B models."""


SIDES_1_5 = (768, 1360)
COGVIDEOX_1_5 = Published(fps=16.0, max_frames=161, area=768 * 1360, guidance=6.0)
"""Told by its transformer's `patch_size_t`. Its `sample_height` of 300 is no size to generate at."""


class CogVideoX(DiffusionVideoModel):
    """`VideoModel` of CogVideoX; 5b-I2V makes exactly 49 frames of 720 x 480.

    CogVideoX 1.5 makes 16 frames a second, 16k + 1 up to 161, with a short side of 768 pixels.
    """

    def __init__(
        self,
        model_id: ModelId = COGVIDEOX_5B_I2V,
        settings: CogVideoXSettings | None = None,
        runtime: TorchSettings | None = None,
    ):
        super().__init__(model_id, settings or CogVideoXSettings(), runtime)

    def _load(self) -> Any:
        diffusers = require("diffusers", "transformers")
        _, dtype = device_and_dtype(self.runtime)
        pipeline = load_pretrained(
            diffusers.CogVideoXImageToVideoPipeline, self._model_id, stage=STAGE, dtype=dtype
        )
        pipeline.scheduler = diffusers.CogVideoXDPMScheduler.from_config(
            pipeline.scheduler.config, timestep_spacing="trailing"
        )
        return pipeline

    @property
    def published(self) -> Published:
        config = self.pipeline.transformer.config
        if config.patch_size_t is not None:
            return COGVIDEOX_1_5
        height, width = self._trained_size()
        return Published(
            fps=8.0, max_frames=config.sample_frames, area=height * width, guidance=6.0
        )

    def _trained_size(self) -> tuple[int, int]:
        """(height, width) in pixels of the first generation."""
        config, spatial = self.pipeline.transformer.config, self.pipeline.vae_scale_factor_spatial
        return config.sample_height * spatial, config.sample_width * spatial

    @property
    def prompt_window(self) -> int:
        return self.settings.prompt_tokens or self.pipeline.transformer.config.max_text_seq_length

    def _limits(self) -> Limits:
        transformer, published = self.pipeline.transformer.config, self.published
        multiple = self.pipeline.vae_scale_factor_spatial * transformer.patch_size
        if published is COGVIDEOX_1_5:
            most = published.max_frames
            return Limits(published.area, multiple, 16, most, sides=SIDES_1_5)
        fixed = (*self._trained_size(), transformer.sample_frames)
        return Limits(
            area=published.area,
            multiple=multiple,
            frame_step=self.pipeline.vae_scale_factor_temporal,
            max_frames=published.max_frames,
            fixed=fixed if transformer.use_learned_positional_embeddings else None,
        )

    def _arguments(self, prompt: str) -> dict[str, Any]:
        settings = self.settings
        assert isinstance(settings, CogVideoXSettings)
        return {
            "prompt": prompt,
            "negative_prompt": settings.negative_prompt,
            "use_dynamic_cfg": settings.dynamic_guidance,
            "max_sequence_length": self.prompt_window,
        }
