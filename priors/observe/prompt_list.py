"""A file of scenes to observe: one JSON object a line, checked whole before any work."""

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hoijax.errors import UserError
from hoijax.io.validation import count_of, numbered, parse_json, validation_problems
from hoijax.objects.specs import parse_object
from priors.store import content_key

__all__ = ["PromptedScene", "read_prompts"]

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
FILES = ("pag", "image", "video", "masks")


class _Line(BaseModel):
    """One scene as it is written."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1)
    objects: list[str] = Field(min_length=1)
    id: str | None = Field(default=None, pattern=ID_PATTERN)
    pag: str | None = None
    image: str | None = None
    video: str | None = None
    masks: str | None = None
    frames: int | None = Field(default=None, ge=3)
    seed: int | None = Field(default=None, ge=0)
    scale: float | None = Field(default=None, gt=0)


@dataclass(frozen=True)
class PromptedScene:
    """One scene; paths are absolute."""

    id: str
    """Name of its bundle."""
    text: str
    objects: tuple[str, ...]
    files: dict[str, str]
    """Paths by "pag", "image", "video", "masks"."""
    frames: int | None = None
    seed: int | None = None
    scale: float | None = None

    def to_json(self) -> str:
        return json.dumps(self.__dict__, sort_keys=True)


def read_prompts(path: Path) -> list[PromptedScene]:
    """The scenes of a jsonl file; relative paths are relative to it.

    A scene without an id gets one from its sentence and a hash. Raises UserError listing every
    problem by line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--prompts {path}: cannot be read as text ({error}).") from error
    scenes: list[PromptedScene] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            data = parse_json(line)
        except ValueError as error:
            problems.append(f"line {number}: is not JSON: {error}")
            continue
        wrong = validation_problems(_Line, data)
        problems += [f"line {number}: {problem}" for problem in wrong]
        if not wrong:
            scene = _scene(_Line.model_validate(data), path.absolute().parent)
            if any(scene.id == other.id for other in scenes):
                problems.append(f"line {number}: the id {scene.id!r} is used before")
            problems += [
                f"line {number}: {key}: there is no {value}"
                for key, value in scene.files.items()
                if not Path(value).exists()
            ]
            scenes.append(scene)
    if not scenes and not problems:
        problems.append("it holds no scene")
    if problems:
        raise UserError(f"--prompts {path} has {count_of(problems)}:\n{numbered(problems)}")
    return scenes


def _scene(line: _Line, folder: Path) -> PromptedScene:
    files = {key: str(folder / value) for key in FILES if (value := getattr(line, key))}
    objects = tuple(_beside(folder, item) for item in line.objects)
    rest: dict[str, Any] = {"frames": line.frames, "seed": line.seed, "scale": line.scale}
    name = line.id
    if name is None:
        slug = re.sub(r"[^a-z0-9]+", "-", line.text.lower()).strip("-")[:40].strip("-")
        name = f"{slug or 'scene'}-{content_key(line.model_dump())[:8]}"
    return PromptedScene(name, line.text, objects, files, **rest)


def _beside(folder: Path, item: str) -> str:
    """An object whose file is relative to a folder; names of shipped ones stay."""
    spec = parse_object(item)
    path = folder / spec.source
    return str(dataclasses.replace(spec, source=str(path))) if path.is_file() else item
