"""The unit of a mesh file: said by the file (3MF), fixed by the format (glTF: metres), or guessed by the noun."""

import zipfile
from pathlib import Path
from xml.etree.ElementTree import ParseError, iterparse

from hoijax.objects.usual_sizes import HANDLED, TOLERANCE, UsualSize

METERS = {
    "micron": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "inch": 0.0254,
    "foot": 0.3048,
    "meter": 1.0,
}
"""Units of 3MF (core specification, `model`'s attribute `unit`), in metres."""
WITHOUT_UNIT = {".obj", ".stl", ".ply", ".off"}
GUESSED = {"millimetres": 1e-3, "centimetres": 1e-2}


def unit_of(path: Path, longest: float, usual: UsualSize | None) -> tuple[float, str]:
    """Factor from a file's unit to metres, and how it is known; (1, "") for metres.

    longest: side of the mesh in the file's unit. usual: the size of what it shows. A guess needs a size that is out of the question in metres and
    usual in one other unit.
    """
    suffix = path.suffix.lower()
    if suffix == ".3mf":
        unit = _unit_of_3mf(path)
        factor = METERS.get(unit, 1.0)
        if longest * factor < HANDLED[0] <= longest <= HANDLED[1]:  # who writes it forgets the unit
            return 1.0, f"guessed: metres, though the file says {unit}s"
        return factor, f"the file is in {unit}s"
    if suffix not in WITHOUT_UNIT or usual is None:
        return 1.0, ""
    low, high = usual.low / TOLERANCE, usual.high * TOLERANCE
    fitting = [(f, unit) for unit, f in GUESSED.items() if low <= longest * f <= high]
    if low <= longest <= high or len(fitting) != 1:
        return 1.0, ""
    factor, unit = fitting[0]
    return factor, (
        f"guessed: {unit}, as a {usual.noun} of {longest:.3g} m is none; scale=1 behind its name takes "
        "it as it is"
    )


def _unit_of_3mf(path: Path) -> str:
    """The unit that a 3MF package names; millimeters where it names none, or cannot be read here."""
    try:
        with zipfile.ZipFile(path) as package, package.open("3D/3dmodel.model") as model:
            _, root = next(iterparse(model, events=("start",)))
            return root.get("unit", "millimeter")
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, ParseError, StopIteration):
        return "millimeter"
