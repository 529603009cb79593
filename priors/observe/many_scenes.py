"""Many scenes: the same stages as a Ray Data pipeline, or as a plain loop, with the same bundles.

Results of stages go through the store, so a worker is told only which scene and which stages. Every
scene ends as a bundle `ID/` with `ID.done.json`, or as a failure `ID.failed.json` that says why; each
is written whole or not at all. Running again skips what is done and tries what failed.
"""

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hoijax.bundle.write import bundle_hash, write_bundle
from hoijax.errors import UserError
from hoijax.objects.asset import load_asset
from hoijax.progress import Log
from priors.models.registry import RegisteredModels
from priors.observe.prompt_list import Item, read_prompts
from priors.observe.run import ObserveOptions
from priors.observe.stages import STAGES, Models, Run, unneeded_after
from priors.observe.user_files import encode_video
from priors.store import content_key

__all__ = ["Job", "observe_many"]

UNFINISHED = "not finished: the run was interrupted"
MAX_ATTEMPTS = 3
"""Times a stage of a scene may end the worker it runs in before the scene counts as failed."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What workers need to know; goes to other processes."""

    out: Path
    options: ObserveOptions
    scale: float = 1.0
    models: Callable[[], Models] | None = None
    """Makes the models of a worker; None makes those that the options name."""

    def make_models(self) -> Models:
        if self.models is not None:
            return self.models()
        return RegisteredModels(self.options.choices(), self.options.store())

    def run(self, item: Item, models: Models, log: Log = lambda message: None) -> Run:
        """The run of one scene; nothing is computed yet."""
        scale = self.scale if item.scale is None else item.scale
        names = [Path(spec).stem for spec in item.objects]
        assets = [
            load_asset(
                spec,
                scale=scale,
                name=f"{name} {names[: i + 1].count(name)}" if names.count(name) > 1 else None,
            )
            for i, (spec, name) in enumerate(zip(item.objects, names, strict=True))
        ]
        settings = self.options.settings
        changed = {k: v for k, v in (("frames", item.frames), ("seed", item.seed)) if v is not None}
        options = dataclasses.replace(
            self.options,
            settings=dataclasses.replace(settings, **changed),
            **{key: Path(path) for key, path in item.files.items()},
        )
        request = options.request(item.text, assets)
        return Run(
            request, options.settings, models, options.store(), restart=options.restart, log=log
        )

    def key(self, item: Item) -> str:
        """Changes with the scene and with what it is observed by."""
        options = self.options
        chosen = [dict(options.names), list(options.weights), options.body_file]
        return content_key(item.to_json(), options.settings, chosen, self.scale)

    # ---- what is on disk

    def is_done(self, item: Item) -> bool:
        """Whether the bundle of exactly this scene is there."""
        try:
            said = json.loads((self.out / f"{item.id}.done.json").read_text())
            return said == {"key": self.key(item), "bundle": bundle_hash(self.out / item.id)}
        except (OSError, ValueError, UserError):
            return False

    def finish(self, item: Item, run: Run) -> None:
        """Write the bundle."""
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder) / "video.mp4"
            encode_video(run.video(), clip)
            path = write_bundle(self.out / item.id, run.bundle(), video=clip.read_bytes())
        done = {"key": self.key(item), "bundle": bundle_hash(path)}
        self._write(f"{item.id}.done.json", done)
        (self.out / f"{item.id}.failed.json").unlink(missing_ok=True)

    def fail(self, item: Item, message: str) -> None:
        """Say why there is no bundle."""
        self._write(f"{item.id}.failed.json", {"id": item.id, "text": item.text, "why": message})

    def failure(self, item: Item) -> str | None:
        try:
            return json.loads((self.out / f"{item.id}.failed.json").read_text())["why"]
        except (OSError, ValueError, KeyError):
            return None

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        descriptor, partial = tempfile.mkstemp(dir=self.out, prefix=f".{name}-")
        with os.fdopen(descriptor, "w") as stream:
            json.dump(content, stream, indent=1)
        Path(partial).replace(self.out / name)

    def attempt(self, item: Item, stage: str) -> int:
        """Count a start of a stage on disk, where a worker's death does not undo it."""
        path = self.out / f".{item.id}.{stage}.attempts"
        with path.open("a") as stream:
            stream.write("x")
        return path.stat().st_size

    def attempted(self, item: Item, stage: str) -> None:
        """The stage did not end its worker."""
        (self.out / f".{item.id}.{stage}.attempts").unlink(missing_ok=True)


def observe_many(
    prompts: Path,
    out: Path,
    options: ObserveOptions,
    *,
    scale: float = 1.0,
    models: Callable[[], Models] | None = None,
    use_ray: bool | None = None,
    log: Log = lambda message: None,
) -> tuple[int, dict[str, str]]:
    """Observe every scene of a file; (number of bundles now there, why each other scene has none).

    use_ray: None takes Ray where it is installed. Raises UserError for a file or choices that cannot
    be used; a scene's own failure is in what is returned.
    """
    items = read_prompts(prompts)
    options.choices()
    out = Path(out).absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror}).") from error
    job = Job(out, options, scale, models)
    waiting = [item for item in items if not job.is_done(item)]
    log(f"{len(items)} scenes, {len(items) - len(waiting)} of them done before")
    for item in waiting:
        job.fail(item, UNFINISHED)
        for left in out.glob(f".{item.id}.*.attempts"):
            left.unlink(missing_ok=True)
    if waiting:
        if use_ray is None:
            use_ray = _has_ray()
        if use_ray:
            from priors.observe.ray_pipeline import run_pipeline

            run_pipeline(job, waiting, log)
        else:
            run_loop(job, waiting, log)
    failures = {
        item.id: job.failure(item) or "no bundle was written"
        for item in items
        if not job.is_done(item)
    }
    return len(items) - len(failures), failures


def run_loop(job: Job, items: Sequence[Item], log: Log) -> None:
    """Stage by stage over all scenes, so that every model is loaded once."""
    models = job.make_models()
    runs: dict[str, Run] = {}
    for item in items:
        _guarded(job, item, lambda item=item: runs.update({item.id: job.run(item, models, log)}))
    for number, stage in enumerate(STAGES):
        for item in items:
            run = runs.get(item.id)
            if run is None:
                continue
            log(f"{item.id}: {stage.name}")
            if not _guarded(job, item, lambda run=run, stage=stage: run.advance(stage)):
                del runs[item.id]
            run.forget()
        models.release(unneeded_after(number))
    for item in items:
        if item.id in runs:
            _guarded(job, item, lambda item=item: job.finish(item, runs.pop(item.id)))


def _guarded(job: Job, item: Item, act: Callable[[], Any]) -> bool:
    """Do something for one scene; its failure is written down and ends nothing else."""
    try:
        act()
    except Exception as error:
        job.fail(item, describe(error))
        return False
    return True


def describe(error: Exception) -> str:
    """A failure in words; what we did not foresee carries its type."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _has_ray() -> bool:
    import importlib.util

    return importlib.util.find_spec("ray") is not None
