"""Error budget of a clip: what each way in which priors err costs (`hoijax ablate --noise`)."""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hoijax.api.noise import ALL, families_named, known_scene, seen_with_errors
from hoijax.api.solve import checked_settings, solve
from hoijax.bodies import load_body
from hoijax.bundle.discovery import find_bundles
from hoijax.bundle.schema import GroundTruth
from hoijax.bundle.write import Bundle, bundle_hash, read_bundle, read_ground_truth
from hoijax.errors import UserError
from hoijax.experiments.report_page import curves_png
from hoijax.experiments.tables import csv_text, markdown
from hoijax.io.atomic import check_output, output_folder
from hoijax.progress import Log, counted, silent
from hoijax.results.evaluation import CONTACT_THRESHOLD, Evaluator
from hoijax.results.result import Result
from hoijax.runtime import one_ahead, versions
from hoijax.settings import DEFAULT_METHOD
from hoijax.solver.solve_checkpoints import SolveCheckpoints, checkpoint_folder

STRONGEST = 2.0
"""Strength of the last level; 1: as real priors err."""
METRICS = {
    "object cm": "translation_cm",
    "rotation deg": "rotation_deg",
    "ADD-S cm": "adds_cm",
    "body mm": "mpjpe_mm",
    "contact F1": "contact_f1@5cm",
}
Row = dict[str, Any]
Job = tuple[str, str, float]
"""Path of a bundle, family, strength."""


def noise_budget(
    bundles: str | Path,
    families: Sequence[str],
    *,
    levels: int = 5,
    out: str | Path | None = None,
    method: str = DEFAULT_METHOD,
    preset: str | None = None,
    seed: int = 0,
    restart: bool = False,
    log: Log = silent,
    **options: Any,
) -> list[Row]:
    """Errors of the winner by family and strength, mean over the bundles.

    The motion of a clip is its ground truth, or, where it has none, what a solve of it finds. Seen by
    priors that err by one family (`priors.synthetic.error_families`; "all": by all together) at `levels`
    strengths from 0 to twice as much as real ones, it is solved again. Noise is data: clips of one shape
    share the compiled programs. out: a folder (run.json, table.csv, table.md, curves.png).
    Raises UserError for an unknown family, before anything is solved.
    """
    names, every = families_named(families)
    if levels < 2:
        raise UserError(f"--levels must be at least 2, got {levels}.")
    settings = checked_settings(method, preset=preset, **options)
    paths, store, done = find_bundles(Path(bundles)), None, []
    if out is not None:
        check_output(out)
        about = {"method": method, "settings": dataclasses.asdict(settings), "seed": seed}
        about |= {"bundles": {str(p): bundle_hash(p) for p in paths}, "levels": levels}
        about |= {"families": names, **versions()}
        store = SolveCheckpoints(checkpoint_folder(out), about, restart=restart, log=log)
        done = store.rows()
    strengths = [round(x, 3) for x in np.linspace(0.0, STRONGEST, levels)]
    plan = [(str(p), "none", 0.0) for p in paths]
    plan += [(str(p), name, x) for p in paths for name in names for x in strengths[1:]]
    plan.sort(key=lambda job: job[0])
    singles: list[Row] = list(done)

    @functools.lru_cache(maxsize=1)  # jobs of a clip follow each other
    def clip_of(path: str) -> tuple[Bundle, Any]:
        return _known_clip(path, method, settings, log)

    def seen(job: Job) -> tuple[Bundle, GroundTruth]:
        path, family, strength = job
        bundle, scene = clip_of(path)
        erring = every if family == ALL else [family]
        strengths = {} if strength == 0.0 else dict.fromkeys(erring, strength)
        return seen_with_errors(scene, bundle, strengths, seed)

    left = plan[len(done) :]
    for job, (bundle, truth) in zip(left, one_ahead(seen, left), strict=True):
        result = solve(bundle, method=method, settings=settings)
        singles.append(_row(job, result, bundle, truth))
        if store is not None:
            store.keep_rows(singles)
        counted(log, "error budget", len(singles), len(plan))
    rows = _mean_rows(singles, names, strengths)
    if out is not None:
        _write(Path(out), rows, singles, method)
    if store is not None:
        store.drop()
    return rows


def _known_clip(path: str, method: str, settings: Any, log: Log) -> tuple[Bundle, Any]:
    """A bundle, and its scene with the motion that is taken as known."""
    bundle = read_bundle(path)
    try:
        motion = read_ground_truth(path)
    except UserError:
        log(f"{path}: no ground truth; what a solve finds is taken as true")
        motion = motion_of(solve(bundle, method=method, settings=settings), bundle)
    return bundle, known_scene(bundle, motion)


def _row(job: Job, result: Result, bundle: Bundle, truth: GroundTruth) -> Row:
    """Errors of the winner."""
    path, family, strength = job
    values = Evaluator(result, load_body(bundle.body), truth).measure(result.winner)
    chosen = {name: float(values[key]) for name, key in METRICS.items() if key in values}
    return {"bundle": path, "family": family, "strength": strength, **chosen}


def motion_of(result: Result, bundle: Bundle) -> GroundTruth:
    """A result as if it were what happened."""
    evaluator = Evaluator(result, load_body(result.body_name))
    distances = evaluator.edge_distances(evaluator.object_poses(result.winner))
    rotations, translations = result.bodies_of(result.winner)
    return GroundTruth(
        Ts_world_object=result.Ts_world_object.astype(np.float32),
        Ts_world_camera=bundle.observations.Ts_world_camera,
        edge_contact=distances < CONTACT_THRESHOLD,
        body_rotations=rotations,
        body_translations=translations,
        body_betas=result.body_betas,
        body_rest_joints=result.body_rest_joints,
    )


def _mean_rows(singles: list[Row], names: list[str], strengths: list[float]) -> list[Row]:
    """Means over bundles; strength 0 belongs to every family and is solved once."""
    rows = []
    for name in names:
        for strength in strengths:
            family = "none" if strength == 0.0 else name
            mine = [s for s in singles if s["family"] == family and s["strength"] == strength]
            metrics = [m for m in METRICS if m in mine[0]]
            means = {m: float(np.mean([s[m] for s in mine])) for m in metrics}
            rows.append({"family": name, "strength": strength, **means})
    return rows


def costs(rows: Sequence[Row]) -> list[tuple[str, float]]:
    """(family, centimetres that it adds to ADD-S as strong as real priors err), the dearest first."""
    by_family: dict[str, dict[float, float]] = {}
    for row in rows:
        by_family.setdefault(row["family"], {})[row["strength"]] = row["ADD-S cm"]
    added = []
    for family, curve in by_family.items():
        at_one = float(np.interp(1.0, list(curve), list(curve.values())))
        added.append((family, at_one - curve[0.0]))
    return sorted(added, key=lambda pair: -pair[1])


def _write(out: Path, rows: list[Row], singles: list[Row], method: str) -> None:
    with output_folder(out) as folder:
        content = {"method": method, "rows": rows, "singles": singles, "versions": versions()}
        (folder / "run.json").write_text(json.dumps(content, indent=1) + "\n")
        (folder / "table.csv").write_text(csv_text(rows))
        (folder / "table.md").write_text(markdown(rows))
        with contextlib.suppress(UserError):  # without matplotlib the tables are enough
            (folder / "curves.png").write_bytes(curves_png(rows, "family", "strength", "ADD-S cm"))
