"""Scenes on Ray: an embedded one whose workers are killed, resources, clusters that do not answer."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import folder_worker
import pytest
from optional import needs
from small_scene import run, tree

from hoijax.errors import UserError
from hoijax.work import ray_tasks

COUNT, KILLS = 24, 5
DRIVER = """
import sys
from functools import partial
from pathlib import Path

import folder_worker

from hoijax.work.ray_tasks import run_tasks

out, log, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
share = partial(folder_worker.share, out=out, log=log, count=count, seconds=0.15)
run_tasks(share, [item.id for item in folder_worker.items(count)], print)
"""


def killer(log: Path, killed: list[int], stop: list[bool]) -> None:
    """Ends the worker that wrote last, five times at random points."""
    chance = random.Random(0)
    while len(killed) < KILLS and not stop:
        time.sleep(chance.uniform(0.05, 0.4))
        lines = log.read_text().split("\n") if log.exists() else []
        pids = [int(line.split()[2]) for line in lines if line.startswith("begin")]
        if pids and pids[-1] not in killed:
            try:
                os.kill(pids[-1], signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed.append(pids[-1])


@pytest.mark.slow
@needs("ray")
def test_killed_workers_lose_nothing_and_do_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    here = Path(__file__).parent
    monkeypatch.setenv(
        "PYTHONPATH", f"{here}{os.pathsep}{here.parent}"
    )  # workers import folder_worker
    out, log = tmp_path / "out", tmp_path / "log"
    killed: list[int] = []
    stop: list[bool] = []
    thread = Thread(target=killer, args=(log, killed, stop))
    thread.start()
    try:  # in a process of its own: Ray forks, which one where JAX has run must not
        driver = [sys.executable, "-c", DRIVER, str(out), str(log), str(COUNT)]
        ran = subprocess.run(driver, capture_output=True, text=True, timeout=300, check=False)
    finally:
        stop.append(True)
        thread.join()
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert len(killed) >= 3, "no worker was killed"
    items = folder_worker.items(COUNT)
    progress = folder_worker.work(out, log, items, 0.0)  # what a lost task may have left
    assert (progress.done, progress.failed) == (COUNT, {})
    undisturbed = tmp_path / "undisturbed"
    folder_worker.work(undisturbed, tmp_path / "log2", items, 0.0)
    assert tree(out) == tree(undisturbed)
    assert "num_cpus" in ran.stdout


def test_a_task_asks_for_what_the_cluster_has():
    asked = ray_tasks.resources_of_a_task
    assert asked({"CPU": 8.0, "GPU": 2.0}) == {"num_gpus": 1, "num_cpus": 1}
    assert asked({"CPU": 8.0, "TPU": 8.0}) == {"resources": {"TPU": 4.0}, "num_cpus": 1}
    assert asked({"CPU": 8.0}) == {"num_cpus": 1}
    for cluster, tasks in (({"CPU": 8.0, "GPU": 2.0}, 2), ({"CPU": 9.0, "TPU": 8.0}, 2), ({}, 1)):
        assert ray_tasks.slots_of(cluster, asked(cluster)) == tasks


@pytest.mark.parametrize(
    ("address", "says"),
    [("127.0.0.1:1", "no Ray cluster answers"), ("nonsense", "host:port")],
)
@needs("ray")
def test_a_cluster_that_does_not_answer_is_told_before_work(monkeypatch, address, says):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=says):
        ray_tasks.check_cluster("ray")


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(ray_tasks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"hoijax\[cluster\]"):
        ray_tasks.check_cluster("ray")


def test_an_unknown_cluster_is_refused(tmp_path):
    (tmp_path / "bundles").mkdir()
    ran = run(
        "solve", tmp_path / "bundles", tmp_path, "--out", tmp_path / "o", "--cluster", "slurm"
    )
    assert ran.code == 2
    assert "no cluster 'slurm'" in ran.err
    assert not (tmp_path / "o").exists()
