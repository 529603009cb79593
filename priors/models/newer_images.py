"""Text to images: FLUX.2 (Black Forest Labs, 2025), Qwen-Image (Alibaba, 2025), Z-Image (Tongyi, 2025)."""

from dataclasses import dataclass
from typing import Any

from priors.models.image_choice import prompt_text
from priors.models.image_model import DiffusionImageModel
from priors.models.torch_runtime import TorchSettings
from priors.protocols import ModelId

__all__ = ["Flux2", "ImageSettings", "QwenImage", "ZImage"]


@dataclass(frozen=True)
class ImageSettings:
    """Sampling; None takes what the checkpoint's authors advise."""

    steps: int | None = None
    guidance: float | None = None


class _NewerImage(DiffusionImageModel):
    def __init__(
        self,
        model_id: ModelId,
        settings: ImageSettings | None = None,
        runtime: TorchSettings | None = None,
    ):
        super().__init__(model_id, runtime)
        self.settings = settings or ImageSettings()

    def _sampling(self, steps: int, guidance: float) -> tuple[int, float]:
        """The settings', else the authors'."""
        settings = self.settings
        return (
            steps if settings.steps is None else settings.steps,
            guidance if settings.guidance is None else settings.guidance,
        )


class Flux2(_NewerImage):
    """`ImageModel` of FLUX.2: dev, or klein (4B, 9B), of which the distilled take four steps."""

    def _arguments(self) -> dict[str, Any]:
        is_distilled = bool(self.pipeline.config.get("is_distilled"))
        steps, guidance = self._sampling(*((4, 1.0) if is_distilled else (50, 4.0)))
        return {"num_inference_steps": steps, "guidance_scale": guidance}


class QwenImage(_NewerImage):
    """`ImageModel` of Qwen-Image; its guidance is classifier-free, and counts only beside a negative
    prompt."""

    pipeline_class = "QwenImagePipeline"

    def _arguments(self) -> dict[str, Any]:
        steps, guidance = self._sampling(50, 4.0)
        return {
            "num_inference_steps": steps,
            "true_cfg_scale": guidance,
            "negative_prompt": prompt_text("video_negative"),
        }


class ZImage(_NewerImage):
    """`ImageModel` of Z-Image: Turbo, which is distilled, or the base model, told apart by name (their
    configurations are alike)."""

    pipeline_class = "ZImagePipeline"

    def _arguments(self) -> dict[str, Any]:
        is_base = self.model_id.name.rstrip("/").endswith("Z-Image")
        steps, guidance = self._sampling(*((50, 4.0) if is_base else (9, 0.0)))
        arguments = {"num_inference_steps": steps, "guidance_scale": guidance}
        if guidance > 1:
            arguments["negative_prompt"] = prompt_text("video_negative")
        return arguments
