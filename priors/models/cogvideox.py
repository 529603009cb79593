"""CogVideoX image to video (Yang et al., 2024): HOI-PAGE's video model, 49 frames at 8 a second."""

from dataclasses import dataclass
from typing import Any

from priors.models.torch_runtime import TorchSettings, device_and_dtype, load_pretrained, require
from priors.models.video_models import STAGE, DiffusionVideoModel, Limits, SamplingSettings
from priors.protocols import ModelId

__all__ = ["COGVIDEOX_5B_I2V", "CogVideoX", "CogVideoXSettings"]

COGVIDEOX_5B_I2V = ModelId("THUDM/CogVideoX-5b-I2V")


@dataclass(frozen=True)
class CogVideoXSettings(SamplingSettings):
    """HOI-PAGE's: 50 steps, guidance 6."""

    dynamic_guidance: bool = True
    """Guidance that grows over the steps, as the authors sample the 5B models."""


class CogVideoX(DiffusionVideoModel):
    """`VideoModel` of CogVideoX; 5b-I2V makes exactly 49 frames of 720 x 480."""

    fps = 8.0

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

    def _limits(self) -> Limits:
        transformer = self.pipeline.transformer.config
        spatial = self.pipeline.vae_scale_factor_spatial
        height, width = transformer.sample_height * spatial, transformer.sample_width * spatial
        fixed = (height, width, transformer.sample_frames)
        return Limits(
            area=height * width,
            multiple=spatial * transformer.patch_size,
            frame_step=self.pipeline.vae_scale_factor_temporal,
            most_frames=transformer.sample_frames,
            fixed=fixed if transformer.use_learned_positional_embeddings else None,
        )

    def _arguments(self, prompt: str) -> dict[str, Any]:
        settings = self.settings
        assert isinstance(settings, CogVideoXSettings)
        tokens = settings.prompt_tokens or self.pipeline.transformer.config.max_text_seq_length
        return {
            "prompt": prompt,
            "negative_prompt": settings.negative_prompt,
            "use_dynamic_cfg": settings.dynamic_guidance,
            "max_sequence_length": tokens,
        }
