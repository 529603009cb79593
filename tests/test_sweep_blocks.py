"""Sweeps in blocks: one program a bucket however many designs; cut off, they go on to the same bits."""

import os
import signal

import chex
import jax
import numpy as np
import pytest
from test_batch import make_jobs, make_weights, solve

from hoijax.experiments.blocks import MAX_DESIGNS, block_size, solve_designs
from hoijax.experiments.designs import make_designs, parse_factors
from hoijax.io import sigterm
from hoijax.solver.batch import BatchSolver
from hoijax.solver.solve_checkpoints import SolveCheckpoints

FOUR = "object_points=1,2,3 part_points=1,2,3 contact=0,1e2,1e3 penetration=0,5,10"


def bits(tree) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("designs", [1, 2, 16, 17, 33, 81, 1000])
def test_blocks_are_equal_and_the_last_lacks_little(designs):
    size = block_size(designs)
    blocks = -(-designs // size)
    assert size <= MAX_DESIGNS
    assert 0 <= size * blocks - designs < blocks


def test_four_weights_of_three_values_are_81_designs():
    known = ["object_points", "part_points", "contact", "penetration"]
    assert len(make_designs(parse_factors(FOUR, known))) == 81


class Counting(BatchSolver):
    """Told to end while it solves its first block."""

    runs, tell = 0, False

    def run(self, jobs, settings):
        self.runs += 1
        found = super().run(jobs, settings)
        if self.tell:
            os.kill(os.getpid(), signal.SIGTERM)
        return found


@pytest.mark.slow
@pytest.mark.thorough
def test_a_sweep_that_is_cut_off_goes_on_and_compiles_once(tmp_path):
    jobs, weights = make_jobs(2), make_weights(*np.linspace(0.0, 50.0, 33))
    scales = np.linspace(0.02, 0.2, 33, dtype=np.float32)
    weights["object_points.scale"] = np.stack([scales, scales], axis=1)
    # Compiled once; and traced once more for the shapes of what was kept.
    solver = Counting(chex.assert_max_traces(solve, n=2))
    undisturbed = solve_designs(solver, jobs, weights)
    assert (len(solver.compiled), solver.runs) == (1, 3)
    assert undisturbed[0].losses.shape[0] == 33
    points = undisturbed[0].history[:, 0, 0, 0]  # at the start: a wider kernel costs more
    assert (np.diff(points) > 0.0).all()
    whole = solver.run(jobs, jax.tree.map(lambda x: x[22:33], weights))  # the last block, unfilled
    np.testing.assert_array_equal(undisturbed[1].losses[22:], whole[1].losses)

    before = signal.getsignal(signal.SIGTERM)
    sigterm.listen()
    solver.runs, solver.tell = 0, True
    folder = tmp_path / ".sweep.checkpoints"
    with pytest.raises(SystemExit) as ended:
        solve_designs(solver, jobs, weights, SolveCheckpoints(folder, {"a": 1}))
    sigterm.listen()
    signal.signal(signal.SIGTERM, before)
    assert (ended.value.code, solver.runs) == (143, 1)
    solver.runs, solver.tell = 0, False
    said: list[str] = []
    kept = SolveCheckpoints(folder, {"a": 1}, log=said.append)
    assert bits(solve_designs(solver, jobs, weights, kept)) == bits(undisturbed)
    assert solver.runs == 2
    assert said[0] == "designs 1 to 11: solved before the interruption"
    assert len(solver.compiled) == 1
