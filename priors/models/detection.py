"""Open-vocabulary boxes: Grounding DINO (Liu et al., 2023; Apache-2.0), or a vision-language model."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8
from numpy import ndarray
from pydantic import BaseModel, Field

from hoijax.errors import UserError
from priors.models.frozen import FrozenModel
from priors.models.segmentation import resized
from priors.models.torch_runtime import (
    readable_errors,
    require,
)
from priors.protocols import Detection, ModelId

STAGE = "detection"
GROUNDING_DINO = ModelId("IDEA-Research/grounding-dino-base")
SEPARATOR = " . "
OVERLAP = 0.7  # two boxes of a phrase that overlap more are one
THOUSANDTHS = 1000.0
PART_PHRASE = re.compile(r"(?:the )?(?P<part>.+?) part of .+")
"""How parts of objects are asked for: "the lid part of the box"."""
AFTER_NOUN = re.compile(
    r"\b(?:with|of|in|on|at|from|for|to|by|that|which|who|whose|made|having|without|and|wearing|holding)\b|,"
)
"""What ends the first noun phrase of a description: "a wooden broom with a red handle"."""
PIXEL_MULTIPLE = 28
"""Qwen2.5-VL resizes images to sides of this multiple, and counts pixels of what it then sees."""
COUNTS_PIXELS = re.compile(r"qwen2\.5-?_?vl", re.IGNORECASE)


@dataclass(frozen=True)
class DetectorSettings:
    """What counts as found, and how large the image is."""

    score: float = 0.25
    """Least probability of a box."""
    sides: tuple[int, int] = (800, 1333)
    """The image is resized so that its short side is the first, unless its long side would pass
    the second (published)."""


class TextDetector(FrozenModel[DetectorSettings]):
    """What detectors of whatever a text names share."""

    stage, default_settings = STAGE, DetectorSettings()

    @cached_property
    def _tokenizer(self) -> Any:
        return self._part("AutoTokenizer")


class GroundingDino(TextDetector):
    """`Detector` by Grounding DINO."""

    default_id = GROUNDING_DINO

    @cached_property
    def _network(self) -> Any:
        return self._loaded("GroundingDinoForObjectDetection")

    def detect(self, image: UInt8[ndarray, "H W 3"], phrases: Sequence[str]) -> list[Detection]:
        """All boxes over the threshold, best first. Raises UserError for empty or too many words."""
        torch = require("torch")
        phrases = clean_phrases(phrases)
        ids, spans = self._tokens(phrases)
        height, width = image.shape[:2]
        device, dtype = self._network.device, self._network.dtype
        pixels = resized(image, _fitted(height, width, *self.settings.sides), device, dtype)
        with (
            readable_errors(STAGE, self._model_id, smaller="smaller images"),
            torch.inference_mode(),
        ):
            output = self._network(
                pixel_values=pixels[None],
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                token_type_ids=torch.zeros_like(ids),
            )
        probability = torch.sigmoid(output.logits[0].float()).cpu().numpy()
        middle, size = np.split(output.pred_boxes[0].float().cpu().numpy(), 2, axis=-1)
        boxes = np.concatenate([middle - size / 2, middle + size / 2], -1)
        boxes = np.clip(boxes, 0, 1) * (width, height, width, height)
        scores = np.stack([probability[:, span].max(-1) for span in spans])
        return best_boxes(scores, boxes.astype(np.float64), self.settings.score)

    def _tokens(self, phrases: list[str]) -> tuple[Any, list[Bool[ndarray, " L"]]]:
        """Token ids (1, L) of all phrases as one text, and which of them spell each phrase's noun.

        A box is scored by that noun alone: every token has a score of its own, and the best of "the
        lid part of the box" would be that of "box", the whole object.
        """
        torch = require("torch")
        text = SEPARATOR.join(phrases) + SEPARATOR.rstrip()
        tokens = self._tokenizer(text, return_offsets_mapping=True)
        limit = self._network.config.max_text_len
        if len(tokens["input_ids"]) > limit:
            raise UserError(
                f"{STAGE}: the descriptions of {len(phrases)} things take "
                f"{len(tokens['input_ids'])} tokens, {self._model_id.name} reads {limit}. Shorten "
                "them, or ask for fewer at a time"
            )
        offsets = np.asarray(tokens["offset_mapping"])
        spans, start = [], 0
        for phrase in phrases:
            first, last = (start + at for at in scored_span(phrase))
            span = np.zeros(limit, bool)  # the network pads its answer to the limit
            span[: len(offsets)] = (
                (offsets[:, 0] >= first) & (offsets[:, 1] <= last) & (offsets[:, 1] > offsets[:, 0])
            )
            spans.append(span)
            start += len(phrase) + len(SEPARATOR)
        return torch.tensor([tokens["input_ids"]], device=self._network.device), spans


def scored_span(phrase: str) -> tuple[int, int]:
    """Where the noun stands that says what is looked for: [first, last) in a clean phrase.

    The part's own name of "the lid part of the box"; else the last word of the first noun phrase,
    "broom" of "a wooden broom with a red handle". Words around it still reach the network.
    """
    if part := PART_PHRASE.fullmatch(phrase):
        return part.span("part")
    ends = [
        match.start() for match in AFTER_NOUN.finditer(phrase) if phrase[: match.start()].strip()
    ]
    words = list(re.finditer(r"\S+", phrase[: ends[0]] if ends else phrase))
    nouns = [word for word in words if not word.group().isdigit()] or words
    return nouns[-1].span()


class FoundBox(BaseModel):
    """A box as a vision-language model writes it."""

    phrase: int = Field(description="Number of the phrase, counted from 1.")
    left: float
    top: float
    right: float
    bottom: float


class FoundBoxes(BaseModel):
    """The whole answer."""

    boxes: list[FoundBox] = Field(description="Best first; empty when nothing is visible.")


Ask = Callable[[str, Sequence[UInt8[ndarray, "H W 3"]], type[BaseModel]], BaseModel]
"""(prompt, images, schema) -> an answer of that schema, or UserError; see priors.models.language_model."""


@dataclass(frozen=True)
class VlmSettings:
    """How a vision-language model is shown images and writes boxes."""

    coordinates: Literal["auto", "thousandths", "pixels"] = "auto"
    """In what it counts: thousandths of the image's sides (Qwen3-VL, Gemini), or pixels of the
    image it is shown (Qwen2.5-VL); "auto" goes by the model's name."""
    longest: int = 512
    """Pixels; images are shrunk to this side before they are shown (published)."""


