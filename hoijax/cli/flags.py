"""Options that every command has."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from hoijax.errors import UserError

Text = tyro.conf.Positional[str]
Folder = tyro.conf.Positional[Path]


def format_names(text: str) -> list[str]:
    """Names of a comma-separated list of export formats."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError('no format is named. Give some, such as "amass,glb".')
    return names


@dataclass(frozen=True, kw_only=True)
class OutputFlags:
    """Who reads what a command says."""

    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print nothing but errors and warnings."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object at the end, and nothing else, on stdout."""


@dataclass(frozen=True, kw_only=True)
class TrackFlags:
    """Where else a run is recorded."""

    track: str | None = None
    """Also record the run with "wandb" or "tensorboard"; nothing is sent anywhere by default."""


@dataclass(frozen=True, kw_only=True)
class StrictFlags:
    """Whether a result that is not to be trusted is a failure."""

    strict: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """End with an error where the result is of low confidence; it is written all the same."""

    def check(self, run: Mapping[str, Any]) -> None:
        """Raises UserError where that was asked for and `run.json` has doubts."""
        doubts = run.get("confidence", {}).get("doubts", [])
        if self.strict and doubts:
            raise UserError(f"low confidence (--strict): {'; '.join(doubts)}.")


@dataclass(frozen=True, kw_only=True)
class ObjectFlags:
    """What the files of --objects mean, where they and their names do not say."""

    scale: float = 1.0
    """Factor from the meshes' unit to metres (0.001 for millimetres)."""
    up: str | None = None
    """Axis of the mesh files that points up: y, z, -y ...; by the format or guessed by default."""
    front: str | None = None
    """Axis of the mesh files that points to the front; z, or -y where z is up, by default."""

    def axes(self) -> dict[str, Any]:
        """In the words of `hoijax.load_objects`."""
        return {"scale": self.scale, "up": self.up, "front": self.front}
