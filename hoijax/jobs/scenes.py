"""Many bundles to results, by any number of processes on one shared folder (`hoijax solve DIR/`).

Who does what is agreed on through the output folder (`manifest`); this module says what a scene is,
what its results depend on, and what the summary holds.
"""

import csv
import dataclasses
import glob
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hoijax.api.solve import checked_settings
from hoijax.bundle.discovery import find_bundles
from hoijax.bundle.files import MANIFEST as BUNDLE_MANIFEST
from hoijax.bundle.object_store import is_remote, remote_bundles, remote_key
from hoijax.bundle.write import bundle_hash
from hoijax.errors import UserError
from hoijax.exporters.formats import check_formats
from hoijax.io.atomic import RESULT_MARKER, added_files
from hoijax.io.json_files import write_json
from hoijax.jobs.manifest import Item, Manifest
from hoijax.jobs.multihost import join_processes, solve_together
from hoijax.jobs.ray import check_ray, run_tasks
from hoijax.jobs.runner import Standing, standing, work_in_groups
from hoijax.jobs.scene_batch import SceneBatch, thread_count
from hoijax.jobs.workers import run_workers, useful_workers
from hoijax.methods.base import method_named
from hoijax.progress import Log, silent
from hoijax.runtime import check_device, enable_compilation_cache, versions

SUMMARY = "summary"


def is_many(paths: Sequence[Path]) -> bool:
    """Whether these mean many scenes: several paths, a glob, or a folder that is no bundle itself."""
    if len(paths) != 1:
        return True
    path = paths[0]
    if is_remote(path):
        return True
    if path.is_dir():
        one = (path / BUNDLE_MANIFEST).is_file() or (path / RESULT_MARKER).is_file()
        return not one and (bool(_bundles_below(path)) or not any(path.iterdir()))
    return not path.exists() and glob.has_magic(str(path))


def _bundles_below(path: Path) -> list[Path]:
    try:
        return find_bundles(path)
    except UserError:
        return []


def find_scenes(paths: Sequence[str | Path]) -> dict[str, Path | str]:
    """Bundles by scene name, from bundles, folders of them, globs, and addresses of stores (strings).

    A name is a bundle's path below what all of them share, with "-" for "/": adding bundles to a
    folder does not rename the others. Raises UserError for nothing found and for equal names.
    """
    found: list[tuple[Path, Path]] = []
    scenes: dict[str, Path | str] = {}
    for given in paths:
        if is_remote(given):
            scenes |= remote_bundles(given)
            continue
        path = Path(given)
        if glob.has_magic(str(path)) and not path.exists():
            root = _before_magic(path)
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
            below = [bundle for match in matches for bundle in _matched(match)]
            if not below:
                raise UserError(f"no bundle matches '{path}' ({len(matches)} other paths do).")
        else:
            is_folder = path.is_dir() and not (path / BUNDLE_MANIFEST).is_file()
            root = path if is_folder else path.parent
            below = find_bundles(path)
        found += [(root, bundle) for bundle in below]
    for root, bundle in found:
        name = _scene_name(root, bundle)
        if scenes.get(name, bundle) != bundle:
            raise UserError(
                f"'{scenes[name]}' and '{bundle}' would both be scene '{name}'. Rename one."
            )
        scenes[name] = bundle
    if not scenes:
        raise UserError("no bundles given.")
    return scenes


def _matched(path: Path) -> list[Path]:
    """Bundles that a path of a glob stands for; other files may match as well."""
    if path.is_dir():
        return _bundles_below(path)
    return [path] if path.suffix.lower() == ".zip" else []


def _before_magic(pattern: Path) -> Path:
    fixed = []
    for part in pattern.parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _scene_name(root: Path, bundle: Path) -> str:
    parts = list(bundle.relative_to(root).parts)
    if len(parts) > 1 and parts[-1] == "bundle":
        parts.pop()
    name = "-".join(parts).lstrip(".")
    return name[:-4] if name.lower().endswith(".zip") else name


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
    log: Log = silent,
    **options: Any,
) -> Standing:
    """Solve many bundles into `out/SCENE/`, those that are not done yet; options as in `solve`.

    Any number of processes may do this on one shared folder. A scene that fails is recorded and
    stops nothing. Scenes go through the batch program (`jobs.scene_batch`). Afterwards
    `summary.json` and `summary.csv` tell of all scenes. formats: exports, `FORMATS_OF_MANY` where not
    given. workers: processes on this machine; where not given, one, or on CPU as many as cores and
    scenes are worth. cluster: "ray" solves by Ray tasks. distributed: this is one of the processes
    of a slice, which solve over one global mesh (`distributed`). Raises UserError, before work starts, for bad
    options, for no bundles, for a cluster that does not answer, and for a folder of other settings.
    """
    if distributed:
        join_processes()  # before anything starts a device
    settings = checked_settings(**options)
    if cluster not in (None, "ray"):
        raise UserError(f"--cluster: no cluster '{cluster}'. Known: ray.")
    passes = method_named(options.get("method", "hoi-page")).passes(settings)
    if distributed and (cluster or workers or len(passes) > 1):
        raise UserError(
            "--distributed is for methods of one pass (hoi-page), without --cluster and --workers."
        )
    formats = tuple(FORMATS_OF_MANY if formats is None else formats)
    check_formats(formats)
    items = scene_items(bundles, out)
    if cluster:
        check_ray()  # tasks have devices, the caller need not
    else:
        check_device()
    out = Path(out).absolute()
    told = depends_on(settings, formats, options)
    with Manifest.open(out, items, told, force=force) as manifest:
        open_items = [item for item in manifest.items if not manifest.settled(item)]
        log(f"{len(items)} scenes, {len(items) - len(open_items)} of them done before")
        if cluster and open_items:
            share = partial(solve_share, items=items, out=str(out), formats=formats, **options)
            run_tasks(share, [item.id for item in open_items], log)
        elif distributed:
            enable_compilation_cache()
            found = solve_together(manifest, _batch(manifest, settings, formats, options, log), log)
            write_summary(manifest)
            return found
        elif open_items:
            enable_compilation_cache()
            count = workers or useful_workers(len(open_items), log)
            if count > 1:
                given = {"formats": formats, **options}
                run_workers(count, [str(b) for b in bundles], out, given, log)
        found = _work(manifest, settings, formats, options, log)
        write_summary(manifest)
    return found


