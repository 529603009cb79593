"""Files of the user that stand in for a stage: a picture, a clip, label pictures. Checked at the door."""

import re
import subprocess
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hoijax.errors import UserError
from priors.interfaces import Video
from priors.settings import GivenMasks

__all__ = ["encode_video", "read_image", "read_masks", "read_video"]

PARTS_FOLDER = "parts"


def read_image(path: Path) -> UInt8[ndarray, "H W 3"]:
    """An RGB picture. UserError where there is none."""
    from PIL import Image, UnidentifiedImageError

    _must_be_file(path, "--image")
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise UserError(f"--image {path}: cannot be read as a picture ({error}).") from error


def read_video(path: Path, frames: int) -> Video:
    """The first `frames` frames of a clip, or all of a shorter one. UserError where there is none."""
    _must_be_file(path, "--video")
    source = ["-i", str(path.absolute()), "-frames:v"]
    try:
        header = _ffmpeg([*source, "1", "-f", "yuv4mpegpipe", "-pix_fmt", "yuv420p", "-"])
        pictures = _ffmpeg([*source, str(frames), "-f", "image2pipe", "-c:v", "ppm", "-"])
        rate = re.match(rb"YUV4MPEG2 [^\n]*\bF(\d+):(\d+)", header)
        if rate is None or not pictures:
            raise RuntimeError("it holds no frame")
        return Video(_pictures(pictures), int(rate[1]) / int(rate[2]))
    except (RuntimeError, ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"--video {path}: cannot be read as a clip ({error}). Give an mp4, or another file that "
            "ffmpeg reads."
        ) from error


def _pictures(content: bytes) -> UInt8[ndarray, "T H W 3"]:
    """A row of binary PPM files."""
    frames, start = [], 0
    while start < len(content):
        header = re.compile(rb"P6\s+(\d+)\s+(\d+)\s+255\s").match(content, start)
        if header is None:
            raise ValueError("ffmpeg gave something else than pictures")
        width, height = int(header[1]), int(header[2])
        pixels = np.frombuffer(content, np.uint8, 3 * width * height, header.end())
        frames.append(pixels.reshape(height, width, 3))
        start = header.end() + 3 * width * height
    return np.stack(frames)


def _ffmpeg(arguments: list[str], content: bytes = b"") -> bytes:
    """What ffmpeg writes to its output. RuntimeError with its last words where it fails."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", *arguments]
    if content:
        command.remove("-nostdin")
    done = subprocess.run(command, input=content or None, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise RuntimeError(said[-1][:200])
    return done.stdout


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

    pictures = []
    for path in sorted(folder.glob("*.png")):
        try:
            with Image.open(path) as picture:
                if picture.mode not in ("L", "P", "1"):
                    raise UserError(
                        f"--masks {path}: has colours ({picture.mode}); label pictures are grey or "
                        "palette PNGs whose values are entity numbers."
                    )
                pictures.append(np.asarray(picture, np.uint8))
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise UserError(f"--masks {path}: cannot be read ({error}).") from error
    if not pictures:
        raise UserError(f"--masks {folder}: holds no PNG.")
    if len({picture.shape for picture in pictures}) > 1:
        raise UserError(f"--masks {folder}: the pictures have different sizes.")
    return np.stack(pictures)


def encode_video(video: Video, path: Path) -> None:
    """Write a clip as an mp4 for people to look at."""
    height, width = (side - side % 2 for side in video.frames.shape[1:3])  # as the codec needs
    pixels = np.ascontiguousarray(video.frames[:, :height, :width]).tobytes()
    form = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    written = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-y", str(path.absolute())]
    try:
        _ffmpeg([*form, "-r", f"{video.fps:g}", "-i", "-", *written], pixels)
    except RuntimeError as error:
        raise UserError(f"the clip cannot be written to {path} ({error}).") from error


def _must_be_file(path: Path, flag: str) -> None:
    if not path.is_file():
        raise UserError(f"{flag} {path}: there is no such file.")
