"""A sweep of loss weights over many scenes: full factorial, one compiled program a bucket of scenes.

All designs of a scene start from the same candidates, so a row differs from its neighbour by the
weights alone. Terms are reported without their weights, so that rows compare.
"""

import csv
import dataclasses
import difflib
import io
import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hoijax.ablation import COLUMNS, find_bundles, find_truth
from hoijax.bodies import load_body
from hoijax.bundle import Bundle, bundle_hash, read_bundle
from hoijax.config import SolveSettings
from hoijax.errors import UserError
from hoijax.evaluation import Evaluator
from hoijax.losses.term import default_weights
from hoijax.methods.hoi_page import TERMS, Staged, descent, first_neighbours, stage, to_result
from hoijax.output_folder import check_output, output_folder
from hoijax.pipeline import checked_settings
from hoijax.runtime import describe_device, enable_compilation_cache, versions
from hoijax.solver.batch import BatchSolver, Job
from hoijax.solver.optimise import Solution

Ramp = tuple[float, float]
Design = dict[str, Ramp]
Row = dict[str, Any]
Log = Callable[[str], None]


def _silent(_: str) -> None:
    pass


def parse_factors(text: str, known: Sequence[str]) -> dict[str, list[Ramp]]:
    """ "contact=0,1e2 penetration=0:10,5" to the values of each weight, as (start, end).

    Raises UserError for what cannot be read, and for unknown names with the nearest known one.
    """
    factors: dict[str, list[Ramp]] = {}
    for item in text.split():
        name, equals, values = item.partition("=")
        try:
            ramps = [[float(end) for end in value.split(":")] for value in values.split(",")]
        except ValueError:
            ramps = [[]]
        sound = all(len(ramp) in (1, 2) and all(map(math.isfinite, ramp)) for ramp in ramps)
        if not equals or not sound or name in factors:
            raise UserError(
                f"--weights: cannot read '{item}'. Write every name once, with its values: "
                '"contact=0,1e2,1e3 penetration=0,0:10" (a:b ramps from a to b).'
            )
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)
            raise UserError(
                f"--weights: no loss term '{name}'. Did you mean '{near[0]}'? "
                f"Known: {', '.join(known)}."
            )
        factors[name] = [(ramp[0], ramp[-1]) for ramp in ramps]
    if not factors:
        raise UserError('--weights names no weight. Write such as "contact=0,1e2,1e3".')
    return factors


def full_factorial(factors: Mapping[str, Sequence[Ramp]]) -> list[Design]:
    """Every combination of the values; the last name changes fastest."""
    return [
        dict(zip(factors, chosen, strict=True)) for chosen in itertools.product(*factors.values())
    ]


def sweep(
    bundles: Path,
    weights: str,
    *,
    preset: str = "default",
    inits: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    log: Log = _silent,
) -> list[Row]:
    """One row for every combination of weights: means over the bundles (`hoijax ablate --weights`).

    A row holds the weights, each term's unweighted value at the winner, the metrics of `ablate`, and
    the half width of their 95 % confidence interval over bundles ("... +-"). out: a folder that gets
    `table.csv`, `table.md`, `table.tex`, `scenes.csv` and `run.json`.
    Raises UserError for bad options before any work.
    """
    settings = checked_settings(preset=preset, inits=inits, steps=steps, seed=seed)
    assert isinstance(settings, SolveSettings)
    table = TERMS[preset]
    designs = full_factorial(parse_factors(weights, [term.name for term in table]))
    paths = find_bundles(Path(bundles))
    if out is not None:
        check_output(out)
    enable_compilation_cache()
    scenes = [read_bundle(path) for path in paths]
    log(f"{len(designs)} designs x {len(scenes)} scenes x {settings.inits} candidates")
    staged = [stage(bundle, settings) for bundle in scenes]
    begun = time.perf_counter()
    solver = BatchSolver(descent(table, settings), log=log)
    jobs = [Job(s.scene, s.starts.unknowns, first_neighbours(s.scene, s.states)) for s in staged]
    stacked = [default_weights(table, design) for design in designs]
    solutions = solver.run(jobs, jax.tree.map(lambda *xs: np.stack(xs), *stacked))
    seconds = time.perf_counter() - begun
    log(f"solved in {seconds:.1f} s, {len(solver.compiled)} compiled programs")
    singles: list[Row] = []
    for path, bundle, ready, solution in zip(paths, scenes, staged, solutions, strict=True):
        singles += _measure(path, bundle, ready, solution, designs, preset)
    rows = [_mean_row(design, singles) for design in designs]
    if out is not None:
        run = {
            "settings": dataclasses.asdict(settings),
            "weights": weights,
            "bundles": {str(path): bundle_hash(path) for path in paths},
            "seconds": round(seconds, 3),
            "programs": len(solver.compiled),
            "device": describe_device(),
            "versions": versions(),
        }
        write_tables(Path(out), rows, singles, run)
    return rows


