"""HunyuanVideo 1.5 image to video (Tencent, 2025): 8.3B parameters, checkpoints for 480p and 720p."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from priors.models.torch_runtime import TorchSettings, device_and_dtype, load_pretrained, require
from priors.models.video_models import (
    STAGE,
    DiffusionVideoModel,
    Limits,
    Published,
    SamplingSettings,
)
from priors.protocols import ModelId

__all__ = ["HUNYUAN_15_480P", "HunyuanVideo15", "HunyuanVideo15Settings"]

HUNYUAN_15_480P = ModelId("hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_i2v")


@dataclass(frozen=True)
class HunyuanVideo15Settings(SamplingSettings):
    """The checkpoint's: its guidance is a part of it (6; 1 of those distilled)."""

    seconds: float | None = 5.0
    max_frames: int = 121


class HunyuanVideo15(DiffusionVideoModel):
    """`VideoModel` of HunyuanVideo 1.5: 4k + 1 frames, 24 a second, of the size that the pipeline takes
    for the image's aspect. It reports no steps."""

    def __init__(
        self,
        model_id: ModelId = HUNYUAN_15_480P,
        settings: HunyuanVideo15Settings | None = None,
        runtime: TorchSettings | None = None,
    ):
        super().__init__(model_id, settings or HunyuanVideo15Settings(), runtime)

    def _load(self) -> Any:
        diffusers = require("diffusers", "transformers")
        _, dtype = device_and_dtype(self.runtime)
        pipeline = diffusers.HunyuanVideo15ImageToVideoPipeline
        loaded = load_pretrained(pipeline, self._model_id, stage=STAGE, dtype=dtype)
        # SigLIP's pooling head reads weights from outside of their module: see priors.models.framepack.
        loaded._exclude_from_cpu_offload = ["image_encoder"]
        return loaded

    @property
    def published(self) -> Published:
        settings, pipeline = self.settings, self.pipeline
        assert isinstance(settings, HunyuanVideo15Settings)
        side = int(pipeline.target_size)
        guidance = float(pipeline.guider.config.guidance_scale)
        return Published(24.0, settings.max_frames, area=side * side, guidance=guidance)

    @property
    def prompt_window(self) -> int:
        return self.settings.prompt_tokens or self.pipeline.tokenizer_max_length

    def _limits(self) -> Limits:
        published, pipeline = self.published, self.pipeline
        return Limits(
            area=published.area,
            multiple=pipeline.vae_scale_factor_spatial,
            frame_step=pipeline.vae_scale_factor_temporal,
            max_frames=published.max_frames,
        )

    def _frame_size(self, image: UInt8[ndarray, "H W 3"]) -> tuple[int, int]:
        pipeline = self.pipeline
        height, width = pipeline.video_processor.calculate_default_height_width(
            height=image.shape[0], width=image.shape[1], target_size=pipeline.target_size
        )
        return int(height), int(width)

    def _call(self, sampling: dict[str, Any], step_end: Callable, **arguments: Any) -> Any:
        # The pipeline takes its size from the image and its guidance from a component.
        pipeline = self.pipeline
        if sampling["guidance"] != pipeline.guider.config.guidance_scale:
            pipeline.guider = pipeline.guider.new(guidance_scale=sampling["guidance"])
        del arguments["height"], arguments["width"]
        return pipeline(num_inference_steps=sampling["steps"], **arguments)

    def _arguments(self, prompt: str) -> dict[str, Any]:
        return {"prompt": prompt, "negative_prompt": self.settings.negative_prompt}
