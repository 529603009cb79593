"""A descent in segments: the same compiled loop whether it runs to its end at once or is cut anywhere.

Both optimizers are a list of equal items of work. Where nobody looks, all of them are one loop in one
program (`whole`). A long solve walks through them from Python (`in_segments`), with the bounds of the
loop as numbers: wherever it is cut, the same program did the same items, so a descent that was
interrupted and continued ends on the same bits as one that was not. How many items there are is a
number of that program too: more steps, or fewer, compile nothing.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from hoijax.io import sigterm

SEGMENT_SECONDS = 1.0
"""How long a program runs before Python looks whether the process was asked to end."""


@flax.struct.dataclass
class SolverInputs:
    """What a descent reads and never changes. Any pytrees; `initial` and `neighbors` lead with K."""

    scene: Any
    initial: Any
    neighbors: Any
    weights: Any
    schedule: Any = None


@runtime_checkable
class Stepper(Protocol):
    """An optimizer as items of work, frozen: static structure, and numbers as leaves of a pytree.

    Compared by value where no number is traced (`whole`), for programs are kept by it.
    """

    def items(self, given: SolverInputs) -> int:
        """How many items of work there are. Not asked of what `with_room` returned."""
        ...

    def with_room(self, given: SolverInputs) -> "Stepper":
        """The same with its number of items traced, and room for others in what it keeps."""
        ...

    def begin(self, given: SolverInputs) -> Any:
        """What is carried from item to item: a pytree of arrays."""
        ...

    def advance(self, given: SolverInputs, carry: Any, index: Any) -> Any:
        """Do item `index` (traced)."""
        ...

    def finish(self, given: SolverInputs, carry: Any) -> Any:
        """The Solution so far."""
        ...

    def cut(self, solution: Any) -> Any:
        """A Solution of the stepper `with_room`, computed, as long as this one's. Compiles nothing."""
        ...


@runtime_checkable
class Watch(Protocol):
    """What looks at a descent between its segments (`hoijax.solver.solve_checkpoints`)."""

    def resume(self, like: Any) -> tuple[int, Any] | None:
        """(items done, carry) to go on from, of the structure of `like`; None to begin."""
        ...

    def look(self, done: int, total: int, carry: Any) -> None:
        """After every segment; may keep a copy of `carry`, and may end the process."""
        ...


def whole(stepper: Stepper, given: SolverInputs) -> Any:
    """All items, to be traced into one program: the Solution."""
    advance = partial(_advance, stepper, given)
    return stepper.finish(
        given, jax.lax.fori_loop(0, stepper.items(given), advance, stepper.begin(given))
    )


def _advance(stepper: Stepper, given: SolverInputs, index: Any, carry: Any) -> Any:
    return stepper.advance(given, carry, index)


@partial(jax.jit, static_argnames=("stepper",))
def run_whole(stepper: Stepper, given: SolverInputs) -> Any:
    """All items in one compiled program: the Solution."""
    return whole(stepper, given)


@jax.jit
def _begin(stepper: Stepper, given: SolverInputs) -> Any:
    return stepper.begin(given)


@partial(jax.jit, donate_argnames=("carry",))
def _segment(
    stepper: Stepper, given: SolverInputs, carry: Any, first: Any, last: Any
) -> tuple[Any, Any]:
    """Items [first, last), and the Solution so far. One program also begins and finishes: three
    would take longer to compile than the two small ones to run every time."""
    begun = stepper.begin(given)
    carry = jax.tree.map(lambda new, old: jnp.where(first == 0, new, old), begun, carry)
    carry = jax.lax.fori_loop(first, last, partial(_advance, stepper, given), carry)
    return carry, stepper.finish(given, carry)


def in_segments(
    stepper: Stepper,
    given: SolverInputs,
    watch: Watch | None = None,
    seconds: float = SEGMENT_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> Any:
    """All items, `seconds` at a time with `watch` looking in between: the Solution, computed.

    The first segment is one item (its time is mostly compilation), the second tells how long an item
    takes. Where the descent was kept half done, it goes on from there. Without `watch` all items are
    one segment of the same program.
    """
    total, exact, stepper = stepper.items(given), stepper, stepper.with_room(given)
    like = _begin.eval_shape(stepper, given)  # traced once, never compiled
    kept = None if watch is None else watch.resume(like)
    done, carry = kept or (0, jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like))
    carry = jax.device_put(carry)
    solution, count, first = None, total if watch is None else 1, True
    with sigterm.held():  # what is carried is given away to a segment: it must come back
        while solution is None or done < total:
            last = min(done + count, total)
            begun = clock()
            bounds = np.int32(done), np.int32(last)
            carry, solution = jax.block_until_ready(_segment(stepper, given, carry, *bounds))
            each = max((clock() - begun) / max(last - done, 1), 1e-9)
            count = 1 if first else max(int(seconds / each), 1)
            done, first = last, False
            if watch is not None:
                watch.look(done, total, carry)
            sigterm.leave_if_asked()
    return exact.cut(solution)
