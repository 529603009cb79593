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
from hoijax.solver.resumable import SolverInputs, in_segments
from hoijax.solver.solve_checkpoints import SolveCheckpoints, StageWatch


@jax.tree_util.register_static
@dataclass(frozen=True)
class Walk:
    """A chaotic walk: one bit lost, and the end is another."""

    count: int

    def items(self, given: SolverInputs) -> int:
        return self.count

    def with_room(self, given: SolverInputs) -> "Walk":
        return self

    def cut(self, solution):
        return solution

    def begin(self, given: SolverInputs):
        return given.initial, jnp.zeros((self.count, 0)), jnp.zeros(self.count)

    def advance(self, given: SolverInputs, carry, index):
        place, empty, seen = carry
        place = 3.9 * place * (1.0 - place)
        return place, empty, seen.at[index].set(place[0])

    def finish(self, given: SolverInputs, carry):
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
    given = SolverInputs(None, jnp.linspace(0.1, 0.9, 5), None, None)
    found = in_segments(Walk(int(sys.argv[3])), given, Slow(kept, "walk"), seconds=0.0)
    np.save(Path(sys.argv[2]), np.concatenate(jax.device_get(found)))
