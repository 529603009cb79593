"""Many starts thinned out before the descent: each is tried on a few of the frames.

One round of Levenberg-Marquardt on every STRIDE-th frame tells which starts lead nowhere, at a
fraction of a round on all of them. Who goes on is solved from the start, like few starts are.
"""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float, Int

from hoijax.candidates import ranking, taken
from hoijax.initialization.starts import Starts
from hoijax.losses.term import LossTerm, default_weights
from hoijax.methods.hoi_page.terms import object_problem
from hoijax.methods.hoi_page.windows import scene_at
from hoijax.scene.scene import Scene
from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
from hoijax.solver.neighbor_lists import first_neighbors
from hoijax.solver.problem import SolverInputs
from hoijax.solver.resumable import optimize_in_segments

MAX_STARTS = 64
"""Starts that are solved on all frames."""
STRIDE = 4
MIN_FRAMES = 4
"""Tried on: bends need three."""


def promising(
    scene: Scene,
    starts: Starts,
    states: Float[np.ndarray, "K E T"],
    terms: tuple[LossTerm, ...],
    round_steps: int,
) -> Int[np.ndarray, "k"]:
    """Indices of the MAX_STARTS starts that look best, in their order.

    states: which contacts hold. Losses are weighted by default, whatever the solve's weights.
    """
    stride = min(STRIDE, (states.shape[2] - 1) // (MIN_FRAMES - 1))
    chosen = slice(None, None, max(stride, 1))
    few = scene_at(scene, chosen)
    initial = jax.tree.map(lambda x: x[:, :, chosen], starts.unknowns)
    inputs = SolverInputs(
        object_problem(terms),
        few,
        initial,
        first_neighbors(few, states[:, :, chosen]),
        default_weights(terms),
    )
    tried = optimize_in_segments(LevenbergMarquardt(1, round_steps), inputs)
    return np.sort(ranking(tried.losses)[:MAX_STARTS])


def chosen_starts(starts: Starts, chosen: Int[np.ndarray, "k"]) -> Starts:
    """Those of the indices."""
    labels = tuple(starts.labels[k] for k in chosen)
    return dataclasses.replace(starts, unknowns=taken(starts.unknowns, chosen), labels=labels)
