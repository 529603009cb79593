"""What a video file says of itself, and what ffmpeg finds when it reads it."""

import math
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hoijax.errors import UserError
from hoijax.io.video import ffmpeg_executable

__all__ = ["CONVERT", "ClipFacts", "ffmpeg_on", "first_time", "has_uneven_times", "read_facts"]

CONVERT = "ffmpeg -i CLIP -c:v libx264 -pix_fmt yuv420p out.mp4"
SEEK_AHEAD = 10.0
"""Seconds before a part of a clip at which reading starts: containers without an index are entered late."""
_STREAM = re.compile(r"Stream #\d+:\d+.*?: Video: (?P<facts>.*)")
_ALPHA = ("rgba", "bgra", "argb", "abgr", "yuva", "gbrap", "ya8", "ya16", "pal8")
_ALPHA_BESIDE = re.compile(r"alpha_mode\s*: 1", re.IGNORECASE)
"""WebM keeps transparency in a stream of its own, which is not decoded."""
_INTERLACED = re.compile(r"\b(top|bottom) (coded )?first\b")
_NTSC = {round(rate / 1.001, 2): rate / 1.001 for rate in (24, 30, 48, 60, 120)}
"""Rates that are printed with two digits, and drift by frames in minutes."""
_HDR = {"smpte2084": "HDR10 (PQ)", "arib-std-b67": "HLG"}
Span = tuple[float, float]


@dataclass(frozen=True)
class ClipFacts:
    """What a file says of its first video stream."""

    width: int
    """As it is shown: of one that lies on its side, of the turned image."""
    height: int
    fps: float
    seconds: float | None
    hdr: str | None
    turned: bool
    transparent: bool
    interlaced: bool


def read_facts(path: Path) -> ClipFacts:
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
        raise UserError(f"{path} does not say its size or rate; convert it: {CONVERT}")
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
    codec, _, pixel_format = stream.partition(", ")
    fps = float(rate[1]) * (1000 if rate[2] else 1)
    return ClipFacts(
        width=width,
        height=height,
        fps=(_mean_rate(path) or fps) if codec.startswith("gif") else _NTSC.get(fps, fps),
        seconds=None
        if length is None
        else 3600 * int(length[1]) + 60 * int(length[2]) + float(length[3]),
        hdr=next((name for key, name in _HDR.items() if key in stream), None),
        turned=angle != 0,
        transparent=pixel_format.startswith(_ALPHA) or _ALPHA_BESIDE.search(text) is not None,
        interlaced=_INTERLACED.search(stream) is not None,
    )


def _mean_rate(path: Path) -> float | None:
    """Frames a second of a GIF, which counts hundredths: ffmpeg goes by its first frames."""
    text = _reported(path, (0.0, math.inf), "-f", "null")
    found = re.findall(r"frame=\s*(\d+) .*? time=(\d+):(\d+):([\d.]+)", text)
    if not found:
        return None
    count, hours, minutes, seconds = map(float, found[-1])
    length = 3600 * hours + 60 * minutes + seconds
    return count / length if length > 0 else None


def has_uneven_times(path: Path, span: Span) -> bool:
    """Whether frames come at a variable rate, by ffmpeg's own test.

    Steps that differ by one tick of the file's clock are rounded ones: WebM counts milliseconds.
    """
    text = _reported(path, span, "-f", "null", filters=("vfrdet",))
    steps = re.search(r"VFR:[\d.]+ .* min: (\d+) max: (\d+)", text)
    return steps is not None and int(steps[2]) - int(steps[1]) > 1


def first_time(path: Path, span: Span) -> float | None:
    """Seconds at which the first frame between two times is shown; None where there is none."""
    text = _reported(path, span, "-frames:v", "1", "-f", "null", filters=("showinfo",))
    found = re.search(r"pts_time:\s*(-?[\d.]+)", text)
    return None if found is None else float(found[1]) + max(span[0] - SEEK_AHEAD, 0.0)


def _reported(path: Path, span: Span, *output: str, filters: tuple[str, ...] = ()) -> str:
    done = ffmpeg_on(path, span, *output, filters=filters, level="info")
    return done.stderr.decode(errors="replace")


def ffmpeg_on(
    path: Path, span: Span, *output: str, filters: tuple[str, ...] = (), level: str = "error"
) -> subprocess.CompletedProcess:
    """ffmpeg run on the first video stream between two times; its stdout and stderr. UserError where it fails."""
    entry = max(span[0] - SEEK_AHEAD, 0.0)
    start = ["-ss", str(entry)] if entry else []
    if span[0] or math.isfinite(span[1]):
        end = f":end={span[1] - entry:.6f}" if math.isfinite(span[1]) else ""
        filters = (f"trim=start={span[0] - entry:.6f}{end}", *filters)
    chain = ["-vf", ",".join(filters)] if filters else []
    source = [*start, "-i", f"file:{path.resolve()}", "-map", "0:V:0", *chain]
    command = [ffmpeg_executable(), "-nostdin", "-hide_banner", "-loglevel", level, *source]
    done = subprocess.run([*command, *output, "-"], capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(
            f"{path} is not a video that ffmpeg can read{': ' + reason[-1] if reason else ''}"
        )
    return done
