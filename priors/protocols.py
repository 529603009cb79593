"""What every frozen prior takes and returns: one protocol a role, plain numpy between them.

Stages know these protocols, never a model; a model's module knows nothing of stages. Images are
uint8 RGB. Pixels are (u right, v down) with the center of the top-left pixel at (0.5, 0.5). Points
are in the camera's axes (OpenCV: x right, y down, z forward), metres as far as the model knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from hoijax.io.video import Video

__all__ = [
    "WHOLE_FILE",
    "BodyMotion",
    "BodyRecovery",
    "ClipOrigin",
    "Detection",
    "Detector",
    "GeometryModel",
    "HandModel",
    "Hint",
    "ImageModel",
    "ImageTextScore",
    "KeypointModel",
    "Model",
    "ModelId",
    "PointMaps",
    "Prompt",
    "Tracks",
    "Video",
    "VideoModel",
    "VideoSegmenter",
    "VideoTextScore",
]


@dataclass(frozen=True)
class ModelId:
    """Where weights come from; part of every cache key and of a bundle's provenance."""

    name: str
    """Hub id ("facebook/sam2.1-hiera-large") or the path of a local directory."""
    revision: str | None = None
    """Pinned commit of the hub repository; None for a local directory or a packaged model."""


class Model(Protocol):
    """Every prior says what it is."""

    @property
    def model_id(self) -> ModelId: ...


@dataclass(frozen=True)
class Detection:
    """One box found for one of the asked phrases."""

    phrase: int
    """Index into the phrases asked for."""
    box: Float[ndarray, " 4"]
    """Left, top, right, bottom in pixels."""
    score: float


@dataclass(frozen=True)
class Prompt:
    """What to track: a mask of one entity in one frame, or a box, points, or both."""

    frame: int
    box: Float[ndarray, " 4"] | None = None
    mask: Bool[ndarray, "H W"] | None = None
    points: Float[ndarray, "N 3"] | None = None
    """u, v in pixels, and +1 on the entity or -1 beside it."""
    more: tuple["Prompt", ...] = ()
    """The same entity in further frames."""
    is_person: bool = False
    hint: str = ""
    """What the user calls it."""

    @property
    def all(self) -> tuple["Prompt", ...]:
        """This prompt and those of further frames."""
        return (self, *self.more)


@dataclass(frozen=True)
class ClipOrigin:
    """How the frames that are observed come from the clip's file."""

    scale: float = 1.0
    """Side of a frame over that of the file's."""
    motions: Float[ndarray, "T 3 3"] | None = None
    """Homographies from its pixels to those of the frames before they were steadied; None: they stayed."""
    frames: Int[ndarray, " T"] | None = None
    """Their numbers in what was read; None: all of it."""


WHOLE_FILE = ClipOrigin()
"""Frames and pixels are those of the file."""


@dataclass(frozen=True)
class Hint:
    """An object or a person in one frame."""

    object: str
    frame: int
    box: tuple[float, float, float, float] | None = None
    """Left, top, width, height in pixels."""
    points: tuple[tuple[float, float, int], ...] = ()
    """u, v in pixels; +1 on the object, -1 beside it."""
    text: str = field(default="", compare=False)
    """As the user wrote it, in frames and pixels of the file."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"--hint {self.text or f'{self.object}={self.frame}'}"

    def scaled(self, scale: float) -> "Hint":
        """In the pixels of a clip that was made smaller."""
        box = None if self.box is None else tuple(scale * x for x in self.box)
        points = tuple((scale * u, scale * v, sign) for u, v, sign in self.points)
        return replace(self, box=box, points=points)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Tracks:
    """Masks of every prompted entity in every frame; a lost entity has an empty mask."""

    masks: Bool[ndarray, "N T H W"]
    scores: Float[ndarray, "N T"]
    """Confidence in [0, 1] that the entity is in the frame."""


@dataclass(frozen=True)
class PointMaps:
    """Per-pixel 3D in each frame's camera."""

    points: Float[ndarray, "T H W 3"]
    valid: Bool[ndarray, "T H W"]
    """False on depth edges and where the model says nothing (sky)."""
    intrinsics: Float[ndarray, "T 3 3"]
    """Pixels of the given frames."""

    @classmethod
    def unknown(cls, intrinsics: Float[ndarray, "T 3 3"], height: int, width: int) -> "PointMaps":
        """Maps that say nothing, of a clip without a geometry model."""
        shape = (len(intrinsics), height, width)
        points = np.broadcast_to(np.zeros(3, np.float32), (*shape, 3))
        return cls(points, np.broadcast_to(np.zeros((), bool), shape), intrinsics)


