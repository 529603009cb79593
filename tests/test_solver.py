"""The descent: recovers poses, keeps the best, freezes what is not finite, compiles once."""

from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_twins import make_twin
from scene_factory import FRAMES, MISSED, OBJECTS, MadeScene, as_numpy, make_scene, starts_around

from hoijax.geometry.nearest import nearest_indices
from hoijax.geometry.rotations import rotation_6d_to_matrix
from hoijax.losses.fit import object_pixels, object_points, part_points
from hoijax.losses.penetrations import penetration
from hoijax.losses.smoothness import rotation_smoothness, translation_smoothness
from hoijax.losses.term import LossTerm, default_weights, evaluate, final_total
from hoijax.methods.hoi_page.terms import object_problem
from hoijax.scene.posed import pose_scene
from hoijax.scene.scene import Neighbors, Unknowns
from hoijax.solver.adam import Adam
from hoijax.solver.neighbor_lists import empty_neighbors, refresh_pixels, refresh_vertices
from hoijax.solver.problem import ResultCode, Solution, SolverInputs
from hoijax.solver.resumable import optimize

K, STEPS, REFRESH = 3, 120, 20
TERMS = (
    LossTerm.constant("object_points", object_points, 1e3),
    LossTerm.constant("part_points", part_points, 3e2),
    LossTerm.constant("object_pixels", object_pixels, 1e-3),
    LossTerm.constant("translation_smoothness", translation_smoothness, 1e-2),
    LossTerm.constant("rotation_smoothness", rotation_smoothness, 1e-3),
    LossTerm("penetration", penetration, 0.0, 1e-3),
)
POINTS = 0


@pytest.fixture(scope="module")
def made() -> MadeScene:
    return make_scene(resolution=24, noise=0.0)


@pytest.fixture(scope="module")
def starts(made) -> Unknowns:
    """K starts around the truth: 12 degrees and 6 cm off, each in another direction."""
    return starts_around(made, K)


def neighbors_for(made: MadeScene) -> Neighbors:
    empty = empty_neighbors(made.scene)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (K, *x.shape)), empty)


def solve(made: MadeScene, starts: Unknowns, *, rate=0.02, final=1e-3, **weights) -> Solution:
    numbers, lists = default_weights(TERMS, weights), neighbors_for(made)
    return solved(made.scene, starts, lists, numbers, rate, final)


@jax.jit
@chex.assert_max_traces(n=1)
def solved(scene, starts, lists, weights, rate, final) -> Solution:
    """Weights, schedules, learning rates, starts and the scene itself are traced: one program a file."""
    inputs = SolverInputs(object_problem(TERMS), scene, starts, lists, weights)
    return optimize(Adam(STEPS, REFRESH, rate, final), inputs)


@pytest.fixture(scope="module")
def solution(made, starts) -> Solution:
    return solve(made, starts)


def errors(found: Unknowns, made: MadeScene) -> tuple[np.ndarray, np.ndarray]:
    """Degrees and centimetres from the truth, (K, O, T)."""
    a = np.asarray(rotation_6d_to_matrix(found.object_rotation_6d), np.float64)
    b = np.asarray(rotation_6d_to_matrix(made.ground_truth.object_rotation_6d), np.float64)
    trace = np.einsum("kotij,otij->kot", a, b)
    degrees = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
    centimetres = 100 * np.linalg.norm(
        found.object_translation - made.ground_truth.object_translation, axis=-1
    )
    return degrees, np.asarray(centimetres)


def test_recovers_known_poses(made, starts, solution):
    before, after = errors(starts, made), errors(solution.unknowns, made)
    seen = np.asarray(made.scene.observed.detected)
    assert np.median(before[0][:, seen]) > 10.0
    assert np.median(before[1][:, seen]) > 5.0
    assert np.median(after[0][:, seen]) < 2.0
    assert np.median(after[1][:, seen]) < 1.0
    assert (np.asarray(solution.codes) != ResultCode.NOT_FINITE).all()


def test_a_missed_frame_is_carried_by_its_neighbors(made, solution):
    """Nothing was seen there: smoothness alone puts the object between its neighbors."""
    o, t = MISSED
    x = np.asarray(solution.unknowns.object_translation)[:, o]
    between = 0.5 * (x[:, t - 1] + x[:, t + 1])
    started = np.linalg.norm(
        np.asarray(made.ground_truth.object_translation)[o, t] - between, axis=-1
    )
    assert (np.linalg.norm(x[:, t] - between, axis=-1) < started + 0.06).all()


def test_best_so_far(solution):
    """Losses are the lowest of the run, and the report is that step's."""
    history = np.asarray(solution.history)
    assert history.shape == (K, STEPS, len(TERMS))
    totals = np.asarray(final_total(TERMS, solution.history, default_weights(TERMS)))
    np.testing.assert_allclose(solution.losses, totals.min(axis=1), rtol=1e-6)
    np.testing.assert_allclose(solution.initial_losses, totals[:, 0], rtol=1e-6)
    for k, step in enumerate(totals.argmin(axis=1)):
        np.testing.assert_allclose(solution.reports[k], history[k, step], rtol=1e-6)


