"""Quality benchmark: solve scenes whose truth the solver never sees, and measure the winner.

    python -m scripts.benchmarks.quality --scenes made --json out/quality_made.json
    python -m scripts.benchmarks.quality --scenes omomo --presets default hoi-page

Synthetic scenes: the eight procedural objects, each with a sentence and two seeds. OMOMO scenes: every
captured sequence in ../shared/data/omomo (or --data). Errors are medians over frames, modulo the
asset's symmetries.
"""

import dataclasses
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import hoijax
from hoijax.bodies import load_body
from hoijax.bundle.write import read_bundle, read_ground_truth, write_bundle
from hoijax.methods.anchor_motion import terms as anchor_terms
from hoijax.results.evaluation import Evaluator
from hoijax.results.result import save_result
from hoijax.runtime import describe_device, enable_compilation_cache
from scripts.bundles.occluded_scenes import occluded_scene
from scripts.bundles.omomo_to_bundle import Options as CaptureOptions
from scripts.bundles.omomo_to_bundle import convert

MADE = {
    "barbell": "a person lifts a barbell from the ground with both hands",
    "box": "a person carries a box with both hands",
    "chair": "a person carries a chair with both hands",
    "broom": "a person sweeps the floor with a broom",
    "suitcase": "a person pulls a suitcase",
    "skateboard": "a person rides a skateboard",
    "table": "a person pushes a table with both hands",
    "ball": "a person kicks a ball",
}
QUICK_MADE, QUICK_OMOMO = ("chair", "barbell"), ("sub2_woodchair_006",)
COLUMNS = ("translation_cm", "rotation_deg", "adds_cm", "contact_f1@5cm", "noncollision")
ANCHOR_COLUMNS = (
    "mpjpe_mm",
    "pa_mpjpe_mm",
    *COLUMNS,
    "penetration_mean_cm",
    "object_in_body_mean_cm",
    "foot_skate_cm_s@5cm",
)
ANCHOR_ABLATIONS: dict[str, tuple[str, ...]] = {
    "whole": (),
    "without body keypoints": ("body_keypoints", "body_points", "body_mask"),
    "without contact": ("contact_keypoints", "contact", "contact_drift"),
    "without penetration": anchor_terms.PENETRATION_TERMS,
}
NEAR_BEST = 1.2  # the winner is all right within 20 % of the best candidate by true error
FLOOR_CM = 0.5  # below this difference in ADD-S two candidates are the same


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    scenes: str = "made"
    """"made", "omomo" or "all"."""
    method: str = "joint"
    """"joint", "hoi-page", or "anchor-motion": keypoints at 3 px noise, 20 % of them missing, and what touches
    hidden (occluded_scenes.py)."""
    ablate: tuple[str, ...] = ()
    """anchor-motion: scenes that are also solved without body keypoints, without contact, without
    penetration; all whose name contains one of these."""
    body_start: str = "corrected"
    """anchor-motion: where bodies start, as `hoijax solve --body-start`."""
    resume: bool = False
    """Keep the rows that are in --json already (with --ablate, give --keep as well)."""
    keep: Path | None = None
    """anchor-motion: result folders are kept here."""
    presets: tuple[str, ...] = ("default",)
    data: Path = Path(__file__).resolve().parents[3] / "shared" / "data" / "omomo"
    seeds: int = 2
    """Seeds a made object."""
    quick: bool = False
    """A subset that takes about two minutes."""
    only: tuple[str, ...] = ("",)
    """Only scenes whose name contains one of these."""
    inits: int | None = None
    json: Path | None = None
    """Write rows and summary here."""


def named(label: str, parts: tuple[str, ...]) -> bool:
    return any(part in label for part in parts)


def made_bundles(folder: Path, options: Options) -> list[Path]:
    """Bundles of the procedural objects, written to `folder`."""
    names = QUICK_MADE if options.quick else tuple(MADE)
    seeds = 1 if options.quick else options.seeds
    paths = []
    for name in names:
        for seed in range(seeds):
            label = f"{name}_{seed}"
            if not named(label, options.only):
                continue
            assets = hoijax.load_objects([name])
            if options.method == "anchor-motion":
                bundle, ground_truth = occluded_scene(MADE[name], assets, seed)
            else:
                bundle, ground_truth = hoijax.observe(MADE[name], assets, seed=seed)
            paths.append(write_bundle(folder / label, bundle, ground_truth))
    return paths


def captured_bundles(folder: Path, options: Options) -> list[Path]:
    """Bundles of the captured sequences, written to `folder`."""
    sequences = sorted(options.data.glob("*.npz"))
    if not sequences:
        raise SystemExit(
            f"no captured sequences in '{options.data}': give --data, or --scenes made"
        )
    if options.quick:
        sequences = [path for path in sequences if path.stem in QUICK_OMOMO]
    return [
        convert(CaptureOptions(path, folder / path.stem))
        for path in sequences
        if named(path.stem, options.only)
    ]


