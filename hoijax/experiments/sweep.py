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
from hoijax.losses.term import LossTerm
from hoijax.methods.base import Method, method_named
from hoijax.methods.passes import Numbers, Prepared
from hoijax.methods.running import MethodBatch, Solved, stacked
from hoijax.progress import Log, silent
from hoijax.results.evaluation import Evaluator
from hoijax.results.result import Result
from hoijax.runtime import check_device, describe_device, enable_compilation_cache, versions
from hoijax.settings import DEFAULT_METHOD
from hoijax.solver.batch import BatchSolver, Job
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
    prepared: Prepared


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
    and the half width of their 95 % confidence interval ("... +-"). options: as `checked_settings`
    takes them (method, preset, inits, ...). out: a folder that gets tables (CSV, Markdown, LaTeX), `index.html` with plots and
    images, results of what is shown there, and `run.json`; beside it, while it runs, what is solved
    is kept (`solver.solve_checkpoints`), and the same call resumes there unless `restart`.
    Raises UserError before any work.
    """
    plan = SweepPlan(plan) if isinstance(plan, str) else plan
    method = method_named(options.pop("method", DEFAULT_METHOD))
    settings = checked_settings(method, **options)
    designs = _designs_of(plan, method, settings)
    paths = find_bundles(Path(bundles))
    if out is not None:
        check_output(out)
    check_device()
    about = {
        "method": method.name,
        "settings": dataclasses.asdict(settings),
        "plan": dataclasses.asdict(plan),
        "bundles": {str(path): bundle_hash(path) for path in paths},
        "versions": versions(),
    }
    checkpoints = None
    if out is not None:
        checkpoints = SolveCheckpoints(checkpoint_folder(out), about, restart=restart, log=log)
    enable_compilation_cache()
    begun = time.perf_counter()
    cases = _prepare_all(paths, method, settings, plan.seeds)
    log(f"{len(designs)} designs x {len(cases)} scenes and seeds x {settings.inits} candidates")
    batch = MethodBatch(method, settings, log=log)
    solved = _solve_all(batch, cases, designs, checkpoints, log)
    seconds = time.perf_counter() - begun
    log(f"solved in {seconds:.1f} s, {batch.programs} compiled programs")
    singles = _measure_all(cases, solved, designs, method)
    rows = [
        mean_row([s for s in singles if s["design"] == w], labels_of(design))
        for w, design in enumerate(designs)
    ]
    if out is not None:
        counts = {"seconds": round(seconds, 3), "programs": batch.programs}
        run = {**about, **counts, "device": describe_device()}

        def result_of(w: int) -> Result:
            return method.result(solved[0][w].prepared, solved[0][w].solution)

        _write(Path(out), rows, singles, run, result_of, log)
        assert checkpoints is not None
        checkpoints.drop()
    return rows


def _designs_of(plan: SweepPlan, method: Method, settings: Any) -> list[Design]:
    """Raises UserError for a plan that this method cannot follow."""
    factors = parse_factors(
        plan.weights, factor_names(method.terms(settings), method.rates(settings))
    )
    if plan.seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {plan.seeds}.")
    return make_designs(factors, plan.design, plan.samples, settings.seed)


def _solve_all(
    batch: MethodBatch,
    cases: Sequence[_Case],
    designs: Sequence[Design],
    checkpoints: SolveCheckpoints | None,
    log: Log,
) -> Sequence[Sequence[Solved]]:
    """For every case the solution of every design."""

    def numbers(terms: Sequence[LossTerm]) -> Numbers:
        return stacked_designs(designs, terms, batch.method, batch.settings)

    def block(name: str, solver: BatchSolver, jobs: Sequence[Job], stacks: Numbers) -> Any:
        return solve_designs(solver, jobs, stacks, checkpoints, log, stage=f"{name}, ")

    return batch.run([case.prepared for case in cases], numbers, block)


def _prepare_all(paths: Sequence[Path], method: Method, settings: Any, seeds: int) -> list[_Case]:
    cases = []
    for path in paths:
        bundle = read_bundle(path)
        for seed in range(settings.seed, settings.seed + seeds):
            seeded = dataclasses.replace(settings, seed=seed)
            cases.append(_Case(path, seed, bundle, method.prepare(bundle, seeded, (), silent)))
    return cases


def stacked_designs(
    designs: Sequence[Design], terms: Sequence[LossTerm], method: Method, settings: Any
) -> Numbers:
    """The numbers of all designs for a scene with these terms, with a leading axis."""
    return stacked(
        [
            method.numbers(
                dataclasses.replace(settings, **rates_of(design)),
                terms,
                overrides_of(design, terms),
            )
            for design in designs
        ]
    )


def _measure_all(
    cases: Sequence[_Case],
    solved: Sequence[Sequence[Solved]],
    designs: Sequence[Design],
    method: Method,
) -> list[Row]:
    """A row for every case and design."""
    singles: list[Row] = []
    for case, solutions in zip(cases, solved, strict=True):
        evaluator = None
        for w, design in enumerate(designs):
            result = method.result(solutions[w].prepared, solutions[w].solution)
            if evaluator is None:
                body, truth = load_body(case.bundle.body), find_ground_truth(case.path)
                evaluator = Evaluator(result, body, truth)
            evaluator.take(result)
            values = evaluator.measure(result.winner)
            terms = zip(result.term_names, result.reports[result.winner], strict=True)
            singles.append(
                {
                    "bundle": str(case.path),
                    "seed": case.seed,
                    "design": w,
                    **labels_of(design),
                    "loss": float(result.losses[result.winner]),
                    **{name: float(x) for name, x in terms},
                    **{column: float(values[metric]) for column, metric in METRICS.items()},
                }
            )
    return singles


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
            result = dataclasses.replace(
                results(w), run={"method": run["method"], "settings": run["settings"]}
            )
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
