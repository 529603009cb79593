"""Levenberg-Marquardt against Adam on the same starts of the same scenes: loss, errors, time.

    python -m scripts.benchmarks.optimizers --scenes made --json out/optimizers_made.json
    python -m scripts.benchmarks.optimizers --scenes omomo

Everything before the descent (alignment, search, contact states) runs once a scene; then each
contestant descends from the same candidates with the same terms. Times are of the second of two
runs, in one process, so that ratios mean something on a shared machine.
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from hoijax.bodies import load_body
from hoijax.bundle.write import Bundle, GroundTruth, read_bundle, read_ground_truth
from hoijax.methods.hoi_page.method import METHOD
from hoijax.methods.passes import Prepared
from hoijax.methods.running import run_pass
from hoijax.progress import silent
from hoijax.results.evaluation import Evaluator
from hoijax.runtime import describe_device, enable_compilation_cache, versions
from hoijax.solver.problem import Solution
from scripts.baselines.lbfgs import descend_lbfgs
from scripts.benchmarks.quality import COLUMNS, FLOOR_CM, NEAR_BEST, captured_bundles, made_bundles
from scripts.benchmarks.quality import Options as QualityOptions

SAME = 1.01
"""A winner is as good as the best contestant's when its loss is at most this much higher."""


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    scenes: str = "made"
    """"made", "omomo", or a folder of bundles with truth."""
    contestants: tuple[str, ...] = (
        "adam:600",
        "adam:300",
        "lm:36",
        "lm:18",
        "lm:36:halving",
        "lbfgs:150",
    )
    """Optimizer (adam, lm, or lbfgs of optax) and steps; with "halving" only the best candidates go on."""
    only: str = ""
    """Only scenes whose name contains this."""
    quick: bool = False
    json: Path | None = None


def compare(path: Path, contestants: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows of one scene."""
    bundle, ground_truth = read_bundle(path), read_ground_truth(path)
    settings = METHOD.settings()
    prepared = METHOD.prepare(bundle, settings, (), silent)
    rows = []
    for contestant in contestants:
        name, steps, *halving = contestant.split(":")
        if name == "lbfgs":
            solve = partial(descend_lbfgs, prepared, int(steps))
        else:
            chosen = METHOD.settings(optimizer=name, steps=int(steps), halving=bool(halving))
            numbers = METHOD.numbers(chosen, prepared.terms)
            solve = partial(solution_of, METHOD.passes(chosen)[0], prepared, numbers)
        rows.append(run(path.name, contestant, bundle, ground_truth, prepared, solve))
    return rows


def solution_of(*given: Any) -> Solution:
    """Of the only pass."""
    step, prepared, numbers = given
    return run_pass(step, prepared, None, numbers)[1]


def run(
    scene: str,
    contestant: str,
    bundle: Bundle,
    ground_truth: GroundTruth,
    prepared: Prepared,
    solve: Callable[[], Solution],
) -> dict[str, Any]:
    """One contestant on one staged scene."""
    seconds = 0.0
    for _ in range(2):
        begun = time.perf_counter()
        solution = solve()
        seconds = time.perf_counter() - begun
    result = METHOD.result(prepared, solution)
    evaluator = Evaluator(result, load_body(bundle.body), ground_truth)
    measured = [evaluator.measure(k) for k in range(len(result.losses))]
    winner = measured[result.winner]
    errors = np.array([row["adds_cm"] for row in measured])
    near = max(errors.min() * NEAR_BEST, errors.min() + FLOOR_CM)
    return {
        "scene": scene,
        "contestant": contestant,
        "seconds": round(seconds, 3),
        "loss": round(float(result.losses[result.winner]), 5),
        "mean_loss": round(float(result.losses.mean()), 5),
        **{name: round(float(winner[name]), 4) for name in COLUMNS},
        "winner_ok": bool(errors[result.winner] <= near),
    }


def summarize(rows: list[dict[str, Any]], contestants: tuple[str, ...]) -> list[dict[str, Any]]:
    """Medians over scenes, and the ratio of the time to that of the first contestant, by scene."""
    base = {row["scene"]: row["seconds"] for row in rows if row["contestant"] == contestants[0]}
    best = {
        scene: min(row["loss"] for row in rows if row["scene"] == scene)
        for scene in {row["scene"] for row in rows}
    }
    table = []
    for contestant in contestants:
        chosen = [row for row in rows if row["contestant"] == contestant]
        ratios = [base[row["scene"]] / row["seconds"] for row in chosen]
        table.append(
            {
                "contestant": contestant,
                "seconds": float(np.median([row["seconds"] for row in chosen])),
                "faster": float(np.median(ratios)),
                "loss": float(np.mean([row["loss"] for row in chosen])),
                "as_good": float(
                    np.mean([row["loss"] <= SAME * best[row["scene"]] for row in chosen])
                ),
                **{name: float(np.median([row[name] for row in chosen])) for name in COLUMNS},
                "winner_ok": float(np.mean([row["winner_ok"] for row in chosen])),
            }
        )
    return table


def main() -> None:
    options = tyro.cli(Options)
    enable_compilation_cache()
    quality = QualityOptions(scenes=options.scenes, only=(options.only,), quick=options.quick)
    console = Console(width=140)
    with tempfile.TemporaryDirectory() as folder:
        makers = {"made": made_bundles, "omomo": captured_bundles}
        if options.scenes in makers:
            paths = makers[options.scenes](Path(folder), quality)
        else:
            paths = sorted(path for path in Path(options.scenes).iterdir() if path.is_dir())
        rows = []
        for path in paths:
            rows += compare(path, options.contestants)
            console.print(rows[-len(options.contestants) :])
    summary = summarize(rows, options.contestants)
    table = Table(*summary[0])
    for line in summary:
        table.add_row(*(x if isinstance(x, str) else f"{x:.3g}" for x in line.values()))
    console.print(table)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "device": describe_device(),
            "versions": versions(),
            "summary": summary,
            "rows": rows,
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
