"""Successive halving: who is moved when, and what becomes of those who stop."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counted import programs_made
from scene_factory import make_scene, starts_around

from hoijax.initialization.starts import Starts
from hoijax.losses.fit import object_points
from hoijax.losses.penetrations import ground
from hoijax.losses.smoothness import translation_smoothness
from hoijax.losses.term import LossTerm, default_weights, final_total
from hoijax.methods.hoi_page import screening
from hoijax.methods.hoi_page.terms import object_problem
from hoijax.solver.halving import halving_rungs, work_list
from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
from hoijax.solver.neighbor_lists import empty_neighbors
from hoijax.solver.problem import ResultCode, SolverInputs
from hoijax.solver.resumable import optimize, optimize_in_segments

COUNT, ROUNDS, STEPS = 5, 4, 2
RUNGS = ((1, 3), (2, 2))
TERMS = (
    LossTerm.constant("object_points", object_points, 1e3),
    LossTerm.constant("translation_smoothness", translation_smoothness, 1e1),
    LossTerm("ground", ground, 0.0, 1e1),
)
PROBLEM = object_problem(TERMS)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 16, 64, 1000, 2048])
@pytest.mark.parametrize("rounds", [1, 4, 12])
def test_every_candidate_has_its_rounds_in_order_and_the_first_rungs_are_whole(count, rounds):
    rungs = halving_rungs(count, rounds)
    work = work_list(count, rounds, rungs)
    done = np.zeros(count, int)
    for ranks, index in zip(work.ranks, work.rounds, strict=True):
        for rank in np.unique(ranks):  # a lane left over repeats a candidate in the same item
            assert done[rank] == index, "a round left out or done twice"
            done[rank] += 1
    assert (done[: work.finalists] == rounds).all()
    for end, kept in rungs:
        assert (done[:kept] > end).all(), "fewer go on than the rung says"
        assert (done[kept + work.finalists :] <= end).all(), "more go on than lanes are left over"
    assert len(np.unique(work.is_new_rung.cumsum())) == 1 + len(rungs)


def test_halving_does_half_the_work_or_less():
    for count in (6, 16, 64, 1024):  # the last: more finalists than lanes
        work = work_list(count, 12, halving_rungs(count, 12))
        assert work.ranks.size <= 0.5 * count * 12


def test_few_candidates_or_rounds_are_not_halved():
    assert halving_rungs(2, 12) == ()
    assert halving_rungs(16, 1) == ()


@pytest.fixture(scope="module")
def made():
    return make_scene()


@pytest.fixture(scope="module")
def starts(made):
    """Of five starts the third is nearest and the first and last stand two metres off."""
    given = starts_around(made, COUNT)
    away = jnp.asarray([2.0, 0.3, 0.0, 0.1, 2.5])[:, None, None, None] * jnp.array([1.0, 0.0, 0.0])
    return replace(given, object_translation=given.object_translation + away)


def inputs_of(made, starts) -> SolverInputs:
    lists = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (COUNT, *x.shape)), empty_neighbors(made.scene)
    )
    return SolverInputs(PROBLEM, made.scene, starts, lists, default_weights(TERMS))


def solve_halved(made, starts, rounds=ROUNDS):
    """By segments: their program has capacity for other numbers of rounds."""
    solver = LevenbergMarquardt(rounds, STEPS, RUNGS)
    return optimize_in_segments(solver, inputs_of(made, starts)).trimmed()


@pytest.fixture(scope="module")
def whole(made, starts):
    return optimize(LevenbergMarquardt(ROUNDS, STEPS), inputs_of(made, starts))


@pytest.fixture(scope="module")
def halved(made, starts):
    return solve_halved(made, starts)


@pytest.mark.slow
def test_finalists_end_as_if_all_had_gone_on(whole, halved):
    finalists = np.flatnonzero(np.asarray(halved.codes) != ResultCode.STOPPED_EARLY)
    assert len(finalists) == 2
    for k in finalists:
        np.testing.assert_allclose(halved.losses[k], whole.losses[k], rtol=1e-4)
        np.testing.assert_allclose(halved.history[k], whole.history[k], rtol=1e-3, atol=1e-6)
    assert int(np.argmin(halved.losses)) == int(np.argmin(whole.losses))


def test_who_stops_keeps_what_was_best_so_far(whole, halved):
    stopped = np.flatnonzero(np.asarray(halved.codes) == ResultCode.STOPPED_EARLY)
    totals = np.asarray(final_total(TERMS, whole.history, default_weights(TERMS)))
    for k in stopped:
        steps = np.isfinite(np.asarray(halved.history[k])).all(-1)
        assert 0 < steps.sum() < len(steps)
        assert steps[: steps.sum()].all(), "the history has gaps"
        np.testing.assert_allclose(halved.losses[k], totals[k][steps].min(), rtol=1e-4)


def test_candidates_that_are_not_finite_never_go_on(made, starts):
    broken = replace(starts, object_translation=starts.object_translation.at[2, 0, 0].set(jnp.nan))
    codes = np.asarray(solve_halved(made, broken).codes)
    assert codes[2] == ResultCode.NOT_FINITE
    assert (codes == ResultCode.STOPPED_EARLY).sum() == 2


def test_another_number_of_rounds_compiles_nothing(made, starts, halved):
    with programs_made(0):
        found = solve_halved(made, starts, ROUNDS - 1)
    assert halved.history.shape == (COUNT, 1 + ROUNDS * STEPS, len(TERMS))
    assert found.history.shape == (COUNT, 1 + (ROUNDS - 1) * STEPS, len(TERMS))
    stopped = np.asarray(found.codes) == ResultCode.STOPPED_EARLY
    assert stopped.sum() == COUNT - 2
    totals = np.asarray(final_total(TERMS, found.history, default_weights(TERMS)))
    assert np.isfinite(totals[~stopped]).all()
    assert np.isnan(totals[stopped, -1]).all()
    np.testing.assert_allclose(found.losses, np.nanmin(totals, axis=1), rtol=1e-5)


def test_of_many_starts_those_that_look_best_on_a_few_frames_go_on(made, starts, monkeypatch):
    monkeypatch.setattr(screening, "MAX_STARTS", 2)
    _, edges, frames = made.scene.edges.points.shape[:3]
    labels = tuple(f"path {k + 1}" for k in range(COUNT))
    given = Starts(starts, labels)
    states = np.ones((COUNT, edges, frames), np.float32)
    chosen = screening.promising(made.scene, given, states, TERMS, STEPS)
    assert list(chosen) == [2, 3]  # the nearest, and the one that is 0.1 m off
    few = screening.chosen_starts(given, chosen)
    assert few.labels == ("path 3", "path 4")
    np.testing.assert_array_equal(few.unknowns.object_translation, starts.object_translation[2:4])
    # Paths that are there twice or thrice take no place from others.
    thrice = Starts(jax.tree.map(lambda x: jnp.concatenate([x, x, x]), starts), 3 * labels)
    again = screening.promising(made.scene, thrice, np.tile(states, (3, 1, 1)), TERMS, STEPS)
    assert list(again) == [2, 3]
    monkeypatch.setattr(screening, "MAX_STARTS", COUNT + 1)
    everything = screening.promising(made.scene, thrice, np.tile(states, (3, 1, 1)), TERMS, STEPS)
    assert list(everything) == list(range(COUNT + 1))
