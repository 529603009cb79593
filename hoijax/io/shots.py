"""Hard cuts in a clip: a motion is of one shot."""

import itertools

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.io.video import Video

__all__ = ["check_one_shot", "cuts_of"]

SIDE = 32
"""Cells a side of the small images that are compared."""
APART = 0.12
"""Of black to white, mean over a small image: frames of two shots differ by more. On six filmed clips a
camera that pans or is handled makes up to 0.08 of neighbors, five cuts 0.18 to 0.32."""
ALONE = 2.0
"""Times the change of the frames before and after: a flash changes two in a row, a quick pan many."""


def cuts_of(frames: UInt8[ndarray, "T H W 3"]) -> list[int]:
    """First frame of every shot but the first."""
    if len(frames) < 2:
        return []
    small = np.stack([_small(image) for image in frames])
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
    padded = np.pad(change, 1)
    beside = np.maximum(padded[:-2], padded[2:])
    return (np.flatnonzero((change > APART) & (change > ALONE * beside)) + 1).tolist()


def check_one_shot(video: Video, start: float = 0.0) -> None:
    """Raises UserError for a clip of several shots, with the longest of them as `--seconds` takes it.

    start: seconds at which the clip begins in its file.
    """
    cuts = cuts_of(video.frames)
    if not cuts:
        return
    shots = itertools.pairwise([0, *cuts, len(video.frames)])
    length, first = max((after - first, first) for first, after in shots)
    # Between two frames, so that neither rounding nor resampling takes one of the next shot.
    begin = start + (first - 0.5) / video.fps if first else start
    end = start + (first + length - 0.5) / video.fps
    at = ", ".join(f"{start + cut / video.fps:.2f}" for cut in cuts[:6])
    raise UserError(
        f"the clip is cut {len(cuts)} time{'' if len(cuts) == 1 else 's'} (at {at}"
        f"{' ...' if len(cuts) > 6 else ''} s); a motion is of one shot. Give one of them, the longest with "
        f"--seconds {begin:.2f}:{end:.2f}; or --camera static to take the clip as one shot."
    )


def _small(image: UInt8[ndarray, "H W 3"]) -> Float[ndarray, "h w 3"]:
    """Means over cells, 0 to 1."""
    height, width = (max(side // SIDE, 1) for side in image.shape[:2])
    rows, columns = image.shape[0] // height, image.shape[1] // width
    cells = image[: rows * height, : columns * width].reshape(rows, height, columns, width, 3)
    return cells.mean(axis=(1, 3)) / 255.0
