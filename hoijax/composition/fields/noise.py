"""Noise of score distillation: how much is put on a render, and how the score is weighed (SDS, eq. 1)."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["NoiseSettings", "alpha_sigma", "draw_levels", "score_weight"]


@dataclass(frozen=True)
class NoiseSettings:
    """Which noise is asked about."""

    range: tuple[float, float] = (0.02, 0.98)
    """Share of the diffusion time; the upper end falls to `end`."""
    end: float = 0.3
    anneal_steps: int = 400
    """Steps until it has fallen: first the layout, then the detail."""
    weight: Literal["variance", "uniform", "clean"] = "variance"
    """w(t): sigma squared (DreamFusion), 1, or sigma / alpha (the error of the clean image)."""


def draw_levels(settings: NoiseSettings, key: Array, step: int, count: int) -> Float[Array, " N"]:
    """Shares of the diffusion time for `count` images of a step."""
    low, high = settings.range
    progress = min(max(step, 0) / max(settings.anneal_steps, 1), 1.0)
    high = max(high + (settings.end - high) * progress, low)
    return jax.random.uniform(key, (count,), minval=low, maxval=high)


def alpha_sigma(levels: Float[Array, " N"]) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
    """Share of the image and of the noise at a diffusion time (cosine schedule, variance kept)."""
    angle = 0.5 * jnp.pi * jnp.clip(levels, 1e-3, 1.0 - 1e-3)
    return jnp.cos(angle), jnp.sin(angle)


def score_weight(
    kind: str, alpha: Float[Array, " N"], sigma: Float[Array, " N"]
) -> Float[Array, " N"]:
    """w(t) of eq. 1."""
    if kind == "variance":
        return sigma**2
    return sigma / alpha if kind == "clean" else jnp.ones_like(sigma)
