"""A clip of the user made ready to be observed: upright, at a steady rate, of bounded size and length.

What is done to it is said; what cannot be read is refused before any work starts.
"""

import math
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hoijax.errors import UserError
from hoijax.io.video import Video, ffmpeg_executable
from hoijax.progress import Log, silent

__all__ = ["Clip", "clip_length", "parse_seconds", "read_clip"]

MAX_FPS = 31.0
"""Frames a second that are read; of faster clips every second, third ... frame."""
MAX_SIDE = 1280
"""Pixels: longer side of the frames that are read."""
MAX_BYTES = 1.5e9
"""Of all frames together, as they lie in memory."""
MIN_FRAMES = 3
_STREAM = re.compile(r"Stream #\d+:\d+.*?: Video: (?P<facts>.*)")
_ALPHA = ("rgba", "bgra", "argb", "abgr", "yuva", "gbrap", "ya8", "ya16", "pal8")
_ALPHA_BESIDE = re.compile(r"alpha_mode\s*: 1", re.IGNORECASE)
"""WebM keeps transparency in a stream of its own, which is not decoded."""
_HDR = {"smpte2084": "HDR10 (PQ)", "arib-std-b67": "HLG"}
_TONE_MAP = (
    "zscale=t=linear:npl=100,tonemap=hable,zscale=p=bt709:t=bt709:m=bt709:r=tv,format=yuv420p"
)


@dataclass(frozen=True)
class Clip:
    """Frames as they are observed."""

    video: Video
    scale: float
    """Side of a frame over that of the file's."""
    resampled: bool = False
    """Whether its frames are others than the file's: at a steady rate, or not all of a fast one."""


@dataclass(frozen=True)
class _Facts:
    """What a file says of its first video stream, and how many frames it should have."""

    width: int
    height: int
    fps: float
    seconds: float | None
    hdr: str | None
    turned: bool
    transparent: bool


def parse_seconds(text: str) -> tuple[float, float]:
    """ "10:16.5" to (10.0, 16.5). UserError for anything else."""
    try:
        start, end = (float(part) for part in text.split(":"))
    except ValueError:
        start, end = 0.0, 0.0
    if not 0 <= start < end < math.inf:
        raise UserError(
            f"--seconds {text}: cannot be read. Write START:END in seconds, as 10:16.5."
        )
    return start, end


def _check_is_file(path: Path) -> None:
    """UserError for what is missing or a folder."""
    if path.is_dir():
        raise UserError(
            f"{path} is a folder. Make a clip of its images: ffmpeg -framerate 25 -i {path}/%05d.png -crf 15 out.mp4"
        )
    if not path.is_file():
        raise UserError(f"there is no video {path}.")


def clip_length(path: str | Path) -> tuple[float, float]:
    """(seconds, frames a second as `read_clip` reads them) of a video. UserError where it does not say."""
    path = Path(path)
    _check_is_file(path)
    facts = _facts(path)
    if facts.seconds is None:
        raise UserError(f"{path} does not say how long it is; convert it: {_CONVERT}")
    return facts.seconds, facts.fps / math.ceil(facts.fps / MAX_FPS)


def read_clip(
    path: str | Path,
    *,
    frames: int | None = None,
    seconds: tuple[float, float] | None = None,
    log: Log = silent,
) -> Clip:
    """The first `frames` frames (all by default) of a clip, or of the part between two times.

    Turned as its metadata say, at a steady rate of at most `MAX_FPS`, its longer side at most
    `MAX_SIDE`, without transparency, tone-mapped from HDR. UserError for files without a video stream,
    for fewer than three frames, and for more than fit into `MAX_BYTES`.
    """
    path = Path(path)
    _check_is_file(path)
    span = seconds or (0.0, math.inf)
    facts = _facts(path)
    if facts.seconds is not None and span[0] >= facts.seconds:
        raise UserError(f"--seconds {span[0]:g}:{span[1]:g}: {path} ends at {facts.seconds:g} s.")
    rate, resampled, filters = _conversions(path, facts, span, log)
    scale = min(1.0, MAX_SIDE / max(facts.width, facts.height))
    width, height = round(scale * facts.width), round(scale * facts.height)
    if scale < 1:
        log(f"video: resized from {facts.width} x {facts.height} to {width} x {height} pixels")
        filters.append(f"scale={width}:{height}:flags=area")
    most = int(MAX_BYTES / (3 * width * height))
    expected = math.inf
    if facts.seconds is not None:
        expected = (min(span[1], facts.seconds) - span[0]) * rate
    if frames is None and math.isfinite(expected) and expected > most:
        raise _too_long(path, f"{expected:.0f}", most, rate)
    limit = ["-frames:v", str(most + 1 if frames is None else frames)]
    chain = ["-vf", ",".join(filters)] if filters else []
    raw = _run(path, span, *chain, *limit, "-pix_fmt", "rgb24", "-f", "rawvideo")
    size = width * height * 3
    if len(raw) % size:
        raise UserError(f"{path} changes its size on the way; convert it: {_CONVERT}")
    if len(raw) > size * most:
        raise _too_long(path, f"more than {most}", most, rate)
    images = np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3).copy()
    if len(images) < MIN_FRAMES:
        raise UserError(
            f"{path} has {len(images)} frame{'' if len(images) == 1 else 's'}"
            f"{'' if seconds is None else ' there'}, a motion needs at least {MIN_FRAMES}."
            f"{' For a photograph there is `hoijax align`.' if len(images) == 1 else ''}"
        )
    return Clip(Video(images, rate), scale, resampled)


