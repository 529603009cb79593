"""Any method, run: one bundle through all its passes, or many scenes and designs together."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hoijax.bundle.write import Bundle
from hoijax.candidates import lowest_loss
from hoijax.initialization.evidence import completion_lines
from hoijax.losses.term import LossTerm
from hoijax.methods.base import Method
from hoijax.methods.choice import colors_of, turned, unlikelihood
from hoijax.methods.confidence import assess, moves_least
from hoijax.methods.passes import Numbers, Overrides, Pass, Prepared, stopwatch
from hoijax.methods.results import centered_poses
from hoijax.progress import Log, silent
from hoijax.results.result import Result
from hoijax.solver.batch import MAX_SCENES, BatchSolver, Job
from hoijax.solver.problem import Solution
from hoijax.solver.resumable import Watch, optimize, optimize_in_segments


def solve_bundle(
    method: Method,
    bundle: Bundle,
    settings: Any,
    *,
    weights: Overrides | None = None,
    terms: Sequence[LossTerm] = (),
    log: Log = silent,
    watch: Callable[[str], Watch | None] = lambda name: None,
) -> Result:
    """One bundle, whole. terms: further ones. watch: what looks at each pass between its segments."""
    times, lap = stopwatch(log)
    prepared = method.prepare(bundle, settings, terms, lap)
    for line in completion_lines(bundle, prepared.bundle):
        log(line)
    given = method.numbers(settings, prepared.terms, weights)
    solution = None
    for step in method.passes(settings):
        prepared, solution = run_pass(step, prepared, solution, given, log, watch(step.name))
        lap(step.name)
    assert solution is not None
    result = with_confidence(method.result(prepared, solution), prepared, solution)
    lap("confidence")
    return dataclasses.replace(result, run=result.run | {"seconds": times})


def with_confidence(result: Result, prepared: Prepared, solution: Solution) -> Result:
    """The result with spreads, twins and what speaks against it; of twins, the one that moves least wins."""
    colors = colors_of(prepared, centered_poses(result))
    if colors is not None:
        centers = np.stack([asset.center for asset in result.assets])
        poses = result.object_rotations, result.object_translations
        R, t = turned(*poses, colors.turns, centers)
        result = dataclasses.replace(result, object_rotations=R, object_translations=t)
    unlikely = unlikelihood(result.losses, colors)
    best = lowest_loss(unlikely)
    if best != result.winner:
        result = dataclasses.replace(result, chosen=best)
    confidence = assess(prepared.scene, solution.unknowns, result, unlikely)
    calmest = moves_least(result, (result.winner, *confidence.twins))
    if calmest != result.winner:
        result = dataclasses.replace(result, chosen=calmest)
        confidence = assess(prepared.scene, solution.unknowns, result, unlikely)
    recorded = {"doubts": list(confidence.doubts), "twins": list(confidence.twins)}
    if colors is not None:
        recorded["unexplained_colors"] = np.round(colors.unexplained, 3).tolist()
    return dataclasses.replace(
        result,
        position_spread=confidence.position_spread,
        rotation_spread=confidence.rotation_spread,
        unseen=confidence.unseen,
        run=result.run | {"confidence": recorded},
    )


def run_pass(
    step: Pass,
    prepared: Prepared,
    solution: Solution | None,
    numbers: Numbers,
    log: Log = silent,
    watch: Watch | None = None,
) -> tuple[Prepared, Solution]:
    """One pass from the solution of the one before it: what it read, and its own solution."""
    if step.before is not None:
        assert solution is not None
        prepared = step.before(prepared, solution, numbers, log)
    return prepared, optimize_in_segments(*step.inputs_of(prepared, numbers), watch).trimmed()


@dataclass(frozen=True)
class Solved:
    """A scene under one design: what the last pass read, and what it found."""

    prepared: Prepared
    solution: Solution


Block = Callable[[str, BatchSolver, Sequence[Job], Any], list[Solution]]
"""(name, solver, jobs, numbers (W, ...)) -> a Solution (W, K, ...) of every job; names tell apart
what one run solves."""


def run_block(name: str, solver: BatchSolver, jobs: Sequence[Job], numbers: Any) -> list[Solution]:
    """All designs at once."""
    return solver.run(jobs, numbers)


@dataclass
class MethodBatch:
    """Scenes of one method and its settings, each under every design; keeps compiled programs."""

    method: Method
    settings: Any
    devices: Sequence[Any] = field(default_factory=jax.local_devices)
    log: Log = silent
    max_scenes: int = MAX_SCENES
    solvers: dict[tuple, BatchSolver] = field(default_factory=dict)
    together: bool | None = None
    """Whether scenes and designs share one run of a program; None: where a device gains by it. A CPU
    does not: it runs the program of `solve` for each, and compiles no other."""

    def __post_init__(self) -> None:
        if self.together is None:
            self.together = len(self.devices) > 1 or self.devices[0].platform != "cpu"

    @property
    def programs(self) -> int:
        """Compiled programs."""
        return sum(len(solver.compiled) for solver in self.solvers.values())

    def solver(self, step: Pass, terms: tuple[LossTerm, ...]) -> BatchSolver:
        """The solver of a pass under some terms: (scene, initial, neighbors, numbers) -> Solution."""
        key = step.like or step.name, terms
        if key not in self.solvers:

            def solve(scene: Any, initial: Any, neighbors: Any, numbers: Numbers) -> Solution:
                return optimize(*step.inputs(terms, scene, initial, neighbors, numbers))

            def alone(scene: Any, initial: Any, neighbors: Any, numbers: Numbers) -> Solution:
                inputs = step.inputs(terms, scene, initial, neighbors, numbers)
                return optimize_in_segments(*inputs).trimmed()

            self.solvers[key] = BatchSolver(
                solve,
                devices=self.devices,
                log=self.log,
                max_scenes=self.max_scenes,
                alone=None if self.together else alone,
            )
        return self.solvers[key]

    def run(
        self,
        scenes: Sequence[Prepared],
        numbers_of: Callable[[tuple[LossTerm, ...]], Numbers],
        block: Block = run_block,
    ) -> list[list[Solved]]:
        """Every scene under every design, by scene.

        numbers_of: all designs' numbers for a table of terms, every leaf with a leading axis W.
        The designs of a scene share what the first pass reads; after it each goes its own way.
        """
        first, *others = self.method.passes(self.settings)
        solved: list[list[Solved]] = [[] for _ in scenes]
        for table, (terms, indices) in enumerate(by_terms(scenes).items()):
            numbers = numbers_of(terms)
            jobs = [job_of(scenes[i]) for i in indices]
            solutions = block(f"{first.name} {table + 1}", self.solver(first, terms), jobs, numbers)
            for i, solution in zip(indices, solutions, strict=True):
                solved[i] = [
                    Solved(scenes[i], design_of(solution, w)) for w in range(design_count(numbers))
                ]
        for step in others:
            solved = [self._settled(step, row, numbers_of) for row in solved]
            self._run_apart(step, solved, numbers_of, block)
        return solved

    def _settled(
        self,
        step: Pass,
        row: Sequence[Solved],
        numbers_of: Callable[[tuple[LossTerm, ...]], Numbers],
    ) -> list[Solved]:
        """What a later pass reads, of one scene under every design."""
        assert step.before is not None
        numbers = numbers_of(row[0].prepared.terms)
        designs = [jax.tree.map(lambda x, w=w: x[w], numbers) for w in range(len(row))]
        return [
            Solved(step.before(one.prepared, one.solution, design, self.log), one.solution)
            for one, design in zip(row, designs, strict=True)
        ]

    def _run_apart(
        self,
        step: Pass,
        solved: list[list[Solved]],
        numbers_of: Callable[[tuple[LossTerm, ...]], Numbers],
        block: Block,
    ) -> None:
        """A later pass, in place: designs differ in what they read, so one after the other."""
        firsts = [row[0].prepared for row in solved]
        for table, (terms, indices) in enumerate(by_terms(firsts).items()):
            numbers = numbers_of(terms)
            for w in range(design_count(numbers)):
                design = jax.tree.map(lambda x, w=w: x[w : w + 1], numbers)
                jobs = [job_of(solved[i][w].prepared) for i in indices]
                name = f"{step.name} {table + 1} of design {w + 1}"
                solutions = block(name, self.solver(step, terms), jobs, design)
                for i, solution in zip(indices, solutions, strict=True):
                    solved[i][w] = Solved(solved[i][w].prepared, design_of(solution, 0))


def job_of(prepared: Prepared) -> Job:
    """What a batch stacks."""
    return Job(prepared.scene, prepared.initial, prepared.neighbors)


def by_terms(scenes: Sequence[Prepared]) -> dict[tuple[LossTerm, ...], list[int]]:
    """Indices of the scenes that have the same terms."""
    groups: dict[tuple[LossTerm, ...], list[int]] = {}
    for i, prepared in enumerate(scenes):
        groups.setdefault(prepared.terms, []).append(i)
    return groups


def stacked(designs: Sequence[Numbers]) -> Numbers:
    """Numbers of all designs, with a leading axis W, on the host."""
    return jax.tree.map(lambda *xs: np.stack([np.asarray(x) for x in xs]), *designs)


def design_count(numbers: Numbers) -> int:
    """W of stacked numbers."""
    return len(jax.tree.leaves(numbers)[0])


def design_of(solution: Solution, w: int) -> Solution:
    """The solution under one design, on the device."""
    return jax.tree.map(lambda x: jnp.asarray(x[w]), solution)
