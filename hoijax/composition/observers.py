"""The frozen models that a composition asks."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.composition.fields.guidance import Guidance, ViewCameras


@runtime_checkable
class Segmenter(Protocol):
    """Which pixels of images show the person (HUMAN) and which the object (OBJECT)."""

    def __call__(
        self, images: Float[ndarray, "N H W 3"], cameras: ViewCameras, /
    ) -> Int[ndarray, "N H W"]: ...


@runtime_checkable
class SkeletonDetector(Protocol):
    """OpenPose-18 keypoints of the one person in images: u, v, confidence."""

    def __call__(
        self, images: Float[ndarray, "N H W 3"], cameras: ViewCameras, /
    ) -> Float[ndarray, "N 18 3"]: ...


@dataclass(frozen=True)
class Observers:
    """The frozen models of a composition."""

    guidance: Guidance
    segment: Segmenter
    detect: SkeletonDetector
