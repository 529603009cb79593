"""Video files, read and written by the ffmpeg that comes with imageio-ffmpeg."""

import contextlib
import itertools
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hoijax.errors import UserError

__all__ = ["Video", "ffmpeg_executable", "read_video", "write_video"]


@dataclass(frozen=True)
class Video:
    """RGB frames and their rate."""

    frames: UInt8[ndarray, "T H W 3"]
    fps: float


def read_video(path: str | Path, max_frames: int | None = None) -> Video:
    """The first frames of a clip (all by default; fewer where it is shorter).

    Raises UserError where there is no such file, or none that ffmpeg can read.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no video {path}.")
    limit = [] if max_frames is None else ["-frames:v", str(max_frames)]
    # The header of this format states size and rate: "YUV4MPEG2 W480 H360 F30000:1001 ...".
    header = _decode(path, "-frames:v", "1", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe")
    fields = {word[:1]: word[1:] for word in header.split(b"\n", 1)[0].decode().split()[1:]}
    width, height = int(fields["W"]), int(fields["H"])
    numerator, denominator = (int(number) for number in fields["F"].split(":"))
    raw = _decode(path, *limit, "-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo")
    pixels = np.frombuffer(raw, np.uint8)
    if pixels.size == 0 or pixels.size % (height * width * 3) or not numerator:
        raise UserError(f"{path} holds no whole frame.")
    return Video(pixels.reshape(-1, height, width, 3).copy(), numerator / denominator)


def write_video(
    path: str | Path, frames: Iterable[UInt8[ndarray, "H W 3"]], fps: float, *, loss: int = 18
) -> Path:
    """H.264 (yuv420p, so that every browser plays it) at `fps`. loss: x264's constant rate factor, 0 for none.

    frames: an array of all, or what makes one after the other, which are encoded meanwhile. Raises
    UserError for odd sides and with ffmpeg's own message when it fails.
    """
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise UserError(f"a video needs even sides, not {width} x {height}")
    path = Path(path)
    command = [
        *(ffmpeg_executable(), "-y", "-loglevel", "error"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps)),
        *("-i", "-", "-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", str(loss)),
        *("-preset", "veryfast", "-movflags", "+faststart", str(path.resolve())),
    ]
    # not imageio_ffmpeg.write_frames: it forks with a hook, which JAX's threads warn about
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as encoder:
        try:
            said = _fed(encoder, itertools.chain([first], frames))
        except BaseException:
            encoder.kill()
            raise
    if encoder.returncode:
        raise UserError(f"ffmpeg could not write {path}: {said}")
    return path


def _fed(encoder: subprocess.Popen, frames: Iterable[ndarray]) -> str:
    """All frames to an encoder; what it says when it is done, or when it takes no more."""
    assert encoder.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        for frame in frames:
            encoder.stdin.write(frame.tobytes())
    return encoder.communicate()[1].decode(errors="replace").strip()


def ffmpeg_executable() -> str:
    """The ffmpeg that comes with imageio-ffmpeg."""
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def _decode(path: Path, *output: str) -> bytes:
    """What ffmpeg writes of the first video stream. The path is never read as an option or a URL."""
    source = ("-i", f"file:{path.resolve()}", "-map", "0:v:0")
    command = [ffmpeg_executable(), "-nostdin", "-loglevel", "error", *source, *output, "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(
            f"{path} is not a video that ffmpeg can read{': ' + reason[-1] if reason else ''}"
        )
    return done.stdout
