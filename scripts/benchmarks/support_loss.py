"""Does the missing wrench earn a place as a loss? Known scenes solved with the term `support` and without.

    python -m scripts.benchmarks.physics_solved --out out/solved
    python -m scripts.benchmarks.support_loss out/solved --json docs/results/support_loss.json

Of every winner: share of frames in which the object floats (RePHO's definition), jerk of the object, the
verdict's missing wrench, and ADD-S. Without the term: as solved. With it: off at the start, on at the end.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import hoijax
from hoijax.bodies import load_body
from hoijax.bundle.discovery import find_bundles
from hoijax.bundle.write import read_ground_truth
from hoijax.importers.mesh_motions import motions_of_result
from hoijax.physics.verdict import Weight, by_object, judge
from hoijax.results.evaluation import Evaluator
from hoijax.results.protocols.plausibility import repho
from hoijax.results.result import load_result
from hoijax.runtime import describe_device, enable_compilation_cache
from scripts.benchmarks.physics import WEIGHTS

COLUMNS = ("float_share", "jerk_m_s3", "missing_weights", "adds_cm")


@dataclass(frozen=True)
class Options:
    solved: tyro.conf.Positional[Path]
    """Folder that `physics_solved` wrote."""
    method: str = "joint"
    weights: tuple[float, ...] = (1.0, 10.0)
    """Of the term at the end of a solve."""
    only: tuple[str, ...] = ("-1",)
    """Only scenes whose name contains one of these; by default those with errors at strength 1."""
    json: Path | None = None


def measure(result: hoijax.Result, path: Path) -> dict[str, float]:
    """Of the winner; path: its bundle, which knows the truth."""
    pairs = motions_of_result(result)
    errors = Evaluator(result, load_body(result.body_name), read_ground_truth(path))
    carried = by_object(pairs)[0]
    verdict = judge(carried, Weight(mass=WEIGHTS.get(carried.motion.object_name)))
    plausible = [repho(pair) for pair in pairs]
    return {
        "float_share": min(values["float_share@2cm"] for values in plausible),
        "jerk_m_s3": plausible[0]["object_jerk_m_s3"],
        "missing_weights": verdict.values["missing_mean_weights"],
        "adds_cm": float(errors.measure(result.winner)["adds_cm"]),
    }


def solve(path: Path, weight: float, options: Options) -> hoijax.Result:
    if not weight:
        return load_result(options.solved / "results" / path.name)
    terms = (hoijax.losses.support((0.0, weight)),)
    return hoijax.solve(path, method=options.method, terms=terms)


def print_table(rows: list[dict], log: Console) -> None:
    """Means over scenes, and the most that ADD-S grew, by weight."""
    table = Table("weight", *COLUMNS, "ADD-S grew at most, cm")
    before = {row["scene"]: row["adds_cm"] for row in rows if not row["weight"]}
    for weight in dict.fromkeys(row["weight"] for row in rows):
        of = [row for row in rows if row["weight"] == weight]
        means = [f"{np.mean([row[name] for row in of]):.3f}" for name in COLUMNS]
        worst = max(row["adds_cm"] - before[row["scene"]] for row in of)
        table.add_row(f"{weight:g}", *means, f"{worst:.2f}")
    log.print(table)


def main(options: Options) -> None:
    enable_compilation_cache()
    log, rows = Console(), []
    for path in find_bundles(options.solved / "bundles"):
        for weight in (0.0, *options.weights) if any(p in path.name for p in options.only) else ():
            values = measure(solve(path, weight, options), path)
            rows.append({"scene": path.name, "weight": weight} | values)
            log.print(rows[-1], highlight=False, soft_wrap=True)
            if options.json is not None:
                head = {"device": describe_device(), "date": time.strftime("%Y-%m-%d")}
                content = head | {"method": options.method, "rows": rows}
                options.json.write_text(json.dumps(content, indent=1) + "\n")
    print_table(rows, log)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
