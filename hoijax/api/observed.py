"""What a result was solved from, as the solve took it."""

import dataclasses
from pathlib import Path

from hoijax.initialization.evidence import with_known_camera
from hoijax.results.observed import FoundBundle, find_bundle
from hoijax.results.result import Result

__all__ = ["find_observed"]


def find_observed(result: Result, folder: Path) -> FoundBundle | None:
    """The bundle of a result, where it still is and unchanged, with the camera it was solved with."""
    found = find_bundle(result, folder)
    if found is None:
        return None
    return dataclasses.replace(found, bundle=with_known_camera(found.bundle))
