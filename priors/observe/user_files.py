"""Files of the user that stand in for a stage: a picture, a clip, label pictures. Checked at the door."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.io.video import Video, write_video
from priors.settings import GivenMasks

__all__ = ["encode_video", "read_image", "read_masks"]

PARTS_FOLDER = "parts"


def read_image(path: Path) -> UInt8[ndarray, "H W 3"]:
    """An RGB picture. UserError where there is none."""
    from PIL import Image, UnidentifiedImageError

    _must_be_file(path, "--image")
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise UserError(f"--image {path}: cannot be read as a picture ({error}).") from error


def encode_video(video: Video, path: Path) -> None:
    """Write a clip as an mp4 for people to look at, its sides cut to even ones."""
    height, width = (side - side % 2 for side in video.frames.shape[1:3])  # as the codec needs
    write_video(path, np.ascontiguousarray(video.frames[:, :height, :width]), video.fps)


def read_masks(folder: Path) -> GivenMasks:
    """Label pictures of a folder, one a frame, in the order of their names.

    Grey or palette PNGs whose values are 0 background, 1..P people, then the objects in the order of
    --objects. A folder `parts` in it may hold pictures of part numbers: 0 none, q for the object's
    q-th part.
    """
    if not folder.is_dir():
        raise UserError(f"--masks {folder}: there is no such folder of label pictures.")
    labels = _labels(folder)
    parts_folder = folder / PARTS_FOLDER
    if not parts_folder.is_dir():
        return GivenMasks(labels)
    parts = _labels(parts_folder)
    if parts.shape != labels.shape:
        raise UserError(
            f"--masks {parts_folder}: {len(parts)} pictures of {parts.shape[2]} x {parts.shape[1]}, "
            f"but {len(labels)} of {labels.shape[2]} x {labels.shape[1]} beside it."
        )
    return GivenMasks(labels, parts.astype(np.int16) - 1)


def _labels(folder: Path) -> UInt8[ndarray, "T H W"]:
    from PIL import Image, UnidentifiedImageError

    images = []
    for path in sorted(folder.glob("*.png")):
        try:
            with Image.open(path) as image:
                if image.mode not in ("L", "P", "1"):
                    raise UserError(
                        f"--masks {path}: has colors ({image.mode}); label pictures are grey or "
                        "palette PNGs whose values are entity numbers."
                    )
                images.append(np.asarray(image, np.uint8))
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise UserError(f"--masks {path}: cannot be read ({error}).") from error
    if not images:
        raise UserError(f"--masks {folder}: holds no PNG.")
    if len({image.shape for image in images}) > 1:
        raise UserError(f"--masks {folder}: the pictures have different sizes.")
    return np.stack(images)


def _must_be_file(path: Path, flag: str) -> None:
    if not path.is_file():
        raise UserError(f"{flag} {path}: there is no such file.")