@dataclass(frozen=True)
class BodyMotion:
    """One person over time, as in `Observations` (SMPL-X conventions, world y up, ground y = 0)."""

    rotations: Float[ndarray, "T 55 3"]
    translations: Float[ndarray, "T 3"]
    betas: Float[ndarray, " B"]
    rest_joints: Float[ndarray, "55 3"]
    Ts_world_camera: Float[ndarray, "T 4 4"]


@runtime_checkable
class ImageModel(Model, Protocol):
    """Text to images (FLUX.1)."""

    def generate(
        self, prompt: str, *, height: int, width: int, seeds: Sequence[int]
    ) -> UInt8[ndarray, "N H W 3"]:
        """One image a seed."""
        ...


@runtime_checkable
class VideoModel(Model, Protocol):
    """Image and text to video (CogVideoX, FramePack, Wan)."""

    def generate(
        self, image: UInt8[ndarray, "H W 3"], prompt: str, *, frames: int, seed: int
    ) -> Video: ...


@runtime_checkable
class Detector(Model, Protocol):
    """Open-vocabulary boxes (Grounding DINO, a VLM)."""

    def detect(self, image: UInt8[ndarray, "H W 3"], phrases: Sequence[str]) -> list[Detection]:
        """All boxes over the model's threshold, best first."""
        ...


@runtime_checkable
class VideoSegmenter(Model, Protocol):
    """Mask propagation (SAM 2)."""

    def track(self, frames: UInt8[ndarray, "T H W 3"], prompts: Sequence[Prompt]) -> Tracks: ...


@runtime_checkable
class GeometryModel(Model, Protocol):
    """Monocular geometry (MoGe, Depth Pro, Depth Anything)."""

    def point_maps(
        self,
        frames: UInt8[ndarray, "T H W 3"],
        intrinsics: Float[ndarray, "T 3 3"] | None = None,
    ) -> PointMaps: ...


@runtime_checkable
class KeypointModel(Model, Protocol):
    """2D keypoints of one person (ViTPose, BlazePose)."""

    def keypoints(
        self,
        frames: UInt8[ndarray, "T H W 3"],
        boxes: Float[ndarray, "T 4"],
        present: Bool[ndarray, " T"],
    ) -> Float[ndarray, "T 18 3"]:
        """OpenPose-18: u, v, confidence; confidence 0 where the person is not present or not found."""
        ...


@runtime_checkable
class LiftingKeypointModel(KeypointModel, Protocol):
    """2D keypoints, and how far each lies behind the others (BlazePose)."""

    def lifted_keypoints(
        self,
        frames: UInt8[ndarray, "T H W 3"],
        boxes: Float[ndarray, "T 4"],
        present: Bool[ndarray, " T"],
    ) -> Float[ndarray, "T 18 4"]:
        """As `keypoints`, and metres behind the person's middle along the view; NaN where not found."""
        ...


@runtime_checkable
class BodyRecovery(Model, Protocol):
    """Body motion of one person in the world (GVHMR, or our own fit)."""

    def recover(
        self,
        video: Video,
        keypoints: Float[ndarray, "T 18 3"],
        person_masks: Bool[ndarray, "T H W"],
        maps: PointMaps,
        other_masks: Bool[ndarray, "T H W"] | None = None,
        lifts: Float[ndarray, "T 18"] | None = None,
    ) -> BodyMotion:
        """other_masks: all other people and the objects, none of which is ground. lifts: metres by which
        keypoints lie behind the person's middle, NaN where unknown."""
        ...


@runtime_checkable
class HandModel(Model, Protocol):
    """Both hands of one person (MediaPipe's hand landmarks)."""

    def hands(
        self, frames: UInt8[ndarray, "T H W 3"], keypoints: Float[ndarray, "T 18 3"]
    ) -> Float[ndarray, "T 2 21 4"]:
        """x, y, z in metres from the hand's middle, camera axes, and the hand's probability (0: not found),
        of MediaPipe's 21 points; left hand first."""
        ...


@runtime_checkable
class ImageTextScore(Model, Protocol):
    """Similarity of images and a text (CLIP): cosine, in [-1, 1]."""

    def score(self, images: UInt8[ndarray, "N H W 3"], text: str) -> Float[ndarray, " N"]: ...


@runtime_checkable
class VideoTextScore(Model, Protocol):
    """Similarity of clips and a text (X-CLIP): cosine, in [-1, 1]."""

    def score(self, videos: Sequence[Video], text: str) -> Float[ndarray, " N"]: ...
