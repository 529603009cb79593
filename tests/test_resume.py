"""Long solves that are cut off: killed, told to end, continued; the end is the same to the bit."""

import dataclasses
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import resume_worker
from counted import programs_made
from small_scene import copy_of, generated, run

from hoijax.api.solve import about_solve
from hoijax.errors import UserError
from hoijax.io import sigterm
from hoijax.losses.term import LossTerm, default_weights
from hoijax.settings import AnchorSettings
from hoijax.solver import solve_checkpoints
from hoijax.solver.adam import Adam
from hoijax.solver.problem import Problem, SolverInputs, shared_capacity
from hoijax.solver.resumable import optimize, optimize_in_segments
from hoijax.solver.solve_checkpoints import (
    SolveCheckpoints,
    StageWatch,
    checkpoint_seconds,
)

WORKER = Path(resume_worker.__file__)
ITEMS = 8


def bits(tree) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


# --- one descent, cut anywhere


def far(place):
    values = jnp.sum((place - 1.5) ** 2 + 0.1 * jnp.cos(9.0 * place))[None]
    return values, values > -1.0


def identity(scene, unknowns, neighbors):
    return unknowns


def keep(scene, unknowns, neighbors, rarely):
    return neighbors + jnp.where(rarely, 1, 0)


TABLE = (LossTerm.constant("far", far, 1.0),)
PROBLEM = Problem(TABLE, identity, keep)


def adam_of(steps: int) -> Adam:
    return Adam(steps, refresh_every=4, learning_rate=0.1, final_learning_rate=0.01)


def inputs_of() -> SolverInputs:
    starts = jnp.linspace(-1.0, 4.0, 12).reshape(3, 4)
    neighbors = jnp.zeros(3, jnp.int32)
    return SolverInputs(PROBLEM, None, starts, neighbors, default_weights(TABLE))


class Stopped(Exception):
    pass


class Memory:
    """Keeps everything, and stops after some items."""

    def __init__(self, stop: int = 0):
        self.stop, self.seen, self.kept = stop, [], None

    def resume(self, like):
        return self.kept

    def look(self, done, total, carry):
        self.seen.append(done)
        self.kept = done, jax.device_get(carry)
        if done == self.stop:
            raise Stopped


def test_wherever_a_descent_is_cut_it_ends_on_the_same_bits():
    inputs, adam = inputs_of(), adam_of(23)
    whole = optimize(adam, inputs)
    uncut = optimize_in_segments(adam, inputs).trimmed()
    np.testing.assert_allclose(uncut.history, whole.history, rtol=1e-5)
    assert uncut.history.shape == (3, 23, 1)
    for stop in (1, 4, 6):
        watch = Memory(stop)
        with programs_made(0):
            with pytest.raises(Stopped):
                optimize_in_segments(adam, inputs, watch, seconds=0.0)
            assert watch.seen == list(range(1, stop + 1))
            watch.stop = 0
            assert bits(optimize_in_segments(adam, inputs, watch).trimmed()) == bits(uncut)


def test_another_number_of_steps_compiles_nothing():
    """And changes nothing: what is left free of a history is not looked at."""
    inputs = inputs_of()
    optimize_in_segments(adam_of(23), inputs)
    for steps in (1, 10):
        with programs_made(0):
            found = optimize_in_segments(adam_of(steps), inputs).trimmed()
        exact = optimize(adam_of(steps), inputs)
        assert found.history.shape == (3, steps, 1)
        np.testing.assert_array_equal(found.codes, exact.codes)
        chex.assert_trees_all_close(found, exact, rtol=1e-4)
    assert [shared_capacity(count, 1024) for count in (1, 1024, 1025, 5000)] == [
        1024,
        1024,
        2048,
        8192,
    ]


def test_segments_are_as_long_as_they_should_be():
    """One item to compile, one to measure, then by time."""
    now = [0.0]

    def clock() -> float:
        now[0] += 0.5  # a segment reads it twice: half a second each
        return now[0]

    watch = Memory()
    optimize_in_segments(adam_of(80), inputs_of(), watch, seconds=4.0, clock=clock)
    assert watch.seen == [1, 2, 10, 20]


# --- processes that end


