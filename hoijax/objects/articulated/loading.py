"""Articulated objects from files, or the shipped ones by name."""

from __future__ import annotations

from pathlib import Path

from hoijax.errors import UserError, nearest_hint
from hoijax.objects.articulated.model import ArticulatedAsset


def load_articulated(spec: str | Path, *, samples: int = 2048) -> ArticulatedAsset:
    """Read a URDF file or a glb with joints, or make one of the shipped articulated objects by name.

    Raises UserError for everything that is not a usable kinematic tree, naming file and element.
    """
    from hoijax.objects.articulated.glb import read_articulated_glb
    from hoijax.objects.articulated.shapes import ARTICULATED_OBJECTS
    from hoijax.objects.articulated.urdf import read_urdf

    path = Path(spec)
    if str(spec) in ARTICULATED_OBJECTS and not path.is_file():
        return ARTICULATED_OBJECTS[str(spec)](samples)
    if not path.is_file():
        raise UserError(
            f"articulated object '{spec}' does not exist.{nearest_hint(str(spec), ARTICULATED_OBJECTS)} Give the path of a .urdf or .glb file, or one of "
            f"the shipped objects: {', '.join(ARTICULATED_OBJECTS)}."
        )
    if path.suffix.lower() == ".glb":
        return read_articulated_glb(path, samples=samples)
    if path.suffix.lower() not in (".urdf", ".xml"):
        raise UserError(f"{path}: articulated objects are read from .urdf and .glb files.")
    return read_urdf(path, samples=samples)


def is_articulated(spec: str | Path) -> bool:
    """Whether a spec of --objects names an object with joints: a URDF file, or a shipped one."""
    from hoijax.objects.articulated.shapes import ARTICULATED_OBJECTS

    path = Path(spec)
    if path.is_file():
        return path.suffix.lower() in (".urdf", ".xml")
    return str(spec) in ARTICULATED_OBJECTS or path.suffix.lower() == ".urdf"
