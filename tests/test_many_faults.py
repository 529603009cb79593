"""Many scenes when things go wrong: workers, groups that fail, SIGTERM, scenes of mixed kinds."""

import dataclasses
import os
import shutil
import signal
from pathlib import Path

import folder_worker
import jax.numpy as jnp
import numpy as np
import pytest
from small_scene import INITS, generated, run, tree

from hoijax.bundle.write import read_bundle, write_bundle
from hoijax.io import sigterm
from hoijax.jobs.scene_batch import SceneBatch
from hoijax.results.result import load_result
from hoijax.solver.batch import BatchSolver, Job
from hoijax.solver.problem import Solution
from hoijax.work.folder import work_folder
from hoijax.work.runner import GroupWork, work_in_groups

OPTIONS = ("--inits", str(INITS), "--formats", "amass", "--no-physics")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return generated(tmp_path_factory)[0] / "bundle"


def locks_in(out: Path) -> list[str]:
    return [path.name for path in (out / ".work" / "locks").iterdir()]


# --- groups


class Work:
    """Items solved in groups; some break the whole group they are in."""

    def __init__(self, out: Path, *bad: str):
        self.out, self.bad = out, set(bad)
        self.solved, self.written = [], []

    def solve(self, group):
        self.solved.append(list(group))
        if self.bad & set(group):
            raise RuntimeError("the device is gone")
        return [f"solution of {name}" for name in group]

    def finish(self, item, prepared, solution):
        assert solution == f"solution of {item.id}"
        (self.out / item.id).mkdir()
        self.written.append(item.id)
        return {"said": solution}

    def group(self) -> GroupWork:
        return GroupWork(lambda item: item.id, self.solve, self.finish, lambda: 3)


def test_a_group_that_fails_is_tried_one_by_one(tmp_path):
    work, said = Work(tmp_path / "out", "scene-1"), []
    with work_folder(tmp_path / "out", folder_worker.items(24), {}) as folder:
        progress = work_in_groups(folder, work.group(), 1, said.append)
    assert progress.failed == {"scene-1": "RuntimeError: the device is gone"}
    assert progress.done == 23
    first = [["scene-0", "scene-1", "scene-2"], ["scene-0"], ["scene-1"], ["scene-2"]]
    assert work.solved[:4] == first
    assert sorted(work.written) == sorted(f"scene-{i}" for i in range(24) if i != 1)
    assert any("a group of 3 failed" in line and "one by one" in line for line in said)
    assert locks_in(tmp_path / "out") == []


def test_a_notice_in_a_group_gives_everything_back(tmp_path):
    class Told(Work):
        def solve(self, group):
            os.kill(os.getpid(), signal.SIGTERM)
            return super().solve(group)

    before = signal.getsignal(signal.SIGTERM)
    sigterm.listen()
    try:
        with (
            pytest.raises(SystemExit) as ended,
            work_folder(tmp_path / "out", folder_worker.items(24), {}) as folder,
        ):
            work_in_groups(folder, Told(tmp_path / "out").group(), 1)
    finally:
        sigterm.listen()
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143
    assert locks_in(tmp_path / "out") == []
    again = Work(tmp_path / "out")
    with work_folder(tmp_path / "out", folder_worker.items(24), {}) as folder:
        assert work_in_groups(folder, again.group(), 1).done == 24
    assert len(again.written) == 24, "nothing was written before, so everything is now"


def test_an_exception_in_place_of_a_solution_fails_one_item(tmp_path):
    class Mixed(Work):
        def solve(self, group):
            return [
                ValueError("mine") if n == "scene-1" else s
                for n, s in zip(group, super().solve(group), strict=True)
            ]

    work = Mixed(tmp_path / "out")
    with work_folder(tmp_path / "out", folder_worker.items(3), {}) as folder:
        progress = work_in_groups(folder, work.group(), 1)
    assert (progress.done, progress.failed) == (2, {"scene-1": "ValueError: mine"})


# --- scenes of mixed kinds