_CONVERT = "ffmpeg -i CLIP -c:v libx264 -pix_fmt yuv420p out.mp4"


def _facts(path: Path) -> _Facts:
    """Read off what ffmpeg prints of a file. UserError where it has no moving images."""
    command = [ffmpeg_executable(), "-nostdin", "-hide_banner", "-i", f"file:{path.resolve()}"]
    done = subprocess.run(command, capture_output=True, check=False)
    text = done.stderr.decode(errors="replace")
    streams = [m["facts"] for m in _STREAM.finditer(text)]
    moving = [facts for facts in streams if "(attached pic)" not in facts]
    if not moving:
        if streams or ": Audio: " in text:
            raise UserError(f"{path} holds sound but no moving images. Give a video.")
        last = (text.strip().splitlines() or [""])[-1]
        raise UserError(
            f"{path} is not a video that ffmpeg can read, or its end is missing: {last}. Copy or download "
            "it again."
        )
    stream = moving[0]
    size = re.search(r"\b(\d{2,})x(\d{2,})\b", stream)
    rate = re.search(r"([\d.]+)(k?) fps", stream) or re.search(r"([\d.]+)(k?) tbr", stream)
    if size is None or rate is None:
        raise UserError(f"{path} does not say its size or rate; convert it: {_CONVERT}")
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", text)
    turn = re.search(r"rotation of (-?[\d.]+) degrees", text)
    angle = 0 if turn is None else round(float(turn[1])) % 360
    width, height = int(size[1]), int(size[2])
    if angle in (90, 270):
        width, height = height, width
    aspect = re.search(r"SAR (\d+):(\d+)", stream)
    if aspect and aspect[1] != aspect[2] and int(aspect[1]) and int(aspect[2]):
        raise UserError(
            f"{path} has pixels that are not square ({aspect[1]}:{aspect[2]}). Convert it: ffmpeg -i "
            "CLIP -vf 'scale=iw*sar:ih,setsar=1' out.mp4"
        )
    _, _, pixel_format = stream.partition(", ")
    return _Facts(
        width=width,
        height=height,
        fps=float(rate[1]) * (1000 if rate[2] else 1),
        seconds=None
        if length is None
        else 3600 * int(length[1]) + 60 * int(length[2]) + float(length[3]),
        hdr=next((name for key, name in _HDR.items() if key in stream), None),
        turned=angle != 0,
        transparent=pixel_format.startswith(_ALPHA) or _ALPHA_BESIDE.search(text) is not None,
    )


def _conversions(
    path: Path, facts: _Facts, span: tuple[float, float], log: Log
) -> tuple[float, bool, list[str]]:
    """(frames a second, whether they are resampled, filters of ffmpeg) that make a clip ready; each is said."""
    filters = []
    rate = facts.fps / math.ceil(facts.fps / MAX_FPS)
    uneven = _is_uneven(path, span)
    if uneven:
        log(f"video: its frames come at uneven times; resampled to {rate:.4g} a second")
    elif rate != facts.fps:
        log(f"video: resampled from {facts.fps:.4g} to {rate:.4g} frames a second")
    resampled = uneven or rate != facts.fps
    if resampled:
        filters.append(f"fps={rate}")
    if facts.turned:
        log(f"video: turned upright as its metadata say, {facts.width} x {facts.height} pixels")
    if facts.hdr is not None:
        log(f"video: {facts.hdr} is tone-mapped to standard range")
        filters.append(_TONE_MAP)
    if facts.transparent:
        log("video: its transparency is dropped")
    return rate, resampled, filters


def _is_uneven(path: Path, span: tuple[float, float]) -> bool:
    """Whether frames come at a variable rate, by ffmpeg's own test.

    Steps that differ by one tick of the file's clock are rounded ones: WebM counts milliseconds.
    """
    text = _run(path, span, "-vf", "vfrdet", "-f", "null", reports=True).decode(errors="replace")
    steps = re.search(r"VFR:[\d.]+ .* min: (\d+) max: (\d+)", text)
    return steps is not None and int(steps[2]) - int(steps[1]) > 1


def _too_long(path: Path, count: str, most: int, rate: float) -> UserError:
    return UserError(
        f"{path}: {count} frames are more than is observed at once ({most} of this size, "
        f"{most / rate:.0f} s). Give the part that matters with --seconds START:END, or --frames; "
        "`observe --pieces SECONDS` reads all of it, in pieces."
    )


def _run(path: Path, span: tuple[float, float], *output: str, reports: bool = False) -> bytes:
    """What ffmpeg writes, or reports, of the first video stream between two times."""
    start = ["-ss", str(span[0])] if span[0] else []
    length = ["-t", str(span[1] - span[0])] if math.isfinite(span[1]) else []
    level = "info" if reports else "error"
    source = [*start, *length, "-i", f"file:{path.resolve()}", "-map", "0:V:0"]
    command = [ffmpeg_executable(), "-nostdin", "-hide_banner", "-loglevel", level, *source]
    done = subprocess.run([*command, *output, "-"], capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(
            f"{path} is not a video that ffmpeg can read{': ' + reason[-1] if reason else ''}"
        )
    return done.stderr if reports else done.stdout
