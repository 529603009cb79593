"""Scenes x weights in one program against one by one, on 1 and 8 devices; memory, buckets, traces."""

import dataclasses
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled_text import collectives_in
from scene_factory import make_scene

import hoijax.solver.batch
from hoijax.errors import UserError
from hoijax.losses.term import default_weights
from hoijax.methods.hoi_page.terms import DEFAULT_TERMS, object_problem
from hoijax.solver.batch import BatchSolver, Job
from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
from hoijax.solver.problem import SolverInputs
from hoijax.solver.resumable import optimize

K = 2
TERMS = tuple(
    t for t in DEFAULT_TERMS if t.name in ("object_points", "contact", "rotation_smoothness")
)
PROBLEM = object_problem(TERMS)


def solve(scene, initial, neighbors, weights):
    inputs = SolverInputs(PROBLEM, scene, initial, neighbors, weights)
    return optimize(LevenbergMarquardt(rounds=2, steps=1), inputs)


def make_jobs(count: int) -> list[Job]:
    jobs = []
    for seed in range(count):
        made = make_scene(seed)
        twice = partial(jax.tree.map, lambda x: jnp.stack([x] * K))
        initial = twice(made.unknowns)
        shift = 0.02 * jnp.arange(K, dtype=jnp.float32).reshape(K, 1, 1, 1)
        initial = dataclasses.replace(
            initial, object_translation=initial.object_translation + shift
        )
        jobs.append(Job(made.scene, initial, twice(made.neighbors)))
    return jobs


def make_weights(*contacts: float):
    rows = [default_weights(TERMS, {"contact": value}) for value in contacts]
    return jax.tree.map(lambda *xs: np.stack([np.asarray(x) for x in xs]), *rows)


def of(weights, w):
    return jax.tree.map(lambda x: jnp.asarray(x[w]), weights)


def largest_difference(jobs, weights, found) -> float:
    """Of the losses, relative, between the batch and one by one; poses must agree to 0.1 mm."""
    worst = 0.0
    for job, solution in zip(jobs, found, strict=True):
        for w in range(len(weights["contact"])):
            alone = solve(job.scene, job.initial, job.neighbors, of(weights, w))
            losses = np.asarray(alone.losses)
            worst = max(worst, float(np.abs(solution.losses[w] / losses - 1).max()))
            np.testing.assert_allclose(
                solution.unknowns.object_translation[w],
                alone.unknowns.object_translation,
                atol=1e-4,
            )
            np.testing.assert_allclose(solution.reports[w], alone.reports, rtol=1e-3, atol=1e-7)
    return worst


@pytest.fixture(scope="module")
def jobs():
    return make_jobs(5)


@pytest.fixture(scope="module")
def solver():
    return BatchSolver(solve, max_scenes=3)


@pytest.mark.slow
def test_a_batch_equals_one_by_one_and_a_sweep_compiles_once(jobs, solver):
    weights = make_weights(0.0, 50.0)
    solver.solve = chex.assert_max_traces(solve, n=1)
    found = solver.run(jobs, weights)
    assert [s.losses.shape for s in found] == [(2, K)] * 5
    assert largest_difference(jobs, weights, found) < 1e-4
    assert not np.allclose(found[0].losses[0], found[0].losses[1])
    assert len(solver.compiled) == 1
    other = solver.run(jobs[:2], make_weights(7.0, 1e3))
    assert len(solver.compiled) == 1
    assert not np.allclose(other[0].losses, found[0].losses)


@pytest.mark.slow
def test_out_of_memory_halves_the_chunk_and_says_so(jobs, solver, monkeypatch):
    weights = make_weights(0.0, 50.0)
    expected = solver.run(jobs, weights)
    run, said, sizes = BatchSolver._run_chunk, [], []

    def scarce(self, now, settings, chunk):
        sizes.append(chunk)
        if chunk > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")
        return run(self, now, settings, chunk)

    monkeypatch.setattr(BatchSolver, "_run_chunk", scarce)
    small = BatchSolver(solve, log=said.append, max_scenes=3)
    small.compiled = solver.compiled
    found = small.run(jobs, weights)
    assert sizes == [3, 1, 1, 1, 1, 1]
    assert any("out of memory with 3 scenes at once: 1" in line for line in said)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.losses, b.losses, rtol=1e-4)

    def never(self, now, settings, chunk):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")

    monkeypatch.setattr(BatchSolver, "_run_chunk", never)
    with pytest.raises(UserError, match="does not fit the memory"):
        small.run(jobs, weights)


@pytest.mark.slow
def test_the_chunk_is_chosen_from_the_programs_own_memory(jobs, solver, monkeypatch):
    weights = make_weights(0.0, 50.0)
    solver.run(jobs, weights)
    (program,) = [p for key, p in solver.compiled.items() if key[1] == 3]
    needed = hoijax.solver.batch.needed_memory(program)
    assert needed > sum(x.nbytes for job in jobs[:3] for x in jax.tree.leaves(job.tree))
    monkeypatch.setattr(hoijax.solver.batch, "free_memory", lambda device: int(0.5 * needed / 0.6))
    said = []
    tight = BatchSolver(solve, log=said.append, max_scenes=3, compiled=solver.compiled)
    assert tight._chunk(jobs[0], weights, 5) == 1
    assert "3 scenes a device would take" in said[0]


EIGHT = """
import json, sys
sys.path.insert(0, "tests")
import jax
from test_batch import *
jobs, weights = make_jobs(5), make_weights(0.0, 50.0)
solver = BatchSolver(solve)
found = solver.run(jobs, weights)
(program,) = solver.compiled.values()
split = program.input_shardings[0][0][1].object_translation
print(json.dumps({
    "devices": jax.local_device_count(),
    "collectives": collectives_in(program),
    "scenes_a_device": split.shard_shape((8, K, 2, 5, 3))[0],
    "losses": [s.losses.tolist() for s in found],
}))
"""


@pytest.mark.slow
@pytest.mark.thorough
def test_eight_devices_agree_and_do_not_talk(jobs, solver):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", EIGHT],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["devices"], told["scenes_a_device"]) == (8, 1)
    assert told["collectives"] == []
    here = [s.losses for s in solver.run(jobs, make_weights(0.0, 50.0))]
    np.testing.assert_allclose(told["losses"], here, rtol=1e-4)


def test_communication_would_be_found():
    """The inspection can fail: a sum over the scene axis is a collective."""

    class Text:
        def as_text(self):
            return "%r = f32[2]{0} all-reduce(f32[2]{0} %x), channel_id=1"

    assert collectives_in(Text()) == ["all-reduce"]
