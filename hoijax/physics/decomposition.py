"""Objects as convex pieces, which is all that rigid-body simulators collide."""

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.errors import UserError

SHEET = 1e-3  # metres of thickness that a flat object has at least
MAX_SECONDS = 60.0
WORKER = Path(__file__).with_name("coacd_worker.py")
EXTRA = (
    "the replay needs a simulator: pip install 'hoijax[physics]' (mujoco and coacd), or leave the replay out: "
    "--no-replay."
)


@dataclass(frozen=True)
class ConvexPieces:
    """Vertices of every piece, each the hull of its own."""

    pieces: tuple[Float[ndarray, "N 3"], ...]
    is_hull: bool
    """The one piece is the object's hull because it could not be decomposed."""

    @cached_property
    def _sides(self) -> tuple[Float[ndarray, "F 4"], ...]:
        from scipy.spatial import ConvexHull

        return tuple(ConvexHull(points).equations for points in self.pieces)

    def outside(
        self, points: Float[ndarray, "P 3"], outward: Float[ndarray, "P 3"]
    ) -> Float[ndarray, "P 3"]:
        """Points that are within pieces, which are a centimeter thicker than the mesh, moved out of them."""
        moved = points.copy()
        for _ in range(3):  # out of one piece may be into the next
            for sides in self._sides:
                heights = moved @ sides[:, :3].T + sides[:, 3]
                rising = outward @ sides[:, :3].T
                ways = np.where(rising > 1e-6, -heights / np.maximum(rising, 1e-6), np.inf)
                inside = (heights < 0).all(axis=1)
                moved += np.where(inside, ways.min(axis=1), 0.0)[:, None] * outward
        return moved


def convex_pieces(vertices: Float[ndarray, "M 3"], faces: ndarray) -> ConvexPieces:
    """Approximate convex decomposition (CoACD, Wei et al. 2022), in a process of its own.

    A mesh that cannot be decomposed in a minute is its hull, and says so. Raises UserError where coacd is
    not installed.
    """
    if importlib.util.find_spec("coacd") is None:
        raise UserError(EXTRA)
    pieces = tuple(points for points in _decomposed(vertices, faces) if _has_volume(points))
    return ConvexPieces(pieces or (thickened(np.asarray(vertices, np.float64)),), not pieces)


def _decomposed(vertices: Float[ndarray, "M 3"], faces: ndarray) -> list[Float[ndarray, "N 3"]]:
    """Vertices of every piece; none where the worker fails, crashes or takes too long."""
    with tempfile.TemporaryDirectory(prefix="hoijax-pieces-") as folder:
        source, target = Path(folder, "mesh.npz"), Path(folder, "pieces.npz")
        np.savez(source, vertices=np.asarray(vertices, np.float64), faces=faces.astype(np.int32))
        try:
            subprocess.run(
                [sys.executable, "-P", WORKER, source, target],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=MAX_SECONDS,
                start_new_session=True,  # Ctrl-C is for us; the worker is ended on the way out
            )
            with np.load(target, allow_pickle=False) as stored:
                return np.split(stored["vertices"], np.cumsum(stored["counts"])[:-1])
        except (subprocess.SubprocessError, OSError, ValueError, KeyError, zipfile.BadZipFile):
            return []


def thickened(vertices: Float[ndarray, "V 3"]) -> Float[ndarray, "W 3"]:
    """The points themselves; of sheets and wires, which have no volume, points on both sides of them."""
    axes = np.linalg.svd(vertices - vertices.mean(axis=0), full_matrices=False)[2]
    for axis in axes[np.ptp(vertices @ axes.T, axis=0) < SHEET]:
        vertices = np.concatenate([vertices - 0.5 * SHEET * axis, vertices + 0.5 * SHEET * axis])
    return vertices


def _has_volume(points: Float[ndarray, "N 3"]) -> bool:
    if len(points) < 4 or not np.isfinite(points).all():
        return False
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spread[-1] > 1e-6 * max(spread[0], 1e-9))
