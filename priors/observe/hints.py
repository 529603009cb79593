"""Hints of the user: where an object or a person is in a frame or more, in place of a detector.

On the command line `--hint box=0:145,85,232,215` (object, frame, left, top, width, height) or
`--hint box=0:260,190` (a click), again for further frames; or a file that `hoijax mask` wrote. People are
`person`, or `person 1`, `person 2` of several.
Frames count from 0; pixels are those of the clip's file.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.io.validation import numbered
from priors.protocols import ClipOrigin, Hint, Prompt

__all__ = [
    "HINTS_FILE",
    "check_hints",
    "in_file",
    "is_person",
    "parse_hints",
    "prompt_of",
    "steadied_hint",
    "write_hints",
]

HINTS_FILE = "hints.json"
_FORM = re.compile(r"(?P<object>[^=]+)=(?P<frame>\d+):(?P<numbers>[\d.,\s+-]+)")
_PERSON = re.compile(r"person( [1-9]\d*)?")
_HOW = (
    "Write OBJECT=FRAME:x,y,width,height for a box, OBJECT=FRAME:x,y for a click, in pixels, frames "
    "counted from 0; or give the hints.json of `hoijax mask`."
)


def parse_hints(texts: Sequence[str | Hint]) -> tuple[Hint, ...]:
    """Hints of the command line; those that are read already stay. UserError for what cannot be read."""
    hints: list[Hint] = []
    for text in texts:
        if isinstance(text, Hint):
            hints.append(text)
            continue
        if text.endswith(".json"):
            hints += _read_hints(Path(text))
            continue
        match = _FORM.fullmatch(text.strip())
        try:
            numbers = [float(x) for x in match["numbers"].split(",")] if match else []
        except ValueError:
            numbers = []
        if match is None or len(numbers) not in (2, 4):
            raise UserError(f"--hint {text}: cannot be read. {_HOW}")
        name, frame = match["object"].strip(), int(match["frame"])
        if len(numbers) == 4:
            left, top, width, height = numbers
            hints.append(Hint(name, frame, (left, top, width, height), text=text.strip()))
        else:
            point = (numbers[0], numbers[1], 1)
            hints.append(Hint(name, frame, points=(point,), text=text.strip()))
    return _merged(hints)


def _merged(hints: Sequence[Hint]) -> tuple[Hint, ...]:
    """Hints of one object in one frame as one. UserError for two boxes there."""
    merged: dict[tuple[str, int], Hint] = {}
    for hint in dict.fromkeys(hints):
        before = merged.setdefault((hint.object, hint.frame), hint)
        if before is hint:
            continue
        text = " --hint ".join(filter(None, (before.text, hint.text)))
        both = dataclasses.replace(
            before, box=before.box or hint.box, points=before.points + hint.points, text=text
        )
        if before.box and hint.box and before.box != hint.box:
            several = " Several people are person 1, person 2." if is_person(hint) else ""
            raise UserError(
                f"{both.name}: two boxes of {hint.object} in frame {hint.frame}. Give the one that holds all of "
                f"it.{several}"
            )
        merged[hint.object, hint.frame] = both
    return tuple(merged.values())


def write_hints(path: Path, hints: Iterable[Hint]) -> None:
    """A file that `--hint` reads."""
    rows = [{"object": h.object, "frame": h.frame, "box": h.box, "points": h.points} for h in hints]
    path.write_text(json.dumps({"hints": rows}, indent=1) + "\n", encoding="utf-8")


def _read_hints(path: Path) -> list[Hint]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["hints"]
        return [_hint_of(row) for row in rows]
    except OSError as error:
        raise UserError(f"--hint {path}: cannot be opened ({error.strerror}). {_HOW}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"--hint {path}: is no file of hints ({error!r}). {_HOW}") from error


def _hint_of(row: dict[str, Any]) -> Hint:
    box = row.get("box")
    if box is not None:
        left, top, width, height = map(float, box)
        box = left, top, width, height
    points = tuple((float(u), float(v), 1 if sign > 0 else -1) for u, v, sign in row["points"])
    return Hint(str(row["object"]), int(row["frame"]), box, points)


def check_hints(
    hints: Sequence[Hint], objects: Sequence[str] | None, frames: int, height: int, width: int
) -> None:
    """UserError, with all problems, for hints of objects, frames or pixels that there are not.

    objects: their names; None where they are not known yet.
    """
    problems = []
    for hint in hints:
        where = f"{hint.name}:"
        if objects is not None and hint.object not in objects and not is_person(hint):
            problems.append(
                f"{where} no object of that name; there is {', '.join(objects)}, and person"
            )
        if not 0 <= hint.frame < frames:
            problems.append(f"{where} the clip has frames 0 to {frames - 1}")
        if hint.box is not None:
            left, top, wide, high = hint.box
            if wide < 2 or high < 2:
                problems.append(f"{where} a box of {wide:g} x {high:g} pixels is too small")
            elif not (left < width and top < height and left + wide > 0 and top + high > 0):
                problems.append(f"{where} the box lies outside the image of {width} x {height}")
        outside = [p for p in hint.points if not (0 <= p[0] < width and 0 <= p[1] < height)]
        if outside:
            u, v, _ = outside[0]
            problems.append(
                f"{where} the point {u:g},{v:g} lies outside the image of {width} x {height}"
            )
        known = any(
            h.box or any(sign > 0 for *_, sign in h.points)
            for h in hints
            if h.object == hint.object
        )
        if not known:
            problems.append(f"{where} has no box and no point on the object")
    if problems:
        raise UserError("\n" + numbered(problems) if len(problems) > 1 else problems[0] + ".")


def steadied_hint(hint: Hint, motions: Float[ndarray, "T 3 3"]) -> Hint:
    """The hint in a clip that was steadied; motions: homographies from the reference to each frame."""
    if hint.frame >= len(motions):
        return hint
    return moved_hint(hint, np.linalg.inv(motions[hint.frame]))


def moved_hint(hint: Hint, homography: Float[ndarray, "3 3"]) -> Hint:
    """The hint where a homography takes it; of a box, the one that bounds its corners."""

    def moved(u: float, v: float) -> tuple[float, float]:
        x, y, w = homography @ (u, v, 1.0)
        return float(x / w), float(y / w)

    box = None
    if hint.box is not None:
        left, top, width, height = hint.box
        corners = [moved(u, v) for u in (left, left + width) for v in (top, top + height)]
        low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        box = (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
    points = tuple((*moved(u, v), sign) for u, v, sign in hint.points)
    return dataclasses.replace(hint, box=box, points=points)


def in_file(hint: Hint, origin: ClipOrigin) -> Hint:
    """A hint in frames that are observed as one in frames and pixels of the clip's file."""
    if origin.motions is not None:
        hint = moved_hint(hint, origin.motions[hint.frame])
    frame = hint.frame if origin.frames is None else int(origin.frames[hint.frame])
    return dataclasses.replace(hint.scaled(1.0 / origin.scale), frame=frame)


def is_person(hint: Hint) -> bool:
    """Whether it is of a person: `person`, or `person N`."""
    return _PERSON.fullmatch(hint.object) is not None


def prompt_of(hints: Sequence[Hint], name: str) -> Prompt | None:
    """All hints of an object as one prompt; None where there is none."""
    prompts = [
        Prompt(
            hint.frame,
            box=None if hint.box is None else _corners(hint.box),
            points=np.array(hint.points, np.float32) if hint.points else None,
            hint=hint.text,
        )
        for hint in sorted(hints, key=lambda hint: hint.frame)
        if hint.object == name
    ]
    if not prompts:
        return None
    prompts.sort(key=lambda prompt: prompt.box is None)  # points beside a box correct its track
    first = prompts[0]
    return dataclasses.replace(first, more=tuple(prompts[1:]))


def _corners(box: Sequence[float]) -> np.ndarray:
    left, top, width, height = box
    return np.array([left, top, left + width, top + height], np.float32)
