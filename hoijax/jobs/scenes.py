"""Many bundles to results, by any number of processes on one shared folder (`hoijax solve DIR/`).

Who does what is agreed on through the output folder (`hoijax.work`); this module says what its
results depend on, and what the summary holds.
"""

import csv
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hoijax.api.solve import checked_settings
from hoijax.errors import UserError
from hoijax.exporters.formats import check_formats
from hoijax.io.atomic import added_files
from hoijax.io.json_files import write_json
from hoijax.jobs.multihost import join_processes, solve_together
from hoijax.jobs.scene_batch import SceneBatch, thread_count
from hoijax.jobs.scene_names import scene_items
from hoijax.jobs.workers import run_workers, useful_workers
from hoijax.methods.base import method_named
from hoijax.progress import Log, silent
from hoijax.runtime import check_device, enable_compilation_cache, versions
from hoijax.settings import DEFAULT_METHOD
from hoijax.work.folder import Item, Shard, WorkFolder, work_folder
from hoijax.work.ray_tasks import check_cluster, run_tasks
from hoijax.work.runner import Progress, progress_of, work_in_groups

SUMMARY = "summary"


FORMATS_OF_MANY = ("amass", "glb")
"""A preview takes longer than solving a small scene: with many, it is made where it is asked for."""


def solve_many(
    bundles: Sequence[str | Path],
    out: str | Path,
    *,
    force: bool = False,
    formats: Sequence[str] | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    distributed: bool = False,
    shard: Shard = (0, 1),
    physics: bool = True,
    log: Log = silent,
    **options: Any,
) -> Progress:
    """Solve many bundles into `out/SCENE/`, those that are not done yet; options as in `solve`.

    Any number of processes may do this on one shared folder. A scene that fails is recorded and
    stops nothing. Scenes go through the batch program (`jobs.scene_batch`). Afterwards
    `summary.json` and `summary.csv` tell of all scenes. formats: exports, `FORMATS_OF_MANY` where not
    given. workers: processes on this machine; where not given, one, or on CPU as many as cores and
    scenes are worth. cluster: "ray" solves by Ray tasks. distributed: this is one of the processes
    of a slice, which solve over one global mesh (`multihost`). shard: (I, N) solves every N-th scene
    from the I-th on, as a task of an array does. physics: judge every motion. Raises UserError, before work starts, for bad
    options, for no bundles, for a cluster that does not answer, and for a folder of other settings.
    """
    if distributed:
        join_processes()  # before anything starts a device
    settings = checked_settings(**options)
    if distributed:
        _check_distributed(settings, options, is_alone=not (cluster or workers))
    check_cluster(cluster)
    formats = tuple(FORMATS_OF_MANY if formats is None else formats)
    check_formats(formats)
    items = scene_items(bundles, out)
    if not cluster:  # tasks have devices, the caller need not
        check_device()
    depends = depends_on(settings, formats, physics, options)
    with work_folder(out, items, depends, force=force, shard=shard) as folder:
        left = [item for item in folder.items if not folder.settled(item)]
        total = len(folder.items)
        log(f"{total} scenes, {total - len(left)} of them done before")
        if distributed:
            enable_compilation_cache()
            batch = _batch(folder, settings, formats, physics, options, log)
            progress = solve_together(folder, batch, log)
        else:
            if left:
                part = partial(
                    solve_part,
                    items=items,
                    out=str(folder.out),
                    formats=formats,
                    physics=physics,
                    retry=folder.retry,
                )
                _start_others(folder, partial(part, **options), left, cluster, workers, log)
            progress = _work(folder, settings, formats, physics, options, log)
        write_summary(folder)
    return progress


def _check_distributed(settings: Any, options: Mapping[str, Any], is_alone: bool) -> None:
    passes = method_named(options.get("method", DEFAULT_METHOD)).passes(settings)
    if not is_alone or len(passes) > 1:
        raise UserError(
            "--distributed is for methods of one pass (hoi-page), without --cluster and --workers."
        )


