"""Result folders: written, measured again and exported."""

import contextlib
import dataclasses
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

from hoijax.api.observed import find_observed
from hoijax.bodies import load_body
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.write import (
    Bundle,
    GroundTruth,
    bundle_hash,
    read_ground_truth,
    write_bundle,
)
from hoijax.errors import UserError
from hoijax.exporters import clip_from_result
from hoijax.exporters.clip import Clip, clip_view
from hoijax.exporters.formats import ExportOptions, check_formats, write_formats
from hoijax.importers.mesh_motions import motions_of_clip
from hoijax.io.atomic import added_files, check_output, output_folder
from hoijax.physics.files import VERDICTS, write_verdicts
from hoijax.physics.verdict import by_object, judge
from hoijax.programs import loading_ahead
from hoijax.progress import Log, Stopwatch, silent
from hoijax.results.evaluation import Evaluator
from hoijax.results.observed import observed_video
from hoijax.results.result import Result, load_result, save_result
from hoijax.results.spread import spread_summary
from hoijax.runtime import enable_compilation_cache

DEFAULT_FORMATS = ("amass", "glb", "mp4")
"""What every result folder holds, and of a video `overlay`; `hoijax.exporters.formats.FORMATS` are all."""
FAST_FORMATS = ("glb",)
BUNDLE_FOLDER = "bundle"


def write_results(
    result: Result,
    folder: Path,
    bundle: Bundle,
    ground_truth: GroundTruth | None,
    video: bytes | None = None,
    *,
    physics: bool = True,
    log: Log = silent,
) -> tuple[Result, list[dict[str, float]]]:
    """A result folder with the bundle it was solved from; the result that names it, and its metrics."""
    path = write_bundle(folder / BUNDLE_FOLDER, bundle, ground_truth, video)
    run = result.run | {"bundle": BUNDLE_FOLDER, "bundle_hash": bundle_hash(path)}
    result = dataclasses.replace(result, run=run)
    return result, _write_all(result, folder, ground_truth, log, physics=physics)


def save_to_folder(
    result: Result,
    out: str | Path,
    log: Log = silent,
    *,
    formats: Sequence[str] | None = None,
    measured: bool = True,
    physics: bool = True,
) -> list[dict[str, float]]:
    """A result to a whole result folder: arrays, metrics, exports and preview; all metrics.

    formats: as in `solve_to_folder`. measured: False leaves the metrics out, physics the verdict.
    Raises UserError where `out` holds something else.
    """
    check_output(out)
    ground_truth = find_ground_truth(result, Path(out))
    with output_folder(out) as folder:
        return _write_all(
            result, folder, ground_truth, log, formats, measured=measured, physics=physics
        )


def _write_all(
    result: Result,
    folder: Path,
    ground_truth: GroundTruth | None,
    log: Log,
    formats: Sequence[str] | None = None,
    *,
    measured: bool = True,
    physics: bool = True,
) -> list[dict[str, float]]:
    """Metrics in this thread; the result, exports (the preview in several) and the verdict in others."""
    clock = Stopwatch({}, log)
    if formats is None:
        has_video = observed_video(result, folder) is not None
        formats = (*DEFAULT_FORMATS, "overlay") if has_video else DEFAULT_FORMATS
    body = load_body(result.body_name)
    clip = clip_from_result(result, body)
    kind = "write", result.object_rotations.shape, len(result.body_betas), formats, measured
    with loading_ahead(kind), _threads() as (threads, options):
        saved = threads.submit(save_result, result, folder)
        exported = threads.submit(_export, result, clip, folder, folder, formats, options)
        judged = threads.submit(_judge, clip, body, folder, log) if physics else None
        rows: list[dict[str, float]] = []
        if measured:
            evaluator = Evaluator(result, body, ground_truth)
            rows = [evaluator.measure(k) for k in range(len(result.losses))]
            _write_metrics(result, rows, folder)
            clock.lap("metrics")
        saved.result()
        exported.result()
        if judged is not None:
            judged.result()
    clock.lap("exports")
    return rows


@contextlib.contextmanager
def _threads() -> Iterator[tuple[ThreadPoolExecutor, ExportOptions]]:
    """Threads, and options of exports in them that end at the next frame where the block fails or is interrupted."""
    failed = threading.Event()

    def go_on(done: int, total: int) -> None:
        if failed.is_set():
            raise CancelledError(f"ended after {done} of {total} frames")

    with ThreadPoolExecutor(3) as threads:
        try:
            yield threads, ExportOptions(progress=go_on)
        except BaseException:
            failed.set()
            raise


def _judge(clip: Clip, body: SkinnedBody, folder: Path, log: Log) -> None:
    """`physics.json` of a clip, by what its objects' names say of their weight; or why there is none."""
    if not clip.people:
        return
    try:
        verdicts = [judge(carried) for carried in by_object(motions_of_clip(clip, body))]
    except UserError as error:
        log(f"physics: not judged: {error}")
        return
    write_verdicts(folder / VERDICTS, verdicts)


def _write_metrics(result: Result, rows: list[dict[str, float]], folder: Path) -> None:
    candidates = [
        {"label": label, "loss": float(loss), "code": int(code), **row}
        for label, loss, code, row in zip(
            result.labels, result.losses, result.codes, rows, strict=True
        )
    ]
    content = {
        "winner": result.winner,
        **rows[result.winner],
        **spread_summary(result),
        "candidates": candidates,
    }
    (folder / "metrics.json").write_text(json.dumps(content, indent=2) + "\n")


def find_ground_truth(result: Result, folder: Path) -> GroundTruth | None:
    """The truth of the bundle a result was solved from, where there still is one."""
    named = result.run.get("bundle")
    if named is None:
        return None
    path = folder / named  # an absolute path stands for itself
    try:
        if not path.exists() or bundle_hash(path) != result.run.get("bundle_hash"):
            return None
        return read_ground_truth(path)
    except UserError:
        return None  # bundles of real videos have no truth


def evaluate(folder: str | Path) -> dict[str, float]:
    """Measure a result folder again (`hoijax evaluate DIR`) and rewrite its metrics.json."""
    folder = Path(folder)
    result = load_result(folder)
    enable_compilation_cache()
    ground_truth = find_ground_truth(result, folder)
    evaluator = Evaluator(result, load_body(result.body_name), ground_truth)
    rows = [evaluator.measure(k) for k in range(len(result.losses))]
    with added_files(folder) as partial:
        _write_metrics(result, rows, partial)
    return rows[result.winner]


def export(
    result: Result | str | Path,
    folder: str | Path,
    formats: Sequence[str],
    options: ExportOptions | None = None,
) -> list[Path]:
    """Write a result for other programs (`hoijax export DIR --to amass,glb,mp4`; `docs/exports.md`).

    options: frame rate and up axis. All files appear, or none. Raises UserError for unknown formats.
    """
    check_formats(formats)
    home = Path(folder) if isinstance(result, Result) else Path(result)
    if not isinstance(result, Result):
        result = load_result(result)
    clip = clip_from_result(result, load_body(result.body_name))
    return _export(result, clip, home, Path(folder), formats, options)


def _export(
    result: Result,
    clip: Clip,
    home: Path,
    folder: Path,
    formats: Sequence[str],
    options: ExportOptions | None = None,
) -> list[Path]:
    """A result's clip for other programs; home: where the bundle of its video is found from."""
    if "overlay" in formats:
        clip = dataclasses.replace(clip, view=clip_view(result, find_observed(result, home)))
    with added_files(folder) as partial:
        names = [path.name for path in write_formats(clip, partial, formats, options)]
    return [folder / name for name in names]
