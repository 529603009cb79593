"""Text to images, through diffusers: what the families share, and FLUX.1 (Black Forest Labs, 2024)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hoijax.errors import UserError
from priors.models.torch_runtime import (
    TorchSettings,
    device_and_dtype,
    load_pretrained,
    place_pipeline,
    readable_errors,
    require,
    seeded,
    to_uint8,
)
from priors.protocols import ModelId

__all__ = ["FLUX_DEV", "DiffusionImageModel", "FluxImageModel", "FluxSettings"]

STAGE = "image"
PIXEL_MULTIPLE = 16  # latents are 8 times smaller and taken in 2 x 2 patches
FLUX_DEV = ModelId("black-forest-labs/FLUX.1-dev")


@dataclass(frozen=True)
class FluxSettings:
    """Sampling; the defaults are HOI-PAGE's for FLUX.1-dev."""

    steps: int = 50
    guidance: float = 3.5
    """Ignored by FLUX.1-schnell, which is distilled for 1 to 4 steps."""
    prompt_tokens: int = 512
    """Longest prompt in T5 tokens; FLUX.1-schnell was trained with 256."""

    @classmethod
    def schnell(cls) -> "FluxSettings":
        """For FLUX.1-schnell: four steps, no guidance."""
        return cls(steps=4, guidance=0.0, prompt_tokens=256)


class DiffusionImageModel(ABC):
    """`ImageModel` around a diffusers pipeline: a hub id, or a directory written by `save_pretrained`.

    Loaded at the first call. One seed gives one image whatever other seeds are asked with it.
    """

    pipeline_class = "DiffusionPipeline"
    """Of diffusers; this one takes the class that the checkpoint names."""

    def __init__(self, model_id: ModelId, runtime: TorchSettings | None = None):
        self._model_id, self.runtime = model_id, runtime or TorchSettings()

    @property
    def model_id(self) -> ModelId:
        return self._model_id

    @cached_property
    def pipeline(self) -> Any:
        kind = getattr(require("diffusers", "transformers"), self.pipeline_class)
        _, dtype = device_and_dtype(self.runtime)
        loaded = load_pretrained(kind, self._model_id, stage=STAGE, dtype=dtype)
        with readable_errors(STAGE, self._model_id):
            return place_pipeline(loaded, self.runtime)

    @abstractmethod
    def _arguments(self) -> dict[str, Any]:
        """Steps, guidance and whatever else is the family's own."""

    def generate(
        self, prompt: str, *, height: int, width: int, seeds: Sequence[int]
    ) -> UInt8[ndarray, "N H W 3"]:
        """One image a seed. UserError for an empty prompt and sides that are no multiple of 16."""
        if not prompt.strip():
            raise UserError(f"{STAGE}: the prompt is empty")
        if height < PIXEL_MULTIPLE or width < PIXEL_MULTIPLE or (height | width) % PIXEL_MULTIPLE:
            raise UserError(
                f"{STAGE}: {width} x {height} pixels were asked for; {self._model_id.name} draws sides "
                f"that are multiples of {PIXEL_MULTIPLE}, such as 720 x 480"
            )
        pipeline, images = self.pipeline, []
        with readable_errors(STAGE, self._model_id, smaller="a smaller image"):
            for seed in seeds:
                with seeded(int(seed)) as generator:
                    drawn = pipeline(
                        prompt=prompt,
                        height=height,
                        width=width,
                        generator=generator,
                        output_type="np",
                        **self._arguments(),
                    ).images
                images.append(to_uint8(drawn)[0])
        return np.stack(images) if images else np.zeros((0, height, width, 3), np.uint8)


class FluxImageModel(DiffusionImageModel):
    """`ImageModel` of a FLUX.1 checkpoint."""

    pipeline_class = "FluxPipeline"

    def __init__(
        self,
        model_id: ModelId = FLUX_DEV,
        settings: FluxSettings | None = None,
        runtime: TorchSettings | None = None,
    ):
        super().__init__(model_id, runtime)
        self.settings = settings or FluxSettings()

    def _arguments(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "num_inference_steps": settings.steps,
            "guidance_scale": settings.guidance,
            "max_sequence_length": settings.prompt_tokens,
        }