def _start_others(
    folder: WorkFolder,
    part: Callable[..., Any],
    left: Sequence[Item],
    cluster: str | None,
    workers: int | None,
    log: Log,
) -> None:
    """Let a cluster, or processes of this machine, do what is left; part: `solve_part` of a run."""
    names = [item.id for item in left]
    if cluster:
        run_tasks(part, names, log)
        return
    count = workers or useful_workers(len(left), log)
    enable_compilation_cache()
    while count > 1:  # again where one died: a scene that ends processes must not end this one
        before = (folder.count_settled(), folder.begun())
        died = run_workers(count, partial(part, names), log)
        if not died or (folder.count_settled(), folder.begun()) == before:
            return


def solve_part(
    names: Sequence[str],
    log: Log = print,
    *,
    items: Sequence[Item],
    out: str,
    formats: Sequence[str],
    physics: bool = True,
    retry: Mapping[str, str],
    **options: Any,
) -> tuple[int, int]:
    """Some scenes of a folder that is there already: how many are done, how many failed.

    retry: failures that are to be tried again (`WorkFolder.retry`).
    """
    chosen = set(names)
    part = [item for item in items if item.id in chosen]
    settings = checked_settings(**options)
    depends = depends_on(settings, formats, physics, options)
    with work_folder(out, part, depends, retry=retry) as folder:
        progress = _work(folder, settings, tuple(formats), physics, options, log)
    return progress.done, len(progress.failed)


def _work(
    folder: WorkFolder,
    settings: Any,
    formats: tuple[str, ...],
    physics: bool,
    options: Mapping[str, Any],
    log: Log,
) -> Progress:
    """Do in this process what nobody else does."""
    if folder.count_settled() == len(folder.items):
        return progress_of(folder)  # without starting a device
    enable_compilation_cache()
    batch = _batch(folder, settings, formats, physics, options, log)
    return work_in_groups(folder, batch.work(), thread_count(), log)


def _batch(
    folder: WorkFolder,
    settings: Any,
    formats: tuple[str, ...],
    physics: bool,
    options: Mapping[str, Any],
    log: Log,
) -> SceneBatch:
    terms = tuple(options.get("terms", ()))
    method = method_named(options.get("method", DEFAULT_METHOD))
    given = {"log": log, "physics": physics}
    return SceneBatch(method, settings, options.get("weights"), terms, folder.out, formats, **given)


def depends_on(
    settings: Any, formats: Sequence[str], physics: bool, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that results depend on, for the manifest."""
    told = {name: value for name, value in options.items() if value is not None and name != "terms"}
    told.pop("settings", None)  # as they were checked, below
    if not physics:
        told["physics"] = False
    told["terms"] = [term.name for term in options.get("terms", ())]
    return {
        "hoijax": versions()["hoijax"],
        "options": told,
        "formats": list(formats),
        "settings": dataclasses.asdict(settings),
    }


def write_summary(folder: WorkFolder) -> None:
    """`summary.json` and `summary.csv` of every scene, of other shards too, from the markers.

    Where another process settles a scene meanwhile, they are written again: of several that end
    together, the last one's are complete.
    """
    progress, written = progress_of(folder, folder.everything), None
    while progress != written:
        rows = [_summary_row(folder, item, progress) for item in folder.everything]
        content = {
            "scenes": progress.total,
            "done": progress.done,
            "failed": len(progress.failed),
            "rows": rows,
        }
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with added_files(folder.out) as partial_folder:
            with (partial_folder / f"{SUMMARY}.csv").open("w", newline="") as stream:
                writer = csv.DictWriter(stream, columns)
                writer.writeheader()
                writer.writerows(rows)
            write_json(partial_folder / f"{SUMMARY}.json", content)
        progress, written = progress_of(folder, folder.everything), progress


def _summary_row(folder: WorkFolder, item: Item, progress: Progress) -> dict[str, Any]:
    named = {"scene": item.id, "bundle": item.source}
    marker = folder.done(item)
    if marker is not None:
        return {**named, "state": "done", "why": "", **marker["row"]}
    why = progress.failed.get(item.id)
    return {**named, "state": "failed" if why else "open", "why": why or ""}
