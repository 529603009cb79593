"""Many scenes of a file to bundles, by any number of processes on one folder (`observe --prompts`).

Every scene ends as a bundle `ID/` or as a failure that says why (`hoijax.work`). Results of stages go
through the store, so running again skips what is done, and goes on where a stage was cut off.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hoijax.bundle.bundle import Bundle
from hoijax.bundle.write import write_bundle
from hoijax.objects.specs import load_objects
from hoijax.progress import Log, silent
from hoijax.work.folder import Item, Shard, WorkFolder, work_folder
from hoijax.work.ray_tasks import check_cluster, run_tasks
from hoijax.work.runner import GroupWork, Progress, progress_of, work_in_groups
from priors.models.registry import RegisteredModels
from priors.observe.chain import Models, Run, unneeded_after
from priors.observe.prompt_list import PromptedScene, read_prompts
from priors.observe.run import ObserveOptions
from priors.observe.stages import STAGES
from priors.observe.user_files import encode_video
from priors.store import content_key

__all__ = ["SceneObserver", "observe_many"]

SCENES_OF_A_GROUP = 32
"""Scenes that go through a stage together, so that its models are loaded once for all of them."""
SETTINGS = {"command": "observe"}
"""Of a folder: bundles of other settings may lie in one, and each is done again when its own change."""


@dataclasses.dataclass(frozen=True)
class SceneObserver:
    """What scenes are observed by; goes to other processes."""

    options: ObserveOptions
    axes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """`scale`, `up` and `front` of `load_objects`, for objects that say nothing themselves."""
    models: Callable[[], Models] | None = None
    """Makes the models of a process; None makes those that the options name."""

    def make_models(self) -> Models:
        if self.models is not None:
            return self.models()
        return RegisteredModels(self.options.choices(), self.options.store())

    def run(self, scene: PromptedScene, models: Models, log: Log = silent) -> Run:
        """The run of one scene; nothing is computed yet."""
        axes: dict[str, Any] = dict(self.axes)
        if scene.scale is not None:
            axes["scale"] = scene.scale
        assets = load_objects(scene.objects, text=scene.text, log=log, **axes)
        settings = self.options.settings
        given = (("frames", scene.frames), ("seed", scene.seed))
        options = dataclasses.replace(
            self.options,
            settings=dataclasses.replace(settings, **{k: v for k, v in given if v is not None}),
            **{key: Path(path) for key, path in scene.files.items()},
        )
        request = options.request(scene.text, assets, log)
        return Run(
            request,
            options.settings_of(request),
            models,
            options.store(),
            restart=options.restart,
            log=log,
        )

    def key(self, scene: PromptedScene) -> str:
        """Changes with the scene and with what it is observed by."""
        options = self.options
        chosen = [dict(options.names), list(options.weights), options.body_file]
        return content_key(scene.to_json(), options.settings, chosen, dict(self.axes))


def observe_many(
    prompts: Path,
    out: Path,
    options: ObserveOptions,
    *,
    axes: Mapping[str, Any] | None = None,
    models: Callable[[], Models] | None = None,
    cluster: str | None = None,
    shard: Shard = (0, 1),
    log: Log = silent,
) -> Progress:
    """Observe every scene of a file into `out/ID/`, those that are not done yet.

    axes: `scale`, `up` and `front` of `load_objects`. cluster: "ray" observes by Ray tasks. shard: (I, N) takes every N-th scene, from the I-th on.
    Raises UserError for a file, choices or a folder that cannot be used; a scene's own failure is in
    what is returned.
    """
    scenes = read_prompts(prompts)
    options.choices()
    check_cluster(cluster)
    observer = SceneObserver(options, axes or {}, models)
    with work_folder(out, _items(scenes, observer), SETTINGS, shard=shard) as folder:
        left = [item.id for item in folder.items if not folder.settled(item)]
        log(f"{len(folder.items)} scenes, {len(folder.items) - len(left)} of them done before")
        if cluster and left:
            part = partial(
                observe_part, scenes=scenes, out=folder.out, observer=observer, retry=folder.retry
            )
            run_tasks(part, left, log, SCENES_OF_A_GROUP)
        return _work(folder, scenes, observer, log)


def observe_part(
    names: Sequence[str],
    scenes: Sequence[PromptedScene],
    out: Path,
    observer: SceneObserver,
    retry: Mapping[str, str],
) -> tuple[int, int]:
    """Some scenes of a folder that is there already: how many are done, how many failed.

    retry: failures that are to be tried again (`WorkFolder.retry`).
    """
    chosen = set(names)
    scenes = [scene for scene in scenes if scene.id in chosen]
    with work_folder(out, _items(scenes, observer), SETTINGS, retry=retry) as folder:
        progress = _work(folder, scenes, observer, print)
    return progress.done, len(progress.failed)


def _items(scenes: Sequence[PromptedScene], observer: SceneObserver) -> list[Item]:
    return [Item(scene.id, scene.text, observer.key(scene)) for scene in scenes]


def _work(
    folder: WorkFolder, scenes: Sequence[PromptedScene], observer: SceneObserver, log: Log
) -> Progress:
    """Do in this process what nobody else does."""
    if folder.count_settled() == len(folder.items):
        return progress_of(folder)
    by_id = {scene.id: scene for scene in scenes}
    models = observer.make_models()

    def write(item: Item, scene: PromptedScene, observed: tuple[Bundle, bytes]):
        bundle, clip = observed
        write_bundle(folder.out / item.id, bundle, video=clip)
        return {"frames": bundle.frame_count}

    work = GroupWork(
        prepare=lambda item: by_id[item.id],
        solve=lambda group: _observe_group(group, observer, models, log),
        finish=write,
        size=lambda: SCENES_OF_A_GROUP,
        fraction=1.0,
    )
    return work_in_groups(folder, work, 1, log)


def _observe_group(
    group: Sequence[PromptedScene], observer: SceneObserver, models: Models, log: Log
) -> list[tuple[Bundle, bytes] | Exception]:
    """Stage by stage over all scenes; a scene's bundle and clip, or its failure, which is its own."""
    runs: dict[str, Run] = {}
    ends: dict[str, tuple[Bundle, bytes] | Exception] = {}

    def guarded(scene: PromptedScene, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            ends[scene.id] = error

    for scene in group:
        guarded(scene, lambda s=scene: runs.update({s.id: observer.run(s, models, log)}))
    for number, stage in enumerate(STAGES):
        for scene in group:
            if scene.id not in ends:
                log(f"{scene.id}: {stage.name}")
                guarded(scene, lambda run=runs[scene.id], stage=stage: run.advance(stage))
                runs[scene.id].forget()
        models.release(unneeded_after(number))
    for scene in group:
        if scene.id not in ends:
            guarded(scene, lambda s=scene: ends.update({s.id: _bundle_and_clip(runs.pop(s.id))}))
    return [ends[scene.id] for scene in group]


def _bundle_and_clip(run: Run) -> tuple[Bundle, bytes]:
    """What a run through all stages ends as; the clip as an mp4."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        encode_video(run.video(), path)
        return run.bundle(), path.read_bytes()
