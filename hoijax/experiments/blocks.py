"""The designs of a sweep, solved block by block: one program, and what was solved is kept on the way.

A block is small enough that little is lost when the process dies and that a sweep of any size fits
the memory; blocks are of one size, so they share the compiled program of their bucket.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from hoijax.io import sigterm
from hoijax.progress import Log, counted, silent
from hoijax.solver.batch import BatchSolver, Job, bucket_of
from hoijax.solver.problem import Solution
from hoijax.solver.solve_checkpoints import SolveCheckpoints

MAX_DESIGNS = 16
"""Designs of a block: with candidates and scenes enough to fill a device, few enough to lose."""


def block_size(designs: int) -> int:
    """Designs of each block: all but the last are full, and that one lacks as few as can be."""
    blocks = -(-designs // MAX_DESIGNS)
    return -(-designs // blocks)


def solve_designs(
    solver: BatchSolver,
    jobs: Sequence[Job],
    settings: Any,
    checkpoints: SolveCheckpoints | None = None,
    log: Log = silent,
    stage: str = "",
) -> list[Solution]:
    """As `solver.run`, in blocks along the leading axis of `settings`.

    stage: tells apart what is solved in one run.
    kept: takes the solutions of every block, and has those of an interrupted run of the same sweep.
    """
    total = len(jax.tree.leaves(settings)[0])
    size = block_size(total)
    blocks: list[list[Solution]] = []
    begins = range(0, total, size)
    with sigterm.held():  # until a block is solved and can be kept
        for begin in begins:
            # The last block is filled up with the last design: another size is another program.
            rows = np.minimum(np.arange(begin, begin + size), total - 1)
            designs = jax.tree.map(lambda x, rows=rows: x[rows], settings)
            name = f"{stage}designs {begin + 1} to {min(begin + size, total)}"
            solutions = _kept_before(solver, jobs, designs, checkpoints, name)
            if solutions is None:
                solutions = solver.run(jobs, designs)
                if checkpoints is not None:
                    checkpoints.part(name, solutions)
            blocks.append(solutions)
            if len(begins) > 1:
                counted(log, "sweep", len(blocks), len(begins))
            sigterm.leave_if_asked()
    return [
        jax.tree.map(lambda *parts: np.concatenate(parts)[:total], *each)
        for each in zip(*blocks, strict=True)
    ]


def _kept_before(
    solver: BatchSolver,
    jobs: Sequence[Job],
    settings: Any,
    checkpoints: SolveCheckpoints | None,
    name: str,
) -> list[Solution] | None:
    if checkpoints is None or not checkpoints.holds(name):
        return None

    def solve(tree: Any, given: Any) -> Solution:
        scene, initial, neighbors = tree
        return jax.vmap(lambda design: solver.solve(scene, initial, neighbors, design))(given)

    shapes: dict[tuple, Solution] = {}
    for job in jobs:
        key = bucket_of(job.tree)
        if key not in shapes:
            shapes[key] = jax.eval_shape(solve, job.tree, settings)  # traced, not compiled
    solutions = checkpoints.load(name, [shapes[bucket_of(job.tree)] for job in jobs])
    if solutions is None:
        return None
    checkpoints.log(f"{name}: solved before the interruption")
    return jax.tree.map(np.asarray, solutions[1])
