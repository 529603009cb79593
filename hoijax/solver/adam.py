"""Solve one problem for K candidates at once: Adam in one compiled loop, best-so-far, result codes.

Nothing in the loop talks to the host. Structure (terms, steps between refreshes) is static; every
number (weights, learning rate, scene) is traced, so a sweep compiles once. So is the number of steps
where a descent goes by segments: only the length of its history is static, and generous.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from hoijax.losses.term import LossTerm, Weights, evaluate, final_total
from hoijax.solver.resumable import SolverInputs, whole

CONVERGED_SHARE = 1e-3
"""Converged: the last tenth of the steps lowered the best loss by less than this share."""
ROOM = 1024
"""Steps that a history has room for: descents of up to so many share a program."""


class ResultCode(IntEnum):
    """How a candidate ended."""

    CONVERGED = 0
    STEP_LIMIT = 1
    NOT_FINITE = 2
    STOPPED_EARLY = 3

    @property
    def message(self) -> str:
        return (
            "converged",
            "step limit reached while still improving",
            "loss or gradient not finite: frozen at its best step",
            "stopped early: others looked better",
        )[self]


@dataclass(frozen=True)
class Problem:
    """What a method solves: its terms, and how its unknowns become what the terms read.

    Scene, unknowns and neighbors may be any pytrees: the optimizer only passes them on. Problems
    compare by value, so that equal ones share a compiled program: give module-level functions.
    """

    terms: tuple[LossTerm, ...]
    pose: Callable[[Any, Any, Any], Any]
    """(scene, unknowns, neighbors) -> posed: derived once a step, read by every term."""
    refresh: Callable[[Any, Any, Any, Array], Any]
    """(scene, unknowns, neighbors, rarely) -> neighbors, every `refresh_every` steps; `rarely`
    (traced) is true two to four times a run, for what moves slowly."""


@flax.struct.dataclass
class Schedule:
    """Numbers of the descent (traced)."""

    learning_rate: Float[Array, ""]
    final_learning_rate: Float[Array, ""]


@flax.struct.dataclass
class Solution:
    """Best-so-far of every candidate. `losses` are totals under the final weights."""

    unknowns: Any
    losses: Float[Array, " K"]
    initial_losses: Float[Array, " K"]
    reports: Float[Array, "K n"]
    """Unweighted terms at the best step."""
    codes: Int[Array, " K"]
    history: Float[Array, "K steps n"]
    """Unweighted terms of every step."""


@flax.struct.dataclass
class _State:
    unknowns: Any
    moments: optax.OptState
    best: Any
    best_loss: Float[Array, ""]
    best_report: Float[Array, " n"]
    finite: Array


@flax.struct.dataclass
class _Carry:
    """Of all candidates, with a leading axis K."""

    states: _State
    neighbors: Any
    reports: Float[Array, "K room n"]
    losses: Float[Array, "K room"]


@partial(jax.jit, static_argnames=("problem", "steps", "refresh_every"))
def optimize(
    problem: Problem,
    scene: Any,
    initial: Any,
    neighbors: Any,
    weights: Weights,
    schedule: Schedule,
    *,
    steps: int,
    refresh_every: int,
) -> Solution:
    """Minimise the weighted terms from K starts; `initial` and `neighbors` carry a leading axis K.

    The learning rate decays by a cosine from `learning_rate` to `final_learning_rate`. Neighbors
    are refreshed every `refresh_every` steps.
    """
    given = SolverInputs(scene, initial, neighbors, weights, schedule)
    return whole(Adam(problem, steps, refresh_every), given)


@flax.struct.dataclass
class Adam:
    """`optimize` as items of work (`solver.resumable`): one is the steps between two refreshes."""

    problem: Problem = flax.struct.field(pytree_node=False)
    steps: int | Int[Array, ""]
    refresh_every: int = flax.struct.field(pytree_node=False)
    room: int | None = flax.struct.field(pytree_node=False, default=None)
    """Steps that the history has room for; None: `steps`, which then is no traced number."""

    @property
    def _rounds(self) -> Any:
        return (self.steps + self.refresh_every - 1) // self.refresh_every

    def items(self, given: SolverInputs) -> int:
        return self._rounds

    def with_room(self, given: SolverInputs) -> "Adam":
        assert isinstance(self.steps, int)
        return replace(self, steps=np.int32(self.steps), room=room_for(self.steps, ROOM))

    def cut(self, solution: Solution) -> Solution:
        history = jax.device_get(solution.history)[:, : self.steps]
        return replace(solution, history=jnp.asarray(history))

    def begin(self, given: SolverInputs) -> _Carry:
        terms = self.problem.terms
        count = jax.tree.leaves(given.initial)[0].shape[0]
        shape = (count, self.steps if self.room is None else self.room)

        def first(initial: Any) -> _State:
            return _State(
                initial,
                optax.scale_by_adam().init(initial),
                initial,
                jnp.asarray(jnp.inf),
                jnp.full((len(terms),), jnp.nan),
                jnp.asarray(True),
            )

        states = jax.vmap(first)(given.initial)
        return _Carry(states, given.neighbors, jnp.zeros((*shape, len(terms))), jnp.zeros(shape))

    def advance(self, given: SolverInputs, carry: _Carry, index: Any) -> _Carry:
        rarely = index % jnp.maximum(self._rounds // 4, 1) == 0
        refresh = jax.vmap(partial(self.problem.refresh, given.scene), in_axes=(0, 0, None))
        neighbors = refresh(carry.states.unknowns, carry.neighbors, rarely)
        step = jax.vmap(partial(_one_step, self, given), in_axes=(None, 0, 0))
        put = partial(jax.lax.dynamic_update_index_in_dim, axis=1)

        def one_more(index: Any, found: Any) -> Any:
            states, reports, losses = found
            states, report, loss = step(index, neighbors, states)
            return states, put(reports, report, index), put(losses, loss, index)

        first = index * self.refresh_every
        last = jnp.minimum(first + self.refresh_every, self.steps)
        found = carry.states, carry.reports, carry.losses
        states, reports, losses = jax.lax.fori_loop(first, last, one_more, found)
        return _Carry(states, neighbors, reports, losses)

    def finish(self, given: SolverInputs, carry: _Carry) -> Solution:
        states, losses = carry.states, carry.losses
        code = jax.vmap(result_code, in_axes=(0, 0, 0, None))
        return Solution(
            unknowns=states.best,
            losses=states.best_loss,
            initial_losses=losses[:, 0],
            reports=states.best_report,
            codes=code(states.best_loss, states.finite, losses, self.steps),
            history=carry.reports,
        )


def room_for(count: int, least: int) -> int:
    """`least`, or as many doublings of it as `count` needs."""
    return least * 2 ** max(math.ceil(math.log2(count / least)), 0)


def _one_step(adam: Adam, given: SolverInputs, index: Any, neighbors: Any, state: _State):
    """Step `index` of one candidate: (state, report, loss)."""
    problem, terms = adam.problem, adam.problem.terms
    weights, schedule = given.weights, given.schedule
    progress = progress_of(index, adam.steps)
    angle = progress_of(index, adam.steps, jnp.pi)

    def loss_of(unknowns):
        posed = problem.pose(given.scene, unknowns, neighbors)
        return evaluate(terms, posed, weights, progress)

    (_, report), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.unknowns)
    loss = final_total(terms, report, weights)
    finite = state.finite & jnp.isfinite(loss) & all_finite(gradient)
    better = finite & (loss < state.best_loss)
    best = choose(better, state.unknowns, state.best)
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer
        updates, moments = optax.scale_by_adam().update(gradient, state.moments)
    span = schedule.learning_rate - schedule.final_learning_rate
    rate = schedule.final_learning_rate + span * 0.5 * (1.0 + jnp.cos(angle))
    moved = jax.tree.map(lambda x, u: x - rate * u, state.unknowns, updates)
    state = _State(
        unknowns=choose(finite, moved, state.unknowns),
        moments=choose(finite, moments, state.moments),
        best=best,
        best_loss=jnp.where(better, loss, state.best_loss),
        best_report=jnp.where(better, report, state.best_report),
        finite=finite,
    )
    return state, report, loss


def progress_of(index: Int[Array, ""], count: Any, end: float = 1.0) -> Float[Array, ""]:
    """0 at the first of `count` items, `end` at the last. One product with what one item adds, as
    compilers make of a constant `count`: a traced one then gives the same bits."""
    intervals = jnp.maximum(count - 1, 1).astype(jnp.float32)
    return index.astype(jnp.float32) * (end * (1.0 / intervals))


def result_code(
    best_loss: Float[Array, ""], finite: Array, losses: Float[Array, " room"], steps: Any = None
) -> Int[Array, ""]:
    """How one candidate ended, from its loss at every step: the first `steps`, or all."""
    steps = losses.shape[0] if steps is None else steps
    is_early = jnp.arange(losses.shape[0]) < jnp.maximum(steps * 9 // 10, 1)
    early = jnp.min(jnp.where(is_early, losses, jnp.inf))
    improving = best_loss < early * (1.0 - CONVERGED_SHARE)
    ended = jnp.where(improving, ResultCode.STEP_LIMIT.value, ResultCode.CONVERGED.value)
    return jnp.where(finite, ended, ResultCode.NOT_FINITE.value).astype(jnp.int32)


def all_finite(tree: Any) -> Array:
    """Whether every number of a pytree is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]))


def choose(flag: Array, yes: Any, no: Any) -> Any:
    """Leaf by leaf: one pytree or the other."""
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), yes, no)
