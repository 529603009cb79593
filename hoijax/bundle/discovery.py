"""Bundles below a path, and the ground truth beside them."""

from collections.abc import Iterator
from pathlib import Path

from hoijax.bundle.files import MANIFEST
from hoijax.bundle.write import GroundTruth, read_ground_truth
from hoijax.errors import UserError


def find_bundles(path: Path) -> list[Path]:
    """The bundle that a path is, or those in a folder: bundle folders, zips, and result folders'.

    Raises UserError where there is none.
    """
    if path.is_file() or (path / MANIFEST).is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"'{path}' does not exist. Give a bundle, or a folder of bundles.")
    bundles = [bundles for child in sorted(path.iterdir()) for bundles in _bundle_in(child)]
    if not bundles:
        raise UserError(
            f"no bundle in '{path}': looked for */{MANIFEST}, */bundle/{MANIFEST} and *.zip. "
            "`hoijax generate` leaves one in the folder it writes."
        )
    return bundles


def _bundle_in(path: Path) -> Iterator[Path]:
    if path.name.startswith("."):
        return
    if path.suffix.lower() == ".zip":
        yield path
    for folder in (path, path / "bundle"):
        if (folder / MANIFEST).is_file():
            yield folder
            return


def find_ground_truth(path: Path) -> GroundTruth | None:
    """The truth of a made or captured bundle; bundles of real videos have none."""
    try:
        return read_ground_truth(path)
    except UserError:
        return None
