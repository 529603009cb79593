"""Image and text to clips: what CogVideoX, FramePack, Wan, HunyuanVideo 1.5 and LTX-2 share.

Each family knows the sizes, frame counts and rate it was trained for. A caller asks for a number of
frames: the next count the model can make is generated and cut (or thinned) to the asked one.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hoijax.errors import UserError
from priors.models.image_choice import prompt_text
from priors.models.torch_runtime import (
    TorchSettings,
    place_pipeline,
    readable_errors,
    seeded,
    to_uint8,
)
from priors.protocols import ModelId, Video

__all__ = [
    "DiffusionVideoModel",
    "Limits",
    "Published",
    "SamplingSettings",
    "fit_image",
    "frame_count",
]

STAGE = "video"


@dataclass(frozen=True)
class SamplingSettings:
    """Sampling of a clip."""

    steps: int | None = None
    """Denoising steps; None takes what the checkpoint's authors advise, as for guidance."""
    guidance: float | None = None
    seconds: float | None = None
    """Time the clip spans: it is generated at the model's own rate and thinned out to the asked
    frames. None: the asked frames at the model's rate, however short that is."""
    shorten: Literal["trim", "resample"] = "trim"
    """Where a model makes more frames than it should: keep the first ones, or thin out all of them
    (the rate falls with it)."""
    prompt_suffix: str = prompt_text("video_suffix")
    negative_prompt: str = prompt_text("video_negative")
    prompt_tokens: int | None = None
    """Longest prompt in tokens; None takes the family's own."""


@dataclass(frozen=True)
class Published:
    """What a checkpoint was trained for and how its authors sample it."""

    fps: float
    max_frames: int
    area: int
    """Pixels of a frame."""
    guidance: float
    steps: int = 50


@dataclass(frozen=True)
class Limits:
    """What a loaded model can make."""

    area: int
    """Pixels of a frame it was trained for."""
    multiple: int
    """Sides are multiples of this."""
    frame_step: int
    """Clips have k * frame_step + 1 frames."""
    max_frames: int
    fixed: tuple[int, int, int] | None = None
    """Height, width, frames, where the model can make no other."""
    sides: tuple[int, int] | None = None
    """Length of the short side, and the most of the long one, where the model wants that."""


def frame_count(frames: int, limits: Limits, name: str) -> int:
    """Frames to generate for `frames` asked. UserError where the model cannot make as many."""
    most = limits.fixed[2] if limits.fixed else limits.max_frames
    if not 1 <= frames <= most:
        raise UserError(
            f"{STAGE}: {frames} frames were asked for; {name} makes 1 to {most}. Ask for fewer "
            "frames, choose another video model, or give your own clip with --video"
        )
    if limits.fixed:
        return most
    return max(1, math.ceil((frames - 1) / limits.frame_step)) * limits.frame_step + 1


def frame_size(image: UInt8[ndarray, "H W 3"], limits: Limits) -> tuple[int, int]:
    """(height, width) of the clip: the image's shape at the model's area, in allowed multiples."""
    if limits.fixed:
        return limits.fixed[0], limits.fixed[1]
    ratio = image.shape[0] / image.shape[1]
    if limits.sides:
        short, most = limits.sides
        multiples = round(short * max(ratio, 1 / ratio) / limits.multiple)
        long = min(multiples * limits.multiple, most)
        return (short, long) if ratio <= 1 else (long, short)
    height = math.sqrt(limits.area * ratio)
    sides = (max(round(side / limits.multiple), 1) for side in (height, height / ratio))
    rows, columns = (side * limits.multiple for side in sides)
    return rows, columns


def fit_image(
    image: UInt8[ndarray, "H W 3"], height: int, width: int
) -> UInt8[ndarray, "height width 3"]:
    """Center crop to the aspect ratio of (height, width), then resize (Lanczos)."""
    from PIL import Image

    rows, columns = image.shape[:2]
    scale = min(rows / height, columns / width)
    crop = round(height * scale), round(width * scale)
    top, left = (rows - crop[0]) // 2, (columns - crop[1]) // 2
    cropped = np.ascontiguousarray(image[top : top + crop[0], left : left + crop[1]])
    resized = Image.fromarray(cropped).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def shorten_clip(
    frames: UInt8[ndarray, "N H W 3"], asked: int, fps: float, how: str, name: str
) -> Video:
    """The clip with `asked` frames. UserError where the model returned fewer."""
    made = len(frames)
    if made < asked:
        raise UserError(
            f"{STAGE}: {name} returned {made} frames where {asked} were asked for. Ask for fewer "
            "frames, or give your own clip with --video"
        )
    if how == "resample" and 1 < asked < made:
        chosen = np.round(np.linspace(0, made - 1, asked)).astype(int)
        return Video(frames[chosen], fps * (asked - 1) / (made - 1))
    return Video(frames[:asked], fps)


