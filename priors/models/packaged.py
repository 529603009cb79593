"""Real models whose weights come inside a registry package: found on disk, run on the CPU.

The wheel `mediapipe==0.10.21` carries TensorFlow Lite files (Apache-2.0). Only its files are read:
the package itself is never imported (it pins an older numpy and opens OpenGL). `ai-edge-litert` runs
them, one thread, about 20 ms an image.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from priors.protocols import Prompt

MEDIAPIPE = "mediapipe==0.10.21"
FOLDER_VARIABLE = "HOIJAX_MEDIAPIPE_MODULES"
INSTALL = f"pip install --no-deps {MEDIAPIPE} && pip install ai-edge-litert"
MASK_LEVEL, MASK_BYTE = 0.5, 127
"""Probabilities above these show the person; the second of 255."""


def mediapipe_file(name: str) -> Path:
    """Path of a model file of the wheel, as "pose_detection/pose_detection.tflite".

    Looked for in $HOIJAX_MEDIAPIPE_MODULES, else in the installed wheel. Raises UserError with the
    command that installs it.
    """
    override = os.environ.get(FOLDER_VARIABLE)
    spec = None if override else find_spec("mediapipe")
    if override:
        folder = Path(override)
    elif spec is not None and spec.submodule_search_locations:
        folder = Path(next(iter(spec.submodule_search_locations))) / "modules"
    else:
        raise UserError(
            f"the packaged pose models are not installed: no wheel `mediapipe`. Run: {INSTALL}"
        )
    path = folder / name
    if not path.is_file():
        why = (
            f"${FOLDER_VARIABLE} names the wrong folder"
            if override
            else "this `mediapipe` carries no model files (releases from 0.10.31 on do not)"
        )
        raise UserError(f"{path} does not exist: {why}. Run: {INSTALL}")
    return path


class TfliteModel:
    """A TensorFlow Lite network with one input. Raises UserError where the file is damaged."""

    def __init__(self, path: Path):
        try:
            self._interpreter = _interpreter_class()(model_path=str(path), num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"{path} is not a usable TensorFlow Lite model ({error}). Install it again: {INSTALL}"
            ) from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = self._interpreter.get_output_details()
        self.input_size = int(self._interpreter.get_input_details()[0]["shape"][1])
        """Height and width of the image it takes."""

    def __call__(self, image: Float32[ndarray, "S S 3"]) -> dict[tuple[int, ...], ndarray]:
        """Outputs by shape (without the batch axis), of a model whose outputs have unequal shapes."""
        return {output.shape: output for output in self.listed(image)}

    def listed(self, image: Float32[ndarray, "S S 3"]) -> list[ndarray]:
        """Outputs in their order (without the batch axis)."""
        self._interpreter.set_tensor(self._input, np.ascontiguousarray(image[None]))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output["index"])[0].copy() for output in self._outputs]


@dataclass(frozen=True)
class Region:
    """A turned square of an image, in pixels."""

    center: Float[ndarray, " 2"]
    side: float
    angle: float = 0.0
    """Radians, clockwise as seen: the direction that becomes "right" in the crop."""

    @classmethod
    def around(cls, box: Float[ndarray, " 4"], margin: float = 1.0) -> "Region":
        """The upright square around a box (left, top, right, bottom)."""
        box = np.asarray(box, np.float64)
        return cls(0.5 * (box[:2] + box[2:]), float(margin * max(*(box[2:] - box[:2]), 1.0)))

    @property
    def axes(self) -> Float[ndarray, "2 2"]:
        """Columns: the crop's right and down in the image, per share of the side."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return self.side * np.array([[c, -s], [s, c]])

    def to_image(self, shares: Float[ndarray, "... 2"]) -> Float[ndarray, "... 2"]:
        """Pixels of the image of points given in shares of the crop's side."""
        return (np.asarray(shares, np.float64) - 0.5) @ self.axes.T + self.center

    def crop(self, image: UInt8[ndarray, "H W 3"], size: int) -> UInt8[ndarray, "S S 3"]:
        """The square resampled to size x size; black outside the image."""
        from PIL import Image

        source, shrink = Image.fromarray(image), max(1, int(self.side / size))
        if shrink > 1:  # bilinear sampling alone would skip pixels
            source = source.reduce(shrink)
        axes = self.axes / (size * shrink)
        start = self.to_image(np.zeros(2)) / shrink
        rows = (*axes[0], start[0], *axes[1], start[1])
        shape = (size, size)
        return np.asarray(
            source.transform(shape, Image.Transform.AFFINE, tuple(rows), Image.Resampling.BILINEAR)
        )

    def paste(
        self, values: Float32[ndarray, "S S"], height: int, width: int
    ) -> Float32[ndarray, "H W"]:
        """A crop's values back in the image; zero outside the square."""
        from PIL import Image

        size = len(values)
        inverse = np.linalg.inv(self.axes) * size
        start = 0.5 * size - inverse @ self.center
        rows = (*inverse[0], start[0], *inverse[1], start[1])
        source, shape = Image.fromarray(np.asarray(values, np.float32)), (width, height)
        return np.array(
            source.transform(shape, Image.Transform.AFFINE, tuple(rows), Image.Resampling.BILINEAR)
        )


def single_person_prompt(prompts: Sequence[Prompt], model: str) -> Prompt:
    """The one prompt of a model that knows one person only. Raises UserError for any other number."""
    if len(prompts) != 1:
        raise UserError(
            f"{model} masks exactly one person, but {len(prompts)} entities are asked for. Use "
            "SAM 2 (--segmenter sam2) for several people and for objects."
        )
    return prompts[0]


def prompt_box(prompt: Prompt) -> Float[ndarray, " 4"]:
    """The prompt's box, or the box of its mask. UserError where it has neither or an empty mask."""
    if prompt.box is not None:
        return np.asarray(prompt.box, np.float64)
    if prompt.mask is None or not prompt.mask.any():
        raise UserError(
            f"nothing to track: the prompt in frame {prompt.frame} has no box and an empty mask."
        )
    return mask_box(prompt.mask)


def mask_box(mask: Bool[ndarray, "H W"]) -> Float[ndarray, " 4"]:
    """Left, top, right, bottom of a mask that is not empty; edges, not pixel centers."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def _interpreter_class():
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UserError(
            f"no interpreter for the packaged pose models ({error}). Run: {INSTALL}"
        ) from error
    return Interpreter
