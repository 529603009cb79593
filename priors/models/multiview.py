"""Score distillation from a multi-view diffusion model: MVDream (Shi et al., ICLR 2024).

MVDream is Stable Diffusion 2.1 with two changes: each view knows its camera, and self-attention
looks at all views of an object at once. Both are expressible with diffusers' own UNet: the camera is
a projected class embedding, the attention a processor. `priors.models.mvdream_checkpoint` converts the
authors' file.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.composition.fields.guidance import ViewCameras
from hoijax.errors import UserError
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP
from priors.models.distillation import STAGE, DiffusionGuidance, DistillationSettings
from priors.models.text_embeddings import EmbeddingCache
from priors.models.torch_runtime import TorchSettings, load_pretrained, require
from priors.protocols import ModelId

__all__ = ["MVDREAM_SETTINGS", "MVDreamGuidance", "camera_conditions"]

MVDREAM_SETTINGS = DistillationSettings(
    guidance=50.0,
    weight="clean",
    rescale=0.5,
    view_prompts=False,  # the cameras say it
    negative_prompt="ugly, blurry, low quality, duplicated, several heads, several bodies",
)
BLENDER_FROM_OPENCV = np.diag([1.0, -1.0, -1.0])  # camera axes: y up, looking along -z


def camera_conditions(cameras: ViewCameras) -> Float[ndarray, "N 16"]:
    """Flattened camera-to-world matrices as MVDream was trained with them.

    Blender's world (z up) and camera axes, the subject at the origin, cameras on the unit sphere.
    UserError for a camera at the subject's center.
    """
    poses = np.array(cameras.Ts_world_camera, np.float64)
    offsets = poses[:, :3, 3] - np.asarray(cameras.center)
    distance = np.linalg.norm(offsets, axis=-1, keepdims=True)
    if not (distance > 1e-6).all():
        raise UserError(f"{STAGE}: a camera lies at the center of the subject, {cameras.center}")
    poses[:, :3, :3] = Z_UP_FROM_Y_UP @ poses[:, :3, :3] @ BLENDER_FROM_OPENCV
    poses[:, :3, 3] = offsets / distance @ Z_UP_FROM_Y_UP.T
    return poses.reshape(-1, 16).astype(np.float32)


class CrossViewAttention:
    """Attention processor that lets each token see the tokens of all views of its object."""

    def __init__(self, views: int):
        attention = require("diffusers.models.attention_processor")
        self.views, self.inner = views, attention.AttnProcessor2_0()

    def __call__(self, attn: Any, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """hidden_states: (objects * views, tokens, channels)."""
        batch, tokens, channels = hidden_states.shape
        together = hidden_states.reshape(batch // self.views, self.views * tokens, channels)
        return self.inner(attn, together, *args, **kwargs).reshape(batch, tokens, channels)


def attend_across_views(unet: Any, views: int) -> Any:
    """Replace the processors of all self-attentions (attn1) of a UNet."""
    processors = dict(unet.attn_processors)
    for name in processors:
        if ".attn1." in name:
            processors[name] = CrossViewAttention(views)
    unet.set_attn_processor(processors)
    return unet


class MVDreamGuidance(DiffusionGuidance):
    """`Guidance` over groups of `views` images of one subject, in the latents of an autoencoder.

    model_id: a directory as `convert_mvdream` writes it (unet, vae, text_encoder, tokenizer,
    scheduler). Images of one group follow each other; MVDream was trained with cameras 90 degrees
    apart at one elevation.
    """

    def __init__(
        self,
        model_id: ModelId,
        settings: DistillationSettings = MVDREAM_SETTINGS,
        runtime: TorchSettings | None = None,
        *,
        views: int = 4,
    ):
        super().__init__(model_id, settings, runtime)
        self.group = views
        self.embeddings = EmbeddingCache(self._encode, model_id)
        self._parts: dict[str, Any] = {}

    @property
    def unet(self) -> Any:  # type: ignore[override]
        """The UNet with attention across views."""
        if "unet" not in self._parts:
            unet = self._load(require("diffusers").UNet2DConditionModel, "unet")
            if unet.config.class_embed_type != "projection":
                raise UserError(
                    f"{STAGE}: the UNet of {self._model_id.name} takes no cameras. Convert MVDream's "
                    "checkpoint with python -m priors.models.mvdream_checkpoint"
                )
            self._parts["unet"] = attend_across_views(unet, self.group)
        return self._parts["unet"]

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        if "vae" not in self._parts:
            self._parts["vae"] = self._load(require("diffusers").AutoencoderKL, "vae")
        return self._parts["vae"]

    def _encode(self, texts: list[str]) -> list[Any]:
        transformers, torch = require("transformers", "diffusers"), require("torch")
        tokenizer = load_pretrained(
            transformers.CLIPTokenizer, self._model_id, stage=STAGE, subfolder="tokenizer"
        )
        encoder = self._load(transformers.CLIPTextModel, "text_encoder")
        with torch.no_grad():
            ids = tokenizer(
                texts,
                padding="max_length",
                max_length=encoder.config.max_position_embeddings,
                truncation=True,
                return_tensors="pt",
            ).input_ids
            embedded = encoder(ids.to(encoder.device))[0]
        return [one.clone().cpu() for one in embedded]

    def _represent(self, images: Any) -> Any:
        functional = require("torch").nn.functional
        shrinks = 2 ** (len(self.vae.config.block_out_channels) - 1)
        side = self.unet.config.sample_size * shrinks
        if images.shape[-2:] != (side, side):
            images = functional.interpolate(
                images, size=(side, side), mode="bilinear", align_corners=False, antialias=True
            )
        # The mean, not a sample: the gradient is then a function of the key's noise alone.
        latents = self.vae.encode((images * 2 - 1).to(self.vae.dtype)).latent_dist.mode()
        return latents * self.vae.config.scaling_factor

    def _predict(self, noisy: Any, times: Any, prompts: Sequence[str], cameras: ViewCameras) -> Any:
        torch = require("torch")
        texts = [self.settings.negative_prompt] * len(prompts) + self._texts(prompts, cameras)
        views = torch.from_numpy(camera_conditions(cameras)).to(noisy.device, self.unet.dtype)
        output = self.unet(
            torch.cat([noisy, noisy]).to(self.unet.dtype),
            torch.cat([times, times]),
            encoder_hidden_states=self.embeddings(texts).to(noisy.device, self.unet.dtype),
            class_labels=torch.cat([views, views]),
        ).sample
        return output.reshape(2, *noisy.shape)
