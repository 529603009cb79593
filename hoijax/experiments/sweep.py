"""A sweep over many scenes: any design of weights and rates, one compiled program a bucket of scenes.

All designs of a scene start from the same candidates, so a row differs from its neighbor by what was
varied alone. Terms are reported without their weights, so that rows compare.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hoijax.api.solve import checked_settings
from hoijax.bodies import load_body
from hoijax.bundle.discovery import find_bundles, find_ground_truth
from hoijax.bundle.write import Bundle, bundle_hash, read_bundle
from hoijax.errors import UserError
from hoijax.experiments.ablation import COLUMNS
from hoijax.experiments.blocks import solve_designs
from hoijax.experiments.designs import (
    Design,
    factor_names,
    make_designs,
    overrides_of,
    parse_factors,
    rates_of,
)
from hoijax.experiments.report_page import Thumbnail, page_html, pareto_png, shown_rows, thumbnail
from hoijax.experiments.tables import cells as cells  # what the terminal shows
from hoijax.experiments.tables import csv_text, latex, markdown, mean_row
from hoijax.io.atomic import check_output, output_folder
from hoijax.losses.term import LossTerm, default_weights
from hoijax.methods.hoi_page.method import (
    TERMS,
    Staged,
    descent,
    object_problem,
    stage,
    to_result,
)
from hoijax.progress import Log, silent
from hoijax.results.evaluation import Evaluator
from hoijax.results.result import Result
from hoijax.runtime import check_device, describe_device, enable_compilation_cache, versions
from hoijax.settings import SolveSettings
from hoijax.solver.adam import Adam
from hoijax.solver.batch import BatchSolver, Job
from hoijax.solver.neighbor_lists import first_neighbors
from hoijax.solver.problem import Solution, SolverInputs
from hoijax.solver.resumable import optimize
from hoijax.solver.solve_checkpoints import SolveCheckpoints, checkpoint_folder

METRICS = COLUMNS | {"penetration cm": "penetration_mean_cm"}
"""Columns of a sweep's tables: those of the ablation, and how deep people are in objects."""

Row = dict[str, Any]


@dataclass(frozen=True)
class SweepPlan:
    """What `sweep` is asked for: `weights` as in `designs.parse_factors`, the rest by name."""

    weights: str
    design: str = "full"
    """"full", "random" or "sobol"."""
    samples: int | None = None
    """Designs to draw, where not "full"."""
    seeds: int = 1
    """Seeds that every scene is staged with, from `seed` on."""


@dataclass(frozen=True)
class _Case:
    """One scene with one seed."""

    path: Path
    seed: int
    bundle: Bundle
    staged: Staged

    @property
    def job(self) -> Job:
        scene = self.staged.scene
        return Job(scene, self.staged.starts.unknowns, first_neighbors(scene, self.staged.states))


def sweep(
    bundles: Path,
    plan: SweepPlan | str,
    *,
    out: Path | None = None,
    restart: bool = False,
    log: Log = silent,
    **options: Any,
) -> list[Row]:
    """One row for every design: means over bundles and seeds (`hoijax ablate --weights`).

    A row holds what was varied, each term's unweighted value at the winner, the metrics of `ablate`,
    and the half width of their 95 % confidence interval ("... +-"). options: preset, inits, optimizer,
    steps, seed. out: a folder that gets tables (CSV, Markdown, LaTeX), `index.html` with plots and
    pictures, results of what is shown there, and `run.json`; beside it, while it runs, what is solved
    is kept (`solver.solve_checkpoints`), and the same call goes on from there unless `restart`.
    Raises UserError before any work.
    """
    plan = SweepPlan(plan) if isinstance(plan, str) else plan
    settings = checked_settings(**options)
    assert isinstance(settings, SolveSettings)
    table = TERMS[settings.preset]
    factors = parse_factors(plan.weights, factor_names(table, settings))
    designs = make_designs(factors, plan.design, plan.samples, settings.seed)
    if plan.seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {plan.seeds}.")
    paths = find_bundles(Path(bundles))
    if out is not None:
        check_output(out)
    check_device()
    about = {
        "settings": dataclasses.asdict(settings),
        "plan": dataclasses.asdict(plan),
        "bundles": {str(path): bundle_hash(path) for path in paths},
        "versions": versions(),
    }
    kept = None
    if out is not None:
        kept = SolveCheckpoints(checkpoint_folder(out), about, restart=restart, log=log)
    enable_compilation_cache()
    begun = time.perf_counter()
    cases = _stage_all(paths, settings, plan.seeds)
    log(f"{len(designs)} designs x {len(cases)} scenes and seeds x {settings.inits} candidates")
    solver = BatchSolver(sweep_solver(table, settings), log=log)
    stacked = stacked_settings(designs, table, settings)
    solutions = solve_designs(solver, [case.job for case in cases], stacked, kept, log)
    seconds = time.perf_counter() - begun
    log(f"solved in {seconds:.1f} s, {len(solver.compiled)} compiled programs")
    singles, results = _measure_all(cases, solutions, designs, table)
    rows = [
        mean_row([s for s in singles if s["design"] == w], labels_of(design))
        for w, design in enumerate(designs)
    ]
    if out is not None:
        counts = {"seconds": round(seconds, 3), "programs": len(solver.compiled)}
        run = {**about, **counts, "device": describe_device()}
        _write(Path(out), rows, singles, run, results, log)
        assert kept is not None
        kept.drop()
    return rows


