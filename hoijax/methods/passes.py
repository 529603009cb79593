"""What a method optimizes: a prepared scene, and the passes over it, each one compiled program.

Apart from `base`, which names the methods: what is compiled does not depend on which there are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.struct
import jax.numpy as jnp

from hoijax.bundle.write import Bundle
from hoijax.losses.term import LossTerm, Weights
from hoijax.progress import Log, Stopwatch
from hoijax.solver.problem import Problem, Solution, SolverInputs
from hoijax.solver.resumable import Solver

Overrides = Mapping[str, float | tuple[float, float]]
"""Weight of a term by its name: a number, or (start, end)."""
Lap = Callable[[str], None]
"""Hears the name of each stage as it ends."""


@dataclass(frozen=True)
class Prepared:
    """One scene of a bundle, ready for a pass: what is compiled reads `scene`, `initial`, `neighbors`."""

    bundle: Bundle
    terms: tuple[LossTerm, ...]
    """Those that this scene has, the user's own among them."""
    scene: Any
    """Constants: a pytree of arrays."""
    initial: Any
    """Unknowns of K candidates: a pytree whose leaves lead with K."""
    neighbors: Any
    """Look-ups of K candidates, likewise."""
    labels: tuple[str, ...]
    """Where each candidate starts."""
    extra: Any = None
    """What only the method itself reads, on the host."""


Rates = Mapping[str, Any]
"""Learning rates by the name of their setting."""


@flax.struct.dataclass
class Numbers:
    """What may change without compiling anything: weights and learning rates (traced)."""

    weights: Weights
    rates: Rates


@dataclass(frozen=True)
class Pass:
    """One compiled optimization of all candidates."""

    name: str
    """Of its checkpoints, and of its time in `run.json`."""
    problem: Callable[[tuple[LossTerm, ...]], Problem]
    solver: Callable[[Rates, int], Solver]
    """(learning rates, number of candidates) -> the optimizer."""
    without: tuple[str, ...] = ()
    """Terms whose weight is 0 here."""
    before: "Callable[[Prepared, Solution, Numbers, Log], Prepared] | None" = None
    """On the host, from the solution of the pass before this one; None: the first pass."""
    like: str | None = None
    """Name of a pass of the same problem and optimizer, whose compiled program it shares in a batch."""

    def weights(self, weights: Weights) -> Weights:
        """The weights of this pass; leading axes (designs) stay."""
        return weights | {n: jnp.zeros_like(w) for n, w in weights.items() if n in self.without}

    def inputs(
        self,
        terms: tuple[LossTerm, ...],
        scene: Any,
        initial: Any,
        neighbors: Any,
        numbers: Numbers,
    ) -> tuple[Solver, SolverInputs]:
        """The optimizer, and what it reads."""
        weights = self.weights(numbers.weights)
        inputs = SolverInputs(self.problem(terms), scene, initial, neighbors, weights)
        return self.solver(numbers.rates, inputs.candidate_count), inputs

    def inputs_of(self, prepared: Prepared, numbers: Numbers) -> tuple[Solver, SolverInputs]:
        """The same for a scene that is prepared."""
        state = prepared.scene, prepared.initial, prepared.neighbors
        return self.inputs(prepared.terms, *state, numbers)


def stopwatch(log: Log) -> tuple[dict[str, float], Lap]:
    """Seconds by stage, and what takes them."""
    times: dict[str, float] = {}
    return times, Stopwatch(times, log).lap
