"""A photograph's two meshes, and where it shows them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray


@dataclass(frozen=True)
class PhotoMesh:
    """A mesh; the person's in the camera (OpenCV axes, metres), the object's in any frame and unit."""

    vertices: Float[ndarray, "V 3"]
    faces: Int[ndarray, "F 3"]


@dataclass(frozen=True)
class PhotoMasks:
    """Where a photograph shows what."""

    person: Bool[ndarray, "H W"]
    object_: Bool[ndarray, "H W"]
    occluders: tuple[Bool[ndarray, "H W"], ...] = ()
    """What else stands in front of either."""

    @property
    def occluded(self) -> Bool[ndarray, "H W"]:
        """Where any occluder is."""
        return np.any([np.zeros_like(self.person), *self.occluders], axis=0)


def moved(points: Float[ndarray, "N 3"], T: Float[ndarray, "4 4"]) -> Float[ndarray, "N 3"]:
    """Points under a similarity, in the precision they come in."""
    return points @ T[:3, :3].T + T[:3, 3]


def mask_iou(
    drawn: Bool[ndarray, "H W"],
    mask: Bool[ndarray, "H W"],
    hidden: Bool[ndarray, "H W"] | None = None,
) -> float:
    """Intersection over union of two masks, where nothing in front hides the answer."""
    if hidden is not None:
        drawn, mask = drawn & ~hidden, mask & ~hidden
    return float((drawn & mask).sum() / max((drawn | mask).sum(), 1))


def visible_ious(labels: UInt8[ndarray, "H W"], masks: PhotoMasks) -> tuple[float, float]:
    """IoU with its mask of what the camera sees of the person (1) and of the object (2).

    Nothing counts behind occluders, nor where the other's mask says that it is in front and it was not
    drawn there: clothes that a bare body lacks.
    """
    person, object_ = labels == 1, labels == 2
    occluded = masks.occluded
    return (
        mask_iou(person, masks.person, occluded | (masks.object_ & ~object_)),
        mask_iou(object_, masks.object_, occluded | (masks.person & ~person)),
    )
