"""A clip that is too long to be observed at once, in pieces: one bundle each, memory for one.

Where a piece ends its objects are handed on: the box of an object's mask in the piece's last frames is the
hint of the next piece, which begins in that frame. So are people whom a hint of the user shows; others are
found anew in every piece, from left to right.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from hoijax.bundle.bundle import Bundle
from hoijax.errors import UserError
from hoijax.io.clip_intake import clip_length, parse_seconds
from hoijax.objects.asset import Asset
from hoijax.progress import Log, silent
from priors.masks import mask_boxes
from priors.observe.chain import Models
from priors.observe.entity_boxes import PERSON
from priors.observe.hints import in_file, is_person, parse_hints
from priors.observe.run import ObserveOptions, SeenClip, observe_seen
from priors.protocols import Hint

__all__ = ["Piece", "observe_pieces"]

MIN_FRAMES = 16
"""Of a piece."""
HANDED_ON = 0.5
"""Least part of a piece that the next one does not see again."""
WHOLE = 0.6
"""Of an object's usual area: less of it is hidden, and no hint."""


@dataclass(frozen=True)
class Piece:
    """What was observed of some frames of the clip."""

    begin: int
    """First frame, of those that are read of the clip."""
    bundle: Bundle
    video: bytes


def observe_pieces(
    text: str,
    assets: Sequence[Asset],
    options: ObserveOptions,
    seconds: float,
    *,
    models: Models | None = None,
    log: Log = silent,
) -> Iterator[Piece]:
    """Pieces of at most `seconds` seconds, until the clip ends; neighbors share a frame or more.

    Raises UserError for pieces too short, for files that belong to whole clips, and, after the pieces
    before it, where an object is out of sight for half a piece and has no hint of the user there.
    """
    if options.video is None:
        raise UserError("--pieces cuts a clip of yours: give --video.")
    if options.masks is not None or options.files():
        raise UserError(
            "--pieces: masks, points, keypoints and bodies of files belong to whole clips. Cut the clip, and "
            "run what made the files on every part of it."
        )
    length, rate = clip_length(options.video)
    start, end = (0.0, length) if options.seconds is None else parse_seconds(options.seconds)
    frames, count = round(seconds * rate), math.ceil((min(end, length) - start) * rate - 0.5)
    if frames < MIN_FRAMES:
        raise UserError(
            f"--pieces {seconds:g}: at {rate:.4g} frames a second a piece needs at least "
            f"{MIN_FRAMES / rate:.2g} seconds."
        )
    hints, begin = parse_hints(options.hints), 0
    names = [asset.name for asset in assets]
    handed: tuple[Hint, ...] = ()
    while True:
        stop = min(begin + frames, count)
        here = [h for h in hints if begin <= h.frame < stop]
        known = {h.object for h in here}
        here = [dataclasses.replace(h, frame=h.frame - begin) for h in here]
        here += [h for h in handed if h.object not in known]
        span = (max(begin - 0.5, 0.0) / rate + start, (stop - 0.5) / rate + start)
        part = dataclasses.replace(
            options, seconds=f"{span[0]:.6f}:{span[1]:.6f}", hints=here, whole_clip=True
        )
        log(f"frames {begin} to {stop - 1} of {count}")
        seen = part.seen_clip(log, every_frame=True)
        bundle, video = observe_seen(text, assets, part, seen, models=models, log=log)
        yield Piece(begin, bundle, video)
        if stop >= count:
            return
        later = {h.object for h in hints if stop <= h.frame < stop + frames // 2}
        here_names = [*(n for n in names if n not in later), *_people_shown(here, bundle)]
        step, handed = _handed_on(bundle, seen, here_names, begin, log)
        begin += step if handed else int(HANDED_ON * frames)


def _people_shown(hints: Sequence[Hint], bundle: Bundle) -> list[str]:
    """Everybody's name as a hint, where hints of a piece show who is meant."""
    count = bundle.observations.person_count
    names = [PERSON] if count == 1 else [f"{PERSON} {p + 1}" for p in range(count)]
    return names if any(is_person(hint) for hint in hints) else []


def _handed_on(
    bundle: Bundle, seen: SeenClip, names: Sequence[str], begin: int, log: Log
) -> tuple[int, tuple[Hint, ...]]:
    """(frame in which the next piece begins, hints there), in frames and pixels of this piece's file.

    names: of objects, and of people. UserError for an object that is out of sight; of a person it is said.
    """
    o = bundle.observations
    number = {asset.name: o.person_count + 1 + i for i, asset in enumerate(bundle.assets)}
    number |= {PERSON: 1} | {f"{PERSON} {p + 1}": p + 1 for p in range(o.person_count)}
    last: dict[str, tuple[int, Bool[ndarray, "H W"]]] = {}
    for name in names:
        areas = (np.asarray(o.instance_ids) == number[name]).sum(axis=(1, 2))
        whole = np.flatnonzero(areas >= WHOLE * np.median(areas[areas > 0])) if areas.any() else []
        if not len(whole) or whole[-1] < HANDED_ON * len(areas):
            lost = f"{name} is out of sight from frame {begin + (whole[-1] + 1 if len(whole) else 0)} on"
            again = f"--hint {name}=FRAME:x,y,width,height"
            if number[name] > o.person_count:
                raise UserError(
                    f"{lost}: say where it is seen again, {again}, or end there (--seconds)."
                )
            log(f"people: {lost}; who is meant later is said by {again}")
            continue
        last[name] = int(whole[-1]), np.asarray(o.instance_ids[whole[-1]]) == number[name]
    if not last:
        return 0, ()
    first = min(frame for frame, _ in last.values())
    hints = [_hint_in_file(name, mask, frame, seen) for name, (frame, mask) in last.items()]
    return first, tuple(dataclasses.replace(hint, frame=hint.frame - first) for hint in hints)


def _hint_in_file(name: str, mask: Bool[ndarray, "H W"], frame: int, seen: SeenClip) -> Hint:
    """The box of a mask in the pixels of the clip's file."""
    left, top, right, bottom = mask_boxes(mask[None])[0][0].tolist()
    return in_file(Hint(name, frame, (left, top, right - left, bottom - top)), seen.origin)