def solve_share(
    names: Sequence[str], items: Sequence[Item], out: str, formats: Sequence[str], **options: Any
) -> tuple[int, int]:
    """Some scenes of a manifest that is there already: how many are done, how many failed."""
    own = [item for item in items if item.id in set(names)]
    settings = checked_settings(**options)
    with Manifest.open(out, own, depends_on(settings, formats, options)) as manifest:
        found = _work(manifest, settings, tuple(formats), options, print)
    return found.done, len(found.failed)


def _work(
    manifest: Manifest,
    settings: Any,
    formats: tuple[str, ...],
    options: Mapping[str, Any],
    log: Log,
) -> Standing:
    """Do in this process what nobody else does."""
    if all(manifest.settled(item) for item in manifest.items):
        return standing(manifest)  # without starting a device
    enable_compilation_cache()
    batch = _batch(manifest, settings, formats, options, log)
    return work_in_groups(manifest, batch.work(), thread_count(), log)


def _batch(
    manifest: Manifest,
    settings: Any,
    formats: tuple[str, ...],
    options: Mapping[str, Any],
    log: Log,
) -> SceneBatch:
    terms = tuple(options.get("terms", ()))
    method = method_named(options.get("method", "hoi-page"))
    return SceneBatch(method, settings, options.get("weights"), terms, manifest.out, formats, log)


def scene_items(bundles: Sequence[str | Path], out: str | Path) -> list[Item]:
    """What is to be solved. Raises UserError for no bundles, and for those below `out`."""
    if is_remote(out):
        raise UserError(
            f"--out '{out}': results need a file system with renames. Give a local or mounted folder, "
            "and copy it to the store afterwards."
        )
    out = Path(out).absolute()
    scenes = find_scenes(bundles)
    for bundle in scenes.values():
        if isinstance(bundle, Path) and bundle.absolute().is_relative_to(out):
            raise UserError(f"--out '{out}' holds the bundle '{bundle}'. Give another folder.")
    return [Item(name, str(bundle), _key(bundle)) for name, bundle in scenes.items()]


def depends_on(settings: Any, formats: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that results depend on, for the manifest."""
    told = {name: value for name, value in options.items() if value is not None and name != "terms"}
    told.pop("settings", None)  # as they were checked, below
    told["terms"] = [term.name for term in options.get("terms", ())]
    return {
        "hoijax": versions()["hoijax"],
        "options": told,
        "formats": list(formats),
        "settings": dataclasses.asdict(settings),
    }


def _key(bundle: Path | str) -> str:
    try:
        if isinstance(bundle, str):
            return remote_key(bundle)
        return bundle_hash(bundle)
    except UserError:
        return "unreadable"  # fails with the reason when its turn comes


def write_summary(manifest: Manifest) -> Standing:
    """`summary.json` and `summary.csv` of every scene, from the markers.

    Where another process settles a scene meanwhile, they are written again: of several that end
    together, the last one's are complete.
    """
    while True:
        found = standing(manifest)
        rows = [_summary_row(manifest, item, found) for item in manifest.items]
        content = {
            "scenes": found.total,
            "done": found.done,
            "failed": len(found.failed),
            "rows": rows,
        }
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with added_files(manifest.out) as folder:
            with (folder / f"{SUMMARY}.csv").open("w", newline="") as stream:
                writer = csv.DictWriter(stream, columns)
                writer.writeheader()
                writer.writerows(rows)
            write_json(folder / f"{SUMMARY}.json", json.loads(json.dumps(content)))
        again = standing(manifest)
        if (again.done, again.failed) == (found.done, found.failed):
            return again


def _summary_row(manifest: Manifest, item: Item, found: Standing) -> dict[str, Any]:
    named = {"scene": item.id, "bundle": item.source}
    marker = manifest.done(item)
    if marker is not None:
        return {**named, "state": "done", "why": "", **marker["row"]}
    why = found.failed.get(item.id)
    return {**named, "state": "failed" if why else "open", "why": why or ""}
