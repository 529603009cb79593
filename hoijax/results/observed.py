"""What a result was solved from: its bundle, the clip in it, and the camera that saw it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bundle.write import Bundle, bundle_hash, read_bundle
from hoijax.errors import UserError
from hoijax.results.result import Result

VIDEO = "video.mp4"
FOCAL_FACTOR = "focal length factor"
"""Of the numbers in `run.json`, under `corrections`: solved focal length over the given one."""


@dataclass(frozen=True)
class FoundBundle:
    """The observations a result was solved from, and where they lie."""

    path: Path
    bundle: Bundle

    @property
    def video(self) -> Path | None:
        """The clip that was observed, where the bundle has one."""
        path = self.path / VIDEO
        return path if path.is_file() else None


def focal_factor(result: Result) -> float | None:
    """Solved focal length over the given one; None where a solve did not say (1, or an earlier version)."""
    factor = result.run.get("corrections", {}).get(FOCAL_FACTOR)
    return None if factor is None else float(factor)


def observed_video(result: Result, folder: Path) -> Path | None:
    """The clip that a result was read off, where its bundle still has one; the bundle is not read."""
    named = result.run.get("bundle")
    path = folder / named / VIDEO if isinstance(named, str) else None
    return path if path is not None and path.is_file() else None


def find_bundle(result: Result, folder: Path) -> FoundBundle | None:
    """The bundle a result was solved from, where it still is and unchanged."""
    named = result.run.get("bundle")
    if not isinstance(named, str):
        return None
    path = folder / named  # an absolute path stands for itself
    try:
        if not path.exists() or bundle_hash(path) != result.run.get("bundle_hash"):
            return None
        return FoundBundle(path, read_bundle(path))
    except UserError:
        return None


def camera_poses(
    Ts_world_pointmap: Float[ndarray, "T 4 4"],
) -> tuple[Float[ndarray, "T 3 3"], Float[ndarray, "T 3"]]:
    """Rotation and position of the camera in the world: the alignment without its scale."""
    linear = Ts_world_pointmap[:, :3, :3].astype(np.float64)
    scale = np.cbrt(np.linalg.det(linear))[:, None, None]
    return (linear / scale).astype(np.float32), Ts_world_pointmap[:, :3, 3].astype(np.float32)