class VlmDetector:
    """`Detector` by a vision-language model that writes boxes as numbers (Qwen-VL and others)."""

    def __init__(self, ask: Ask, model_id: ModelId, settings: VlmSettings | None = None):
        """ask: asks the model `model_id` for an answer of a schema."""
        self._ask, self._model_id = ask, model_id
        self.settings = settings or VlmSettings()

    @property
    def model_id(self) -> ModelId:
        return self._model_id

    def detect(self, image: UInt8[ndarray, "H W 3"], phrases: Sequence[str]) -> list[Detection]:
        """All boxes it names, in its order; the score falls with the place in the list.

        Boxes without area or of phrases that were not asked for are left out.
        """
        phrases = clean_phrases(phrases)
        in_pixels = self.counts_pixels
        multiple = PIXEL_MULTIPLE if in_pixels else 1
        shown = shrunk(image, self.settings.longest, multiple)
        answer = self._ask(self._prompt(phrases, shown.shape), [shown], FoundBoxes)
        if not isinstance(answer, FoundBoxes):
            raise UserError(
                f"{STAGE}: {self._model_id.name} answered with something else than boxes"
            )
        counted = shown.shape[1::-1] if in_pixels else (THOUSANDTHS, THOUSANDTHS)
        scale = np.tile(np.array(image.shape[1::-1], np.float64) / counted, 2)
        limit = np.tile(np.array(image.shape[1::-1], np.float64), 2)
        detections = []
        for rank, box in enumerate(answer.boxes):
            edges = np.array([box.left, box.top, box.right, box.bottom], np.float64) * scale
            edges = np.clip(np.nan_to_num(edges), 0, limit)
            if 1 <= box.phrase <= len(phrases) and (edges[2:] - edges[:2] >= 1).all():
                detections.append(Detection(box.phrase - 1, edges, 1.0 / (1.0 + 0.1 * rank)))
        return detections

    @property
    def counts_pixels(self) -> bool:
        """Whether the model counts pixels of what it sees, not thousandths."""
        if self.settings.coordinates == "auto":
            return bool(COUNTS_PIXELS.search(self._model_id.name))
        return self.settings.coordinates == "pixels"

    def _prompt(self, phrases: list[str], shape: tuple[int, ...]) -> str:
        listed = "\n".join(f"{i + 1}. {phrase}" for i, phrase in enumerate(phrases))
        if not self.counts_pixels:
            units = "in thousandths of the image's width and height, from 0 to 1000"
        else:
            units = f"in pixels of the image, which is {shape[1]} wide and {shape[0]} high"
        return (
            "Find each of these things in the image:\n"
            f"{listed}\n"
            f"Answer with one tight box for each visible instance, {units}: left and right count "
            "from the left edge, top and bottom from the upper edge. Leave out what is not visible."
        )


def clean_phrases(phrases: Sequence[str]) -> list[str]:
    """Lower case, one space between words, no full stops (they separate phrases).

    Raises UserError where there is none, or one is empty.
    """
    cleaned = [" ".join(phrase.lower().replace(".", " ").split()) for phrase in phrases]
    if not cleaned or not all(cleaned):
        raise UserError(f"{STAGE}: nothing to look for; give every entity a description in words")
    return cleaned


def best_boxes(
    scores: Float[ndarray, "P N"], boxes: Float[ndarray, "N 4"], level: float
) -> list[Detection]:
    """Boxes over a level for every phrase, overlapping ones of a phrase removed, best first."""
    detections: list[Detection] = []
    for phrase, row in enumerate(scores):
        chosen: list[ndarray] = []
        for i in np.argsort(-row):
            if row[i] < level:
                break
            if (boxes[i, 2:] - boxes[i, :2] < 1).any():
                continue
            if all(box_overlap(boxes[i], other) < OVERLAP for other in chosen):
                chosen.append(boxes[i])
                detections.append(Detection(phrase, boxes[i], float(row[i])))
    return sorted(detections, key=lambda detection: -detection.score)


def box_overlap(a: Shaped[ndarray, " 4"], b: Shaped[ndarray, " 4"]) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    total = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common
    return common / max(total, 1e-9)


def shrunk(
    image: UInt8[ndarray, "H W 3"], longest: int, multiple: int = 1
) -> UInt8[ndarray, "h w 3"]:
    """The image with its longer side at most `longest` pixels, and both sides of a multiple."""
    from PIL import Image

    height, width = image.shape[:2]
    scale = min(longest / max(height, width), 1.0)
    columns, rows = (max(1, round(side * scale / multiple)) for side in (width, height))
    size = (columns * multiple, rows * multiple)
    if size == (width, height):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _fitted(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    """(height, width) with the short side at `shortest`, unless the long one would pass `longest`.

    Rounded as the model's own image processor does: fractions of the long side are cut off.
    """
    short, long = min(height, width), max(height, width)
    side = min(float(shortest), longest * short / long)
    sides = max(1, round(side)), max(1, int(side * long / short))
    return sides if height <= width else (sides[1], sides[0])
