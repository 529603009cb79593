"""A descent in a process of its own, to be killed: `python resume_worker.py FOLDER OUT ITEMS SECONDS`.

Says "N" after every item, sleeps, keeps a checkpoint where one is due, and writes the bits it ends on
to OUT.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from hoijax.io import sigterm
from hoijax.solver.problem import Problem, SolverInputs
from hoijax.solver.resumable import optimize_in_segments
from hoijax.solver.solve_checkpoints import SolveCheckpoints, StageWatch


@jax.tree_util.register_static
@dataclass(frozen=True)
class Walk:
    """A chaotic walk: one bit lost, and the end is another."""

    count: int

    def round_count(self, inputs: SolverInputs) -> int:
        return self.count

    def with_capacity(self, inputs: SolverInputs, *, shared: bool) -> "Walk":
        return self

    def init(self, inputs: SolverInputs):
        return inputs.initial, jnp.zeros((self.count, 0)), jnp.zeros(self.count)

    def step(self, inputs: SolverInputs, carry, index):
        place, empty, seen = carry
        place = 3.9 * place * (1.0 - place)
        return place, empty, seen.at[index].set(place[0])

    def finish(self, inputs: SolverInputs, carry):
        return carry[0], carry[2]


class Slow(StageWatch):
    def look(self, done: int, total: int, carry) -> None:
        print(done, flush=True)
        time.sleep(float(sys.argv[4]))
        super().look(done, total, carry)
        if self.kept._store is not None:
            self.kept._store.wait()


if __name__ == "__main__":
    sigterm.listen()
    kept = SolveCheckpoints(sys.argv[1], {"about": "a walk"}, log=lambda message: None)
    nothing = Problem((), lambda *x: None, lambda *x: None)
    inputs = SolverInputs(nothing, None, jnp.linspace(0.1, 0.9, 5), None, {})
    watch = Slow(kept, "walk")
    found = optimize_in_segments(Walk(int(sys.argv[3])), inputs, watch, seconds=0.0)
    np.save(Path(sys.argv[2]), np.concatenate(jax.device_get(found)))
