"""Score distillation from image diffusion (DreamFusion, Poole et al., 2023): DeepFloyd IF.

The gradient of eq. 3 there: w(t) (noise the network sees in the noised render - noise put there).
`priors.models.multiview` has the multi-view model.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hoijax.composition.fields.guidance import GuidanceInfo, ViewCameras
from hoijax.errors import UserError
from priors.models.jax_bridge import to_the_kind_of, to_torch
from priors.models.text_embeddings import EmbeddingCache
from priors.models.torch_runtime import (
    TorchSettings,
    device_and_dtype,
    load_pretrained,
    readable_errors,
    require,
)
from priors.protocols import ModelId

__all__ = [
    "DEEPFLOYD_IF",
    "DeepFloydGuidance",
    "DiffusionGuidance",
    "DistillationSettings",
    "srgb_from_linear",
    "view_prompt",
]

STAGE = "distillation"
DEEPFLOYD_IF = ModelId("DeepFloyd/IF-I-XL-v1.0")
OVERHEAD = 60.0  # degrees of elevation from which a view counts as from above
FRONT, BACK = 45.0, 135.0  # degrees of azimuth that end the front view and begin the back view


@dataclass(frozen=True)
class DistillationSettings:
    """Which noise is asked about, and how strongly the text pulls."""

    guidance: float = 20.0
    noise_range: tuple[float, float] = (0.02, 0.98)
    """Share of the diffusion time; the upper end falls to `noise_end`."""
    noise_end: float = 0.5
    anneal_steps: int = 3000
    """Optimization steps until the upper end has fallen: first the layout, then the detail."""
    weight: Literal["variance", "uniform", "clean"] = "variance"
    """w(t): sigma squared (DreamFusion), 1, or sigma / alpha (the error of the clean image)."""
    rescale: float = 0.0
    """Share in which the guided prediction's spread is brought back to the unguided one's."""
    negative_prompt: str = ""
    view_prompts: bool = True
    """Append the view (front, side, back, overhead) to each prompt."""


def view_prompt(prompt: str, azimuth: float, elevation: float) -> str:
    """The prompt with the view it is seen from; degrees."""
    around = abs((azimuth + 180.0) % 360.0 - 180.0)
    if elevation > OVERHEAD:
        view = "overhead view"
    elif around <= FRONT:
        view = "front view"
    else:
        view = "side view" if around < BACK else "back view"
    return f"{prompt.strip().rstrip('.,')}, {view}"


def srgb_from_linear(images: Any) -> Any:
    """Linear color in [0, 1] as sRGB (IEC 61966-2-1), differentiable also at 0."""
    torch = require("torch")
    bright = 1.055 * images.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(images <= 0.0031308, 12.92 * images, bright)


class DiffusionGuidance(ABC):
    """`Guidance` by any network that predicts noise; loaded at the first call."""

    def __init__(
        self, model_id: ModelId, settings: DistillationSettings, runtime: TorchSettings | None
    ):
        self._model_id = model_id
        self.settings = settings
        self.runtime = runtime or TorchSettings()

    @property
    def model_id(self) -> ModelId:
        return self._model_id

    group = 1
    """Images that belong together and share a noise level."""

    @abstractmethod
    def _represent(self, images: Any) -> Any:
        """(N, 3, H, W) sRGB in [0, 1], differentiable, to what the network denoises."""

    @abstractmethod
    def _predict(self, noisy: Any, times: Any, prompts: Sequence[str], cameras: ViewCameras) -> Any:
        """(2, N, ...) noise predicted without and with the prompt."""

    def _texts(self, prompts: Sequence[str], cameras: ViewCameras) -> list[str]:
        """The texts to embed, one an image."""
        if not self.settings.view_prompts:
            return list(prompts)
        views = zip(prompts, cameras.azimuths, cameras.elevations, strict=True)
        return [view_prompt(prompt, float(a), float(e)) for prompt, a, e in views]

    def _load(self, kind: Any, part: str) -> Any:
        """A frozen part of the checkpoint on the device."""
        device, dtype = device_and_dtype(self.runtime)
        dtype = self._part_dtype(part, dtype)
        loaded = load_pretrained(kind, self._model_id, stage=STAGE, subfolder=part, dtype=dtype)
        return loaded.to(device).requires_grad_(False).eval()

    def _part_dtype(self, part: str, dtype: Any) -> Any:
        """Precision of a part. Guidance magnifies the difference of two predictions, and with it their
        rounding: where half precision is chosen by itself, the UNet gets float16 (as published, three
        bits more than bfloat16). The autoencoder, through which the gradient passes, is float32."""
        torch = require("torch")
        if part == "vae":
            return torch.float32
        is_chosen = self.runtime.dtype == "auto" and dtype == torch.bfloat16
        return torch.float16 if part == "unet" and is_chosen else dtype

    @cached_property
    def unet(self) -> Any:
        return self._load(require("diffusers").UNet2DConditionModel, "unet")

    @cached_property
    def scheduler(self) -> Any:
        kind = require("diffusers").DDPMScheduler
        scheduler = load_pretrained(kind, self._model_id, stage=STAGE, subfolder="scheduler")
        if scheduler.config.prediction_type != "epsilon":
            raise UserError(
                f"{STAGE}: {self._model_id.name} predicts {scheduler.config.prediction_type}; only "
                "models that predict noise (epsilon) are supported"
            )
        return scheduler

    def __call__(
        self, images: Any, prompts: Sequence[str], cameras: ViewCameras, key: Any, step: int
    ) -> tuple[Any, GuidanceInfo]:
        """(dL/dimages, info) of (N, H, W, 3) JAX or numpy images in [0, 1]; see `Guidance`.

        Renders are linear, the models were trained on sRGB: they are encoded on the way.

        UserError for counts that do not agree, missing weights and too little memory.
        """
        if not len(images) == len(prompts) == len(cameras.Ts_world_camera):
            raise UserError(
                f"{STAGE}: {len(images)} images, {len(prompts)} prompts and "
                f"{len(cameras.Ts_world_camera)} cameras"
            )
        if len(images) == 0 or len(images) % self.group:
            raise UserError(f"{STAGE}: {len(images)} images; a multiple of {self.group} is needed")
        torch = require("torch")
        smaller = "fewer images a step"
        with readable_errors(STAGE, self._model_id, smaller=smaller), torch.enable_grad():
            device, _ = device_and_dtype(self.runtime)
            leaf = to_torch(images, device, torch.float32).detach().requires_grad_(True)
            clean = self._represent(srgb_from_linear(leaf.permute(0, 3, 1, 2)))
            levels, noise = self._draw(tuple(clean.shape), key, step)
            with torch.no_grad():
                wanted = self._gradient(clean.detach(), noise, levels, prompts, cameras)
            (gradient,) = torch.autograd.grad(clean, leaf, wanted.to(clean.dtype))
            finite = torch.isfinite(gradient)
            info = GuidanceInfo(
                noise_levels=levels,
                gradient_norm=float(torch.linalg.vector_norm(gradient.float())),
                finite=bool(finite.all()),
            )
            gradient = torch.where(finite, gradient, torch.zeros_like(gradient))
        return to_the_kind_of(images, gradient), info

    def _draw(self, shape: tuple[int, ...], key: Any, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Noise levels (N,), alike within a group, and standard normal noise, all from the key."""
        import jax

        low, high = self.settings.noise_range
        progress = min(max(step, 0) / max(self.settings.anneal_steps, 1), 1.0)
        high = max(high + (self.settings.noise_end - high) * progress, low)
        key_level, key_noise = jax.random.split(key)
        groups = np.asarray(jax.random.uniform(key_level, (shape[0] // self.group,)))
        noise = np.array(jax.random.normal(key_noise, shape))  # a copy: PyTorch may write to it
        return np.repeat(low + (high - low) * groups, self.group).astype(np.float32), noise

    def _gradient(
        self,
        clean: Any,
        noise: np.ndarray,
        levels: np.ndarray,
        prompts: Sequence[str],
        cameras: ViewCameras,
    ) -> Any:
        """Gradient with respect to what the network denoises."""
        torch = require("torch")
        total = self.scheduler.config.num_train_timesteps
        times = torch.from_numpy(np.clip((levels * total).astype(np.int64), 0, total - 1))
        signal = self.scheduler.alphas_cumprod[times].to(clean.device).reshape(-1, 1, 1, 1)
        alpha, sigma = signal.sqrt(), (1 - signal).sqrt()
        put = torch.from_numpy(noise).to(clean.device)
        noisy = alpha * clean.float() + sigma * put
        seen = self._predict(noisy, times.to(clean.device), prompts, cameras).float()
        without, with_text = seen[0], seen[1]
        guided = without + self.settings.guidance * (with_text - without)
        if self.settings.rescale:
            guided = self._rescaled(noisy, guided, with_text, (alpha, sigma))
        weight = {
            "variance": sigma**2,
            "uniform": torch.ones_like(sigma),
            "clean": sigma / alpha.clamp(min=1e-4),
        }[self.settings.weight]
        return weight * (guided - put)

    def _rescaled(self, noisy: Any, guided: Any, with_text: Any, level: tuple[Any, Any]) -> Any:
        """Guided noise whose clean image has (in part) the spread of the unguided one's.

        Strong guidance oversaturates (Lin et al., WACV 2024, section 3.4; MVDream, appendix).
        """
        alpha, sigma = level
        alpha = alpha.clamp(min=1e-4)
        strong, plain = ((noisy - sigma * eps) / alpha for eps in (guided, with_text))

        def spread(clean: Any) -> Any:
            groups = clean.reshape(-1, self.group * clean[0].numel())
            return groups.std(dim=1).repeat_interleave(self.group).reshape(-1, 1, 1, 1)

        matched = strong * spread(plain) / spread(strong).clamp(min=1e-6)
        clean = self.settings.rescale * matched + (1 - self.settings.rescale) * strong
        return (noisy - alpha * clean) / sigma.clamp(min=1e-4)


class DeepFloydGuidance(DiffusionGuidance):
    """`Guidance` of DeepFloyd IF's first stage (64 x 64 pixels): its UNet, with cached T5 embeddings.

    cache: folder for the embeddings; with all prompts in it, the text encoder is never loaded.
    """

    def __init__(
        self,
        model_id: ModelId = DEEPFLOYD_IF,
        settings: DistillationSettings | None = None,
        runtime: TorchSettings | None = None,
        *,
        cache: Path | None = None,
    ):
        super().__init__(model_id, settings or DistillationSettings(), runtime)
        self.embeddings = EmbeddingCache(self._encode, model_id, cache)

    def prepare(self, prompts: Sequence[str]) -> None:
        """Embed prompts in all views, so that the text encoder is loaded once and then gone."""
        views = [(0.0, 0.0), (90.0, 0.0), (180.0, 0.0), (0.0, 90.0)]
        texts = [view_prompt(prompt, *view) for prompt in prompts for view in views]
        self.embeddings([*prompts, *texts, self.settings.negative_prompt])

    def _encode(self, texts: list[str]) -> list[Any]:
        transformers, torch = require("transformers", "diffusers"), require("torch")
        tokenizer = load_pretrained(
            transformers.AutoTokenizer, self._model_id, stage=STAGE, subfolder="tokenizer"
        )
        encoder = self._load(transformers.T5EncoderModel, "text_encoder")
        with torch.no_grad():
            # IF was trained on lower-case captions of 77 tokens.
            tokens = tokenizer(
                [text.lower().strip() for text in texts],
                padding="max_length",
                max_length=77,
                truncation=True,
                return_tensors="pt",
            ).to(encoder.device)
            embedded = encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
        return [one.clone().cpu() for one in embedded]

    def _represent(self, images: Any) -> Any:
        functional = require("torch").nn.functional
        side = self.unet.config.sample_size
        if images.shape[-2:] != (side, side):
            images = functional.interpolate(
                images, size=(side, side), mode="bilinear", align_corners=False, antialias=True
            )
        return images * 2 - 1

    def _predict(self, noisy: Any, times: Any, prompts: Sequence[str], cameras: ViewCameras) -> Any:
        torch = require("torch")
        texts = [self.settings.negative_prompt] * len(prompts) + self._texts(prompts, cameras)
        output = self.unet(
            torch.cat([noisy, noisy]).to(self.unet.dtype),
            torch.cat([times, times]),
            encoder_hidden_states=self.embeddings(texts).to(noisy.device, self.unet.dtype),
        ).sample
        noise = output[:, : noisy.shape[1]]  # the other channels are the predicted variance
        return noise.reshape(2, *noisy.shape)
