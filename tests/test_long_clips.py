"""Clips by overlapping windows: the same frames, no seams, and what the windows share."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
from counted import programs_made
from lifted_box import lifted_box
from scipy.spatial.transform import Rotation
from small_scene import SMALL, as_users_run

from hoijax.api.observe import observe
from hoijax.api.solve import solve
from hoijax.errors import UserError
from hoijax.methods.hoi_page.long_clips import solve_long_bundle
from hoijax.methods.hoi_page.method import METHOD
from hoijax.methods.hoi_page.terms import object_table
from hoijax.methods.hoi_page.windows import (
    Poses,
    blend_rotations,
    fade,
    join_similarities,
    observations_between,
    windows_of,
)
from hoijax.methods.memory import chosen_window, descent_bytes, max_candidates
from hoijax.objects.asset import load_asset
from hoijax.settings import AlignmentSettings
from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
from hoijax.solver.problem import SolverInputs
from hoijax.solver.resumable import optimize

# The window is as long as the small scene of other tests: they share compiled programs.
TABLE = object_table("default", outlines=True)
FRAMES, WINDOW = 28, 12


@pytest.mark.parametrize(("frames", "window"), [(300, 49), (40, 16), (17, 16), (49, 49), (9, 8)])
def test_windows_cover_every_frame_and_share_a_quarter(frames, window):
    windows = windows_of(frames, window)
    assert all(b - a == min(window, frames) for a, b in windows.spans)
    owned = [t for a, b in windows.owned for t in range(a, b)]
    assert owned == list(range(frames))
    for (a, b), (begin, end) in zip(windows.owned, windows.spans, strict=True):
        assert begin <= a < b <= end
    shared = [p[1] - n[0] for p, n in zip(windows.spans[:-1], windows.spans[1:], strict=True)]
    assert all(s >= window // 4 for s in shared)
    # No window without need: with one less, neighbors could not share that much.
    fewer = len(windows.spans) - 1
    assert fewer == 0 or fewer * window - (fewer - 1) * (window // 4) < frames


def test_windows_that_are_too_short_are_refused():
    with pytest.raises(UserError, match="at least 8"):
        windows_of(300, 4)


def test_a_joint_turns_along_the_shorter_way_and_ends_where_both_do():
    rng = np.random.default_rng(0)
    a = Rotation.random(6, rng=rng).as_matrix()
    b = a @ Rotation.from_rotvec([0.0, 0.3, 0.0]).as_matrix()
    share = fade(6)
    assert (np.diff(share) > 0).all()
    np.testing.assert_allclose(share + share[::-1], 1.0)
    mixed = blend_rotations(a, b, share)
    turned = Rotation.from_matrix(np.swapaxes(a, 1, 2) @ mixed).magnitude()
    np.testing.assert_allclose(turned, 0.3 * share, atol=1e-6)


def test_similarities_pass_smoothly():
    windows = windows_of(20, 12)
    pieces = [np.tile(np.eye(4), (12, 1, 1)) for _ in windows.spans]
    pieces[1][:, :3, :3] *= 1.1
    pieces[1][:, 0, 3] = 0.2
    joined = join_similarities(windows, pieces)
    assert joined.shape == (20, 4, 4)
    assert np.abs(np.diff(joined, axis=0)).max() < 0.1
    np.testing.assert_allclose(joined[[0, -1], 0, 3], [0.0, 0.2], atol=1e-6)
    np.testing.assert_allclose(joined[[0, -1], 1, 1], [1.0, 1.1], atol=1e-6)


def test_a_window_goes_on_from_the_twin_that_the_last_one_chose():
    """The track turned half way round in the object's own frame, as the solved frames are."""
    frames = np.arange(10)
    spin = Rotation.from_rotvec(np.outer(0.1 * frames, [0, 1, 0])).as_matrix()
    half = Rotation.from_rotvec([0, 0, np.pi]).as_matrix()
    track = Poses(spin[None, None], np.zeros((1, 1, 10, 3)))
    solved = Poses((spin[:6] @ half)[None, None], np.ones((1, 1, 6, 3)))
    start = solved.go_on((4, 10), track)
    np.testing.assert_allclose(start.rotations[0, 0], spin[4:] @ half, atol=1e-12)
    np.testing.assert_allclose(start.translations[0, 0, :, 0], [1, 1, 0, 0, 0, 0])


@pytest.fixture(scope="module")
def scene():
    with as_users_run():
        box = load_asset("box")
        return observe("a person carries a box with both hands", (box,), frames=FRAMES, seed=4)


@pytest.fixture(scope="module")
def solved(scene):
    bundle, _ = scene
    settings = METHOD.settings(inits=2, **SMALL | {"alignment": AlignmentSettings()})
    with as_users_run(), programs_made(1):
        return solve_long_bundle(bundle, settings, WINDOW)