def _stage_all(paths: Sequence[Path], settings: SolveSettings, seeds: int) -> list[_Case]:
    cases = []
    for path in paths:
        bundle = read_bundle(path)
        for seed in range(settings.seed, settings.seed + seeds):
            staged = stage(bundle, dataclasses.replace(settings, seed=seed))
            cases.append(_Case(path, seed, bundle, staged))
    return cases


def sweep_solver(table: Sequence[LossTerm], settings: SolveSettings) -> Callable[..., Solution]:
    """(scene, initial, neighbors, {"weights", "rates"}) -> Solution; all numbers are traced."""
    if settings.optimizer != "adam":
        solve = descent(table, settings)
        return lambda scene, initial, neighbors, own: solve(
            scene, initial, neighbors, own["weights"]
        )
    problem = object_problem(table)

    def adam(scene: Any, initial: Any, neighbors: Any, own: Any) -> Solution:
        solver = Adam(settings.steps, settings.refresh_every, own["rates"][0], own["rates"][1])
        return optimize(solver, SolverInputs(problem, scene, initial, neighbors, own["weights"]))

    return adam


def stacked_settings(
    designs: Sequence[Design], table: Sequence[LossTerm], settings: SolveSettings
) -> dict[str, Any]:
    """What `sweep_solver` reads, with a leading axis over designs."""
    each = [
        {
            "weights": default_weights(table, overrides_of(design, table)),
            "rates": rates_of(design, settings),
        }
        for design in designs
    ]
    return jax.tree.map(lambda *xs: np.stack([np.asarray(x) for x in xs]), *each)


def _measure_all(
    cases: Sequence[_Case],
    solutions: Sequence[Solution],
    designs: Sequence[Design],
    table: Sequence[LossTerm],
) -> tuple[list[Row], Callable[[int], Result]]:
    """A row for every case and design; and how to get the result of a design for the first case."""
    singles: list[Row] = []
    for case, solution in zip(cases, solutions, strict=True):
        evaluator = None
        for w, design in enumerate(designs):
            result = _result(case, solution, w, table)
            if evaluator is None:
                evaluator = Evaluator(
                    result, load_body(case.bundle.body), find_ground_truth(case.path)
                )
            evaluator.result = result  # other poses of the same objects beside the same bodies
            values = evaluator.measure(result.winner)
            terms = zip(table, result.reports[result.winner], strict=True)
            singles.append(
                {
                    "bundle": str(case.path),
                    "seed": case.seed,
                    "design": w,
                    **labels_of(design),
                    "loss": float(result.losses[result.winner]),
                    **{term.name: float(x) for term, x in terms},
                    **{column: float(values[metric]) for column, metric in METRICS.items()},
                }
            )
    return singles, lambda w: _result(cases[0], solutions[0], w, table)


def _result(case: _Case, solution: Solution, w: int, table: Sequence[LossTerm]) -> Result:
    own = jax.tree.map(lambda x: jnp.asarray(x[w]), solution)
    return to_result(case.bundle, case.staged, own, table, {})


def labels_of(design: Design) -> dict[str, str]:
    """What was varied, as columns of a table."""
    return {
        f"w({name})": f"{start:g}" if start == end else f"{start:g}:{end:g}"
        for name, (start, end) in design.items()
    }


def _write(
    out: Path,
    rows: list[Row],
    singles: list[Row],
    run: dict[str, Any],
    results: Callable[[int], Result],
    log: Log,
) -> None:
    """All files of a sweep, or none."""
    from hoijax.results.result import save_result

    with output_folder(out) as folder:
        (folder / "table.csv").write_text(csv_text(rows))
        (folder / "scenes.csv").write_text(csv_text(singles))
        (folder / "table.md").write_text(markdown(rows))
        (folder / "table.tex").write_text(latex(rows))
        (folder / "run.json").write_text(json.dumps(run, indent=2) + "\n")
        images: dict[int, Thumbnail] = {}
        view = None
        for w in shown_rows(rows):
            result = dataclasses.replace(results(w), run={"settings": run["settings"]})
            name = f"results/design-{w + 1:03d}"
            (folder / name).mkdir(parents=True)
            save_result(result, folder / name)
            png, view = thumbnail(result, view)
            images[w] = Thumbnail(png, name)
        (folder / "index.html").write_text(page_html(rows, images, run))
        try:
            (folder / "pareto.png").write_bytes(pareto_png(rows))
        except UserError as error:
            log(str(error))
