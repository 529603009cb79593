"""Guidance without weights: the exact score of a finite set of images for every prompt and view.

Of images y_m, all as likely, the noisy image x_t = alpha x + sigma eps comes from the m-th with a
probability softmax(-|x_t - alpha y_m|^2 / (2 sigma^2)). The best denoiser is the mean of the set under it,
and the noise that a perfect network would see is (x_t - alpha mean) / sigma.
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.composition.fields.guidance import GuidanceInfo, ViewCameras
from hoijax.composition.fields.noise import NoiseSettings, alpha_sigma, draw_levels, score_weight
from hoijax.errors import UserError

__all__ = ["ClosedFormGuidance", "ImageSet", "closed_form_gradient", "denoised"]


@runtime_checkable
class ImageSet(Protocol):
    """M images of what each prompt says, as each camera would see it."""

    def __call__(
        self, prompts: Sequence[str], cameras: ViewCameras, size: tuple[int, int]
    ) -> Float[np.ndarray, "N M H W 3"]:
        """Linear RGB in [0, 1]."""
        ...


def denoised(
    *,
    noisy: Float[Array, "N D"],
    image_set: Float[Array, "N M D"],
    alpha: Float[Array, " N"],
    sigma: Float[Array, " N"],
) -> Float[Array, "N D"]:
    """Mean of the set of images given a noisy one: the optimal denoiser."""
    away = noisy[:, None] - alpha[:, None, None] * image_set
    logits = -0.5 * jnp.sum(away**2, axis=-1) / sigma[:, None] ** 2
    return jnp.sum(jax.nn.softmax(logits, axis=-1)[..., None] * image_set, axis=1)


@partial(jax.jit, static_argnames=("weight",))
def closed_form_gradient(
    *,
    images: Float[Array, "N D"],
    image_set: Float[Array, "N M D"],
    every_image: Float[Array, "N A D"],
    noise: Float[Array, "N D"],
    levels: Float[Array, " N"],
    guidance: Float[Array, ""],
    weight: str,
) -> Float[Array, "N D"]:
    """w(t) (seen noise - noise) dx/dimage of SDS with classifier-free guidance; values in [0, 1].

    every_image: the set without a prompt. A network denoises 2 image - 1, hence the factor of two.
    """
    clean = 2.0 * images - 1.0
    alpha, sigma = alpha_sigma(levels)
    noisy = alpha[:, None] * clean + sigma[:, None] * noise
    sets = {"noisy": noisy, "alpha": alpha, "sigma": sigma}
    with_text = denoised(image_set=2.0 * image_set - 1.0, **sets)
    without = denoised(image_set=2.0 * every_image - 1.0, **sets)
    mean = without + guidance * (with_text - without)
    seen = (noisy - alpha[:, None] * mean) / sigma[:, None]
    return 2.0 * score_weight(weight, alpha, sigma)[:, None] * (seen - noise)


class ClosedFormGuidance:
    """`Guidance` of a `ImageSet`. guidance: scale of classifier-free guidance; 1 is the exact score.

    every_prompt: prompts whose images together are the set without a prompt (needed where the scale
    is not 1).
    """

    def __init__(
        self,
        image_set: ImageSet,
        settings: NoiseSettings | None = None,
        *,
        guidance: float = 1.0,
        every_prompt: Sequence[str] = (),
    ):
        if guidance != 1.0 and not every_prompt:
            raise UserError(
                "closed-form guidance with a scale other than 1 needs the prompts of its whole set"
            )
        self.image_set = image_set
        self.settings = settings or NoiseSettings()
        self.scale = guidance
        self.every_prompt = tuple(every_prompt)

    def __call__(
        self,
        images: Float[Array, "N H W 3"],
        prompts: Sequence[str],
        cameras: ViewCameras,
        key: Array,
        step: int,
    ) -> tuple[Float[Array, "N H W 3"], GuidanceInfo]:
        """See `Guidance`. UserError for counts that do not agree."""
        count, height, width, _ = images.shape
        if not count == len(prompts) == len(cameras.Ts_world_camera):
            raise UserError(
                f"closed-form guidance: {count} images, {len(prompts)} prompts and "
                f"{len(cameras.Ts_world_camera)} cameras"
            )
        key_level, key_noise = jax.random.split(key)
        levels = draw_levels(self.settings, key_level, step, count)
        flat = images.reshape(count, -1)
        target = self._flat(prompts, cameras, (height, width))
        every = target
        if self.scale != 1.0:
            sets = [
                self._flat([prompt] * count, cameras, (height, width))
                for prompt in self.every_prompt
            ]
            every = jnp.concatenate(sets, axis=1)
        gradient = closed_form_gradient(
            images=flat,
            image_set=target,
            every_image=every,
            noise=jax.random.normal(key_noise, flat.shape),
            levels=levels,
            guidance=jnp.asarray(self.scale, jnp.float32),
            weight=self.settings.weight,
        )
        finite = jnp.isfinite(gradient)
        info = GuidanceInfo(
            noise_levels=np.asarray(levels),
            gradient_norm=float(jnp.linalg.norm(gradient)),
            finite=bool(finite.all()),
        )
        return jnp.where(finite, gradient, 0.0).reshape(images.shape), info

    def _flat(
        self, prompts: Sequence[str], cameras: ViewCameras, size: tuple[int, int]
    ) -> Float[Array, "N M D"]:
        images = np.asarray(self.image_set(prompts, cameras, size), np.float32)
        return jnp.asarray(images.reshape(*images.shape[:2], -1))
