"""Several processes of one machine on one manifest: what keeps the cores of a CPU busy.

A worker is an ordinary runner: it claims scenes, and may die at any time.
"""

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hoijax.progress import Log, silent

MAX_WORKERS = 16
SCENES_A_WORKER = 6
"""Fewer are not worth the seconds in which a process imports JAX and traces its programs."""
MEMORY_OF_A_WORKER = 2 * 2**30
"""0.9 GB on scenes of 12 frames, and some to spare for longer ones."""


def useful_workers(scenes: int, log: Log = silent) -> int:
    """Processes for so many scenes: one, but on CPU one a core as far as work and memory reach.

    Says what it chose on a CPU, and why not more.
    """
    from hoijax.jobs.scene_batch import on_cpu
    from hoijax.solver.batch import available_memory

    if not on_cpu():
        return 1
    free = available_memory()
    limits = {
        "as many as cores": len(_cores()),
        f"at most {MAX_WORKERS}": MAX_WORKERS,
        f"{scenes} scenes are worth no more": scenes // SCENES_A_WORKER,
        f"{free / 2**30:.1f} GiB of free memory reach for no more": free // MEMORY_OF_A_WORKER,
    }
    why = min(limits, key=lambda name: limits[name])
    count = max(limits[why], 1)
    log(f"workers: {count} ({why}; --workers N chooses)")
    return count


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def run_workers(
    count: int, bundles: Sequence[str], out: Path, options: Mapping[str, Any], log: Log
) -> None:
    """Work through a manifest with `count` processes; returns when all have ended.

    A worker that dies is only told of: what it held is free, and the caller looks what is left.
    """
    cores = _cores()
    shares = [cores[i::count] or cores for i in range(count)]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(
            target=_work, args=(i, share, list(bundles), str(out), dict(options)), daemon=True
        )
        for i, share in enumerate(shares)
    ]
    log(f"{count} processes on {len(cores)} cores")
    try:
        for process in processes:
            process.start()
        for number, process in enumerate(processes):
            process.join()
            if process.exitcode:
                log(f"worker {number + 1} ended with exit code {process.exitcode}")
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            if process.pid is not None:
                process.join()


def _work(
    number: int, cores: list[int], bundles: list[str], out: str, options: dict[str, Any]
) -> None:
    """What a worker does. Its threads stay on its own cores: XLA takes one for each it may use."""
    from hoijax.io import sigterm

    sigterm.listen()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    from hoijax.jobs.scenes import solve_many

    def log(message: str) -> None:
        print(f"[{number + 1}] {message}", flush=True)

    solve_many(bundles, out, workers=1, log=log, **options)
