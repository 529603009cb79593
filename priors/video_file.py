"""Read a video file with the ffmpeg that comes with imageio-ffmpeg."""

import subprocess
from pathlib import Path

import numpy as np

from hoijax.errors import UserError
from priors.interfaces import Video
from priors.torch_runtime import require

__all__ = ["read_clip"]


def read_clip(path: str | Path) -> Video:
    """All frames of a video file. UserError where it is missing or ffmpeg cannot read it."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no video {path}")
    # The header of this format states size and rate: "YUV4MPEG2 W480 H360 F30000:1001 ...".
    header = _ffmpeg(path, "-frames:v", "1", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe")
    fields = {word[:1]: word[1:] for word in header.split(b"\n", 1)[0].decode().split()[1:]}
    width, height = int(fields["W"]), int(fields["H"])
    above, below = (int(number) for number in fields["F"].split(":"))
    raw = _ffmpeg(path, "-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo")
    frames = np.frombuffer(raw, np.uint8)
    if frames.size == 0 or frames.size % (height * width * 3):
        raise UserError(f"{path} holds no whole frame")
    return Video(frames.reshape(-1, height, width, 3).copy(), above / below)


def _ffmpeg(path: Path, *output: str) -> bytes:
    """What ffmpeg writes of the first video stream. The path is never read as an option or a URL."""
    ffmpeg = require("imageio_ffmpeg", remedy="pip install imageio-ffmpeg")
    source = ("-i", f"file:{path.resolve()}", "-map", "0:v:0")
    command = [ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", *source, *output, "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(
            f"{path} is not a video that ffmpeg can read{': ' + reason[-1] if reason else ''}"
        )
    return done.stdout
