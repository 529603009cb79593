"""Which of several animations of a sentence a vision language model prefers (AnchorHOI, section 4).

The judge sees rows of frames in shuffled order, several times over: models prefer places in a list,
and a shuffled list takes that away.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from pydantic import BaseModel, Field

from hoijax.errors import UserError
from priors.models.clip_scores import spread
from priors.models.image_choice import prompt_text
from priors.protocols import Video

__all__ = ["Choice", "Judge", "preferred_shares", "rows_image"]

Question = Literal["semantic", "contact", "overall"]
FRAMES, FRAME_HEIGHT = 6, 160  # of a row
MARGIN, GAP = 40, 6  # pixels: the number's column, and between frames
WHITE = 255


class Choice(BaseModel):
    """A judge's answer."""

    reason: str = Field(max_length=400)
    row: int = Field(ge=1)


@runtime_checkable
class Judge(Protocol):
    """`LanguagePrior.ask_about`: a question about pictures, answered in a schema."""

    def __call__(
        self, prompt: str, images: Sequence[UInt8[ndarray, "H W 3"]], schema: type[Any]
    ) -> Any: ...


def rows_image(clips: Sequence[Video]) -> UInt8[ndarray, "H W 3"]:
    """One numbered row of evenly spread frames for each clip, all at one height."""
    from PIL import Image, ImageDraw, ImageFont

    rows = []
    for number, clip in enumerate(clips, start=1):
        height, width = clip.frames.shape[1:3]
        size = (max(1, round(width * FRAME_HEIGHT / height)), FRAME_HEIGHT)
        label = Image.new("RGB", (MARGIN, FRAME_HEIGHT), "white")
        ImageDraw.Draw(label).text(
            (8, FRAME_HEIGHT // 2 - 14), str(number), "black", font=ImageFont.load_default(size=28)
        )
        parts = [np.asarray(label)]
        for frame in spread(clip.frames, FRAMES):
            small = Image.fromarray(np.ascontiguousarray(frame)).resize(size)
            parts += [np.asarray(small), np.full((FRAME_HEIGHT, GAP, 3), WHITE, np.uint8)]
        rows.append(np.concatenate(parts, axis=1))
    widest = max(row.shape[1] for row in rows)
    space = [(0, GAP), (0, 0), (0, 0)]
    padded = [
        np.pad(row, [space[0], (0, widest - row.shape[1]), space[2]], constant_values=WHITE)
        for row in rows
    ]
    return np.concatenate(padded)


def preferred_shares(
    clips: Sequence[Video],
    text: str,
    question: Question,
    judge: Judge,
    *,
    rounds: int = 4,
    seed: int = 0,
) -> Float[ndarray, " N"]:
    """Share of rounds in which each clip was chosen; every round shows another order.

    UserError for fewer than two clips, and where the judge names no row that is there.
    """
    if len(clips) < 2:
        raise UserError(f"selection: {len(clips)} clips were given; a choice needs at least two")
    prompt = prompt_text(f"judge_{question}").replace("{text}", text)
    rng = np.random.default_rng(seed)
    start = rng.permutation(len(clips))
    shares = np.zeros(len(clips))
    for n in range(rounds):
        # Rotations of one shuffle: over as many rounds as clips, each stands once in each row.
        order = np.roll(start, n)
        answer = judge(prompt, [rows_image([clips[i] for i in order])], Choice)
        if answer.row > len(clips):
            raise UserError(f"selection: the judge chose row {answer.row} of {len(clips)}")
        shares[order[answer.row - 1]] += 1 / rounds
    return shares
