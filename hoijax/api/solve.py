"""Solve and generate: one Python call for what the commands do."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.api.observe import (
    has_joints,
    load_to_act_with,
    observe,
    observe_articulated,
    observe_by_models,
)
from hoijax.api.result_folder import (
    DEFAULT_FORMATS,
    FAST_FORMATS,
    save_to_folder,
    write_results,
)
from hoijax.bundle.write import Bundle, bundle_hash, read_bundle
from hoijax.errors import UserError
from hoijax.exporters.formats import check_formats
from hoijax.io.atomic import check_apart, check_output, output_folder
from hoijax.io.file_lock import held_output
from hoijax.losses.term import LossTerm
from hoijax.methods.base import Method, method_for
from hoijax.methods.memory import SHORTEST, check_memory
from hoijax.methods.passes import Overrides
from hoijax.methods.running import solve_bundle
from hoijax.programs import loading_ahead
from hoijax.progress import Log, Stopwatch, silent
from hoijax.results.result import Result
from hoijax.runtime import describe_device, enable_compilation_cache, peak_memory_gb, versions
from hoijax.settings import DEFAULT_METHOD, SceneSettings
from hoijax.solver.solve_checkpoints import SolveCheckpoints, checkpoint_folder, state_of

AT_THE_END = ("trimesh",)
"""What only writing a result imports, which takes it a quarter second."""


def solve(
    bundle: Bundle | str | Path,
    *,
    method: str | Method | None = None,
    settings: SceneSettings | None = None,
    preset: str | None = None,
    weights: Overrides | None = None,
    window: int | None = None,
    terms: Sequence[LossTerm] = (),
    checkpoints: SolveCheckpoints | None = None,
    log: Log = silent,
    **options: Any,
) -> Result:
    """Turn an observation bundle into object trajectories (`hoijax solve BUNDLE`).

    bundle: a Bundle or the path of one.
    method: "joint" corrects bodies and camera, then moves objects; "hoi-page" and "anchor-motion" are
    the papers'. Where none is named, the one of the settings, or joint.
    settings: the method's own, whole. In their place preset ("default", or "hoi-page" as published)
    and options, which are the settings that differ from the preset, by name: `inits=4, steps=60`.
    weights: by term name, a number or (start, end).
    window: frames of the overlapping windows that a long clip is solved in; by default as many as
    fit the memory, the whole clip if it can be.
    terms: your own loss terms, see docs/your-own-loss.md. checkpoints: what keeps a long solve.
    Raises UserError for bad input, before anything is traced.
    """
    chosen = method_for(method, settings)
    given = {"weights": weights, "terms": terms, "window": window}
    solved_with = checked_settings(chosen, settings=settings, preset=preset, **given, **options)
    source: dict[str, str] = {}
    if not isinstance(bundle, Bundle):
        path = Path(bundle)
        bundle = read_bundle(path)
        source = {"bundle": str(path.absolute()), "bundle_hash": bundle_hash(path)}
    cache = enable_compilation_cache()
    log(f"device: {describe_device()}; compiled programs kept in {cache or 'memory only'}")
    for line in bundle.absences:
        log(line)
    watch = (lambda name: None) if checkpoints is None else checkpoints.stage
    work = {"weights": weights, "terms": terms, "log": log, "watch": watch}
    frames = chosen.window(bundle, solved_with, window, log)
    at_once = solved_with.candidates_at_once
    check_memory(at_once, frames, len(bundle.assets), solved_with.points)
    kind = _kind("solve", chosen.name, solved_with, bundle.frame_count, len(bundle.assets))
    with loading_ahead(kind):
        if frames < bundle.frame_count:
            result = chosen.solve_windows(bundle, solved_with, frames, **work)
        else:
            result = solve_bundle(chosen, bundle, solved_with, **work)
    run = {
        **source,
        **result.run,
        "method": chosen.name,
        "settings": dataclasses.asdict(solved_with),
        "weights": dict(weights or {}),
        "device": describe_device(),
        "peak_memory_gb": peak_memory_gb(),
        "versions": versions(),
    }
    return dataclasses.replace(result, run=run)


def checked_settings(
    method: str | Method | None = None,
    *,
    settings: SceneSettings | None = None,
    preset: str | None = None,
    weights: Overrides | None = None,
    terms: Sequence[LossTerm] = (),
    window: int | None = None,
    **options: Any,
) -> Any:
    """The settings that `solve` would use, all of whose options these are, or its UserError."""
    chosen = method_for(method, settings)
    if settings is None:
        settings = chosen.settings(preset, **options)
    else:
        beside = [
            *(["preset"] if preset else ()),
            *(n for n, x in options.items() if x is not None),
        ]
        if beside:
            raise UserError(
                f"settings are given whole, and {', '.join(beside)} beside them: change them in the "
                "settings (dataclasses.replace)."
            )
        settings = chosen.checked(settings)
    chosen.check_weights(settings, weights, terms)
    if window is not None:
        chosen.check_window(settings, window)
    return settings


def generate(
    text: str,
    objects: Sequence[str | Path],
    out: str | Path,
    *,
    graph: PartAffordanceGraph | None = None,
    frames: int = 49,
    scale: float = 1.0,
    up: str | None = None,
    front: str | None = None,
    seed: int = 0,
    method: str = DEFAULT_METHOD,
    preset: str | None = None,
    inits: int | None = None,
    stage_options: Mapping[str, Any] | None = None,
    physics: bool = True,
    log: Log = silent,
) -> tuple[Result, list[dict[str, float]]]:
    """Sentence and meshes to a result folder (`hoijax generate`); returns it with its metrics.

    objects, scale, up, front: as in `load_objects`. method: of the solve: "joint", "hoi-page", or "anchorhoi" (anchor-motion).
    stage_options: None observes without models; else see `observe_by_models`. physics: judge the motion.

    The folder also holds the observation bundle (`bundle/`), so that it can be solved again.
    """
    check_output(out)
    chosen = {"method": method, "preset": preset, "inits": inits, "seed": seed}
    solved_with = checked_settings(**chosen)
    if inits is not None:
        at_once = solved_with.candidates_at_once
        check_memory(at_once, min(frames, SHORTEST), max(len(objects), 1), solved_with.points)
    if frames < 3:
        raise UserError(f"--frames must be at least 3, got {frames}.")
    enable_compilation_cache()
    jointed = stage_options is None and has_joints(objects)
    axes = {"up": up, "front": front, "text": text, "log": log}
    assets = () if jointed else load_to_act_with(objects, scale, **axes)
    clock = Stopwatch({}, log)
    ground_truth, video = None, None
    kind = _kind("generate", method_for(method).name, solved_with, frames, len(objects))
    with held_output(out), loading_ahead(kind, AT_THE_END):
        if jointed:
            bundle, ground_truth = observe_articulated(
                text, objects, frames=frames, scale=scale, seed=seed, log=log
            )
        elif stage_options is None:
            given = {"graph": graph, "frames": frames, "seed": seed, "log": log}
            bundle, ground_truth = observe(text, assets, **given)
        else:
            bundle, video = observe_by_models(
                text, assets, stage_options, frames=frames, seed=seed, log=log
            )
        clock.lap("observe")
        result = solve(bundle, **chosen, log=log)
        with output_folder(out) as folder:
            return write_results(
                result, folder, bundle, ground_truth, video, physics=physics, log=log
            )


def solve_to_folder(
    bundle: str | Path,
    out: str | Path,
    *,
    log: Log = silent,
    formats: Sequence[str] | None = None,
    restart: bool | None = False,
    fast: bool = False,
    physics: bool = True,
    **options,
) -> tuple[Result, list[dict[str, float]]]:
    """`solve`, then the whole result folder: metrics, exports and preview.

    formats: what is exported; `DEFAULT_FORMATS` where not given. fast: the result and what `formats`
    names (scene.glb), no metrics (`evaluate` adds them) and no physics. physics: judge the motion.
    restart: what an interrupted solve left beside `out` (`solver.solve_checkpoints`) is continued where
    bundle and settings agree, else UserError; True: it is dropped; None: dropped where they do not.
    """
    check_output(out)
    check_apart(bundle, out)
    check_formats(formats or DEFAULT_FORMATS)
    if fast:
        formats = formats or FAST_FORMATS
    written = {"formats": formats, "measured": not fast, "physics": physics and not fast}
    with held_output(out):
        settings = checked_settings(**options)
        about = about_solve(bundle, settings, **options)
        checkpoints = SolveCheckpoints(
            checkpoint_folder(out),
            about,
            restart=restart is True,
            replace=restart is None,
            log=log,
        )
        read = read_bundle(bundle)
        source = {"bundle": str(Path(bundle).absolute()), "bundle_hash": about["bundle"]}
        enable_compilation_cache()
        kind = _kind("solve", about["method"], settings, read.frame_count, len(read.assets))
        with loading_ahead((*kind, written), AT_THE_END):
            result = solve(read, log=log, checkpoints=checkpoints, **options)
            result = dataclasses.replace(result, run={**source, **result.run})
            rows = save_to_folder(result, out, log, **written)
        checkpoints.drop()
    return result, rows


def _kind(command: str, method: str, settings: Any, frames: int, objects: int) -> tuple:
    """What decides which programs a command loads."""
    chosen = {name: x for name, x in dataclasses.asdict(settings).items() if name != "seed"}
    return command, method, frames, objects, chosen


def about_solve(
    bundle: str | Path,
    settings: SceneSettings,
    *,
    method: str | Method | None = None,
    weights: Overrides | None = None,
    terms: Sequence[LossTerm] = (),
    window: int | None = None,
    **_: Any,
) -> dict[str, Any]:
    """Everything that a solve depends on; the rest of `solve`'s options is in the settings."""
    chosen = method_for(method, settings)
    paths = {name: getattr(settings, name) for name in chosen.files}
    return {
        "hoijax": versions()["hoijax"],
        "bundle": bundle_hash(bundle),
        "method": chosen.name,
        "settings": dataclasses.asdict(settings),
        "weights": dict(weights or {}),
        "terms": [term.name for term in terms],
        "window": window,
        "files": {name: state_of(path) for name, path in paths.items() if path},
    }
