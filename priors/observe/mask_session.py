"""Masks of a clip or photograph by hand and eye: hints are put down, propagated, looked at, corrected and saved.

What `hoijax mask` edits. Pixels are those of the clip as it is read; a photograph is a clip of one frame.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.io.atomic import output_folder
from hoijax.io.clip_intake import Clip, parse_seconds, read_clip
from hoijax.io.photographs import clip_of_photograph, is_photograph
from hoijax.progress import Log, silent
from priors.models.blazepose import BlazePose
from priors.models.packaged_segmenter import PackagedSegmenter, cut_prompt
from priors.observe.hints import HINTS_FILE, check_hints, parse_hints, prompt_of, write_hints
from priors.observe.people import find_people
from priors.observe.tracking import spread_frames
from priors.protocols import ClipOrigin, Detector, Hint, Prompt, VideoSegmenter

__all__ = ["MaskSession"]

COLORS = ((230, 60, 60), (60, 130, 240), (240, 180, 40), (180, 80, 220), (60, 200, 200))
PERSON_COLOR = (70, 200, 90)
SEARCHED = 12


class MaskSession:
    """Hints and masks of the objects and people of one clip or photograph."""

    def __init__(
        self,
        video: str | Path,
        objects: Sequence[str],
        *,
        people: int = 1,
        hints: Sequence[str] = (),
        seconds: str | None = None,
        log: Log = silent,
        segmenter: VideoSegmenter | None = None,
        detector: Detector | None = None,
    ):
        """objects: names; hints: as of `--hint`. UserError for what does not fit the clip."""
        names = list(objects)
        if not names or len(set(names)) < len(names) or any(set(n) & set("/\\=:") for n in names):
            raise UserError(
                f"--objects needs names of their own, as box ball; got {names or 'none'}."
            )
        if people < 0:
            raise UserError(f"--people must be 0 or more, got {people}.")
        clip, self.saved_size = _opened(video, seconds, log)
        self.frames, self.fps, self.scale = clip.video.frames, clip.video.fps, clip.scale
        self.is_photograph = len(self.frames) == 1
        self.objects, self.people, self.log = tuple(names), people, log
        typed = parse_hints(hints)
        height, width = (round(side / clip.scale) for side in self.frames.shape[1:3])
        check_hints(typed, names, len(self.frames), height, width)
        self.hints = [hint.scaled(clip.scale) for hint in typed]
        self.masks: dict[str, Bool[ndarray, "T H W"]] = {}
        self._segmenter = segmenter or PackagedSegmenter()
        self._detector = detector or BlazePose()

    @property
    def names(self) -> tuple[str, ...]:
        """People and objects, as their folders are named."""
        numbers = [f"person {p + 1}" for p in range(self.people)]
        return (*(numbers if self.people > 1 else ["person"] * self.people), *self.objects)

    def hint_of(self, name: str, frame: int) -> Hint:
        """The hint of an object in a frame; an empty one where there is none."""
        here = [h for h in self.hints if (h.object, h.frame) == (name, frame)]
        return here[0] if here else Hint(name, frame)

    def set_box(self, name: str, frame: int, box: tuple[float, float, float, float]) -> None:
        """An object lies in a box (left, top, width, height); the one before is forgotten."""
        self._put(replace(self.hint_of(name, frame), box=box))

    def add_point(self, name: str, frame: int, u: float, v: float, sign: int) -> None:
        """A pixel is on an object (+1) or beside it (-1)."""
        hint = self.hint_of(name, frame)
        self._put(replace(hint, points=(*hint.points, (u, v, sign))))

    def forget(self, name: str, frame: int) -> None:
        """No hint of an object in a frame."""
        self.hints = [h for h in self.hints if (h.object, h.frame) != (name, frame)]

    def _put(self, hint: Hint) -> None:
        before = self.hints
        self.forget(hint.object, hint.frame)
        self.hints.append(hint)
        try:
            self._check()
        except UserError:
            self.hints = before
            raise

    def _check(self) -> None:
        height, width = self.frames.shape[1:3]
        check_hints(self.hints, self.objects, len(self.frames), height, width)

    def propagate(self) -> None:
        """Masks of all people and hinted objects in all frames."""
        prompts: dict[str, Prompt] = {}
        if self.people:
            searched = spread_frames(len(self.frames), SEARCHED)
            entities = find_people(
                self.frames,
                searched,
                self._detector,
                self.people,
                self.hints,
                ClipOrigin(self.scale),
                self.log,
            )
            if any(where is None for where in entities):
                missed = f"{self.people} people were not found together"
                missed = "no person was found" if self.people == 1 else missed
                raise UserError(
                    f"{missed} in {len(searched)} frames of the clip. "
                    "Give --people as many as there are, or 0 for objects only."
                )
            for name, where in zip(self.names, entities, strict=False):
                if where is not None:
                    prompts[name] = Prompt(where[0], where[1], is_person=True)
        for name in self.objects:
            prompt = prompt_of(self.hints, name)
            if prompt is not None:
                prompts[name] = prompt
        if not prompts:
            raise UserError("there is nothing to follow: mark an object first.")
        tracks = self._segmenter.track(self.frames, list(prompts.values()))
        self.masks = dict(zip(prompts, tracks.masks, strict=True))
        for name, mask in self.masks.items():
            self.log(f"{name}: seen in {int(mask.any((1, 2)).sum())} of {len(mask)} frames")

    def preview(self, name: str, frame: int) -> None:
        """The mask of an object in one frame, from its hint there."""
        hint = self.hint_of(name, frame)
        masks = self.masks.setdefault(name, np.zeros(self.frames.shape[:3], bool))
        prompt = prompt_of([hint], name)
        if prompt is not None:
            masks[frame] = cut_prompt(self.frames[frame], prompt, before=masks[frame])

    def overlay(self, frame: int) -> UInt8[ndarray, "H W 3"]:
        """A frame with its masks in color, and with its hints."""
        from PIL import Image, ImageDraw

        shaded = self.frames[frame].astype(np.float32)
        for name, masks in self.masks.items():
            shaded[masks[frame]] = 0.5 * shaded[masks[frame]] + 0.5 * np.array(self.color(name))
        image = Image.fromarray(shaded.astype(np.uint8))
        draw, reach = ImageDraw.Draw(image), max(3, self.frames.shape[2] // 160)
        for hint in self.hints:
            if hint.frame != frame:
                continue
            if hint.box is not None:
                left, top, width, height = hint.box
                corners = (left, top, left + width, top + height)
                draw.rectangle(corners, outline=self.color(hint.object), width=2)
            for u, v, sign in hint.points:
                around = (u - reach, v - reach, u + reach, v + reach)
                draw.ellipse(around, fill=(255, 255, 255) if sign > 0 else (0, 0, 0))
        return np.asarray(image)

    def color(self, name: str) -> tuple[int, int, int]:
        if name not in self.objects:
            return PERSON_COLOR
        return COLORS[self.objects.index(name) % len(COLORS)]

    def save(self, folder: str | Path) -> Path:
        """A folder of PNGs for each person and object, as `--masks` reads them, and hints.json.

        Of a photograph at its own size, as `align` reads them.
        """
        from PIL import Image

        if not self.masks:
            raise UserError("there are no masks to save yet: follow the objects first.")
        with output_folder(folder, HINTS_FILE) as part:
            for name, masks in self.masks.items():
                (part / name).mkdir()
                for t, mask in enumerate(masks):
                    image = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
                    image = image.resize(self.saved_size, Image.Resampling.NEAREST)
                    image.save(part / name / f"{t:05d}.png")
            write_hints(part / HINTS_FILE, [hint.scaled(1 / self.scale) for hint in self.hints])
        return Path(folder)


def _opened(video: str | Path, seconds: str | None, log: Log) -> tuple[Clip, tuple[int, int]]:
    """(a clip, a part of it or a photograph; width and height of the masks that are saved)."""
    span = None if seconds is None else parse_seconds(seconds)
    if not is_photograph(video):
        clip = read_clip(video, seconds=span, log=log)
        height, width = clip.video.frames.shape[1:3]
        return clip, (width, height)
    if span is not None:
        raise UserError(f"--seconds {seconds}: {video} is a photograph. Omit --seconds.")
    return clip_of_photograph(video, log=log)