@pytest.mark.slow
def test_seams_do_not_jump_and_the_truth_is_met(scene, solved):
    _, ground_truth = scene
    windows = windows_of(FRAMES, WINDOW)
    assert [tuple(span) for span in solved.run["windows"]["spans"]] == list(windows.spans)
    assert len(solved.run["windows"]["seams"]) == len(windows.spans) - 1
    found, true = solved.Ts_world_object[0], ground_truth.Ts_world_object[0]
    assert found.shape == (FRAMES, 4, 4)
    bend = np.linalg.norm(np.diff(found[:, :3, 3], n=2, axis=0), axis=1)
    true_bend = np.linalg.norm(np.diff(true[:, :3, 3], n=2, axis=0), axis=1)
    for begin, end in zip(
        [s[0] for s in windows.spans[1:]], [s[1] for s in windows.spans[:-1]], strict=True
    ):
        near = slice(max(begin - 3, 0), end + 1)
        # A jump of 1.5 cm between two frames would bend by so much more than the motion itself does; a
        # solve of the whole clip at once bends by 1.1 cm more where the box is taken up.
        assert (bend[near] - true_bend[near]).max() < 0.015
    turn = Rotation.from_matrix(np.swapaxes(found[:-1, :3, :3], 1, 2) @ found[1:, :3, :3])
    assert np.degrees(turn.magnitude()).max() < 12.0
    error = np.linalg.norm(found[:, :3, 3] - true[:, :3, 3], axis=1)
    assert np.median(error) < 0.04


@pytest.mark.slow
def test_losses_are_those_of_the_joined_trajectory(solved):
    weights = np.array([term.end for term in TABLE])
    np.testing.assert_allclose(solved.losses, solved.reports @ weights, rtol=1e-4)
    assert (solved.losses < solved.initial_losses).all()
    assert solved.history.shape[0] == len(solved.losses)


# --- memory ---


@pytest.mark.slow
@pytest.mark.thorough
def test_memory_of_the_descent_is_what_the_compiler_says(scene):
    """XLA's own account of a small descent, against the line that was fitted to larger ones."""
    from hoijax.initialization.starts import yaw_starts
    from hoijax.losses.term import default_weights
    from hoijax.methods.hoi_page.stages import posed_bodies_of
    from hoijax.methods.hoi_page.terms import object_problem
    from hoijax.methods.hoi_page.windows import scene_between
    from hoijax.scene.build_objects import build_scene
    from hoijax.solver.neighbor_lists import first_neighbors

    bundle, _ = scene
    settings = METHOD.settings()
    o = observations_between(bundle.observations, (0, WINDOW))
    seen = dataclasses.replace(bundle, observations=o)
    with as_users_run():
        bodies = posed_bodies_of(seen)
        still = np.tile(np.eye(4, dtype=np.float32), (WINDOW, 1, 1))
        built = build_scene(seen, still, bodies, settings)
        built = scene_between(built, (0, WINDOW))
        starts = yaw_starts(built, 2, 0).unknowns
        states = np.ones((2, built.edges.mask.shape[0], WINDOW), np.float32)
        problem, neighbors = object_problem(TABLE), first_neighbors(built, states)
        inputs = SolverInputs(problem, built, starts, neighbors, default_weights(TABLE))
        compiled = jax.jit(partial(optimize, LevenbergMarquardt(12, 3))).lower(inputs).compile()
    found = compiled.memory_analysis()
    if found is None:
        pytest.skip("this backend keeps no account of memory")
    expected = descent_bytes(2, WINDOW) - descent_bytes(0, WINDOW)
    assert 0.7 < found.temp_size_in_bytes / expected < 1.4


@pytest.mark.slow
def test_what_fits_decides_the_window(scene, monkeypatch):
    bundle, _ = scene
    settings = METHOD.settings()
    said: list[str] = []
    assert chosen_window(bundle, settings, 12, said.append) == 12
    assert chosen_window(bundle, settings, 99, said.append) == FRAMES
    monkeypatch.setattr("hoijax.methods.memory.free_bytes", lambda: 10**12)
    assert chosen_window(bundle, settings, None, said.append) == FRAMES
    assert said == []
    monkeypatch.setattr("hoijax.methods.memory.free_bytes", lambda: 10**8)
    assert 8 <= chosen_window(bundle, settings, None, said.append) < FRAMES
    assert "windows of 24 frames" in said[0]
    fits = max_candidates(10**10)
    assert descent_bytes(fits, 49) <= 0.6 * 10**10 < descent_bytes(2 * fits, 49)
    assert max_candidates(10**7) == 0


def test_windows_are_refused_before_work():
    bundle, _ = lifted_box()
    with pytest.raises(UserError, match="at least 8"):
        solve(bundle, window=3)
    with pytest.raises(UserError, match="best frame"):
        solve(bundle, window=16, preset="hoi-page")
    with pytest.raises(UserError, match="whole clips"):
        solve(bundle, window=16, method="anchor-motion")


def test_more_candidates_than_fit_are_refused_before_work(monkeypatch, tmp_path):
    from small_scene import run

    monkeypatch.setattr("hoijax.methods.memory.free_bytes", lambda device=None: 10**9)
    arguments = ("generate", "a person lifts a box", "--objects", "box", "--inits", "1000")
    ran = run(*arguments, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "GB are free: give --inits 32 or fewer" in ran.err
    assert not (tmp_path / "out").exists()