def measure(path: Path, preset: str, options: Options) -> dict:
    """Solve one bundle and measure every candidate; a row of the table."""
    begun = time.perf_counter()
    result = hoijax.solve(path, method=options.method, preset=preset, inits=options.inits)
    seconds = time.perf_counter() - begun
    ground_truth, bundle = read_ground_truth(path), read_bundle(path)
    evaluator = Evaluator(result, load_body(bundle.body), ground_truth)
    candidates = [evaluator.measure(k) for k in range(len(result.losses))]
    winner = candidates[result.winner]
    errors = np.array([row["adds_cm"] for row in candidates])
    best = float(errors.min())
    improved = bool(np.all(result.losses <= result.initial_losses + 1e-6))
    return {
        "scene": path.name,
        "preset": preset,
        **{name: round(float(winner[name]), 4) for name in COLUMNS},
        "best_adds_cm": round(best, 4),
        "winner_ok": bool(errors[result.winner] <= max(best * NEAR_BEST, best + FLOOR_CM)),
        "not_worse_than_start": improved,
        "object_smoothness": round(float(winner["object_smoothness"]), 5),
        "seconds": round(seconds, 1),
    }


def measure_anchor(path: Path, variant: str, options: Options, results: Path) -> dict:
    """Solve one bundle by anchor motion and measure the winner; its result is kept in `results`.

    Without body keypoints the body starts from the still (first frame of the whole method's result)
    and has nothing to follow but contact.
    """
    begun = time.perf_counter()
    choices: dict[str, Any] = {"body_start": options.body_start}
    if variant == "without body keypoints":
        choices = {"static": results / f"{path.name}-whole", "body_start": "static"}
    weights = dict.fromkeys(ANCHOR_ABLATIONS[variant], 0.0)
    result = hoijax.solve(
        path, method="anchor-motion", inits=options.inits, weights=weights, **choices
    )
    seconds = time.perf_counter() - begun
    folder = results / f"{path.name}-{variant.replace(' ', '-')}"
    folder.mkdir(parents=True, exist_ok=True)
    save_result(result, folder)
    evaluator = Evaluator(result, load_body(read_bundle(path).body), read_ground_truth(path))
    winner = evaluator.measure(result.winner)
    return {
        "scene": path.name,
        "preset": variant,
        **{name: round(float(winner[name]), 4) for name in ANCHOR_COLUMNS},
        "seconds": round(seconds, 1),
    }


def summarize_anchor(rows: list[dict]) -> dict[str, float]:
    """Medians over scenes (means of shares), with the names the issue tracker asks for."""
    summary = {
        f"{name}_median": round(float(np.median([row[name] for row in rows])), 4)
        for name in ANCHOR_COLUMNS
    }
    summary["contact_f1@5cm"] = round(float(np.mean([row["contact_f1@5cm"] for row in rows])), 4)
    summary["seconds_mean"] = round(float(np.mean([row["seconds"] for row in rows])), 1)
    return summary


def summarize(rows: list[dict]) -> dict[str, float]:
    """Medians and shares over scenes, by the names the issue tracker asks for."""

    def median(name: str) -> float:
        return round(float(np.median([row[name] for row in rows])), 4)

    return {
        "translation_cm_median": median("translation_cm"),
        "rotation_deg_median": median("rotation_deg"),
        "adds_cm_median": median("adds_cm"),
        "contact_f1@5cm": round(float(np.mean([row["contact_f1@5cm"] for row in rows])), 4),
        "noncollision": round(float(np.mean([row["noncollision"] for row in rows])), 4),
        "winner_ok_share": round(float(np.mean([row["winner_ok"] for row in rows])), 4),
        "not_worse_than_start_share": round(
            float(np.mean([row["not_worse_than_start"] for row in rows])), 4
        ),
        "seconds_mean": round(float(np.mean([row["seconds"] for row in rows])), 1),
    }


def print_table(console: Console, rows: list[dict]) -> None:
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    console.print(table)


def variants_of(path: Path, options: Options) -> tuple[str, ...]:
    if options.method != "anchor-motion":
        return options.presets
    return tuple(ANCHOR_ABLATIONS) if named(path.name, options.ablate) else ("whole",)


def report(options: Options, rows: list[dict]) -> dict[str, dict[str, float]]:
    """Summaries by variant; rows and summaries go to --json."""
    summarize_rows = summarize_anchor if options.method == "anchor-motion" else summarize
    names = list(dict.fromkeys(row["preset"] for row in rows))
    summaries = {
        name: summarize_rows([row for row in rows if row["preset"] == name]) for name in names
    }
    if options.json:
        content = {
            "scenes": options.scenes,
            "method": options.method,
            "device": describe_device(),
            "options": {k: str(v) for k, v in dataclasses.asdict(options).items()},
            "rows": rows,
            "summary": summaries[names[0]],
            "summaries": summaries,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return summaries


def main() -> None:
    """Command line."""
    options = tyro.cli(Options, description=__doc__)
    console = Console(width=200)
    enable_compilation_cache()
    rows: list[dict] = []
    if options.resume and options.json and options.json.is_file():
        rows = json.loads(options.json.read_text())["rows"]
    done = {(row["scene"], row["preset"]) for row in rows}
    kinds = {"made": made_bundles, "omomo": captured_bundles}
    makers = list(kinds.values()) if options.scenes == "all" else [kinds[options.scenes]]
    with tempfile.TemporaryDirectory(prefix="hoijax-quality-") as folder:
        results = options.keep or Path(folder) / "results"
        paths = [path for make in makers for path in make(Path(folder), options)]
        for path in paths:
            for preset in variants_of(path, options):
                if (path.name, preset) in done:
                    continue
                if options.method == "anchor-motion":
                    rows.append(measure_anchor(path, preset, options, results))
                else:
                    rows.append(measure(path, preset, options))
                console.print(rows[-1], soft_wrap=True)
                report(options, rows)
    print_table(console, rows)
    for preset, values in report(options, rows).items():
        console.print(preset, values)


if __name__ == "__main__":
    main()
