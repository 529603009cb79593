"""docs/images/composition.png: stages of a composition and four sides of its result, from a result folder.

hoijax compose "a man sitting on a sofa" --guidance closed-form --out out/sofa
python -m scripts.docs.composition_image out/sofa [--out docs/images/composition.png]
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from hoijax.errors import UserError
from hoijax.io.video import read_video

STAGES = (("coarse", "anchor"), ("avatar", "object"))
"""Previews in their two rows."""
SHOWN_VIEWS = 3
"""Of the four views of a preview."""
SIDES = 4


def last_preview(folder: Path, stage: str) -> Image.Image:
    """The newest preview of a stage, its first views beside each other."""
    paths = sorted((folder / "previews").glob(f"{stage}_[0-9]*.png"))
    if not paths:
        raise UserError(f"{folder}: has no preview of the stage {stage!r}; compose it again.")
    image = Image.open(paths[-1]).convert("RGB")
    side = image.height
    return image.crop((0, 0, SHOWN_VIEWS * side, side))


def composition_image(folder: Path) -> UInt8[ndarray, "H W 3"]:
    """Coarse field and anchor, avatar and object, and below four sides of the result."""
    rows = [
        np.concatenate([np.asarray(last_preview(folder, stage)) for stage in row], axis=1)
        for row in STAGES
    ]
    width = rows[0].shape[1]
    frames = read_video(folder / "turntable.mp4").frames
    picked = frames[np.arange(SIDES) * len(frames) // SIDES]
    side = width // SIDES
    sides = [np.asarray(Image.fromarray(frame).resize((side, side))) for frame in picked]
    return np.concatenate([*rows, np.concatenate(sides, axis=1)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images/composition.png"))
    options = parser.parse_args()
    Image.fromarray(composition_image(options.folder)).save(options.out)


if __name__ == "__main__":
    main()
