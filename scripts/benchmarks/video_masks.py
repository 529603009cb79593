"""Object masks from one box in the first frame, on real clips: found rate, IoU, seconds.

    python -m scripts.benchmarks.video_masks ../shared/data/video --json out/video_masks.json

The clips lie beside the project (issue 16) and are not part of it. IoU is against the silhouettes of
another system's reconstruction where there are any, and against outlines drawn by hand here, by eye, a
few frames of one clip: the reconstruction of the box is visibly smaller than the box.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from jaxtyping import Bool
from numpy import ndarray
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from hoijax.io.video import read_video
from priors.models.packaged_segmenter import PackagedSegmenter
from priors.protocols import Prompt

BOXES = {
    "box": (145, 85, 232, 215),
    "juggle": (610, 280, 85, 85),
    "cylinder": (180, 0, 170, 340),
}
"""Left, top, width, height in frame 0. The method was tuned on the first two clips only."""
OUTLINES = {
    "box": {
        0: [(148, 88), (373, 89), (374, 298), (147, 299)],
        52: [
            (96, 0), (92, 60), (89, 110), (93, 135), (103, 160), (85, 180), (80, 190), (100, 198),
            (200, 206), (299, 221), (317, 19), (200, 2), (132, 0),
        ],
        60: [
            (98, 0), (104, 50), (120, 75), (133, 93), (115, 100), (108, 117), (128, 141), (200, 130),
            (325, 104), (315, 0),
        ],
        75: [
            (83, 0), (81, 72), (102, 80), (92, 97), (80, 108), (78, 143), (95, 155), (200, 158),
            (291, 163), (306, 0),
        ],
        90: [
            (149, 18), (369, 27), (370, 235), (150, 231), (150, 205), (172, 170), (165, 160), (150, 150),
        ],
    }
}  # fmt: skip
"""The box without the glove, by frame: corners in pixels."""
PEER_OBJECT = 2


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    clips: tyro.conf.Positional[Path]
    """Folder of the clips."""
    json: Path | None = None


def iou(a: Bool[ndarray, "*S"], b: Bool[ndarray, "*S"]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def outline(corners: list[tuple[int, int]], height: int, width: int) -> Bool[ndarray, "H W"]:
    image = Image.new("1", (width, height))
    ImageDraw.Draw(image).polygon(corners, fill=1)
    return np.asarray(image)


def measure(name: str, folder: Path) -> dict[str, float | None]:
    """Masks of one clip's object, without its person."""
    frames = read_video(folder / "clip.mp4").frames
    left, top, width, height = BOXES[name]
    begun = time.perf_counter()
    prompt = Prompt(0, np.array([left, top, left + width, top + height], np.float32))
    masks = PackagedSegmenter().track(frames, [prompt]).masks[0]
    seconds = time.perf_counter() - begun
    drawn = {t: outline(c, *masks.shape[1:]) for t, c in OUTLINES.get(name, {}).items()}
    paths = sorted((folder / "peer_masks").glob("*.png"))
    peer = np.stack([np.asarray(Image.open(p)) == PEER_OBJECT for p in paths]) if paths else None
    seen = masks.any((1, 2))

    def against_peer(chosen) -> float | None:
        return None if peer is None else float(np.mean([iou(masks[t], peer[t]) for t in chosen]))

    return {
        "frames": len(frames),
        "found": float(seen.mean()),
        "iou_by_hand": float(np.mean([iou(masks[t], m) for t, m in drawn.items()]))
        if drawn
        else None,
        "peer_by_hand": float(np.mean([iou(peer[t], m) for t, m in drawn.items()]))
        if drawn and peer is not None
        else None,
        "iou_peer": against_peer(range(len(frames))),
        "iou_peer_where_found": against_peer(np.flatnonzero(seen)),
        "seconds": seconds,
    }


def main(options: Options) -> None:
    """All clips that are there."""
    rows = {
        name: measure(name, options.clips / name)
        for name in BOXES
        if (options.clips / name / "clip.mp4").is_file()
    }
    if not rows:
        raise SystemExit(f"{options.clips} holds none of the clips {', '.join(BOXES)}")
    keys = list(next(iter(rows.values())))
    table = Table("clip", *keys)
    for name, row in rows.items():
        table.add_row(name, *("" if row[k] is None else f"{row[k]:.3g}" for k in keys))
    Console().print(table)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
