"""Run a solver in one program, or in segments that can be cut anywhere and end on the same bits.

A solver is init, step and finish over equal rounds, with arrays of a static capacity. Where nobody
watches, all rounds are one loop in one program (`optimize`). A long optimization goes through them from
Python (`optimize_in_segments`), with the bounds of the loop as numbers: wherever it is cut, the same
program did the same rounds. How many rounds there are is a number of that program too: more, or fewer,
compile nothing as long as they fit the capacity.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from hoijax.io import sigterm
from hoijax.programs import program
from hoijax.solver.problem import Solution, SolverInputs

SEGMENT_SECONDS = 1.0
"""How long a program runs before Python checks whether the process was asked to end."""
S = TypeVar("S", bound="Solver")


@runtime_checkable
class Solver(Protocol):
    """Init, step and finish: static structure, and numbers as leaves of a pytree."""

    def round_count(self, inputs: SolverInputs) -> int:
        """How often `step` is called. Not asked of what `with_capacity` returned."""
        ...

    def with_capacity(self: S, inputs: SolverInputs, *, shared: bool) -> S:
        """The same with its number of rounds traced, and a static capacity of what it keeps.

        shared: capacity for more rounds than these, so that other numbers share the program; otherwise
        for just as many.
        """
        ...

    def init(self, inputs: SolverInputs) -> Any:
        """What is carried from round to round: a pytree of arrays."""
        ...

    def step(self, inputs: SolverInputs, carry: Any, index: Any) -> Any:
        """Do round `index` (traced)."""
        ...

    def finish(self, inputs: SolverInputs, carry: Any) -> Any:
        """The Solution so far."""
        ...


@runtime_checkable
class Watch(Protocol):
    """What looks at an optimization between its segments (`hoijax.solver.solve_checkpoints`)."""

    def resume(self, like: Any) -> tuple[int, Any] | None:
        """(rounds done, carry) to go on from, of the structure of `like`; None to start."""
        ...

    def look(self, done: int, total: int, carry: Any) -> None:
        """After every segment; may keep a copy of `carry`, and may end the process."""
        ...


def optimize(solver: Solver, inputs: SolverInputs) -> Solution:
    """All rounds in one compiled program. Freely inside `jit` and `vmap`."""
    rounds = np.int32(solver.round_count(inputs))
    return _whole(solver.with_capacity(inputs, shared=False), inputs, rounds)


@program
def _whole(solver: Solver, inputs: SolverInputs, rounds: Any) -> Solution:
    carry = jax.lax.fori_loop(0, rounds, partial(_step, solver, inputs), solver.init(inputs))
    return replace(solver.finish(inputs, carry), history_length=None)  # it is full


def _step(solver: Solver, inputs: SolverInputs, index: Any, carry: Any) -> Any:
    return solver.step(inputs, carry, index)


@program
def _init(solver: Solver, inputs: SolverInputs) -> Any:
    return solver.init(inputs)


@program(donate=("carry",))
def _segment(
    solver: Solver, inputs: SolverInputs, carry: Any, first: Any, last: Any
) -> tuple[Any, Any]:
    """Rounds [first, last), and the Solution so far. One program also starts and finishes: three
    would take longer to compile than the two small ones to run every time."""
    fresh = solver.init(inputs)
    carry = jax.tree.map(lambda new, old: jnp.where(first == 0, new, old), fresh, carry)
    carry = jax.lax.fori_loop(first, last, partial(_step, solver, inputs), carry)
    return carry, solver.finish(inputs, carry)


def optimize_in_segments(
    solver: Solver,
    inputs: SolverInputs,
    watch: Watch | None = None,
    seconds: float = SEGMENT_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> Any:
    """All rounds, `seconds` at a time with `watch` looking in between: the Solution, computed.

    The first segment is one round (its time is mostly compilation), the second tells how long a round
    takes. An optimization that `watch` checkpointed resumes there. Without `watch` all rounds are one
    segment of the same program. The history of the solution has the capacity's length (`trimmed`).
    """
    total, solver = solver.round_count(inputs), solver.with_capacity(inputs, shared=True)
    like = _init.eval_shape(solver, inputs)  # traced once, never compiled
    resumed = None if watch is None else watch.resume(like)
    done, carry = resumed or (0, jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like))
    carry = jax.device_put(carry)
    solution, count, first = None, total if watch is None else 1, True
    with sigterm.held():  # what is carried is donated to a segment: it must come back
        while solution is None or done < total:
            last = min(done + count, total)
            start = clock()
            bounds = np.int32(done), np.int32(last)
            carry, solution = jax.block_until_ready(_segment(solver, inputs, carry, *bounds))
            each = max((clock() - start) / max(last - done, 1), 1e-9)
            count = 1 if first else max(int(seconds / each), 1)
            done, first = last, False
            if watch is not None:
                watch.look(done, total, carry)
            sigterm.leave_if_asked()
    return solution
