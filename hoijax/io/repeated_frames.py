"""Frames that repeat the one before: footage at one rate stored at a higher one (24 a second at 30).

Seen as motion, every fifth frame stands still and the next one leaps. Where they come regularly they are left
out, and the rate is that of the footage; others keep their time.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from hoijax.io.video import Video
from hoijax.progress import Log

__all__ = ["Footage", "footage_of", "without_repeats"]

PIXEL_STEP = 4
"""Every fourth row and column is compared."""
AROUND, USUAL = 6, 75
"""Frames on both sides, and percentile, of the usual difference between a frame and the one before."""
ALIKE, SURELY = 0.25, 0.1
"""Of the usual difference: what a repeated frame still shows (codecs); and one that comes irregularly."""
STILL = 0.3
"""Gray levels: where pictures usually differ by less nothing moves, and nothing tells repeats."""
CYCLES = (2, 3, 4, 5, 6)
REGULAR, STRAY = 0.8, 0.05
"""Share of the frames of a cycle's turn that are repeats, at least, and of all others, at most."""
FEWEST = 4
"""Turns of a cycle."""


@dataclass(frozen=True)
class Footage:
    """What of a clip is footage."""

    frames: Int[ndarray, " N"]
    """Numbers of the clip's frames that are; the repeats that come regularly are missing."""
    cycle: int | None
    """One frame of so many is a repeat."""
    strays: int
    """Repeats that come irregularly, and are kept."""

    def rate(self, fps: float) -> float:
        """Frames a second of the footage, of those of the clip."""
        return fps if self.cycle is None else fps * (self.cycle - 1) / self.cycle

    def position(self, frame: int) -> int:
        """Where a frame of the clip, or the one that it repeats, is among the footage's."""
        return int(np.searchsorted(self.frames, frame, side="right")) - 1


def footage_of(frames: UInt8[ndarray, "T H W 3"]) -> Footage:
    """Which frames of a clip are no repeats."""
    shares = _differences(frames)
    everything = np.arange(len(frames))
    for cycle in CYCLES:
        for turn in range(cycle):
            within = np.zeros(len(shares), bool)
            within[turn::cycle] = True
            if within.sum() >= FEWEST and _is_regular(shares, within):
                footage = everything[~np.concatenate([[False], within])]
                return Footage(footage, cycle, 0)
    return Footage(everything, None, int((shares < SURELY).sum()))


def without_repeats(video: Video, *, keep: bool, log: Log) -> tuple[Video, Footage]:
    """The clip without frames that repeat others regularly; what repeats is said."""
    footage = footage_of(video.frames)
    if footage.strays:
        repeat = "frame repeats" if footage.strays == 1 else "frames repeat"
        log(f"video: {footage.strays} {repeat} the one before; motion halts there")
    if footage.cycle is None:
        return video, footage
    rate = footage.rate(video.fps)
    what = f"video: one of {footage.cycle} frames repeats the one before"
    if keep:
        log(f"{what}, and stays, as other files and pieces count frames")
        return video, Footage(np.arange(len(video.frames)), None, 0)
    log(f"{what}; left out, {len(footage.frames)} frames at {rate:.4g} a second remain")
    return Video(np.ascontiguousarray(video.frames[footage.frames]), rate), footage


def _is_regular(shares: Float[ndarray, " t"], within: Bool[ndarray, " t"]) -> bool:
    known = ~np.isnan(shares)
    if (within & known).sum() < FEWEST:
        return False
    repeats = shares[known] < ALIKE
    inside = within[known]
    return bool(repeats[inside].mean() >= REGULAR and repeats[~inside].mean() <= STRAY)


def _differences(frames: UInt8[ndarray, "T H W 3"]) -> Float[ndarray, " t"]:
    """How much of the usual change each frame but the first shows; nan where nothing moves."""
    small = frames[:, ::PIXEL_STEP, ::PIXEL_STEP]
    pairs = itertools.pairwise(small)
    change = np.array([np.abs(b.astype(np.int16) - a).mean() for a, b in pairs])
    around = [change[max(t - AROUND, 0) : t + AROUND + 1] for t in range(len(change))]
    usual = np.array([np.percentile(some, USUAL) for some in around])
    return np.where(usual > STILL, change / np.maximum(usual, STILL), np.nan)
