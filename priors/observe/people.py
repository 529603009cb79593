"""Which people of a clip are meant: those that the user points at, else the largest, beside the hints of objects."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.progress import Log, silent
from priors.models.detection import box_overlap
from priors.observe.entity_boxes import PERSON, Found, distinct, find_entities
from priors.observe.hints import in_file, is_person
from priors.protocols import WHOLE_FILE, ClipOrigin, Detector, Hint

__all__ = ["find_people"]

SAME_PERSON = 0.3
"""Least overlap of a hint's box with that of the person it means."""


def find_people(
    frames: UInt8[ndarray, "T H W 3"],
    searched: Sequence[int],
    detector: Detector,
    count: int,
    hints: Sequence[Hint] = (),
    origin: ClipOrigin = WHOLE_FILE,
    log: Log = silent,
) -> list[Found | None]:
    """(frame, box) of each of `count` people; None where one was not found.

    hints: of people, who are then taken, and of objects, near which people are looked for. Where more people
    are seen than are asked, `log` hears who is followed and how to choose another; origin: of the frames.
    UserError for hints that show nobody.
    """
    own = [hint for hint in hints if is_person(hint)]
    if own:
        return _pointed_at(frames, detector, count, own, origin)
    beside = [_shown(hint) for hint in hints]
    crowds: dict[int, list[ndarray]] = {}
    people = find_entities(
        frames, searched, detector, [PERSON] * count, beside=beside, crowds=crowds
    )
    frame = max(crowds, key=lambda t: len(crowds[t]), default=0)
    followed = [where for where in people if where is not None]
    if followed and len(crowds[frame]) > count:
        frame = followed[0][0] if len(crowds[followed[0][0]]) > count else frame
        other = min(crowds[frame], key=lambda box: max(box_overlap(box, b) for _, b in followed))
        which = "largest near the hints" if beside else "largest"
        names = [PERSON] if count == 1 else [f"{PERSON} {p + 1}" for p in range(count)]
        log(
            f"people: {len(crowds[frame])} are seen at once; of these the {which}: "
            + ", ".join(
                _written(n, t, box, origin) for n, (t, box) in zip(names, followed, strict=False)
            )
            + f". To follow another: --hint {_written(names[0], frame, other, origin)}"
        )
    return people


def _pointed_at(
    frames: UInt8[ndarray, "T H W 3"],
    detector: Detector,
    count: int,
    hints: Sequence[Hint],
    origin: ClipOrigin,
) -> list[Found | None]:
    """The people that hints show, each in the frame of its first hint."""
    names = [f"{PERSON} {p + 1}" for p in range(count)]
    first: dict[str, Hint] = {}
    for hint in hints:
        name = names[0] if count == 1 and hint.object == PERSON else hint.object
        if name not in names:
            known = PERSON if count == 1 else ", ".join(names)
            raise UserError(f"{hint.name}: the people of this clip are called {known}.")
        first.setdefault(name, hint)
    missing = [name for name in names if name not in first]
    if missing:
        raise UserError(
            f"{hints[0].name}: of {count} people all or none need a hint; there is none of {missing[0]}."
        )
    return [_person_at(frames[first[n].frame], detector, first[n], origin) for n in names]


def _person_at(
    image: UInt8[ndarray, "H W 3"], detector: Detector, hint: Hint, origin: ClipOrigin
) -> Found:
    """The person whom a hint shows: the one clicked on, or whose box agrees with the hint's best."""
    seen = [np.asarray(d.box, np.float32) for d in distinct(detector.detect(image, [PERSON]))]
    shown = _shown(hint)
    if hint.box is not None:
        overlaps = [box_overlap(shown, box) for box in seen]
        if max(overlaps, default=0.0) < SAME_PERSON:
            return hint.frame, shown.astype(np.float32)  # the user sees whom the detector misses
        return hint.frame, seen[int(np.argmax(overlaps))]
    middle = 0.5 * (shown[:2] + shown[2:])
    on = [box for box in seen if (middle >= box[:2]).all() and (middle <= box[2:]).all()]
    if not on:
        there = ", ".join(_written(PERSON, hint.frame, box, origin) for box in seen)
        raise UserError(
            f"{hint.name}: no person was found there; in this frame "
            f"{f'there is {there}' if there else 'nobody was found'}. Give a box around all of the person "
            f"(--hint {hint.object}=FRAME:x,y,width,height), or another frame."
        )
    center = [float(np.linalg.norm(0.5 * (box[:2] + box[2:]) - middle)) for box in on]
    return hint.frame, on[int(np.argmin(center))]


def _written(name: str, frame: int, box: Float[ndarray, " 4"], origin: ClipOrigin) -> str:
    """A box as a hint of the clip's file."""
    left, top, right, bottom = map(float, box)
    hint = in_file(Hint(name, frame, (left, top, right - left, bottom - top)), origin)
    assert hint.box is not None
    return f'"{name}={hint.frame}:{",".join(str(round(x)) for x in hint.box)}"'


def _shown(hint: Hint) -> Float[ndarray, " 4"]:
    """Box of what a hint marks; of clicks on the object where it has no box."""
    if hint.box is not None:
        left, top, width, height = hint.box
        return np.array([left, top, left + width, top + height])
    on = np.array([point[:2] for point in hint.points if point[2] > 0] or [hint.points[0][:2]])
    return np.concatenate([on.min(axis=0), on.max(axis=0)])
