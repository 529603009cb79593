"""How many processes a folder of scenes gets on a CPU, and that the command says why."""

import pytest

import hoijax.jobs.scene_batch
import hoijax.solver.batch
from hoijax.jobs import workers

GIB = 2**30


@pytest.mark.parametrize(
    ("cores", "scenes", "free", "count", "why"),
    [
        (2, 1000, 20 * GIB, 2, "as many as cores"),
        (2, 8, 20 * GIB, 1, "8 scenes"),
        (8, 1000, 5 * GIB, 2, "5.0 GiB"),
        (64, 1000, 500 * GIB, workers.MAX_WORKERS, "at most"),
        (2, 1, 0, 1, "scenes are worth no more"),
    ],
)
def test_workers_follow_cores_scenes_and_memory(monkeypatch, cores, scenes, free, count, why):
    monkeypatch.setattr(hoijax.jobs.scene_batch, "on_cpu", lambda: True)
    monkeypatch.setattr(hoijax.runtime, "available_memory", lambda: free)
    monkeypatch.setattr(workers, "_cores", lambda: list(range(cores)))
    said: list[str] = []
    assert workers.useful_workers(scenes, said.append) == count
    assert len(said) == 1
    assert why in said[0]


def test_an_accelerator_is_driven_by_one_process(monkeypatch):
    monkeypatch.setattr(hoijax.jobs.scene_batch, "on_cpu", lambda: False)
    assert workers.useful_workers(1000) == 1
