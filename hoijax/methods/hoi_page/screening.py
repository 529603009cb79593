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
from hoijax.scene.scene import Scene, Unknowns
from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
from hoijax.solver.neighbor_lists import first_neighbors
from hoijax.solver.problem import SolverInputs, shared_capacity
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
    """Indices of the MAX_STARTS starts that look best, in their order: different ones first.

    states: which contacts hold. Losses are weighted by default, whatever the solve's weights.
    """
    different = _different(starts.unknowns)
    if len(different) > MAX_STARTS:
        # Of a few sizes, so that most scenes share a program.
        tried = np.resize(different, shared_capacity(len(different), MAX_STARTS))
        unknowns = taken(starts.unknowns, tried)
        losses = _losses_on_few_frames(scene, unknowns, states[tried], terms, round_steps)
        different = different[ranking(losses[: len(different)])]
    repeated = np.setdiff1d(np.arange(len(states)), different)
    return np.sort(np.concatenate([different, repeated])[:MAX_STARTS])


def _different(unknowns: Unknowns) -> Int[np.ndarray, " d"]:
    """Indices of starts that no earlier one equals: many candidates repeat the few paths there are."""
    leaves = jax.tree.leaves(jax.device_get(unknowns))
    rows = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
    return np.sort(np.unique(rows, axis=0, return_index=True)[1])


def _losses_on_few_frames(
    scene: Scene,
    unknowns: Unknowns,
    states: Float[np.ndarray, "n E T"],
    terms: tuple[LossTerm, ...],
    round_steps: int,
) -> Float[np.ndarray, " n"]:
    """Of n starts, after one round."""
    stride = min(STRIDE, (states.shape[2] - 1) // (MIN_FRAMES - 1))
    chosen = slice(None, None, max(stride, 1))
    few = scene_at(scene, chosen)
    initial = jax.tree.map(lambda x: x[:, :, chosen], unknowns)
    inputs = SolverInputs(
        object_problem(terms),
        few,
        initial,
        first_neighbors(few, states[:, :, chosen]),
        default_weights(terms),
    )
    return np.asarray(optimize_in_segments(LevenbergMarquardt(1, round_steps), inputs).losses)


def chosen_starts(starts: Starts, chosen: Int[np.ndarray, "k"]) -> Starts:
    """Those of the indices."""
    labels = tuple(starts.labels[k] for k in chosen)
    return dataclasses.replace(starts, unknowns=taken(starts.unknowns, chosen), labels=labels)
