"""The paper's ablations: solve bundles again with one part of the method withheld.

Published (HOI-PAGE, spec/hoi-page.md section 6): without part contact the contact metric falls from
0.76 to 0.26. VideoCLIP, the paper's first column, needs CLIP weights and is not measured here.
"""

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hoijax.api.solve import checked_settings, solve
from hoijax.bodies import load_body
from hoijax.bundle.discovery import find_bundles, find_ground_truth
from hoijax.bundle.write import Bundle, bundle_hash, read_bundle
from hoijax.errors import UserError
from hoijax.experiments.report_page import bars_png
from hoijax.experiments.tables import csv_text, latex, markdown, mean_row
from hoijax.io.atomic import added_files, check_output, output_folder
from hoijax.methods.base import Method, method_named
from hoijax.progress import Log, counted, silent
from hoijax.results.evaluation import Evaluator
from hoijax.results.result import Result
from hoijax.runtime import versions
from hoijax.solver.solve_checkpoints import SolveCheckpoints, checkpoint_folder

COLUMNS = {
    "smoothness": "object_smoothness",
    "diversity": "object_diversity",
    "contact@0cm": "contact_share@0cm",
    "edge contact@5cm": "edge_contact_share@5cm",
    "non-collision": "noncollision",
}
"""Column of the table to name of the metric; contact@0cm and non-collision as published."""

Row = dict[str, str | float]


@dataclass(frozen=True)
class Configuration:
    """One row of the table: terms whose weight is zero, and what else the solver is not told."""

    name: str
    terms_off: tuple[str, ...] = ()
    withhold: Callable[[Bundle], Bundle] | None = None


def without_part_labels(bundle: Bundle) -> Bundle:
    """No observed point is labeled with a part: the search for starts would use the labels too."""
    seen = bundle.observations
    unlabeled = np.full_like(seen.object_point_parts, -1)
    seen = dataclasses.replace(seen, object_point_parts=unlabeled)
    return dataclasses.replace(bundle, observations=seen)


def without_motion_states(bundle: Bundle) -> Bundle:
    """Every object is taken to be free to move and turn: a_tau and a_r are not known."""
    graph = bundle.affordance
    free = {"is_translational": True, "is_rotational": True}
    objects = tuple(node.model_copy(update=free) for node in graph.objects)
    return dataclasses.replace(bundle, affordance=graph.model_copy(update={"objects": objects}))


TABLE = "hoi-page-table"
"""Preset: the published settings, and the table as a folder for a paper."""

CONFIGURATIONS = (
    Configuration("full"),
    Configuration("without part fitting", ("part_points", "part_pixels"), without_part_labels),
    Configuration("without part contact", ("contact", "contact_drift")),
    Configuration("without object motion state", (), without_motion_states),
)


def ablate(
    bundles: Path,
    *,
    method: str | Method = "hoi-page",
    preset: str | None = None,
    out: Path | None = None,
    restart: bool = False,
    log: Log = silent,
    **options: Any,
) -> list[Row]:
    """Rows of the ablation table (`hoijax ablate`): metrics of the winners, mean over the bundles.

    bundles: a bundle, or a folder of bundles or result folders. preset: the method's published settings
    where none is named; options: what differs from it, as in `solve`. out: JSON with the rows and every
    bundle's own metrics, errors against the ground truth among them where a bundle has one; with the preset "hoi-page-table" a folder
    with the table as CSV, Markdown and LaTeX (95 % intervals over bundles), and as a plot.
    What was measured when such a run was interrupted is kept beside `out`, and the same call goes on
    from there unless `restart`.
    Only numbers change between configurations, so bundles of one shape share one compiled program.
    Raises UserError when there is no bundle, or when a bundle or an option is refused.
    """
    paths = find_bundles(Path(bundles))
    as_folder, method = preset == TABLE, method_named(method)
    preset = method.published if as_folder or preset is None else preset
    settings = checked_settings(method, preset=preset, **options)
    if as_folder and out is None:
        raise UserError(f"--preset {TABLE} writes a folder: give --out.")
    if out is not None:
        check_output(out) if as_folder else _check_json_path(Path(out))
    store, before = None, []
    if out is not None:
        about: dict[str, Any] = {"method": method.name, "settings": dataclasses.asdict(settings)}
        about |= {"bundles": {str(path): bundle_hash(path) for path in paths}, **versions()}
        store = SolveCheckpoints(checkpoint_folder(out), about, restart=restart, log=log)
        before = store.rows()
        if before:
            log(f"{len(before)} rows were measured before the interruption")
    singles: list[Row] = []
    for row in _measured_rows(paths, before, method, settings, log):
        singles.append(row)
        if store is not None and len(singles) > len(before):
            store.keep_rows(singles)
        counted(log, "ablation", len(singles), len(paths) * len(CONFIGURATIONS))
    rows = [_mean_row(configuration.name, singles) for configuration in CONFIGURATIONS]
    if out is not None and as_folder:
        _write_table(Path(out), preset, paths, singles)
    elif out is not None:
        _write_json(Path(out), preset, paths, rows, singles)
    if store is not None:
        store.drop()
    return rows


