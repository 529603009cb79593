"""Solve one problem for K candidates at once: Adam inside `lax.scan`, best-so-far, result codes.

Nothing in the loop talks to the host. Structure (terms, step counts) is static; every number
(weights, learning rate, scene) is traced, so a sweep compiles once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from hoijax.losses.term import LossTerm, Weights, evaluate, final_total
from hoijax.solver.segments import Given, whole

CONVERGED_SHARE = 1e-3
"""Converged: the last tenth of the steps lowered the best loss by less than this share."""


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

    Scene, unknowns and neighbours may be any pytrees: the optimiser only passes them on. Problems
    compare by value, so that equal ones share a compiled program: give module-level functions.
    """

    terms: tuple[LossTerm, ...]
    pose: Callable[[Any, Any, Any], Any]
    """(scene, unknowns, neighbours) -> posed: derived once a step, read by every term."""
    refresh: Callable[[Any, Any, Any, Array], Any]
    """(scene, unknowns, neighbours, rarely) -> neighbours, every `refresh_every` steps; `rarely`
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
    neighbours: Any
    reports: Float[Array, "K rounds chunk n"]
    losses: Float[Array, "K rounds chunk"]


@partial(jax.jit, static_argnames=("problem", "steps", "refresh_every"))
def optimise(
    problem: Problem,
    scene: Any,
    initial: Any,
    neighbours: Any,
    weights: Weights,
    schedule: Schedule,
    *,
    steps: int,
    refresh_every: int,
) -> Solution:
    """Minimise the weighted terms from K starts; `initial` and `neighbours` carry a leading axis K.

    The learning rate decays by a cosine from `learning_rate` to `final_learning_rate`. Neighbours
    are refreshed every `refresh_every` steps.
    """
    given = Given(scene, initial, neighbours, weights, schedule)
    return whole(Adam(problem, steps, refresh_every), given)


@dataclass(frozen=True)
class Adam:
    """`optimise` as items of work (`solver.segments`): one is the steps between two refreshes."""

    problem: Problem
    steps: int
    refresh_every: int

    @property
    def rounds(self) -> int:
        return -(-self.steps // self.refresh_every)

    @property
    def chunk(self) -> int:
        """Steps of a round."""
        return min(self.refresh_every, self.steps)

    def items(self, given: Given) -> int:
        return self.rounds

    def begin(self, given: Given) -> _Carry:
        terms = self.problem.terms
        count = jax.tree.leaves(given.initial)[0].shape[0]
        shape = (count, self.rounds, self.chunk)

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
        return _Carry(states, given.neighbours, jnp.zeros((*shape, len(terms))), jnp.zeros(shape))

    def advance(self, given: Given, carry: _Carry, index: Any) -> _Carry:
        one = partial(_one_round, self, given, index)
        states, neighbours, reports, losses = jax.vmap(one)(carry.states, carry.neighbours)
        return _Carry(
            states,
            neighbours,
            carry.reports.at[:, index].set(reports),
            carry.losses.at[:, index].set(losses),
        )

    def finish(self, given: Given, carry: _Carry) -> Solution:
        states = carry.states
        losses = carry.losses.reshape(carry.losses.shape[0], -1)[:, : self.steps]
        reports = carry.reports.reshape(*losses.shape[:1], -1, len(self.problem.terms))
        return Solution(
            unknowns=states.best,
            losses=states.best_loss,
            initial_losses=losses[:, 0],
            reports=states.best_report,
            codes=jax.vmap(result_code)(states.best_loss, states.finite, losses),
            history=reports[:, : self.steps],
        )


def _one_round(adam: Adam, given: Given, index: Any, state: _State, neighbours: Any):
    """The steps of round `index` of one candidate: (state, neighbours, reports, losses)."""
    problem, terms, steps = adam.problem, adam.problem.terms, adam.steps
    weights, schedule = given.weights, given.schedule
    scaled = optax.scale_by_adam()

    def loss_of(unknowns, neighbours, progress):
        posed = problem.pose(given.scene, unknowns, neighbours)
        return evaluate(terms, posed, weights, progress)

    def step(state: _State, index):
        progress = index / max(steps - 1, 1)
        (_, report), gradient = jax.value_and_grad(loss_of, has_aux=True)(
            state.unknowns, neighbours, progress
        )
        loss = final_total(terms, report, weights)
        finite = state.finite & jnp.isfinite(loss) & all_finite(gradient)
        running = index < steps  # the last round is filled up with steps that change nothing
        better = finite & running & (loss < state.best_loss)
        best = choose(better, state.unknowns, state.best)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer
            updates, moments = scaled.update(gradient, state.moments)
        span = schedule.learning_rate - schedule.final_learning_rate
        rate = schedule.final_learning_rate + span * 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
        moved = jax.tree.map(lambda x, u: x - rate * u, state.unknowns, updates)
        state = _State(
            unknowns=choose(finite & running, moved, state.unknowns),
            moments=choose(finite & running, moments, state.moments),
            best=best,
            best_loss=jnp.where(better, loss, state.best_loss),
            best_report=jnp.where(better, report, state.best_report),
            finite=finite,
        )
        return state, (report, loss)

    rarely = index % max(adam.rounds // 4, 1) == 0
    neighbours = problem.refresh(given.scene, state.unknowns, neighbours, rarely)
    indices = index * adam.refresh_every + jnp.arange(adam.chunk)
    state, (reports, losses) = jax.lax.scan(step, state, indices)
    return state, neighbours, reports, losses


def result_code(
    best_loss: Float[Array, ""], finite: Array, losses: Float[Array, " steps"]
) -> Int[Array, ""]:
    """How one candidate ended, from its loss at every step."""
    early = jnp.min(losses[: max(losses.shape[0] * 9 // 10, 1)])
    improving = best_loss < early * (1.0 - CONVERGED_SHARE)
    ended = jnp.where(improving, ResultCode.STEP_LIMIT.value, ResultCode.CONVERGED.value)
    return jnp.where(finite, ended, ResultCode.NOT_FINITE.value).astype(jnp.int32)


def all_finite(tree: Any) -> Array:
    """Whether every number of a pytree is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]))


def choose(flag: Array, yes: Any, no: Any) -> Any:
    """Leaf by leaf: one pytree or the other."""
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), yes, no)
