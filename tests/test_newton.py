"""Levenberg-Marquardt: the banded solve, the curvature of every term, recovery, and its failures."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counted import programs_made
from residual_twins import BY_HAND, DERIVED
from scene_factory import FRAMES, OBJECTS, MadeScene, make_scene, starts_around
from scipy.spatial.transform import Rotation

from hoijax.geometry.rotations import axis_angle_to_matrix, rotation_6d_to_matrix
from hoijax.initialization.tracks import with_twins
from hoijax.initialization.unflip import is_new, unfold
from hoijax.losses.curvature import Curvature, curvature_of
from hoijax.losses.fit import object_points, part_points
from hoijax.losses.smoothness import rotation_smoothness, translation_smoothness
from hoijax.losses.term import LossTerm, default_weights, reduce_term
from hoijax.methods.hoi_page.terms import object_problem
from hoijax.scene.posed import pose_objects
from hoijax.scene.scene import Unknowns
from hoijax.solver import resumable
from hoijax.solver.banded import inverse_of_lower, solve_arrow, solve_banded
from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
from hoijax.solver.neighbor_lists import empty_neighbors
from hoijax.solver.problem import ResultCode, SolverInputs
from hoijax.solver.resumable import optimize

K = 3
# Terms that are squares of small residuals here: their Hessian is the Gauss-Newton curvature.
SQUARES = ("object_points", "part_points", "robust_object_points", "robust_part_points")
LOSSES = (*BY_HAND, *DERIVED)
TIES = ("translation_smoothness", "rotation_smoothness")
TERMS = (
    LossTerm.constant("object_points", object_points, 1e3),
    LossTerm.constant("part_points", part_points, 3e2),
    LossTerm.constant("translation_smoothness", translation_smoothness, 1e-2),
    LossTerm.constant("rotation_smoothness", rotation_smoothness, 1e-3),
)


@pytest.fixture(scope="module")
def made() -> MadeScene:
    return make_scene(resolution=24, noise=0.0)


def dense(curvature: Curvature, o: int) -> np.ndarray:
    """The whole matrix of one object, from its blocks."""
    frames = curvature.diagonal.shape[1]
    matrix = np.zeros((6 * frames, 6 * frames))
    for offset, blocks in enumerate((curvature.diagonal, curvature.to_next, curvature.to_second)):
        for t, block in enumerate(() if blocks is None else np.asarray(blocks[o])):
            rows, columns = slice(6 * t, 6 * t + 6), slice(6 * (t + offset), 6 * (t + offset) + 6)
            matrix[rows, columns] = block
            matrix[columns, rows] = block.T
    return matrix


@pytest.mark.parametrize("frames", [3, 4, 7])
def test_banded_solve_against_a_dense_one(frames, rng):
    root = np.zeros((6 * frames, 6 * frames))
    for t in range(frames):
        root[6 * t : 6 * t + 6, 6 * t : 6 * t + 18] = rng.normal(
            size=root[6 * t : 6 * t + 6, 6 * t : 6 * t + 18].shape
        )
    whole = root.T @ root + np.eye(6 * frames)
    blocks = [
        np.stack(
            [whole[6 * t : 6 * t + 6, 6 * (t + k) : 6 * (t + k) + 6] for t in range(frames - k)]
        ).astype(np.float32)
        for k in range(3)
    ]
    right = rng.normal(size=(frames, 6)).astype(np.float32)
    found = np.asarray(solve_banded(*map(jnp.asarray, (*blocks, right)))).reshape(-1)
    np.testing.assert_allclose(found, np.linalg.solve(whole, right.reshape(-1)), atol=2e-4)


@pytest.mark.parametrize("size", [1, 24, 61])
def test_triangles_are_inverted_by_halves(size, rng):
    L = np.tril(rng.normal(size=(size, size))) / size + np.eye(size)
    inverse = inverse_of_lower(jnp.asarray(L, jnp.float32))
    np.testing.assert_allclose(inverse, np.linalg.inv(L), atol=1e-5)


@pytest.mark.parametrize("frames", [2, 5])
def test_arrow_solve_against_a_dense_one(frames, rng):
    """Frames of three unknowns that couple with the next two, and two unknowns that couple with all."""
    block, ends = 3, 3 * frames
    root = np.zeros((ends, ends + 2))
    for t in range(frames):
        rows = root[block * t : block * (t + 1), block * t : min(block * (t + 3), ends)]
        rows[:] = rng.normal(size=rows.shape)
    root[:, ends:] = rng.normal(size=(ends, 2))
    whole = root.T @ root + np.eye(ends + 2)
    bands = [
        np.array(
            [
                whole[block * t : block * (t + 1), block * (t + k) : block * (t + k + 1)]
                for t in range(frames - k)
            ]
        ).reshape(-1, block, block)
        for k in range(3)
    ]
    border, corner = whole[:ends, ends:].reshape(frames, block, 2), whole[ends:, ends:]
    right = rng.normal(size=ends + 2)
    arrays = [jnp.asarray(array, jnp.float32) for array in (*bands, border, corner, right)]
    x, y = solve_arrow(*arrays[:5], (arrays[5][:ends].reshape(frames, block), arrays[5][ends:]))
    solved = np.concatenate([np.asarray(x).reshape(-1), np.asarray(y)])
    np.testing.assert_allclose(solved, np.linalg.solve(whole, right), atol=2e-4)


@pytest.fixture(scope="module")
def quadratics(made) -> dict[str, tuple[np.ndarray, jax.Array | None]]:
    """v^T H v of every term for four twists v: from its curvature; by autodiff for some terms, too.

    At the truth residuals are small, and there the two agree.
    """
    rotations = rotation_6d_to_matrix(made.ground_truth.object_rotation_6d)
    # A touch off the truth: at it, absolute distances have kinks.
    rotations = rotations @ axis_angle_to_matrix(jnp.full((OBJECTS, FRAMES, 3), 0.004))
    here = pose_objects(
        made.scene, rotations, made.ground_truth.object_translation, empty_neighbors(made.scene)
    )
    here = replace(here, neighbors=made.neighbors)
    functions = LOSSES
    scales = jnp.asarray([1.0, 1.0, 1.0, 0.3, 0.3, 0.3])
    normal = np.random.default_rng(5).normal(size=(4, OBJECTS, FRAMES, 6))
    normal[2:, :, np.arange(FRAMES) != 1] = 0.0  # one frame alone: the diagonal blocks
    twists = jnp.asarray(normal, jnp.float32) * scales

    def value(function, twist):
        posed = replace(
            here,
            object_rotations=axis_angle_to_matrix(twist[..., :3]) @ here.object_rotations,
            object_translations=here.object_translations + twist[..., 3:],
        )
        return reduce_term(LossTerm.constant("x", function, 1.0), posed) * FRAMES

    def by_autodiff(function, v):
        def along(twist):
            return jnp.sum(jax.grad(lambda x: value(function, x))(twist) * v)

        return jnp.sum(jax.grad(along)(jnp.zeros_like(v)) * v)

    @jax.jit
    def everything():
        compared = [f for f in functions if f.__name__ in SQUARES + TIES]
        exact = {f.__name__: jax.vmap(lambda v, f=f: by_autodiff(f, v))(twists) for f in compared}
        return exact, [curvature_of(f)(here) for f in functions]

    exact, curvatures = everything()
    found = {}
    for function, curvature in zip(functions, curvatures, strict=True):
        matrices = np.stack([dense(curvature, o) for o in range(OBJECTS)])
        vectors = np.asarray(twists, np.float64).reshape(4, OBJECTS, -1)
        ours = np.einsum("koi,oij,koj->k", vectors, matrices, vectors)
        found[function.__name__] = (ours, exact.get(function.__name__))
    return found


@pytest.mark.parametrize("name", SQUARES + TIES)
def test_curvature_is_the_hessian_where_residuals_are_small(name, quadratics):
    ours, exact = quadratics[name]
    np.testing.assert_allclose(ours, exact, rtol=0.15, atol=1e-3 * abs(exact).max())


@pytest.mark.parametrize("name", [function.__name__ for function in LOSSES])
def test_curvature_is_positive(name, quadratics):
    ours, _ = quadratics[name]
    assert np.isfinite(ours).all()
    assert (ours >= -1e-6).all()


@pytest.fixture(scope="module")
def starts(made) -> Unknowns:
    """12 degrees and 6 cm off the truth, each candidate in another direction."""
    return starts_around(made, K)


def solve(made: MadeScene, starts: Unknowns, terms=TERMS, **weights):
    lists = jax.tree.map(lambda x: jnp.broadcast_to(x, (K, *x.shape)), empty_neighbors(made.scene))
    numbers = default_weights(terms, weights)
    inputs = SolverInputs(object_problem(terms), made.scene, starts, lists, numbers)
    return optimize(LevenbergMarquardt(rounds=5, steps=3), inputs)


@pytest.fixture(scope="module")
def solution(made, starts):
    return solve(made, starts)


def test_recovers_the_truth_in_fifteen_steps(made, solution):
    seen = np.asarray(made.scene.observed.detected)
    ground_truth = rotation_6d_to_matrix(made.ground_truth.object_rotation_6d)
    found = np.asarray(rotation_6d_to_matrix(solution.unknowns.object_rotation_6d))
    trace = np.einsum("kotij,otij->kot", found, np.asarray(ground_truth))
    degrees = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
    apart = np.linalg.norm(
        np.asarray(solution.unknowns.object_translation)
        - np.asarray(made.ground_truth.object_translation),
        axis=-1,
    )
    assert np.median(degrees[:, seen]) < 1.0
    assert np.median(apart[:, seen]) < 0.004


def test_never_worse_than_the_start_and_history_has_every_step(solution):
    assert (np.asarray(solution.losses) < np.asarray(solution.initial_losses)).all()
    assert solution.history.shape == (K, 16, len(TERMS))
    assert (np.asarray(solution.codes) != ResultCode.NOT_FINITE).all()


def test_new_weights_compile_nothing(made, starts, solution):
    with programs_made(0, resumable._whole):
        other = solve(made, starts, object_points=10.0)
    assert not np.allclose(other.losses, solution.losses)


def test_a_candidate_that_is_not_finite_is_frozen_and_touches_no_other(made, starts, solution):
    broken = replace(starts, object_translation=starts.object_translation.at[1, 0, 0].set(jnp.nan))
    found = solve(made, broken)
    assert np.asarray(found.codes)[1] == ResultCode.NOT_FINITE
    for k in (0, 2):
        np.testing.assert_allclose(found.losses[k], solution.losses[k], rtol=1e-5)


def nothing(posed) -> Curvature:
    return Curvature(jnp.zeros((OBJECTS, FRAMES, 6, 6)))


@pytest.mark.slow
def test_a_term_of_ones_own_pulls_and_its_values_tell_how_far(made, starts):
    """The gradient alone leads downhill, if slowly; with the derived curvature it goes further."""

    def mine(posed):
        return object_points(posed)

    found = {}
    for name, curvature in (("derived", None), ("none", nothing)):
        term = LossTerm.constant("mine", mine, 1e3, curvature=curvature)
        solution = solve(made, starts, (term,))
        found[name] = np.asarray(solution.losses) / np.asarray(solution.initial_losses)
    assert (found["none"] < 0.9).all()
    assert (found["derived"] < 0.7 * found["none"]).all()


def turning(frames: int = 20) -> np.ndarray:
    angles = np.linspace(0.0, 1.5, frames)[:, None] * [0.2, 1.0, 0.1]
    return Rotation.from_rotvec(angles).as_matrix()


def test_unfolded_tracks_follow_on_from_either_side():
    ground_truth, twin = turning(), Rotation.from_rotvec([0.0, np.pi, 0.0]).as_matrix()
    folded = ground_truth.copy()
    folded[12:] = ground_truth[12:] @ twin
    first, second = unfold(folded)
    np.testing.assert_allclose(first[:12], ground_truth[:12])
    np.testing.assert_allclose(second[12:], folded[12:])
    for track, wanted in ((first, ground_truth), (second, ground_truth @ twin)):
        trace = np.einsum("tij,tij->t", track, wanted)
        assert np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))).max() < 6.0


def test_a_smooth_track_needs_no_unfolding():
    assert unfold(turning()) == []


def test_too_few_tracks_are_joined_by_their_half_turns():
    """A box has three of them, a plate that is the same turned about y only two more."""
    track = turning(), np.zeros((20, 3))
    none = np.eye(3)[None]
    assert len(with_twins([track], none, 6)) == 4
    assert len(with_twins([track], none, 2)) == 2
    about_y = Rotation.from_rotvec([0.0, np.pi, 0.0]).as_matrix()
    tracks = with_twins([track], np.stack([np.eye(3), about_y]), 6)
    assert len(tracks) == 2
    assert all(np.linalg.det(r).min() > 0.99 for r, _ in tracks)


def test_tracks_are_the_same_modulo_symmetry():
    twin = Rotation.from_rotvec([0.0, np.pi, 0.0]).as_matrix()
    track = turning()
    assert is_new(track @ twin, [track], np.eye(3)[None])
    assert not is_new(track @ twin, [track], np.stack([np.eye(3), twin]))
