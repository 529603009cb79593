"""Photographs: image files that hold one image."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.io.clip_intake import MAX_SIDE, Clip
from hoijax.io.video import Video
from hoijax.progress import Log, silent

__all__ = ["clip_of_photograph", "is_photograph", "read_photograph"]


def is_photograph(path: str | Path) -> bool:
    """Whether a file is an image, and only one: an animated one is a clip."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) == 1
    except (UnidentifiedImageError, OSError, ValueError):
        return False


def read_photograph(path: str | Path, what: str = "") -> UInt8[ndarray, "H W 3"]:
    """Its pixels, turned upright as its metadata say. what: the flag that named it, for a UserError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        where = f"{what} {path}".strip()
        raise UserError(f"{where}: cannot be read as an image ({error}).") from error


def clip_of_photograph(path: str | Path, *, log: Log = silent) -> tuple[Clip, tuple[int, int]]:
    """(a clip of one frame whose longer side is at most `MAX_SIDE`, the photograph's width and height)."""
    from PIL import Image

    image = read_photograph(path)
    height, width = image.shape[:2]
    scale = min(1.0, MAX_SIDE / max(width, height))
    if scale < 1:
        size = round(scale * width), round(scale * height)
        log(f"photograph: resized from {width} x {height} to {size[0]} x {size[1]} pixels")
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    return Clip(Video(image[None].copy(), 1.0), scale), (width, height)