def test_the_best_unknowns_have_the_best_loss(made, starts, solution):
    """Evaluated anew, outside the loop, without the neighbor terms that are refreshed in it."""
    plain = TERMS[:2]
    weights = default_weights(plain)

    def total(unknowns):
        posed = pose_scene(made.scene, unknowns, empty_neighbors(made.scene))
        return evaluate(plain, posed, weights, 1.0)[1]

    found = jax.jit(jax.vmap(total))(solution.unknowns)
    np.testing.assert_allclose(found, solution.reports[:, :2], rtol=1e-4, atol=1e-9)


def test_never_worse_than_the_start(made, starts):
    """Steps so long that everything explodes: the start is what comes back."""
    wild = solve(made, starts, rate=30.0, final=30.0)
    assert (np.asarray(wild.losses) <= np.asarray(wild.initial_losses)).all()
    np.testing.assert_array_equal(wild.unknowns.object_translation, starts.object_translation)
    np.testing.assert_array_equal(wild.unknowns.object_rotation_6d, starts.object_rotation_6d)


def test_a_candidate_that_is_not_finite_does_not_touch_its_neighbors(made, starts, solution):
    """Bitwise: the others end as they do beside a healthy candidate."""
    for field in ("object_translation", "object_rotation_6d"):
        poisoned = starts.replace(**{field: getattr(starts, field).at[1].set(jnp.nan)})
        found = solve(made, poisoned)
        assert found.codes[1] == ResultCode.NOT_FINITE
        assert not np.isfinite(found.losses[1])
        for k in (0, 2):
            assert found.codes[k] == solution.codes[k]
            jax.tree.map(
                lambda a, b, k=k: np.testing.assert_array_equal(a[k], b[k]), found, solution
            )


def test_one_nan_in_one_frame_is_enough_to_freeze(made, starts):
    broken = starts.replace(
        object_translation=starts.object_translation.at[0, 1, 4, 2].set(jnp.inf)
    )
    codes = np.asarray(solve(made, broken).codes)
    assert codes[0] == ResultCode.NOT_FINITE
    assert (codes[1:] != ResultCode.NOT_FINITE).all()


def test_a_candidate_that_stops_being_finite_keeps_its_best(made, starts):
    """The first step already leaves the numbers: the start is kept, and the code says so."""
    found = solve(made, starts, rate=np.inf, final=np.inf)
    assert (np.asarray(found.codes) == ResultCode.NOT_FINITE).all()
    np.testing.assert_array_equal(found.losses, found.initial_losses)
    np.testing.assert_array_equal(found.unknowns.object_translation, starts.object_translation)


def test_the_same_start_gives_the_same_result(made, starts, solution):
    again = solve(made, starts)
    chex.assert_trees_all_equal(again, solution)


def test_candidates_do_not_know_each_other(made, starts, solution):
    order = jnp.asarray([2, 0, 1])
    shuffled = solve(made, jax.tree.map(lambda x: x[order], starts))
    chex.assert_trees_all_equal(shuffled, jax.tree.map(lambda x: x[order], solution))


def test_numbers_do_not_recompile(made, starts, solution):
    """`solved` is traced no second time, by any test of this file."""
    solve(made, starts, object_points=5.0, penetration=(1.0, 0.0))
    solve(made, starts, rate=0.5, final=0.1)
    solve(made, jax.tree.map(lambda x: x + 0.1, starts))
    other = make_scene(seed=9, resolution=24)
    flags = replace(other.scene.objects, is_translational=jnp.asarray([False, True]))
    solve(replace(other, scene=replace(other.scene, objects=flags)), starts)


def test_weights_matter(made, starts, solution):
    """A weight of zero takes a term out of the total; the report still has its value."""
    without = solve(made, starts, part_points=0.0)
    assert (np.asarray(without.reports)[:, 1] > 0.0).all()
    assert not np.allclose(without.losses, solution.losses)


def test_result_codes(made, starts):
    """Hardly any step: converged. A short run that still falls at its end: the step limit."""
    idle = solve(made, starts, rate=1e-9, final=1e-9)
    assert (np.asarray(idle.codes) == ResultCode.CONVERGED).all()
    climbing = solve(made, starts, rate=2e-4, final=2e-4)
    assert (np.asarray(climbing.codes) == ResultCode.STEP_LIMIT).all()
    messages = {code.message for code in ResultCode}
    assert len(messages) == len(ResultCode)


@pytest.mark.parametrize("steps", [5, 25])
def test_as_many_steps_as_were_asked_for(made, starts, steps):
    """Also where the refresh interval does not divide them; the schedule then ends at its end."""
    terms = (LossTerm.constant("translation_smoothness", translation_smoothness, 1.0),)
    lists, problem = neighbors_for(made), object_problem(terms)
    inputs = SolverInputs(problem, made.scene, starts, lists, default_weights(terms))
    found = optimize(Adam(steps, REFRESH, 1e-3, 1e-3), inputs)
    history = np.asarray(found.history)[..., 0]
    assert history.shape == (K, steps)
    assert (np.diff(history, axis=1) != 0.0).all()
    np.testing.assert_allclose(found.losses, history.min(axis=1), rtol=1e-6)


