"""`hoijax solve DIR/ --distributed`: the processes of a slice solve over one global mesh.

Unlike runners on a shared folder these wait for each other, so a process that dies ends them all; the
manifest keeps what is done, and the same command finishes what is missing.
"""

import os
from collections.abc import Callable
from typing import Any

from hoijax.errors import UserError
from hoijax.jobs.claims import Claim
from hoijax.jobs.manifest import Item, Manifest, writing
from hoijax.jobs.runner import Standing, fail_item, finish_item, standing
from hoijax.jobs.scene_batch import Ready, SceneBatch, Solved, scenes_at_once
from hoijax.progress import Log
from hoijax.solver.multihost import GlobalBatch, tell_all


def join_processes() -> None:
    """Meet the other processes: on TPU, Slurm and Open MPI by what the environment says, elsewhere by
    $JAX_COORDINATOR_ADDRESS, $JAX_NUM_PROCESSES and $JAX_PROCESS_ID.

    Call it before anything starts a device. Raises UserError where they cannot be found.
    """
    import jax

    given: dict[str, Any] = {}
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    there = [name for name in names if os.environ.get(name)]
    if there and len(there) < len(names):
        missing = ", ".join(name for name in names if name not in there)
        raise UserError(f"--distributed: {there[0]} is set, {missing} not. Set all three, or none.")
    if there:
        address, count, rank = (os.environ[name] for name in names)
        if not (count.isdigit() and rank.isdigit() and int(rank) < int(count)):
            raise UserError(f"--distributed: process {rank} of {count} is not a process.")
        given = {
            "coordinator_address": address,
            "num_processes": int(count),
            "process_id": int(rank),
        }
    if jax.distributed.is_initialized():
        return
    try:
        jax.distributed.initialize(**given, initialization_timeout=_seconds_to_wait())
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"--distributed: the processes do not find each other ({error}). On Slurm, Open MPI and "
            f"TPU this is automatic; elsewhere set {', '.join(names)} in every process."
        ) from error


def _seconds_to_wait() -> int:
    return int(os.environ.get("HOIJAX_MEET_SECONDS", "300"))


def solve_together(manifest: Manifest, batch: SceneBatch, log: Log) -> Standing:
    """Work through a manifest with all processes; each takes every n-th scene. All must call this."""
    import jax

    rank, count = jax.process_index(), jax.process_count()
    log(
        f"process {rank + 1} of {count}: {jax.local_device_count()} of {jax.device_count()} devices"
    )
    solver = GlobalBatch(batch.solver.solve, scenes_at_once=scenes_at_once())
    waiting = [item for item in manifest.items[rank::count] if not manifest.settled(item)]
    template: Ready | None = None
    while any(left for left in tell_all(len(waiting))):
        group: list[tuple[Item, Claim, Ready]] = []
        alone: list[tuple[Item, Claim, Ready]] = []
        while waiting and len(group) < batch.group_size():
            item = waiting.pop(0)
            with writing(manifest.out):
                claim = manifest.take(item)
            if claim is None:
                continue
            try:
                ready = batch.prepare(item)
            except Exception as error:
                fail_item(manifest, item, claim, error, log)
                continue
            (group if ready.job is not None else alone).append((item, claim, ready))
        template = template or (group[0][2] if group else None) or _any_scene(manifest, batch)
        if not all(tell_all(template is not None)):
            raise UserError("--distributed: a process has no scene that can be read.")
        assert template is not None
        assert template.job is not None
        jobs = [ready.job for _, _, ready in group if ready.job is not None]
        found = solver.run(jobs, template.job, batch.stacked)
        for (item, claim, ready), solution in zip(group, found, strict=True):
            solved = Solved(batch.first_weights(ready, solution), 0.0, len(jobs))
            _finish(manifest, batch, (item, claim, ready), solved, log)
        for one in alone:
            _finish(manifest, batch, one, batch.solve([one[2]])[0], log)
        log(f"{manifest.count_settled()}/{len(manifest.items)} scenes")
    return standing(manifest)


def _finish(
    manifest: Manifest,
    batch: SceneBatch,
    taken: tuple[Item, Claim, Ready],
    solved: Solved,
    log: Log,
) -> None:
    item, claim, ready = taken

    def act(item: Item, confirm: Callable[[], None]):
        return batch.finish(item, ready, solved, confirm)

    finish_item(manifest, item, claim, act, log)


def _any_scene(manifest: Manifest, batch: SceneBatch) -> Ready | None:
    """Some scene, for its shapes alone: who has none of its own must still run what others run."""
    for item in manifest.items:
        try:
            ready = batch.prepare(item)
        except Exception:
            continue
        if ready.job is not None:
            return ready
    return None
