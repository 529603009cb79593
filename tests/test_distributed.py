"""Two processes of four devices each solve together what one process solves alone."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_batch import make_jobs, make_weights, of, solve

from hoijax.errors import UserError
from hoijax.jobs.multihost import join_processes

WORKER = Path(__file__).parent / "global_worker.py"


def start(rank: int, count: int, port: int) -> subprocess.Popen:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    environment = os.environ | {
        "XLA_FLAGS": flags,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": f"{WORKER.parent}{os.pathsep}{WORKER.parents[1]}",
    }
    return subprocess.Popen(
        [sys.executable, str(WORKER), *map(str, (rank, count, port))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=WORKER.parents[1],
    )


def said(process: subprocess.Popen) -> dict:
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.thorough
def test_two_processes_agree_with_one():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pair = [start(rank, 2, port) for rank in range(2)]
    first, second = (said(process) for process in pair)
    assert (first["devices"], first["local"]) == (8, 4)
    together = first["losses"] | second["losses"]
    jobs, weights = make_jobs(len(together)), make_weights(0.0, 50.0)
    for number, job in enumerate(jobs):
        for w in range(2):
            alone = solve(job.scene, job.initial, job.neighbors, of(weights, w))
            np.testing.assert_allclose(together[str(number)][w], alone.losses, rtol=1e-4)
    assert first["again"] == [first["losses"]["0"]]
    assert second["again"] == []
    assert first["collectives"] == []
    assert first["told"] == second["told"] == [{"rank": 0}, {"rank": 1}]


def test_processes_that_do_not_meet_are_told(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1")
    monkeypatch.delenv("JAX_NUM_PROCESSES", raising=False)
    monkeypatch.delenv("JAX_PROCESS_ID", raising=False)
    with pytest.raises(UserError, match="JAX_NUM_PROCESSES, JAX_PROCESS_ID not"):
        join_processes()
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "2")
    with pytest.raises(UserError, match="process 2 of 2 is not"):
        join_processes()