def test_default_weights():
    found = default_weights(TERMS, {"part_points": 7.0, "penetration": (1.0, 2.5)})
    np.testing.assert_array_equal(found["part_points"], [7.0, 7.0])
    np.testing.assert_array_equal(found["penetration"], [1.0, 2.5])
    np.testing.assert_array_equal(found["object_points"], [1e3, 1e3])
    with pytest.raises(KeyError, match=r"no_such_term.*object_points"):
        default_weights(TERMS, {"no_such_term": 1.0})


def test_schedules_are_linear_and_totals_are_sums(made):
    """evaluate by hand: the sum of weight x report, with the weight between its two ends."""
    posed = pose_scene(made.scene, made.unknowns, made.neighbors)
    weights = default_weights(TERMS, {"object_points": (2.0, 6.0)})
    for progress in (0.0, 0.25, 1.0):
        total, report = jax.jit(evaluate, static_argnums=0)(TERMS, posed, weights, progress)
        current = [float(w[0] + (w[1] - w[0]) * progress) for w in weights.values()]
        assert current[POINTS] == pytest.approx(2.0 + 4.0 * progress)
        assert float(total) == pytest.approx(float(np.dot(current, report)), rel=1e-5)
    np.testing.assert_allclose(
        final_total(TERMS, report[None], weights)[0],
        np.dot([w[1] for w in weights.values()], report),
        rtol=1e-5,
    )


def test_refreshed_pixels_are_the_nearest(made):
    """Brute force over all projected samples, and over those of the pixel's own part."""
    scene, unknowns = made.scene, made.unknowns
    found = jax.jit(refresh_pixels)(scene, unknowns, made.neighbors)
    twin, objects = make_twin(made), as_numpy(made.scene.objects)
    observed = np.asarray(scene.observed.pixels, np.float64)
    for o in range(OBJECTS):
        for t in range(FRAMES):
            projected = twin.pixels(twin.to_world(objects.samples[o], o, t), t)
            for i in range(found.nearest_sample.shape[-1]):
                squared = np.sum((projected - observed[o, t, i]) ** 2, axis=-1)
                chosen = squared[found.nearest_sample[o, t, i]]
                assert chosen <= squared.min() * (1 + 2e-4) + 1e-2  # pixels squared, in float32
                if (part := made.labels[o, t, i]) >= 0:
                    own = np.where(objects.sample_parts[o] == part, squared, np.inf)
                    assert own[found.nearest_part_sample[o, t, i]] <= own.min() * (1 + 2e-4) + 1e-2


def test_refreshed_vertices_are_the_deepest(made):
    """Brute force over all body vertices: the ones with the smallest signed distance."""
    found = np.asarray(
        jax.jit(refresh_vertices)(made.scene, made.unknowns, made.neighbors).active_vertices
    )
    twin, bodies = make_twin(made), np.asarray(made.scene.body_vertices_world, np.float64)
    assert found.shape == made.neighbors.active_vertices.shape
    for o, p, t in np.ndindex(found.shape[:3]):
        distance = twin.distance(bodies[p, t], o, t, 0)
        chosen = np.sort(distance[found[o, p, t]])
        assert len(set(found[o, p, t])) == found.shape[-1]
        np.testing.assert_allclose(chosen, np.sort(distance)[: found.shape[-1]], atol=1e-5)


def test_a_refresh_chooses_only_what_it_is_for(made):
    """Contact states and the other list stay as they were."""
    pixels = jax.jit(refresh_pixels)(made.scene, made.unknowns, made.neighbors)
    np.testing.assert_array_equal(pixels.active_vertices, made.neighbors.active_vertices)
    np.testing.assert_array_equal(pixels.contact_state, made.neighbors.contact_state)
    vertices = jax.jit(refresh_vertices)(made.scene, made.unknowns, made.neighbors)
    np.testing.assert_array_equal(vertices.nearest_sample, made.neighbors.nearest_sample)
    np.testing.assert_array_equal(vertices.contact_state, made.neighbors.contact_state)


@pytest.mark.parametrize(("queries", "targets", "axes"), [(5, 7, 3), (9, 100, 2)])
def test_the_nearest_vertex_of_a_point_map_by_brute_force(rng, queries, targets, axes):
    q = rng.normal(size=(3, queries, axes)).astype(np.float32)
    t = rng.normal(size=(3, targets, axes)).astype(np.float32)
    t[:, -1] = t[:, 1]  # equally near: the first counts
    expected = ((q[:, :, None] - t[:, None]) ** 2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(nearest_indices(jnp.asarray(q), jnp.asarray(t)), expected)
