"""What a result was solved from, as the solve took it."""

import dataclasses
from pathlib import Path

import numpy as np

from hoijax.initialization.evidence import with_known_camera
from hoijax.results.observed import FoundBundle, find_bundle, focal_factor
from hoijax.results.result import Result

__all__ = ["find_observed"]


def find_observed(result: Result, folder: Path) -> FoundBundle | None:
    """The bundle of a result, where it still is and unchanged, with the camera it was solved with."""
    observed = find_bundle(result, folder)
    if observed is None:
        return None
    bundle = with_known_camera(observed.bundle)
    intrinsics = np.array(bundle.observations.intrinsics)
    intrinsics[:, [0, 1], [0, 1]] *= focal_factor(result) or 1.0
    seen = dataclasses.replace(bundle.observations, intrinsics=intrinsics)
    return dataclasses.replace(observed, bundle=dataclasses.replace(bundle, observations=seen))
