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
    solve = partial(
        _solve_one, problem, scene, weights, schedule, steps=steps, refresh_every=refresh_every
    )
    return jax.vmap(solve)(initial, neighbours)


def _solve_one(problem, scene, weights, schedule, initial, neighbours, *, steps, refresh_every):
    adam, terms = optax.scale_by_adam(), problem.terms
    rounds = -(-steps // refresh_every)
    rarely_every = max(rounds // 4, 1)

    def loss_of(unknowns, neighbours, progress):
        total, report = evaluate(
            terms, problem.pose(scene, unknowns, neighbours), weights, progress
        )
        return total, report

    def step(neighbours, state: _State, index):
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
            updates, moments = adam.update(gradient, state.moments)
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

    def refresh(carry, first_step):
        state, neighbours = carry
        rarely = (first_step // refresh_every) % rarely_every == 0
        neighbours = problem.refresh(scene, state.unknowns, neighbours, rarely)
        indices = first_step + jnp.arange(min(refresh_every, steps))
        state, history = jax.lax.scan(partial(step, neighbours), state, indices)
        return (state, neighbours), history

    start = _State(
        initial,
        adam.init(initial),
        initial,
        jnp.asarray(jnp.inf),
        jnp.full((len(terms),), jnp.nan),
        jnp.asarray(True),
    )
    (state, _), (reports, losses) = jax.lax.scan(
        refresh, (start, neighbours), jnp.arange(rounds) * refresh_every
    )
    losses = losses.reshape(-1)[:steps]
    return Solution(
        unknowns=state.best,
        losses=state.best_loss,
        initial_losses=losses[0],
        reports=state.best_report,
        codes=result_code(state.best_loss, state.finite, losses),
        history=reports.reshape(-1, len(terms))[:steps],
    )


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
