"""Several processes of one machine on one work folder: what keeps the cores of a CPU busy.

A worker is an ordinary runner: it locks scenes, and may die at any time.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from hoijax.io import sigterm
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
    from hoijax.runtime import available_memory

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


def run_workers(count: int, work: Callable[[Log], Any], log: Log) -> int:
    """Do `work` in `count` processes; how many of them died.

    work: pickled for them, and given a log. What a process that died held is free for others.
    """
    cores = _cores()
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_work, args=(number, work), daemon=True) for number in range(count)
    ]
    log(f"{count} processes on {len(cores)} cores")
    try:
        for number, process in enumerate(processes):
            _stay_on(cores[number::count] or cores)  # inherited: XLA takes a thread for each core
            process.start()
        _stay_on(cores)
        for number, process in enumerate(processes):
            process.join()
            if process.exitcode:
                log(f"worker {number + 1} ended with exit code {process.exitcode}")
    finally:
        _stay_on(cores)
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            if process.pid is not None:
                process.join()
    return sum(process.exitcode != 0 for process in processes)


def _stay_on(cores: Sequence[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _work(number: int, work: Callable[[Log], Any]) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all of a terminal: the parent ends us
    sigterm.listen()
    work(lambda message: print(f"[{number + 1}] {message}", flush=True))
