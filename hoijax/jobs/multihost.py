"""`hoijax solve DIR/ --distributed`: the processes of a slice solve over one global mesh.

Unlike runners on a shared folder these wait for each other, so a process that dies ends them all; what
is done stays, and the same command finishes what is missing.
"""

import os
from typing import Any

from hoijax.errors import UserError
from hoijax.jobs.scene_batch import Ready, SceneBatch, Solved, scenes_at_once
from hoijax.progress import Log
from hoijax.solver.multihost import GlobalBatch, tell_all
from hoijax.work.folder import Claim, WorkFolder
from hoijax.work.runner import Progress, fail_item, finish_item, progress_of


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


Taken = tuple[Claim, Ready]


def solve_together(folder: WorkFolder, batch: SceneBatch, log: Log) -> Progress:
    """Work through a folder with all processes; each takes every n-th scene. All must call this."""
    import jax

    rank, count = jax.process_index(), jax.process_count()
    log(
        f"process {rank + 1} of {count}: {jax.local_device_count()} of {jax.device_count()} devices"
    )
    solver = GlobalBatch(batch.solver.solve, scenes_at_once=scenes_at_once())
    waiting = [item for item in folder.items[rank::count] if not folder.settled(item)]
    template: Ready | None = None
    while any(left for left in tell_all(len(waiting))):
        group: list[Taken] = []
        by_itself: list[Taken] = []
        while waiting and len(group) < batch.group_size():
            claim = folder.take(waiting.pop(0), alone=False)
            if claim is None:
                continue
            try:
                ready = batch.prepare(claim.item)
            except Exception as error:
                fail_item(folder, claim, error, log)
                continue
            (group if ready.job is not None else by_itself).append((claim, ready))
        template = template or (group[0][1] if group else None) or _any_scene(folder, batch)
        if not all(tell_all(template is not None)):
            raise UserError("--distributed: a process has no scene that can be read.")
        assert template is not None
        assert template.job is not None
        jobs = [ready.job for _, ready in group if ready.job is not None]
        solutions = solver.run(jobs, template.job, batch.stacked)
        for taken, solution in zip(group, solutions, strict=True):
            solved = Solved(batch.first_weights(taken[1], solution), 0.0, len(jobs))
            _finish(folder, batch, taken, solved, log)
        for taken in by_itself:
            _finish(folder, batch, taken, batch.solve([taken[1]])[0], log)
        log(f"{folder.count_settled()}/{len(folder.items)} scenes")
    return progress_of(folder)


def _finish(folder: WorkFolder, batch: SceneBatch, taken: Taken, solved: Solved, log: Log) -> None:
    claim, ready = taken
    finish_item(folder, claim, lambda: batch.finish(claim.item, ready, solved), log)


def _any_scene(folder: WorkFolder, batch: SceneBatch) -> Ready | None:
    """Some scene, for its shapes alone: who has none of its own must still run what others run."""
    for item in folder.items:
        try:
            ready = batch.prepare(item)
        except Exception:
            continue
        if ready.job is not None:
            return ready
    return None
