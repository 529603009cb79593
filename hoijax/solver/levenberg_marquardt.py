"""Levenberg-Marquardt on object trajectories: exact gradients, Gauss-Newton curvature, O(T) steps.

The gradient of all terms comes from autodiff, so a minimum of it is a minimum of the loss, whatever
the terms. The curvature is the sum of the terms' own (`hoijax.losses.curvature`):
6 x 6 blocks of every frame and the bands of smoothness and drift. A step solves that banded system
and is taken only when the loss falls; else the damping grows. Robust kernels enter as reweighting,
schedules as rounds: in a round, weights, neighbors and curvature stay.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hoijax.geometry.rotations import (
    axis_angle_to_matrix,
    matrix_to_rotation_6d,
    rotation_6d_to_matrix,
)
from hoijax.losses.curvature import curvature_of
from hoijax.losses.term import Weights, evaluate, final_total, scale_arguments, weights_at
from hoijax.scene.posed import PosedScene, pose_objects
from hoijax.scene.scene import Neighbors, Unknowns
from hoijax.solver.banded import solve_banded
from hoijax.solver.halving import Rung, WorkList, work_list
from hoijax.solver.problem import (
    Best,
    ResultCode,
    Solution,
    SolverInputs,
    all_finite,
    choose,
    progress_of,
    shared_capacity,
)

MAX_TURN = 0.3  # radians a step may turn an object in any frame; and ...
MAX_SHIFT = 0.2  # ... metres it may move it: beyond, the linearisation is worth nothing
FIRST_DAMPING, MIN_DAMPING, MAX_DAMPING = 1e-2, 1e-5, 1e4
CAPACITY = 64  # rounds: optimizations of up to so many share a program
EASE, HARDEN = 0.2, 5.0  # of the damping, after a step that was taken and one that was not


@flax.struct.dataclass
class _Poses:
    rotations: Float[Array, "O T 3 3"]
    translations: Float[Array, "O T 3"]


@flax.struct.dataclass
class _Local:
    """What is known at the current poses."""

    total: Float[Array, ""]
    report: Float[Array, " n"]
    gradient: Float[Array, "O T 6"]


@flax.struct.dataclass
class _State:
    poses: _Poses
    damping: Float[Array, ""]
    best: Best
    finite: Array


@flax.struct.dataclass
class _Carry:
    """Of all candidates, with a leading axis K, in their own order."""

    state: _State
    neighbors: Neighbors
    history: Float[Array, "K rounds steps_and_1 n"]
    ranking: Int[Array, " K"]
    """Candidates, best first, as they were at the latest rung."""


@flax.struct.dataclass
class LevenbergMarquardt:
    """Second order, for object poses: `rounds` rounds of `steps` steps.

    The history has an entry for the start and for every step, NaN for the steps a candidate did not
    take. The work list goes through lanes of a ranking, so that rounds of all candidates and of the
    last ones are the same compiled code.
    """

    rounds: int | np.int32 | Int[Array, ""] = 12
    steps: int = flax.struct.field(pytree_node=False, default=3)
    halving: tuple[Rung, ...] = flax.struct.field(pytree_node=False, default=())
    """After which rounds how many candidates go on (`solver.halving`). Who stops keeps its best poses,
    and the code STOPPED_EARLY."""
    capacity: int | None = flax.struct.field(pytree_node=False, default=None)
    """Rounds that the history has space for; see `Solver.with_capacity`."""
    work: WorkList | None = None
    """What `rounds` and `halving` say, once the capacity is known."""

    def _work(self, inputs: SolverInputs) -> WorkList:
        assert isinstance(self.rounds, int)
        return work_list(inputs.candidate_count, self.rounds, self.halving)

    def round_count(self, inputs: SolverInputs) -> int:
        return len(self._work(inputs).rounds)

    def with_capacity(self, inputs: SolverInputs, *, shared: bool) -> "LevenbergMarquardt":
        assert isinstance(self.rounds, int)
        work, capacity = self._work(inputs), self.rounds
        if shared:
            capacity = shared_capacity(self.rounds, CAPACITY)
        lanes = work.ranks.shape[1]
        items = capacity * -(-inputs.candidate_count // lanes) if shared else len(work.rounds)
        return LevenbergMarquardt(
            np.int32(self.rounds), self.steps, (), capacity, work.padded(items)
        )

    def init(self, inputs: SolverInputs) -> _Carry:
        count, candidates = len(inputs.problem.terms), inputs.candidate_count
        assert self.capacity is not None
        return _Carry(
            jax.vmap(partial(_first_state, count))(inputs.initial),
            inputs.neighbors,
            jnp.full((candidates, self.capacity, self.steps + 1, count), jnp.nan),
            jnp.arange(candidates),
        )

    def step(self, inputs: SolverInputs, carry: _Carry, index: Any) -> _Carry:
        work, state = self.work, carry.state
        assert work is not None
        columns = work.ranks, work.rounds, work.is_new_rung
        rank, round_index, is_new_rung = (jnp.asarray(x)[index] for x in columns)
        rank_now = jnp.argsort(jnp.where(state.finite, state.best.loss, jnp.inf))
        ranking = jnp.where(is_new_rung, rank_now, carry.ranking)
        chosen = ranking[rank]
        mine = jax.tree.map(lambda x: x[chosen], (state, carry.neighbors))
        one_round = jax.vmap(partial(_one_round, self, inputs), in_axes=(0, None))
        now, reports = one_round(mine, round_index)
        state, neighbors = jax.tree.map(
            lambda x, now: x.at[chosen].set(now), (state, carry.neighbors), now
        )
        history = carry.history.at[chosen, round_index].set(reports)
        return _Carry(state, neighbors, history, ranking)

    def finish(self, inputs: SolverInputs, carry: _Carry) -> Solution:
        terms, state, history = inputs.problem.terms, carry.state, carry.history
        count, length = history.shape[0], 1 + self.rounds * self.steps
        assert self.work is not None
        history = jnp.concatenate(
            [history[:, 0, :1], history[:, :, 1:].reshape(count, -1, len(terms))], 1
        )
        losses = final_total(terms, history, inputs.weights)
        solution = state.best.solution(state.finite, losses, history, length)
        is_behind = jnp.arange(count) >= self.work.finalists
        stopped = jnp.zeros(count, bool).at[carry.ranking].set(is_behind)
        codes = jnp.where(stopped & state.finite, ResultCode.STOPPED_EARLY.value, solution.codes)
        return replace(solution, unknowns=_unknowns_at(solution.unknowns), codes=codes)


def _first_state(term_count: int, initial: Unknowns) -> _State:
    poses = _Poses(rotation_6d_to_matrix(initial.object_rotation_6d), initial.object_translation)
    return _State(
        poses,
        jnp.asarray(FIRST_DAMPING),
        Best.none_yet(poses, term_count),
        jnp.asarray(True),
    )


def _unknowns_at(poses: _Poses) -> Unknowns:
    return Unknowns(matrix_to_rotation_6d(poses.rotations), poses.translations)


def _one_round(solver: LevenbergMarquardt, inputs: SolverInputs, carry: Any, index: Any):
    """The steps of one candidate under the weights of round `index`; reports (steps + 1, n)."""
    problem, scene, weights = inputs.problem, inputs.scene, inputs.weights
    terms, rounds = problem.terms, solver.rounds
    state, neighbors = carry
    poses = state.poses
    progress = progress_of(index, rounds)

    def evaluated(poses: _Poses) -> _Local:
        def loss_of(poses: _Poses):
            posed = pose_objects(scene, poses.rotations, poses.translations, neighbors)
            return evaluate(terms, posed, weights, progress)

        (total, report), slope = jax.value_and_grad(loss_of, has_aux=True)(poses)
        turned = jnp.einsum("otij,otkj->otik", slope.rotations, poses.rotations)
        omega = [turned[..., j, i] - turned[..., i, j] for i, j in ((1, 2), (2, 0), (0, 1))]
        gradient = jnp.concatenate([jnp.stack(omega, axis=-1), slope.translations], axis=-1)
        return _Local(total, report, gradient)

    def step(carry, index):
        # The first step of a round has no gradient yet: it stays where it is and evaluates. One
        # evaluation in the program instead of two halves its compile time.
        state, here = carry
        proposal = _move(state.poses, banded_step(curvature, here.gradient, state.damping))
        there = evaluated(proposal)
        finite = jnp.isfinite(there.total) & all_finite(there.gradient)
        taken = finite & (there.total < here.total)
        damping = state.damping * jnp.where(taken, EASE, HARDEN)
        damping = jnp.clip(damping, MIN_DAMPING, MAX_DAMPING)
        is_first = index == 0
        state = replace(
            state,
            poses=choose(taken & ~is_first, proposal, state.poses),
            damping=jnp.where(is_first, state.damping, damping),
            finite=state.finite & (finite | ~is_first),
        )
        here = choose(taken, there, here)
        loss = final_total(terms, here.report, weights)
        best = state.best.or_this(state.finite, state.poses, loss, here.report)
        return (replace(state, best=best), here), here.report

    rarely = index % jnp.maximum(rounds // 2, 1) == 0
    neighbors = problem.refresh(scene, _unknowns_at(poses), neighbors, rarely)
    posed = pose_objects(scene, poses.rotations, poses.translations, neighbors)
    curvature = total_curvature(terms, posed, weights_at(terms, weights, progress), weights)
    nowhere = _Local(
        jnp.asarray(jnp.inf),
        jnp.full((len(terms),), jnp.nan),
        jnp.zeros((*poses.translations.shape[:2], 6)),
    )
    (state, _), reports = jax.lax.scan(step, (state, nowhere), jnp.arange(solver.steps + 1))
    return (state, neighbors), reports


Blocks = tuple[Float[Array, "O T 6 6"], Float[Array, "O T-1 6 6"], Float[Array, "O T-2 6 6"]]


def total_curvature(
    terms, posed: PosedScene, current: Float[Array, " n"], weights: Weights | None = None
) -> Blocks:
    """Weighted sum over the terms: blocks on the diagonal and beside it.

    current: the weights now. weights: for the robust scales; without them the terms' own.
    """
    o, t = posed.object_translations.shape[:2]
    sums = [jnp.zeros((o, max(t - offset, 0), 6, 6)) for offset in range(3)]
    for term, weight in zip(terms, current, strict=True):
        curvature_by = term.curvature or curvature_of(term.function)
        curvature = curvature_by(posed, *scale_arguments(term, weights))
        of_offset = curvature.diagonal, curvature.to_next, curvature.to_second
        for offset, block in enumerate(of_offset):
            if block is not None:
                sums[offset] = sums[offset] + weight / t * block
    return sums[0], sums[1], sums[2]


def banded_step(
    curvature: Blocks, gradient: Float[Array, "O T 6"], damping: Float[Array, ""]
) -> Float[Array, "O T 6"]:
    """The damped Newton step, cut to the region where the linearisation means something."""
    main, to_next, to_second = curvature
    diagonals = jnp.diagonal(main, axis1=-2, axis2=-1)
    # Relative to each parameter's own curvature; what has none is held by a share of the others',
    # and, where no term has a curvature, by the gradient: a damping of 10 then moves 0.1.
    most = jnp.max(diagonals, axis=(1, 2), keepdims=True)
    steepest = jnp.max(jnp.abs(gradient), axis=(1, 2), keepdims=True)
    floor = 1e-3 * most + steepest + 1e-12
    extra = damping * (diagonals + floor) + 1e-6 * floor
    diagonal = main + extra[..., None] * jnp.eye(6)
    twist = -jax.vmap(solve_banded)(diagonal, to_next, to_second, gradient)
    size = jnp.stack(
        [
            jnp.max(jnp.linalg.norm(twist[..., :3], axis=-1)) / MAX_TURN,
            jnp.max(jnp.linalg.norm(twist[..., 3:], axis=-1)) / MAX_SHIFT,
        ]
    )
    return twist / jnp.maximum(jnp.max(size), 1.0)


def _move(poses: _Poses, twist: Float[Array, "O T 6"]) -> _Poses:
    rotations = axis_angle_to_matrix(twist[..., :3]) @ poses.rotations
    return _Poses(rotations, poses.translations + twist[..., 3:])
