"""Adam on any pytree of unknowns, K candidates at once: best-so-far, result codes.

Nothing in the loop talks to the host. Structure (terms, steps between refreshes) is static; every
number (weights, learning rates, scene, how many steps) is traced, so a sweep compiles once.
"""

from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from hoijax.geometry.descent import gradient_step
from hoijax.losses.term import evaluate, final_total
from hoijax.solver.problem import (
    Best,
    Solution,
    SolverInputs,
    all_finite,
    choose,
    progress_of,
    shared_capacity,
)

CAPACITY = 1024
"""Steps: optimizations of up to so many share a program."""


@flax.struct.dataclass
class _State:
    unknowns: Any
    moments: optax.OptState
    best: Best
    finite: Array


@flax.struct.dataclass
class _Carry:
    """Of all candidates, with a leading axis K."""

    states: _State
    neighbors: Any
    reports: Float[Array, "K capacity n"]
    losses: Float[Array, "K capacity"]


@flax.struct.dataclass
class Adam:
    """First order, for any unknowns. A round is the steps between two refreshes of the neighbors.

    The learning rate decays by a cosine from `learning_rate` to `final_learning_rate`.
    """

    steps: int | np.int32 | Int[Array, ""] = 300
    refresh_every: int = flax.struct.field(pytree_node=False, default=20)
    learning_rate: float | Float[Array, ""] = 0.01
    final_learning_rate: float | Float[Array, ""] = 1e-4
    capacity: int | None = flax.struct.field(pytree_node=False, default=None)
    """Steps that the history has space for; see `Solver.with_capacity`."""

    @property
    def _rounds(self) -> Any:
        return (self.steps + self.refresh_every - 1) // self.refresh_every

    def round_count(self, inputs: SolverInputs) -> int:
        return self._rounds

    def with_capacity(self, inputs: SolverInputs, *, shared: bool) -> "Adam":
        assert isinstance(self.steps, int)
        rates = self.learning_rate, self.final_learning_rate
        first, last = (jnp.asarray(rate, jnp.float32) for rate in rates)
        return Adam(
            steps=np.int32(self.steps),
            refresh_every=self.refresh_every,
            learning_rate=first,
            final_learning_rate=last,
            capacity=shared_capacity(self.steps, CAPACITY) if shared else self.steps,
        )

    def init(self, inputs: SolverInputs) -> _Carry:
        count = len(inputs.problem.terms)
        assert self.capacity is not None
        shape = (inputs.candidate_count, self.capacity)

        def first(initial: Any) -> _State:
            return _State(
                initial,
                _transform(0.0).init(initial),
                Best.none_yet(initial, count),
                jnp.asarray(True),
            )

        states = jax.vmap(first)(inputs.initial)
        return _Carry(states, inputs.neighbors, jnp.zeros((*shape, count)), jnp.zeros(shape))

    def step(self, inputs: SolverInputs, carry: _Carry, index: Any) -> _Carry:
        rarely = index % jnp.maximum(self._rounds // 4, 1) == 0
        refresh = jax.vmap(partial(inputs.problem.refresh, inputs.scene), in_axes=(0, 0, None))
        neighbors = refresh(carry.states.unknowns, carry.neighbors, rarely)
        step = jax.vmap(partial(_one_step, self, inputs), in_axes=(None, 0, 0))
        put = partial(jax.lax.dynamic_update_index_in_dim, axis=1)

        def one_more(index: Any, carried: Any) -> Any:
            states, reports, losses = carried
            states, report, loss = step(index, neighbors, states)
            return states, put(reports, report, index), put(losses, loss, index)

        first = index * self.refresh_every
        last = jnp.minimum(first + self.refresh_every, self.steps)
        carried = carry.states, carry.reports, carry.losses
        states, reports, losses = jax.lax.fori_loop(first, last, one_more, carried)
        return _Carry(states, neighbors, reports, losses)

    def finish(self, inputs: SolverInputs, carry: _Carry) -> Solution:
        states = carry.states
        return states.best.solution(states.finite, carry.losses, carry.reports, self.steps)


def _transform(rate: Any) -> optax.GradientTransformation:
    return optax.chain(optax.scale_by_adam(), optax.scale(-rate))


def _one_step(adam: Adam, inputs: SolverInputs, index: Any, neighbors: Any, state: _State):
    """Step `index` of one candidate: (state, report, loss)."""
    problem, weights = inputs.problem, inputs.weights
    terms = problem.terms
    progress = progress_of(index, adam.steps)
    angle = progress_of(index, adam.steps, jnp.pi)

    def loss_of(unknowns):
        posed = problem.pose(inputs.scene, unknowns, neighbors)
        return evaluate(terms, posed, weights, progress)

    (_, report), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.unknowns)
    loss = final_total(terms, report, weights)
    finite = state.finite & jnp.isfinite(loss) & all_finite(gradient)
    span = adam.learning_rate - adam.final_learning_rate
    rate = adam.final_learning_rate + span * 0.5 * (1.0 + jnp.cos(angle))
    moved, moments = gradient_step(_transform(rate), gradient, state.moments, state.unknowns)
    state = _State(
        unknowns=choose(finite, moved, state.unknowns),
        moments=choose(finite, moments, state.moments),
        best=state.best.or_this(finite, state.unknowns, loss, report),
        finite=finite,
    )
    return state, report, loss