def _solve(bundle: Bundle, configuration: Configuration, method: Method, settings: Any) -> Result:
    known = {term.name for term in method.terms(settings)}
    weights = {name: 0.0 for name in configuration.terms_off if name in known}
    if configuration.withhold is not None:
        bundle = configuration.withhold(bundle)
    return solve(bundle, method=method, settings=settings, weights=weights)


def _measured_rows(
    paths: Sequence[Path], before: Sequence[Row], method: Method, settings: Any, log: Log
) -> Iterator[Row]:
    """A row for every bundle and configuration; the first are those of `before`, in the same order."""
    earlier = iter(before)
    for path in paths:
        bundle = read_bundle(path)
        evaluator = None
        for configuration in CONFIGURATIONS:
            row = next(earlier, None)
            if row is not None:
                yield row
                continue
            begun = time.perf_counter()
            result = _solve(bundle, configuration, method, settings)
            if evaluator is None:
                evaluator = Evaluator(result, load_body(bundle.body), find_ground_truth(path))
            evaluator.take(result)
            values = evaluator.measure(result.winner)
            numbers = ", ".join(f"{name} {values[key]:.4g}" for name, key in COLUMNS.items())
            log(f"{path}: {configuration.name}: {numbers} ({time.perf_counter() - begun:.0f} s)")
            yield {"bundle": str(path), "configuration": configuration.name, **values}


def _mean_row(name: str, singles: list[Row]) -> Row:
    rows = [single for single in singles if single["configuration"] == name]
    means = {
        column: float(np.mean([float(single[metric]) for single in rows]))
        for column, metric in COLUMNS.items()
    }
    return {"configuration": name, **means}


def _check_json_path(path: Path) -> None:
    """Refuse, before minutes of work, a file that could not be written."""
    parent = path.absolute().parent
    if path.is_dir():
        raise UserError(f"--out '{path}' is a folder. Give the name of a JSON file.")
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"--out '{path}' cannot be written: '{parent}' is no writable folder.")


def _write_json(
    path: Path,
    preset: str,
    paths: list[Path],
    rows: list[Row],
    singles: list[Row],
) -> None:
    with added_files(path.absolute().parent) as partial:
        (partial / path.name).write_text(_content(preset, paths, rows, singles))


def _content(preset: str, paths: list[Path], rows: list, singles: list) -> str:
    content = {
        "preset": preset,
        "bundles": {str(bundle): bundle_hash(bundle) for bundle in paths},
        "rows": rows,
        "singles": singles,
    }
    return json.dumps(content, indent=2) + "\n"


def _write_table(out: Path, preset: str, paths: list[Path], singles: list[Row]) -> None:
    """The table as a folder; `run.json` marks it as ours."""
    rows = []
    for configuration in CONFIGURATIONS:
        of_row = [s for s in singles if s["configuration"] == configuration.name]
        chosen = [
            {"bundle": s["bundle"], **{column: s[metric] for column, metric in COLUMNS.items()}}
            for s in of_row
        ]
        rows.append(mean_row(chosen, {"configuration": configuration.name}))
    with output_folder(out) as folder:
        (folder / "run.json").write_text(_content(preset, paths, rows, singles))
        (folder / "table.csv").write_text(csv_text(rows))
        (folder / "table.md").write_text(markdown(rows))
        (folder / "table.tex").write_text(latex(rows))
        with contextlib.suppress(UserError):  # without matplotlib the tables are enough
            (folder / "table.png").write_bytes(bars_png(rows, "configuration", list(COLUMNS)))
