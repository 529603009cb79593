"""What a run of the prior stages is asked for, and with which settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import Int, UInt8
from numpy import ndarray

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.errors import UserError
from hoijax.importers.intrinsics import GivenIntrinsics
from hoijax.objects.asset import Asset
from priors.protocols import WHOLE_FILE, ClipOrigin, Hint, Video

__all__ = ["FEWEST_FRAMES", "GivenMasks", "LanguageSettings", "ObserveSettings", "Request"]

FEWEST_FRAMES = 3


@dataclass(frozen=True)
class GivenMasks:
    """Masks made by the user, in place of the detector's and the segmenter's."""

    instance_ids: UInt8[ndarray, "T H W"]
    """0 background, 1..P people, P+1..P+O objects in the order of --objects."""
    part_ids: Int[ndarray, "T H W"] | None = None
    """Part index of the object seen, -1 none."""

    def of_frames(self, entries: Int[ndarray, " T"]) -> "GivenMasks":
        """Those of some frames."""
        parts = None if self.part_ids is None else self.part_ids[entries]
        return GivenMasks(self.instance_ids[entries], parts)


@dataclass(frozen=True)
class Request:
    """One scene to observe; files of the user stand in for stages."""

    text: str
    assets: tuple[Asset, ...]
    pag: PartAffordanceGraph | None = None
    image: UInt8[ndarray, "H W 3"] | None = None
    video: Video | None = None
    masks: GivenMasks | None = None
    hints: tuple[Hint, ...] = ()
    """Where objects are, in place of a detector, and which people are meant; in pixels of the clip."""
    origin: ClipOrigin = WHOLE_FILE
    """How the clip comes from its file."""
    intrinsics: GivenIntrinsics | None = None
    """Of the clip, in place of what a geometry model thinks."""
    sources: Mapping[str, Any] = field(default_factory=dict)
    """Files in place of models, by role; each has the protocol of its role, and `check_clip`."""


@dataclass(frozen=True)
class LanguageSettings:
    """How a language model is asked; part of the key of its answers."""

    temperature: float = 0.6
    """HOI-PAGE's."""
    tries: int = 3
    """Answers asked for until one is valid; problems are fed back from the second on."""
    max_tokens: int = 16384
    """Longest answer; reasoning models think within it."""
    coordinates: Literal["auto", "thousandths", "pixels"] = "auto"
    """In what a vision model that is asked for boxes counts; "auto" goes by the model's name."""
    structured: Literal["schema", "plain schema", "json", "none"] = "schema"
    """How the endpoint is told the form: its JSON schema, that in the keywords all providers know,
    only "a JSON object", or in the prompt. Falls back by itself where an endpoint refuses."""


@dataclass(frozen=True)
class ObserveSettings:
    """Numbers of the stages; where they run and which models they use is not in here."""

    frames: int = 49
    height: int = 480
    width: int = 720
    seed: int = 0
    image_tries: int = 20
    image_candidates: int = 5
    image_thresholds: tuple[float, float] = field(default=(10.0, 8.0))
    """Pose score an image must reach, before and after half of the tries (of 14)."""
    frames_searched: int = 8
    """Frames, spread over the clip, in which people and objects are looked for."""

    def check(self) -> "ObserveSettings":
        """These settings; UserError for numbers that nothing can be made with."""
        counts = {
            "frames": (self.frames, FEWEST_FRAMES),
            "height": (self.height, 16),
            "width": (self.width, 16),
            "image_tries": (self.image_tries, 1),
            "image_candidates": (self.image_candidates, 1),
            "frames_searched": (self.frames_searched, 1),
        }
        for name, (value, least) in counts.items():
            if value < least:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} must be at least {least}, got {value}.")
        if not 0 <= self.seed < 2**31:
            raise UserError(f"--seed must be from 0 to {2**31 - 1}, got {self.seed}.")
        return self
