"""Objects as a command line names them: `chair=path.glb,up=z,front=-y,scale=0.01`."""

import dataclasses
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from hoijax.errors import UserError
from hoijax.objects.asset import (
    LARGEST_PLAUSIBLE_SIDE,
    SMALLEST_PLAUSIBLE_SIDE,
    Asset,
    load_asset,
)
from hoijax.objects.orientation import check_axes
from hoijax.objects.units import unit_of
from hoijax.objects.usual_sizes import UsualSize, handling_remark, size_remark, usual_size_of
from hoijax.progress import Log, silent

_OPTION = re.compile(r"^(?P<rest>.+),\s*(?P<key>up|front|scale|name)\s*=\s*(?P<value>[^,]*)$", re.S)
FORM = "[name=]file[,up=z][,front=-y][,scale=0.01]"


class UnusualSizeWarning(UserWarning):
    """An object is not as large as such things are."""


@dataclass(frozen=True)
class ObjectSpec:
    """One object of --objects; None where it says nothing."""

    source: str
    """A file, or the name of a shipped object."""
    name: str | None = None
    up: str | None = None
    front: str | None = None
    scale: float | None = None

    def __str__(self) -> str:
        options = (("up", self.up), ("front", self.front), ("scale", self.scale))
        text = "".join(f",{key}={value}" for key, value in options if value is not None)
        return f"{self.name}={self.source}{text}" if self.name else f"{self.source}{text}"


def parse_object(text: str | Path) -> ObjectSpec:
    """Read one item of --objects. A file whose name is the whole text is meant, commas and all.

    Raises UserError for an option that cannot be read, naming the item.
    """
    rest = str(text)
    options: dict[str, str] = {}
    while not Path(rest).is_file() and (match := _OPTION.match(rest)):
        rest, key = match["rest"], match["key"]
        if key in options:
            raise UserError(f"--objects {text}: {key} is given twice. Write {FORM}.")
        options[key] = match["value"].strip()
    name, equals, source = rest.partition("=")
    if equals and not Path(rest).is_file() and "/" not in name and "\\" not in name:
        if not name.strip() or not source.strip():
            raise UserError(f"--objects {text}: a name or a file is missing. Write {FORM}.")
        options.setdefault("name", name.strip())
        rest = source.strip()
    check_axes(options.get("up"), options.get("front"), f"--objects {text}")
    scale = None
    if "scale" in options:
        try:
            scale = float(options["scale"])
        except ValueError:
            scale = -1.0
        if not np.isfinite(scale) or scale <= 0.0:
            raise UserError(f"--objects {text}: scale must be a positive number.")
    return ObjectSpec(rest, options.get("name"), options.get("up"), options.get("front"), scale)


def load_objects(
    specs: Sequence[str | Path],
    scale: float = 1.0,
    *,
    up: str | None = None,
    front: str | None = None,
    text: str = "",
    log: Log = silent,
) -> tuple[Asset, ...]:
    """Assets of mesh paths or names of shipped objects; the same name twice becomes "name 1", "name 2".

    specs: files or names, each with options: "chair=path.obj,up=z,front=-y,scale=0.01".
    scale, up, front: for the files whose spec says none. Where neither these nor the format say it, the up
    axis is guessed. text: the sentence, whose noun says what a file called "model" is.
    log: told of every object what size and axes were taken, and why. Warns (UnusualSizeWarning) of sizes
    that such things do not have.
    """
    if not specs:
        raise UserError("--objects needs at least one mesh path or procedural object.")
    check_axes(up, front, "--up and --front")
    parsed = [parse_object(spec) for spec in specs]
    nouns = _usual_sizes([spec.name or Path(spec.source).stem for spec in parsed], text)
    assets = []
    for spec, usual in zip(parsed, nouns, strict=True):
        given = ObjectSpec(
            spec.source,
            spec.name,
            spec.up or (None if spec.front and up and spec.front[-1] == up[-1] else up),
            spec.front or (None if spec.up and front and spec.up[-1] == front[-1] else front),
            scale if spec.scale is None else spec.scale,
        )
        assets.append(_load(spec, given, usual, scale == 1.0, log))
    return tuple(_named_apart(assets))


def _load(
    spec: ObjectSpec, given: ObjectSpec, usual: UsualSize | None, is_scale_free: bool, log: Log
) -> Asset:
    """The asset of a spec. given: with what holds for all files; is_scale_free: no scale is given for all."""
    is_file = Path(spec.source).is_file()
    if not is_file and (spec.up or spec.front):
        raise UserError(
            f"--objects {spec}: shipped objects have their axes; up and front are of files."
        )
    notes: list[str] = []
    scale = 1.0 if given.scale is None else given.scale

    def guessed_scale(longest: float) -> float:
        factor, reason = unit_of(Path(spec.source), longest, usual)
        notes.extend([f"scale {factor:g} ({reason})"] if reason else [])
        return factor

    is_guessed = is_file and is_scale_free and spec.scale is None
    asset = load_asset(
        spec.source,
        name=spec.name,
        scale=guessed_scale if is_guessed else scale,
        up=(given.up or "guess") if is_file else None,
        front=given.front if is_file else None,
        usual=usual,
        has_appearance=True,
        log=notes.append,
    )
    log("; ".join([f"{asset.name}: {sides_text(asset.extents)}", *notes]))
    longest = float(asset.extents.max())
    is_plausible = SMALLEST_PLAUSIBLE_SIDE <= longest <= LARGEST_PLAUSIBLE_SIDE
    remark = handling_remark(longest) if usual is None else size_remark(longest, usual)
    if is_plausible and remark:
        warnings.warn(f"{spec.source}: {remark}.", UnusualSizeWarning, stacklevel=4)
    return asset


def sides_text(extents: Float[np.ndarray, "3"]) -> str:
    """The size of an object, for people."""
    wide, tall, deep = extents
    return f"{wide:.3g} x {tall:.3g} x {deep:.3g} m (wide, tall, deep)"


def _usual_sizes(names: Sequence[str], text: str) -> list[UsualSize | None]:
    """By the objects' names; for one object without a known noun, by the sentence's."""
    usual = [usual_size_of(name) for name in names]
    if len(usual) == 1 and usual[0] is None:
        return [usual_size_of(text)]
    return usual


def _named_apart(assets: Sequence[Asset]) -> list[Asset]:
    names = [asset.name for asset in assets]
    renamed = []
    for i, asset in enumerate(assets):
        if names.count(asset.name) > 1:
            number = names[: i + 1].count(asset.name)
            asset = dataclasses.replace(asset, name=f"{asset.name} {number}")
        renamed.append(asset)
    return renamed