def _measure(
    path: Path,
    bundle: Bundle,
    staged: Staged,
    solution: Solution,
    designs: Sequence[Design],
    preset: str,
) -> list[Row]:
    """A row for every design of one scene."""
    rows, evaluator, table = [], None, TERMS[preset]
    for w, design in enumerate(designs):
        own = jax.tree.map(lambda x, w=w: jnp.asarray(x[w]), solution)
        result = to_result(bundle, staged, own, table, {})
        if evaluator is None:
            evaluator = Evaluator(result, load_body(bundle.body), find_truth(path))
        evaluator.result = result  # other poses of the same objects beside the same bodies
        values = evaluator.measure(result.winner)
        terms = result.reports[result.winner]
        rows.append(
            {
                "bundle": str(path),
                **_weights_of(design),
                "loss": float(result.losses[result.winner]),
                **{term.name: float(x) for term, x in zip(table, terms, strict=True)},
                **{column: float(values[metric]) for column, metric in COLUMNS.items()},
            }
        )
    return rows


def _weights_of(design: Design) -> dict[str, str]:
    return {
        f"w({name})": f"{start:g}" if start == end else f"{start:g}:{end:g}"
        for name, (start, end) in design.items()
    }


def _mean_row(design: Design, singles: Sequence[Row]) -> Row:
    weights = _weights_of(design)
    own = [row for row in singles if all(row[name] == text for name, text in weights.items())]
    row: Row = dict(weights)
    for column in own[0]:
        if column in ("bundle", *weights):
            continue
        values = np.array([single[column] for single in own])
        row[column] = float(values.mean())
        spread = (
            _t95(len(values)) * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0
        )
        row[f"{column} +-"] = float(spread)
    return row


def _t95(count: int) -> float:
    """Student's t that holds 95 % with `count` values."""
    from scipy.stats import t

    return float(t.ppf(0.975, count - 1))


def write_tables(out: Path, rows: list[Row], singles: list[Row], run: Mapping[str, Any]) -> None:
    """All files of a sweep, or none."""
    with output_folder(out) as folder:
        (folder / "table.csv").write_text(_csv(rows))
        (folder / "scenes.csv").write_text(_csv(singles))
        (folder / "table.md").write_text(markdown(rows))
        (folder / "table.tex").write_text(latex(rows))
        (folder / "run.json").write_text(json.dumps(run, indent=2) + "\n")


def _csv(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and rows for people: means with their confidence where there is one."""
    columns = [name for name in rows[0] if not name.endswith(" +-")]
    body = []
    for row in rows:
        line = []
        for name in columns:
            value, spread = row[name], row.get(f"{name} +-", 0.0)
            text = value if isinstance(value, str) else f"{value:.4g}"
            line.append(f"{text} \u00b1 {spread:.2g}" if spread else text)
        body.append(line)
    return columns, body


def markdown(rows: Sequence[Row]) -> str:
    """The table for a page."""
    columns, body = cells(rows)
    lines = [columns, ["---"] * len(columns), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(rows: Sequence[Row]) -> str:
    """The table for a paper (booktabs)."""
    columns, body = cells(rows)

    def line(texts: Sequence[str]) -> str:
        plain = (text.replace("_", r"\_").replace("%", r"\%") for text in texts)
        return " & ".join(text.replace("\u00b1", r"$\pm$") for text in plain) + r" \\" + "\n"

    inner = line(columns) + "\\midrule\n" + "".join(map(line, body))
    return (
        f"\\begin{{tabular}}{{{'r' * len(columns)}}}\n\\toprule\n{inner}"
        "\\bottomrule\n\\end{tabular}\n"
    )
