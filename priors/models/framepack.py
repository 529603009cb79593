"""FramePack image to video (Zhang and Agrawala, 2025) on HunyuanVideo: AnchorHOI's video model."""

import inspect
from dataclasses import dataclass
from typing import Any

from hoijax.errors import UserError
from priors.models.torch_runtime import (
    TorchSettings,
    device_and_dtype,
    load_pretrained,
    local_directory,
    require,
)
from priors.models.video_models import (
    STAGE,
    DiffusionVideoModel,
    Limits,
    Published,
    SamplingSettings,
)
from priors.protocols import ModelId

__all__ = ["FRAMEPACK_I2V", "FramePack", "FramePackSettings"]

FRAMEPACK_I2V = ModelId("lllyasviel/FramePackI2V_HY")
HUNYUAN_VIDEO = ModelId("hunyuanvideo-community/HunyuanVideo")
IMAGE_ENCODER = ModelId("lllyasviel/flux_redux_bfl")


@dataclass(frozen=True)
class FramePackSettings(SamplingSettings):
    """Sampling as the authors advise: 30 steps, distilled guidance 9."""

    seconds: float | None = 5.0
    """AnchorHOI's; at 30 frames a second the usual 49 frames would show a second and a half."""
    area: int = 640 * 640
    max_frames: int = 1800
    """One minute; the model works section by section in constant memory."""
    latent_window: int = 9
    true_guidance: float = 1.0
    """Classifier-free guidance on top of the distilled one; each step then takes twice as long. The
    negative prompt counts only where this is above 1, and is not sent otherwise."""
    forward_only: bool = False
    """True for the F1 checkpoints, which never look at later frames."""
    prompt_template: tuple[str, int] | None = None
    """Text around the prompt, with {}, and the number of tokens before the prompt that are dropped;
    None takes HunyuanVideo's. With a tokenizer that is not Llama's the standard one would push the
    prompt out of the window: two prompts then give one clip."""


class FramePack(DiffusionVideoModel):
    """`VideoModel` of FramePack, 30 frames a second.

    model_id: a whole pipeline's directory, or (as on the hub) the transformer alone; the text
    encoders and the autoencoder then come from `base` and the image encoder from `image_encoder`.
    """

    def __init__(
        self,
        model_id: ModelId = FRAMEPACK_I2V,
        settings: FramePackSettings | None = None,
        runtime: TorchSettings | None = None,
        *,
        base: ModelId = HUNYUAN_VIDEO,
        image_encoder: ModelId = IMAGE_ENCODER,
    ):
        super().__init__(model_id, settings or FramePackSettings(), runtime)
        self.base, self.image_encoder = base, image_encoder

    def _load(self) -> Any:
        pipeline = self._load_parts()
        # SigLIP's pooling head reads the weights of its attention from outside of the module, so they
        # are not there when networks are moved layer by layer. The encoder is small: it stays.
        pipeline._exclude_from_cpu_offload = ["image_encoder"]
        return pipeline

    def _load_parts(self) -> Any:
        diffusers, transformers = require("diffusers", "transformers"), require("transformers")
        _, dtype = device_and_dtype(self.runtime)
        pipeline = diffusers.HunyuanVideoFramepackPipeline
        directory = local_directory(self._model_id)
        if directory is not None and (directory / "model_index.json").is_file():
            return load_pretrained(pipeline, self._model_id, stage=STAGE, dtype=dtype)
        parts = {
            "transformer": load_pretrained(
                diffusers.HunyuanVideoFramepackTransformer3DModel,
                self._model_id,
                stage=STAGE,
                dtype=dtype,
            ),
            "image_encoder": load_pretrained(
                transformers.SiglipVisionModel,
                self.image_encoder,
                stage=STAGE,
                subfolder="image_encoder",
                dtype=dtype,
            ),
            "feature_extractor": load_pretrained(
                transformers.SiglipImageProcessor,
                self.image_encoder,
                stage=STAGE,
                subfolder="feature_extractor",
            ),
        }
        return load_pretrained(pipeline, self.base, stage=STAGE, dtype=dtype, **parts)

    @property
    def published(self) -> Published:
        settings = self.settings
        assert isinstance(settings, FramePackSettings)
        return Published(30.0, settings.max_frames, settings.area, guidance=9.0, steps=30)

    @property
    def prompt_window(self) -> int:
        standard = inspect.signature(type(self.pipeline).__call__).parameters
        return self.settings.prompt_tokens or standard["max_sequence_length"].default

    def _limits(self) -> Limits:
        settings, pipeline = self.settings, self.pipeline
        assert isinstance(settings, FramePackSettings)
        return Limits(
            area=settings.area,
            multiple=pipeline.vae_scale_factor_spatial * pipeline.transformer.config.patch_size,
            frame_step=pipeline.vae_scale_factor_temporal,
            max_frames=settings.max_frames,
        )

    def _arguments(self, prompt: str) -> dict[str, Any]:
        settings = self.settings
        assert isinstance(settings, FramePackSettings)
        arguments = {
            "prompt": prompt,
            "latent_window_size": settings.latent_window,
            "sampling_type": "vanilla" if settings.forward_only else "inverted_anti_drifting",
        }
        if settings.true_guidance > 1:
            arguments["negative_prompt"] = settings.negative_prompt
            arguments["true_cfg_scale"] = settings.true_guidance
        if settings.prompt_tokens is not None:
            arguments["max_sequence_length"] = settings.prompt_tokens
        if settings.prompt_template is not None:
            template, crop = settings.prompt_template
            arguments["prompt_template"] = {"template": template, "crop_start": crop}
        self._check_template(arguments)
        return arguments

    def _check_template(self, arguments: dict[str, Any]) -> None:
        """UserError where the text around the prompt fills the whole window by itself."""
        standard = inspect.signature(type(self.pipeline).__call__).parameters
        template = arguments.get("prompt_template", standard["prompt_template"].default)
        window = arguments.get("max_sequence_length", standard["max_sequence_length"].default)
        before = template["template"].partition("{}")[0]
        tokens = len(self.pipeline.tokenizer(before).input_ids)
        if tokens >= template["crop_start"] + window:
            raise UserError(
                f"{STAGE}: the tokenizer of {self._model_id.name} makes {tokens} tokens of the text "
                f"before the prompt and only {template['crop_start'] + window} are read, so no "
                "prompt would reach the model. Set prompt_template to a shorter text"
            )
