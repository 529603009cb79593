"""Colors of an object, of what is around it, and of the scene without it (CIELAB of 8 bits)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from numpy import ndarray

from hoijax.geometry.thinning import thinned
from priors.models.object_cut import grow, opencv, shrink

__all__ = [
    "OTHER",
    "SAME",
    "Background",
    "ObjectColors",
    "background_of",
    "color_difference",
    "lab_of",
    "shadow",
]

BINS = (12, 16, 16)
"""Of lightness and the two color axes of CIELAB."""
HISTOGRAM_BLUR, HISTOGRAM_FLOOR = 0.7, 2e-5
LIGHTNESS_WEIGHT = 0.6
"""In color differences: shadows change lightness."""
SAME, OTHER = 8.0, 14.0
"""Color difference to the background below which a pixel is background, above which it hardly is."""


@dataclass(frozen=True)
class Background:
    """The scene without what moves, of a static camera."""

    lab: UInt8[ndarray, "H W 3"]


def background_of(frames: UInt8[ndarray, "T H W 3"], count: int = 31) -> Background:
    """The median of frames spread over the clip."""
    return Background(lab_of(np.median(thinned(frames, count), axis=0).astype(np.uint8)))


@dataclass(frozen=True)
class ObjectColors:
    """How likely a color is on the object and elsewhere in the hint's frame."""

    on: Float32[ndarray, " B"]
    off: Float32[ndarray, " B"]

    @classmethod
    def of(cls, lab: UInt8[ndarray, "H W 3"], mask: Bool[ndarray, "H W"]) -> "ObjectColors":
        inner = shrink(mask, 2.0)
        on = inner if inner.sum() > 50 else mask
        return cls(_histogram(lab[on]), _histogram(lab[~grow(mask, 3.0)]))

    def mixed(self, other: "ObjectColors", fraction: float) -> "ObjectColors":
        """With a fraction of others, of a later frame: light and surroundings change."""
        return ObjectColors(
            (1 - fraction) * self.on + fraction * other.on,
            (1 - fraction) * self.off + fraction * other.off,
        )

    def log_ratio(self, lab: UInt8[ndarray, "H W 3"]) -> Float32[ndarray, "H W"]:
        ratio = np.log((self.on + HISTOGRAM_FLOOR) / (self.off + HISTOGRAM_FLOOR))
        return ratio[_bins(lab)]


def lab_of(image: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "H W 3"]:
    cv2 = opencv()
    return cv2.cvtColor(image, cv2.COLOR_RGB2LAB)


def _bins(lab: UInt8[ndarray, "... 3"]) -> Int[ndarray, "..."]:
    index = lab.astype(np.int32) * np.array(BINS) // 256
    return (index[..., 0] * BINS[1] + index[..., 1]) * BINS[2] + index[..., 2]


def _histogram(lab: UInt8[ndarray, "N 3"]) -> Float32[ndarray, " B"]:
    """Probability of every color bin, neighbors blurred into each other."""
    from scipy.ndimage import gaussian_filter

    counts = np.bincount(_bins(lab), minlength=int(np.prod(BINS))).astype(np.float32)
    blurred = gaussian_filter(counts.reshape(BINS), HISTOGRAM_BLUR)
    return (blurred / max(float(blurred.sum()), 1.0)).ravel()


def color_difference(lab: ndarray, other: ndarray) -> Float32[ndarray, "H W"]:
    """Color difference of two images, averaged over 3 x 3."""
    difference = lab.astype(np.float32) - other
    difference[..., 0] *= LIGHTNESS_WEIGHT
    return opencv().blur(np.linalg.norm(difference, axis=-1), (3, 3))


def shadow(lab: ndarray, empty: ndarray) -> Bool[ndarray, "H W"]:
    """Where an image is darker than the empty background and of its colors, averaged over 3 x 3."""
    change = opencv().blur(lab.astype(np.float32) - empty, (3, 3))
    return (change[..., 0] < 0) & (np.linalg.norm(change[..., 1:], axis=-1) < SAME)
