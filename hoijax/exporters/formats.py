"""Every export format by name: what it writes, in which axes, at which frame rate.

A new format is one file in this folder (docs/contributing.md).
"""

import pkgutil
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from hoijax import exporters
from hoijax.errors import UserError, nearest_hint
from hoijax.exporters.amass import save_amass
from hoijax.exporters.bvh import save_bvh
from hoijax.exporters.clip import Clip
from hoijax.exporters.fbx import require_blender
from hoijax.exporters.gltf import save_glb
from hoijax.exporters.interact import save_interact_human, save_interact_object
from hoijax.exporters.intermimic import save_intermimic
from hoijax.exporters.omomo import save_omomo
from hoijax.exporters.options import ExportOptions
from hoijax.exporters.resample import resample_clip
from hoijax.exporters.usd import require_usd, save_usd
from hoijax.exporters.video import save_preview

AMASS_FPS = 30.0
"""The SMPL-X add-on of Blender takes no less."""


def write_formats(
    clip: Clip, folder: Path, formats: Sequence[str], options: ExportOptions | None = None
) -> list[Path]:
    """Write a clip in some formats into an existing folder, flat; the paths that were written.

    Raises UserError for an unknown format or axis, or a frame rate out of range, before it writes.
    """
    options = options or ExportOptions()
    check_formats(formats)
    if options.up not in ("y", "z", None):
        raise UserError(f"--up must be y or z, got '{options.up}'.")
    if options.fps is not None:
        resample_clip(clip, options.fps)
    if "usd" in formats:
        require_usd()
    if "fbx" in formats:
        require_blender()
    return [
        path for name in WRITERS if name in formats for path in WRITERS[name](clip, folder, options)
    ]


def check_formats(formats: Sequence[str]) -> None:
    """Raises UserError that lists the known formats."""
    unknown = sorted(set(formats) - set(WRITERS))
    if unknown or not formats:
        hint = nearest_hint(unknown[0], WRITERS) if unknown else ""
        raise UserError(f"unknown export formats {unknown}.{hint} Known: {', '.join(WRITERS)}.")


def person_file(name: str, suffix: str, person: int) -> str:
    """amass.npz for the first person, amass_person_2.npz for the second."""
    return f"{name}{suffix}" if person == 0 else f"{name}_person_{person + 1}{suffix}"


def _amass(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    """What SMPL-X readers expect: z up and at least 30 frames a second, where nothing else is asked for."""
    if options.fps is None and clip.fps < AMASS_FPS:
        clip = resample_clip(clip, AMASS_FPS)
    clip = options.resampled(clip)
    return [
        save_amass(folder / person_file("amass", ".npz", p), clip, person=p, z_up=options.up != "y")
        for p in range(len(clip.people))
    ]


def _glb(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    return [save_glb(folder / "scene.glb", options.resampled(clip))]


def _mp4(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    return list(save_preview(folder, clip, progress=options.progress))


def _bvh(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    clip = options.resampled(clip)
    return [
        save_bvh(folder / person_file("motion", ".bvh", p), clip, person=p, z_up=options.up == "z")
        for p in range(len(clip.people))
    ]


def _usd(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    return save_usd(folder / "scene.usdc", options.resampled(clip), z_up=options.up == "z")


def _pairs(name: str, save: Callable[..., Path], clip: Clip, folder: Path) -> list[Path]:
    """A file for every person and object; a clip without object is for `save` to refuse."""
    return [
        save(
            folder / person_file(_numbered(name, "object", o), ".npz", p), clip, person=p, object_=o
        )
        for p in range(len(clip.people))
        for o in range(max(len(clip.assets), 1))
    ]


def _numbered(name: str, what: str, index: int) -> str:
    return name if index == 0 else f"{name}_{what}_{index + 1}"


def _intermimic(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    return _pairs("intermimic", save_intermimic, clip, folder)


def _omomo(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    return _pairs("omomo", save_omomo, clip, folder)


def _interact(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    people = [
        save_interact_human(folder / person_file("human", ".npz", p), clip, person=p)
        for p in range(len(clip.people))
    ]
    objects = [
        save_interact_object(
            folder / f"{'object' if o == 0 else f'object_{o + 1}'}.npz", clip, object_=o
        )
        for o in range(len(clip.assets))
    ]
    return people + objects


Writer = Callable[[Clip, Path, ExportOptions], list[Path]]


def find_formats() -> dict[str, Writer]:
    """Formats of the files in this folder that name theirs: FORMAT, and `write(clip, folder, options)`."""
    formats: dict[str, Writer] = {}
    for file in pkgutil.iter_modules(exporters.__path__):
        if file.name != "formats":
            module = import_module(f"{exporters.__name__}.{file.name}")
            if hasattr(module, "FORMAT"):
                formats[module.FORMAT] = module.write
    return formats


WRITERS: dict[str, Writer] = {
    "amass": _amass,
    "glb": _glb,
    "mp4": _mp4,
    "bvh": _bvh,
    "usd": _usd,
    "intermimic": _intermimic,
    "omomo": _omomo,
    "interact": _interact,
    **find_formats(),
}
FORMATS = tuple(WRITERS)