def start(folder: Path, out: Path, sleep: float, every: float) -> subprocess.Popen:
    command = [sys.executable, WORKER, folder, out, ITEMS, sleep]
    environment = os.environ | {"HOIJAX_CHECKPOINT_SECONDS": str(every), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment,
        cwd=WORKER.parents[1],
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.thorough
def test_killed_or_told_to_end_it_goes_on_to_the_same_bits(tmp_path):
    """Killed while checkpoints are written all the time; told to end where none would be."""
    with start(tmp_path / "c", tmp_path / "undisturbed.npy", 0.0, 1e9) as undisturbed:
        undisturbed.communicate(timeout=60)
    for name, code, every, goes_on in (
        (signal.SIGKILL, -9, 0.0, 3),  # after its second item, which was kept
        (signal.SIGTERM, 143, 1e9, 4),  # after its third, which it kept because it was told to end
    ):
        folder, out = tmp_path / f".{name}", tmp_path / f"{name}.npy"
        with start(folder, out, 0.4, every) as first:
            assert first.stdout is not None
            assert next(line for line in first.stdout if int(line) == 3)
            first.send_signal(name)
            assert first.stdout.read() == ""
        assert first.returncode == code
        assert not out.exists()
        with start(folder, out, 0.0, 1e9) as again:
            said, _ = again.communicate(timeout=60)
        assert int(said.split()[0]) == goes_on
        assert out.read_bytes() == (tmp_path / "undisturbed.npy").read_bytes()


def told_twice(done: list[str]) -> None:
    with sigterm.held():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # a parent sends on what the scheduler sent
        assert sigterm.asked()
        done.append("finished")


def test_a_notice_ends_the_process_at_once_or_where_it_is_held():
    before = signal.getsignal(signal.SIGTERM)
    try:
        sigterm.listen()
        with pytest.raises(SystemExit) as stop:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.value.code == 143
        sigterm.listen()
        done: list[str] = []
        with pytest.raises(SystemExit):
            told_twice(done)
        assert done == ["finished"]
    finally:
        sigterm.listen()  # forgets the notice
        signal.signal(signal.SIGTERM, before)


# --- the command


@pytest.mark.slow
def test_a_solve_told_to_end_goes_on_with_the_same_command(tmp_path_factory, tmp_path, monkeypatch):
    bundle = copy_of(generated(tmp_path_factory)[0] / "bundle", tmp_path / "bundle")
    options = ("--inits", "2", "--steps", "12", "--formats", "amass")
    undisturbed = run("solve", bundle, "--out", tmp_path / "whole", *options)
    assert undisturbed.code == 0, undisturbed.err
    assert not list(tmp_path.glob(".*")), "a short solve keeps nothing"
    monkeypatch.setenv("HOIJAX_CHECKPOINT_SECONDS", "0")
    look = StageWatch.look

    def told(self, done, total, carry):
        if done == 2 and not sigterm.asked():
            os.kill(os.getpid(), signal.SIGTERM)
        look(self, done, total, carry)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(StageWatch, "look", told)
        ended = run("solve", bundle, "--out", out, *options)
    assert ended.code == 143
    assert "the same command resumes" in ended.err
    assert not out.exists()
    other = run("solve", bundle, "--out", out, *options, "--seed", "1")
    assert other.code == 2
    assert "settings.seed: 0 there, 1 now" in other.err
    assert "--restart" in other.err
    again = run("solve", bundle, "--out", out, *options)
    assert again.code == 0, again.err
    assert "goes on after 2 rounds" in again.out
    assert (out / "result.npz").read_bytes() == (tmp_path / "whole" / "result.npz").read_bytes()
    assert not list(tmp_path.glob(".*"))
    many = run("solve", bundle, bundle, "--out", tmp_path / "many", "--restart")
    assert many.code == 2
    assert "--restart" in many.err


# --- what is kept


TREE = {"a": np.arange(3.0, dtype=np.float32), "nothing": np.zeros((2, 0), np.float32)}


def kept_in(folder: Path, about: str = "x", **options) -> tuple[SolveCheckpoints, list[str]]:
    said: list[str] = []
    return SolveCheckpoints(folder, {"about": about}, log=said.append, **options), said


def test_what_is_of_something_else_is_refused_or_dropped(tmp_path):
    folder = tmp_path / ".kept"
    first, _ = kept_in(folder)
    first.ended("track", 9, TREE)
    first.keep("anchor", 3, TREE)
    first._opened().wait()
    again, _ = kept_in(folder)
    for stage, step in (("track", 9), ("anchor", 3)):
        found = again.load(stage, TREE)
        assert found is not None
        assert found[0] == step
        assert bits(found[1]) == bits(TREE)
    assert again.load("window 1", TREE) is None
    with pytest.raises(UserError, match=r"about: 'x' there, 'y' now[\s\S]*--restart"):
        kept_in(folder, "y")
    wrong, said = kept_in(folder)
    assert wrong.load("anchor", {"a": np.zeros(7, np.float32), "nothing": TREE["nothing"]}) is None
    assert "anchor restarts" in said[0]
    assert folder.is_dir()
    _, said = kept_in(folder, "y", replace=True)
    assert "is dropped" in said[0]
    assert not folder.exists()
    last, _ = kept_in(folder)
    last.keep("anchor", 3, TREE)
    last._opened().wait()
    kept_in(folder, restart=True)
    assert not folder.exists()


def test_a_descent_of_other_steps_is_something_else(tmp_path, tmp_path_factory):
    """Its arrays have the same shapes."""
    bundle = generated(tmp_path_factory)[0] / "bundle"
    about = partial(about_solve, bundle, method="anchor-motion")
    settings = AnchorSettings()
    first = SolveCheckpoints(tmp_path / ".kept", about(settings))
    first.keep("track", 3, TREE)
    first._opened().wait()
    other = about(dataclasses.replace(settings, track_steps=100))
    with pytest.raises(UserError, match=r"settings.track_steps: 125 there, 100 now"):
        SolveCheckpoints(tmp_path / ".kept", other)


def test_a_disk_that_is_full_costs_the_checkpoint_and_not_the_solve(tmp_path, monkeypatch):
    class Full:
        def __init__(self, folder):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(solve_checkpoints, "Checkpoints", Full)
    kept, said = kept_in(tmp_path / ".kept")
    kept.keep("anchor", 3, TREE)
    assert "No space left" in said[0]
    assert "goes on" in said[0]


def test_seconds_from_the_environment(monkeypatch):
    monkeypatch.setenv("HOIJAX_CHECKPOINT_SECONDS", "2.5")
    assert checkpoint_seconds() == 2.5
    for bad in ("soon", "-1", "nan"):
        monkeypatch.setenv("HOIJAX_CHECKPOINT_SECONDS", bad)
        with pytest.raises(UserError, match="HOIJAX_CHECKPOINT_SECONDS"):
            checkpoint_seconds()