class DiffusionVideoModel(ABC):
    """`VideoModel` around a diffusers pipeline; loaded at the first call."""

    def __init__(
        self,
        model_id: ModelId,
        settings: SamplingSettings,
        runtime: TorchSettings | None = None,
    ):
        self._model_id = model_id
        self.settings = settings
        self.runtime = runtime or TorchSettings()

    @property
    def model_id(self) -> ModelId:
        return self._model_id

    @cached_property
    def pipeline(self) -> Any:
        loaded = self._load()
        with readable_errors(STAGE, self._model_id):
            return place_pipeline(loaded, self.runtime)

    @abstractmethod
    def _load(self) -> Any:
        """The pipeline, on the CPU."""

    @property
    @abstractmethod
    def published(self) -> Published:
        """Of the loaded checkpoint, told by its configuration."""

    @property
    @abstractmethod
    def prompt_window(self) -> int:
        """Tokens of a prompt that reach the model."""

    @abstractmethod
    def _limits(self) -> Limits:
        """What the loaded pipeline can make."""

    @abstractmethod
    def _arguments(self, prompt: str) -> dict[str, Any]:
        """Arguments of the pipeline that are the family's own."""

    def _frame_size(self, image: UInt8[ndarray, "H W 3"]) -> tuple[int, int]:
        """(height, width) of the clip."""
        return frame_size(image, self._limits())

    def _call(self, sampling: dict[str, Any], step_end: Callable, **arguments: Any) -> Any:
        """The pipeline's answer; other families name and set things otherwise."""
        return self.pipeline(
            num_inference_steps=sampling["steps"],
            guidance_scale=sampling["guidance"],
            callback_on_step_end=step_end,
            **arguments,
        )

    def record(self, prompt: str, frames: int, seed: int) -> dict[str, Any]:
        """What to write into a bundle's provenance so that the clip can be made again."""
        return {
            "model": self._model_id.name,
            "revision": self._model_id.revision,
            "prompt": prompt,
            "frames": frames,
            "seed": seed,
            **asdict(self.settings),
            **self._sampling(),
        }

    def _sampling(self) -> dict[str, Any]:
        """Steps and guidance: the settings', else the checkpoint's."""
        settings, published = self.settings, self.published
        return {
            "steps": published.steps if settings.steps is None else settings.steps,
            "guidance": published.guidance if settings.guidance is None else settings.guidance,
        }

    def whole_prompt(self, prompt: str) -> str:
        """Prompt and suffix; where both do not fit, the prompt's last words go, not the suffix.

        A tokenizer would cut the suffix, which says that the camera stands still.
        """
        words, suffix = prompt.split(), self.settings.prompt_suffix

        def joined(count: int) -> str:
            return " ".join([*words[:count], suffix]).strip()

        def fits(count: int) -> bool:
            return len(self.pipeline.tokenizer(joined(count)).input_ids) <= self.prompt_window

        count = next((n for n in range(len(words), 0, -1) if fits(n)), len(words))
        return joined(count)

    def generate(
        self,
        image: UInt8[ndarray, "H W 3"],
        prompt: str,
        *,
        frames: int,
        seed: int,
        progress: Callable[[int], None] | None = None,
    ) -> Video:
        """A clip that starts at `image`, cropped to the model's shape; the same seed, the same clip.

        progress: called with the number of the denoising step that ended. UserError for an empty
        prompt, more frames than the model makes, missing weights or too little memory.
        """
        if not prompt.strip():
            raise UserError(f"{STAGE}: the prompt is empty")
        if frames < 1:
            raise UserError(f"{STAGE}: {frames} frames were asked for; at least one is needed")
        from PIL import Image

        limits, fps = self._limits(), self.published.fps
        sampling = self._sampling()
        span = round((self.settings.seconds or 0.0) * fps) + 1
        spanned = max(frames, span)
        count = frame_count(spanned, limits, self._model_id.name)
        height, width = self._frame_size(image)
        first = Image.fromarray(fit_image(image, height, width))

        def step_end(_pipe: Any, step: int, _time: Any, tensors: dict) -> dict:
            if progress is not None:
                progress(step)
            return tensors

        with (
            readable_errors(STAGE, self._model_id, smaller="fewer frames"),
            seeded(seed) as generator,
        ):
            clip = self._call(
                sampling,
                step_end,
                image=first,
                height=height,
                width=width,
                num_frames=count,
                generator=generator,
                output_type="np",
                **self._arguments(self.whole_prompt(prompt)),
            ).frames[0]
        how, name = self.settings.shorten, self._model_id.name
        made = shorten_clip(to_uint8(clip), spanned, fps, how, name)
        return shorten_clip(made.frames, frames, made.fps, "resample", name)
