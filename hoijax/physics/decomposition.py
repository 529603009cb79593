"""Objects as convex pieces, which is all that rigid-body simulators collide."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.errors import UserError

MAX_PIECES = 24
CONCAVITY = 0.1
"""Of a piece, as CoACD measures it (0 convex .. 1)."""
EXTRA = "the replay needs a simulator: pip install 'hoijax[physics]' (mujoco and coacd)."


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
    """Approximate convex decomposition (CoACD, Wei et al. 2022), coarse enough for seconds.

    A mesh that cannot be decomposed is its hull, and says so. Raises UserError where coacd is not
    installed.
    """
    try:
        import coacd
    except ImportError as error:
        raise UserError(EXTRA) from error
    coacd.set_log_level("off")
    mesh = coacd.Mesh(np.asarray(vertices, np.float64), np.asarray(faces, np.int32))
    try:
        parts = coacd.run_coacd(
            mesh,
            threshold=CONCAVITY,
            max_convex_hull=MAX_PIECES,
            preprocess_resolution=20,
            resolution=500,
            mcts_nodes=5,
            mcts_iterations=20,
            mcts_max_depth=1,
            seed=0,
        )
    except (RuntimeError, ValueError):
        parts = []
    pieces = tuple(np.asarray(points) for points, _ in parts if _has_volume(np.asarray(points)))
    return ConvexPieces(pieces or (np.asarray(vertices, np.float64),), not pieces)


def _has_volume(points: Float[ndarray, "N 3"]) -> bool:
    if len(points) < 4 or not np.isfinite(points).all():
        return False
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spread[-1] > 1e-6 * max(spread[0], 1e-9))
