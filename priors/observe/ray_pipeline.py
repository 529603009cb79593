"""The stages over many scenes as a Ray Data pipeline: one actor class for each group of models.

Rows carry a scene and, once it failed, why; everything else goes through the store, which all nodes
must see under the same path. A worker that dies is started again by Ray with the batch it had; a scene
that keeps ending its workers fails after a few attempts, by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hoijax.progress import Log
from priors.models.torch_runtime import require
from priors.observe.many_scenes import MAX_ATTEMPTS, UNFINISHED, Job, describe
from priors.observe.prompt_list import Item
from priors.observe.stages import STAGE_NAMES, STAGES

__all__ = ["GROUPS", "Group", "StageWorker", "run_pipeline"]


@dataclass(frozen=True)
class Group:
    """Consecutive stages that one actor class does."""

    stages: tuple[str, ...]
    gpus: float = 0.0
    """Share of a GPU that a worker takes, where the cluster has GPUs."""
    workers: int = 1
    batch: int = 1
    """Scenes a worker is given at a time; what is lost with it is at most these."""


GROUPS = (
    Group(("pag",), batch=4),
    Group(("parts", "image"), gpus=1.0),
    Group(("video",), gpus=1.0),
    Group(("masks",), gpus=0.25),
    Group(("points", "keypoints"), gpus=0.25),
    Group(("body", "bundle", "yaws"), gpus=0.25),
)


class StageWorker:
    """One actor: keeps its models loaded and takes scenes through its stages."""

    def __init__(self, job: Job, group: Group, is_last: bool):
        self.job, self.group, self.is_last = job, group, is_last
        self.models = job.make_models()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Rows of "item" (JSON) and "failure" ("" while there is none), with failures filled in."""
        failures = [
            str(failure) or self._work(Item.from_json(str(item)))
            for item, failure in zip(batch["item"], batch["failure"], strict=True)
        ]
        return {"item": batch["item"], "failure": np.array(failures, object)}

    def _work(self, item: Item) -> str:
        """Do this group's stages; earlier ones are only looked up. Returns why it failed, or ""."""
        label = self.group.stages[0]
        try:
            if self.job.attempt(item, label) > MAX_ATTEMPTS:
                raise RuntimeError(
                    f"stage '{label}': the worker ended {MAX_ATTEMPTS} times while it was at this "
                    "scene (out of memory?). Finished stages are kept"
                )
            run = self.job.run(item, self.models)
            last = STAGE_NAMES.index(self.group.stages[-1])
            for stage in STAGES[: last + 1]:
                run.advance(stage)
            if self.is_last:
                self.job.finish(item, run)
        except Exception as error:
            self.job.fail(item, describe(error))
            return describe(error) or "failed"
        finally:
            self.job.attempted(item, label)
        return ""


def run_pipeline(
    job: Job,
    items: Sequence[Item],
    log: Log,
    groups: Sequence[Group] = GROUPS,
) -> None:
    """Take scenes through all groups on the running (or a local) Ray cluster.

    Never raises for a scene or a worker: what is not done stays a failure on disk, by name.
    """
    ray = require("ray", remedy='pip install "hoijax[cluster]"')
    data = require("ray.data", remedy='pip install "hoijax[cluster]"')
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    rows = [{"item": item.to_json(), "failure": ""} for item in items]
    dataset = data.from_items(rows, override_num_blocks=len(rows))
    for number, group in enumerate(groups):
        dataset = dataset.map_batches(
            StageWorker,
            fn_constructor_args=(job, group, number == len(groups) - 1),
            batch_size=group.batch,
            **_resources(data, group, has_gpus),
        )
    try:
        for row in dataset.iter_rows():
            item = Item.from_json(row["item"])
            log(f"{item.id}: {row['failure'] or 'done'}")
    except Exception as error:
        log(f"the Ray pipeline broke off: {describe(error)[:500]}")
        for item in items:
            if not job.is_done(item) and job.failure(item) == UNFINISHED:
                job.fail(item, f"the Ray pipeline broke off: {describe(error)[:500]}")


def _resources(data: Any, group: Group, has_gpus: bool) -> Mapping[str, Any]:
    return {
        "compute": data.ActorPoolStrategy(size=group.workers),
        "num_cpus": 1,
        "num_gpus": group.gpus if has_gpus else 0,
    }
