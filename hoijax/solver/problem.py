"""What a solver is given, what it returns, and what solvers share."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hoijax.losses.term import LossTerm, Weights

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

    Scene, unknowns and neighbors may be any pytrees: a solver only passes them on. Problems compare by
    value, so that equal ones share a compiled program: give module-level functions.
    """

    terms: tuple[LossTerm, ...]
    pose: Callable[[Any, Any, Any], Any]
    """(scene, unknowns, neighbors) -> posed: derived once a step, read by every term."""
    refresh: Callable[[Any, Any, Any, Array], Any]
    """(scene, unknowns, neighbors, rarely) -> neighbors, every few steps; `rarely` (traced) is true
    two to four times a run, for what moves slowly."""


@flax.struct.dataclass
class SolverInputs:
    """What a solver reads and never changes. `initial` and `neighbors` lead with K candidates."""

    problem: Problem = flax.struct.field(pytree_node=False)
    scene: Any
    initial: Any
    neighbors: Any
    weights: Weights

    @property
    def candidate_count(self) -> int:
        """K, of everything that has candidates."""
        leaves = jax.tree.leaves((self.initial, self.neighbors))
        chex.assert_equal_shape_prefix(leaves, 1)
        return leaves[0].shape[0]


@flax.struct.dataclass
class Solution:
    """Best-so-far of every candidate. `losses` are totals under the final weights."""

    unknowns: Any
    losses: Float[Array, " K"]
    initial_losses: Float[Array, " K"]
    reports: Float[Array, "K n"]
    """Unweighted terms at the best step."""
    codes: Int[Array, " K"]
    history: Float[Array, "K capacity n"]
    """Unweighted terms of every step."""
    history_length: Int[Array, ""] | None = None
    """Entries of `history` that are steps, where it has capacity for more."""

    @property
    def best(self) -> Any:
        """Unknowns of the candidate with the lowest finite loss."""

        def one(unknowns: Any, losses: Float[Array, " K"]) -> Any:
            index = jnp.argmin(jnp.where(jnp.isfinite(losses), losses, jnp.inf))
            return jax.tree.map(lambda x: x[index], unknowns)

        for _ in range(self.losses.ndim - 1):  # mapped over weights or scenes
            one = jax.vmap(one)
        return one(self.unknowns, self.losses)

    def trimmed(self) -> "Solution":
        """With a history of nothing but steps. On the host: compiles nothing."""
        if self.history_length is None:
            return self
        history = jax.device_get(self.history)[:, : int(self.history_length)]
        return replace(self, history=jax.device_put(history), history_length=None)


@flax.struct.dataclass
class Best:
    """The best step of a candidate so far; of all candidates with a leading axis K."""

    unknowns: Any
    loss: Float[Array, "*k"]
    report: Float[Array, "*k n"]

    @classmethod
    def none_yet(cls, start: Any, term_count: int) -> "Best":
        """Before the first step: infinite, with an unknown report."""
        return cls(start, jnp.asarray(jnp.inf), jnp.full((term_count,), jnp.nan))

    def or_this(self, finite: Array, unknowns: Any, loss: Array, report: Array) -> "Best":
        """With a step that is finite and better, if it is."""
        better = finite & (loss < self.loss)
        return Best(
            unknowns=choose(better, unknowns, self.unknowns),
            loss=jnp.where(better, loss, self.loss),
            report=jnp.where(better, report, self.report),
        )

    def solution(
        self, finite: Array, losses: Float[Array, "K capacity"], history: Array, length: Any
    ) -> Solution:
        """Of all candidates, after `length` steps with these losses and reports."""
        code = jax.vmap(result_code, in_axes=(0, 0, 0, None))
        return Solution(
            unknowns=self.unknowns,
            losses=self.loss,
            initial_losses=losses[:, 0],
            reports=self.report,
            codes=code(self.loss, finite, losses, length),
            history=history,
            history_length=jnp.asarray(length),
        )


def shared_capacity(count: int, smallest: int) -> int:
    """`smallest`, or as many doublings of it as `count` needs: counts that share it share a program."""
    return smallest * 2 ** max(math.ceil(math.log2(count / smallest)), 0)


def progress_of(index: Int[Array, ""], count: Any, end: float = 1.0) -> Float[Array, ""]:
    """0 at the first of `count` steps, `end` at the last. One product with what one step adds, as
    compilers make of a constant `count`: a traced one then gives the same bits."""
    intervals = jnp.maximum(count - 1, 1).astype(jnp.float32)
    return index.astype(jnp.float32) * (end * (1.0 / intervals))


def result_code(
    best_loss: Float[Array, ""], finite: Array, losses: Float[Array, " capacity"], steps: Any = None
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
