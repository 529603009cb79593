"""What tells a render how to change so that it looks more like its prompt (score distillation).

A guidance is asked once an optimization step, outside `jit`: it gets rendered images and returns the
gradient of its loss with respect to them, which the caller pulls back with `jax.vjp`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float
from numpy import ndarray

__all__ = ["Guidance", "GuidanceInfo", "ViewCameras"]


@dataclass(frozen=True)
class ViewCameras:
    """Cameras of N renders. World: y up; the subject faces +z (as bodies do at rest)."""

    Ts_world_camera: Float[ndarray, "N 4 4"]
    """OpenCV axes."""
    intrinsics: Float[ndarray, "N 3 3"]
    """Pixels of the renders."""
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """World point that the cameras circle: the middle of the subject."""

    @property
    def _directions(self) -> ndarray:
        """(N, 3) from the center to each camera."""
        return np.asarray(self.Ts_world_camera, np.float64)[:, :3, 3] - np.asarray(self.center)

    @property
    def azimuths(self) -> Float[ndarray, " N"]:
        """Degrees in (-180, 180]: 0 in front of the subject, 90 on its left (+x)."""
        x, _, z = self._directions.T
        return np.degrees(np.arctan2(x, z))

    @property
    def elevations(self) -> Float[ndarray, " N"]:
        """Degrees above the horizon through the center."""
        x, y, z = self._directions.T
        return np.degrees(np.arctan2(y, np.hypot(x, z)))


@dataclass(frozen=True)
class GuidanceInfo:
    """What happened in one call."""

    noise_levels: Float[ndarray, " N"]
    """Share of the diffusion time (0 clean, 1 noise) that was drawn for each image."""
    gradient_norm: float
    """Euclidean norm over all images, before values that are not finite were set to zero."""
    finite: bool
    """Whether every value of the gradient was finite. Where not, those are zero: skip the step, or
    render at another size or precision if it happens often."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Further numbers to log, by name."""


@runtime_checkable
class Guidance(Protocol):
    """Gradient of a text-to-image prior with respect to renders."""

    def __call__(
        self,
        images: Float[Array, "N H W 3"],
        prompts: Sequence[str],
        cameras: ViewCameras,
        key: Array,
        step: int,
    ) -> tuple[Float[Array, "N H W 3"], GuidanceInfo]:
        """(dL/dimages, info). images: linear in [0, 1]; key: all randomness; step: for annealing.

        The same arguments give the same gradient. `images` is never written to.
        """
        ...


@dataclass(frozen=True)
class Prompts:
    """What is asked of a guidance: the interaction, the person alone (standing), the object alone."""

    interaction: str
    human: str
    object: str

    @property
    def all(self) -> tuple[str, ...]:
        return (self.interaction, self.human, self.object)