def test_scenes_of_any_frame_count_and_body_are_grouped_and_come_back_in_order():
    def solve(scene, initial, neighbors, settings):
        losses = settings["weight"] * jnp.sum(scene) + initial
        reports, codes = jnp.zeros((2, 1)), jnp.zeros(2, jnp.int32)
        return Solution(initial, losses, losses, reports, codes, reports[:, None])

    shapes = [(12, 7), (16, 7), (12, 9), (12, 7), (16, 7)]  # frames and vertices
    jobs = [
        Job(np.full(shape, i, np.float32), np.zeros(2, np.float32), np.zeros(2, np.float32))
        for i, shape in enumerate(shapes)
    ]
    solver = BatchSolver(solve)
    found = solver.run(jobs, {"weight": np.array([1.0, 2.0], np.float32)})
    for i, (solution, shape) in enumerate(zip(found, shapes, strict=True)):
        total = i * shape[0] * shape[1]
        np.testing.assert_allclose(solution.losses, [[total] * 2, [2 * total] * 2])
    assert len(solver.compiled) == 3


def test_a_body_that_is_not_installed_fails_alone(bundle, tmp_path, monkeypatch):
    """Body models may be mixed; a scene whose model files are missing fails with their name."""
    for name in ("HOIJAX_BODIES", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    made, folder = read_bundle(bundle), tmp_path / "bundles"
    write_bundle(folder / "two", dataclasses.replace(made, bodies=("smplx",)))
    ran = run("solve", folder, *OPTIONS, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "smplx" in ran.out
    assert "0 of 1 scenes done" in ran.out


# --- processes


@pytest.mark.slow
@pytest.mark.thorough
def test_workers_share_a_folder_and_name_what_fails(bundle, tmp_path):
    folder, out = tmp_path / "bundles", tmp_path / "out"
    for name in ("good", "short-1", "short-2", "short-3"):
        shutil.copytree(bundle, folder / name)
        if name != "good":
            observations = folder / name / "observations.npz"
            observations.write_bytes(observations.read_bytes()[:2000])
    options = (*OPTIONS, "--method", "hoi-page", "--steps", "3", "--out", out)
    ran = run("solve", folder, *options, "--workers", "2", small=False)
    assert ran.code == 2, ran.err
    assert "2 processes on" in ran.out
    assert "1 of 4 scenes done" in ran.out
    for number in (1, 2, 3):
        assert f"short-{number}: " in ran.out
    assert locks_in(out) == []
    good = load_result(out / "good")
    assert np.isfinite(good.losses).all()
    assert (good.losses <= good.initial_losses).all()
    before = tree(out / "good")
    for broken in folder.glob("short-*"):
        shutil.rmtree(broken)
    again = run("solve", folder, *options, "--workers", "2", small=False)
    assert again.code == 0, again.err
    assert "1 of 1 scenes done" in again.out
    assert tree(out / "good") == before
    refused = run("solve", folder, *options, "--workers", "0")
    assert refused.code == 2
    assert "--workers must be at least 1" in refused.err


@pytest.mark.slow
@pytest.mark.thorough
def test_the_command_told_to_end_exits_with_143_and_goes_on(bundle, tmp_path, monkeypatch):
    shutil.copytree(bundle, tmp_path / "bundles" / "one")
    out, solve = tmp_path / "out", SceneBatch.solve

    def told(self, group):
        os.kill(os.getpid(), signal.SIGTERM)
        return solve(self, group)

    with monkeypatch.context() as patch:
        patch.setattr(SceneBatch, "solve", told)
        ended = run("solve", tmp_path / "bundles", *OPTIONS, "--out", out)
    assert ended.code == 143
    assert "the same command resumes" in ended.err
    assert locks_in(out) == []
    assert not (out / "one").exists()
    assert not list(out.glob(".one*"))
    again = run("solve", tmp_path / "bundles", *OPTIONS, "--out", out)
    assert again.code == 0, again.err
    assert "1 of 1 scenes done" in again.out
