"""A clip of the user made ready to be observed: upright, at a steady rate, of bounded size and length.

What is done to it is said; what cannot be read is refused before any work starts.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.io.clip_facts import (
    CONVERT,
    ClipFacts,
    ffmpeg_on,
    first_time,
    has_uneven_times,
    read_facts,
)
from hoijax.io.video import Video
from hoijax.progress import Log, silent

__all__ = ["Clip", "clip_length", "parse_seconds", "read_clip"]

MAX_FPS = 31.0
"""Frames a second that are read; of faster clips every second, third ... frame."""
MAX_SIDE = 1280
"""Pixels: longer side of the frames that are read."""
MAX_BYTES = 1.5e9
"""Of all frames together, as they lie in memory."""
MIN_FRAMES = 3
MISSING = 0.05
"""Of the frames that a file claims: with fewer missing its sound is merely a little longer."""
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
    numbers: Int[ndarray, " T"] | None = None
    """Those of its frames in the file; None where they come at uneven times, or were not asked for."""


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


def _step(facts: ClipFacts) -> int:
    """Every how many-th frame is read."""
    return math.ceil(facts.fps / MAX_FPS)


def clip_length(path: str | Path) -> tuple[float, float]:
    """(seconds, frames a second as `read_clip` reads them) of a video. UserError where it does not say."""
    path = Path(path)
    _check_is_file(path)
    facts = read_facts(path)
    if facts.seconds is None:
        raise UserError(f"{path} does not say how long it is; convert it: {CONVERT}")
    return facts.seconds, facts.fps / _step(facts)


def read_clip(
    path: str | Path,
    *,
    frames: int | None = None,
    seconds: tuple[float, float] | None = None,
    numbered: bool = False,
    admit: Callable[[int, tuple[int, int]], None] | None = None,
    log: Log = silent,
) -> Clip:
    """The first `frames` frames (all by default) of a clip, or of the part between two times.

    Turned as its metadata say, at a steady rate of at most `MAX_FPS`, its longer side at most
    `MAX_SIDE`, without fields or transparency, tone-mapped from HDR. numbered: whether the file's numbers of
    its frames are needed. admit: refuses so many frames of such (height, width), before any is decoded where
    the file says how long it is. UserError for files without a video stream, for fewer than three frames,
    and for more than fit into `MAX_BYTES`.
    """
    path = Path(path)
    _check_is_file(path)
    span = seconds or (0.0, math.inf)
    facts = read_facts(path)
    if facts.seconds is not None and span[0] >= facts.seconds:
        raise UserError(f"--seconds {span[0]:g}:{span[1]:g}: {path} ends at {facts.seconds:g} s.")
    rate = facts.fps / _step(facts)
    scale = min(1.0, MAX_SIDE / max(facts.width, facts.height))
    width, height = round(scale * facts.width), round(scale * facts.height)
    most = int(MAX_BYTES / (3 * width * height))
    expected = math.inf
    if facts.seconds is not None:
        expected = (min(span[1], facts.seconds) - span[0]) * rate
    if frames is None and math.isfinite(expected) and expected > most:
        raise _too_long(path, f"{expected:.0f}", most, rate)
    expected = min(expected, float(frames or math.inf))
    if admit is not None and math.isfinite(expected):
        admit(round(expected), (height, width))
    uneven = has_uneven_times(path, span)
    filters = _conversions(facts, rate, uneven, log)
    if scale < 1:
        log(f"video: resized from {facts.width} x {facts.height} to {width} x {height} pixels")
        filters.append(f"scale={width}:{height}:flags=area")
    limit = ["-frames:v", str(most + 1 if frames is None else frames), "-fps_mode", "passthrough"]
    done = ffmpeg_on(
        path, span, *limit, "-pix_fmt", "rgb24", "-f", "rawvideo", filters=tuple(filters)
    )
    size = width * height * 3
    if len(done.stdout) % size:
        raise UserError(f"{path} changes its size on the way; convert it: {CONVERT}")
    if len(done.stdout) > size * most:
        raise _too_long(path, f"more than {most}", most, rate)
    images = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3).copy()
    _say_what_is_missing(done.stderr.decode(errors="replace"), len(images), expected, rate, log)
    if len(images) < MIN_FRAMES:
        raise UserError(
            f"{path} has {len(images)} frame{'' if len(images) == 1 else 's'}"
            f"{'' if seconds is None else ' there'}, a motion needs at least {MIN_FRAMES}."
            f"{' For a photograph there is `hoijax align`.' if len(images) == 1 else ''}"
        )
    if admit is not None:
        admit(len(images), (height, width))
    numbers = _numbers(path, facts, span, len(images)) if numbered and not uneven else None
    return Clip(Video(images, rate), scale, uneven or rate != facts.fps, numbers)


def _conversions(facts: ClipFacts, rate: float, uneven: bool, log: Log) -> list[str]:
    """Filters of ffmpeg that make a clip ready; each is said. rate: frames a second to be read."""
    filters = []
    if facts.interlaced:
        log(f"video: interlaced; its fields are made whole frames, {facts.fps:.4g} a second")
        filters.append("bwdif=mode=send_frame")
    if uneven:
        log(f"video: its frames come at uneven times; resampled to {rate:.4g} a second")
        filters.append(f"fps={rate}")
    elif rate != facts.fps:
        log(f"video: resampled from {facts.fps:.4g} to {rate:.4g} frames a second")
        filters.append(f"framestep={_step(facts)}")
    if facts.turned:
        log(f"video: turned upright as its metadata say, {facts.width} x {facts.height} pixels")
    if facts.hdr is not None:
        log(f"video: {facts.hdr} is tone-mapped to standard range")
        filters.append(_TONE_MAP)
    if facts.transparent:
        log("video: its transparency is dropped")
    return filters


def _say_what_is_missing(errors: str, count: int, expected: float, rate: float, log: Log) -> None:
    """Whether a file is damaged, or its images end before it does. errors: what ffmpeg reports."""
    missing = math.isfinite(expected) and expected - count > max(2.0, MISSING * expected)
    ends = f" of {expected:.0f}, {count / rate:.4g} s of {expected / rate:.4g}" if missing else ""
    reason = re.sub(r"\[[^]]*\]\s*", "", (errors.strip().splitlines() or [""])[-1])
    if reason:
        log(f"video: the file is damaged ({reason}); {count} frames are read{ends}")
    elif missing:
        log(f"video: its images end before the file does; {count} frames are read{ends}")


def _numbers(
    path: Path, facts: ClipFacts, span: tuple[float, float], count: int
) -> Int[ndarray, " T"] | None:
    """The file's numbers of frames that were read between two times; None where it is uneven before them."""
    first = 0
    if span[0]:
        if has_uneven_times(path, (0.0, span[1])):
            return None
        begin, start = first_time(path, (0.0, math.inf)), first_time(path, span)
        if begin is None or start is None:
            return None
        first = round((start - begin) * facts.fps)
    return first + _step(facts) * np.arange(count)


def _too_long(path: Path, count: str, most: int, rate: float) -> UserError:
    return UserError(
        f"{path}: {count} frames are more than is observed at once ({most} of this size, "
        f"{most / rate:.0f} s). Give the part that matters with --seconds START:END, or --frames; "
        "`observe --pieces SECONDS` reads all of it, in pieces."
    )
