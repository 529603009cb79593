"""Levenberg-Marquardt on object trajectories: exact gradients, Gauss-Newton curvature, O(T) steps.

The gradient of all terms comes from autodiff, so a minimum of it is a minimum of the loss, whatever
the terms. The curvature is the sum of what terms know about themselves (`LossTerm.curvature`):
6 x 6 blocks of every frame and the bands of smoothness and drift. A step solves that banded system
and is taken only when the loss falls; else the damping grows. Robust kernels enter as reweighting,
schedules as rounds: in a round, weights, neighbours and curvature stay.
"""

from dataclasses import replace
from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hoijax.losses.term import Weights, evaluate, final_total, weights_at
from hoijax.rotations import axis_angle_to_matrix, matrix_to_rotation_6d, rotation_6d_to_matrix
from hoijax.scene import Neighbours, PosedScene, Scene, Unknowns
from hoijax.solver.banded import solve_banded
from hoijax.solver.optimise import Problem, Solution, all_finite, choose, result_code

MAX_TURN = 0.3  # radians a step may turn an object in any frame; and ...
MAX_SHIFT = 0.2  # ... metres it may move it: beyond, the linearisation is worth nothing
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-5, 1e4
EASE, HARDEN = 0.2, 5.0  # of the damping, after a step that was taken and one that was not


@flax.struct.dataclass
class _Poses:
    rotations: Float[Array, "O T 3 3"]
    translations: Float[Array, "O T 3"]


@flax.struct.dataclass
class _Local:
    """What is known at the current poses."""

    total: Float[Array, ""]
    report: Float[Array, " n"]
    gradient: Float[Array, "O T 6"]


@flax.struct.dataclass
class _State:
    poses: _Poses
    damping: Float[Array, ""]
    best: _Poses
    best_loss: Float[Array, ""]
    best_report: Float[Array, " n"]
    finite: Array


@partial(jax.jit, static_argnames=("problem", "rounds", "steps"))
def optimise_newton(
    problem: Problem,
    scene: Scene,
    initial: Unknowns,
    neighbours: Neighbours,
    weights: Weights,
    *,
    rounds: int,
    steps: int,
) -> Solution:
    """As `optimise`, by `rounds` rounds of `steps` Levenberg-Marquardt steps; leading axis K.

    Terms read a `PosedScene`; the history has an entry for the start and for every step.
    """
    solve = partial(_solve_one, problem, scene, weights, rounds=rounds, steps=steps)
    return jax.vmap(solve)(initial, neighbours)


def _solve_one(problem, scene, weights, initial, neighbours, *, rounds, steps):
    terms = problem.terms

    def look(poses: _Poses, neighbours, progress) -> _Local:
        def loss_of(poses: _Poses):
            posed = PosedScene(scene, poses.rotations, poses.translations, neighbours)
            return evaluate(terms, posed, weights, progress)

        (total, report), slope = jax.value_and_grad(loss_of, has_aux=True)(poses)
        turned = jnp.einsum("otij,otkj->otik", slope.rotations, poses.rotations)
        omega = [turned[..., j, i] - turned[..., i, j] for i, j in ((1, 2), (2, 0), (0, 1))]
        gradient = jnp.concatenate([jnp.stack(omega, axis=-1), slope.translations], axis=-1)
        return _Local(total, report, gradient)

    def step(neighbours, progress, curvature, carry, _):
        state, here = carry
        proposal = _move(state.poses, banded_step(curvature, here.gradient, state.damping))
        there = look(proposal, neighbours, progress)
        finite = jnp.isfinite(there.total) & all_finite(there.gradient)
        taken = finite & (there.total < here.total)
        damping = state.damping * jnp.where(taken, EASE, HARDEN)
        state = replace(
            state,
            poses=choose(taken, proposal, state.poses),
            damping=jnp.clip(damping, LEAST_DAMPING, MOST_DAMPING),
        )
        here = choose(taken, there, here)
        state = _keep_best(state, here)
        return (state, here), here.report

    def _keep_best(state: _State, here: _Local) -> _State:
        loss = final_total(terms, here.report, weights)
        better = state.finite & (loss < state.best_loss)
        return replace(
            state,
            best=choose(better, state.poses, state.best),
            best_loss=jnp.where(better, loss, state.best_loss),
            best_report=jnp.where(better, here.report, state.best_report),
        )

    def one_round(carry, index):
        state, neighbours = carry
        poses = state.poses
        unknowns = Unknowns(matrix_to_rotation_6d(poses.rotations), poses.translations)
        rarely = index % max(rounds // 2, 1) == 0
        neighbours = problem.refresh(scene, unknowns, neighbours, rarely)
        progress = index / max(rounds - 1, 1)
        here = look(poses, neighbours, progress)
        posed = PosedScene(scene, poses.rotations, poses.translations, neighbours)
        curvature = total_curvature(terms, posed, weights_at(terms, weights, progress))
        state = replace(
            state, finite=state.finite & jnp.isfinite(here.total) & all_finite(here.gradient)
        )
        state = _keep_best(state, here)
        (state, _), reports = jax.lax.scan(
            partial(step, neighbours, progress, curvature), (state, here), None, length=steps
        )
        return (state, neighbours), (here.report, reports)

    poses = _Poses(rotation_6d_to_matrix(initial.rotation_6d), initial.translation)
    state = _State(
        poses,
        jnp.asarray(FIRST_DAMPING),
        poses,
        jnp.asarray(jnp.inf),
        jnp.full((len(terms),), jnp.nan),
        jnp.asarray(True),
    )
    (state, _), (firsts, reports) = jax.lax.scan(one_round, (state, neighbours), jnp.arange(rounds))
    history = jnp.concatenate([firsts[:1], reports.reshape(-1, len(terms))])
    losses = final_total(terms, history, weights)
    return Solution(
        unknowns=Unknowns(matrix_to_rotation_6d(state.best.rotations), state.best.translations),
        losses=state.best_loss,
        initial_losses=losses[0],
        reports=state.best_report,
        codes=result_code(state.best_loss, state.finite, losses),
        history=history,
    )


Blocks = tuple[Float[Array, "O T 6 6"], Float[Array, "O T-1 6 6"], Float[Array, "O T-2 6 6"]]


def total_curvature(terms, posed: PosedScene, current: Float[Array, " n"]) -> Blocks:
    """Weighted sum over the terms that know theirs: blocks on the diagonal and beside it."""
    o, t = posed.translations.shape[:2]
    sums = [jnp.zeros((o, max(t - offset, 0), 6, 6)) for offset in range(3)]
    for term, weight in zip(terms, current, strict=True):
        if term.curvature is None:
            continue
        found = term.curvature(posed)
        for offset, block in enumerate((found.diagonal, found.to_next, found.to_second)):
            if block is not None:
                sums[offset] = sums[offset] + weight / t * block
    return sums[0], sums[1], sums[2]


def banded_step(
    curvature: Blocks, gradient: Float[Array, "O T 6"], damping: Float[Array, ""]
) -> Float[Array, "O T 6"]:
    """The damped Newton step, cut to the region where the linearisation means something."""
    main, to_next, to_second = curvature
    own = jnp.diagonal(main, axis1=-2, axis2=-1)
    # Relative to each parameter's own curvature; what has none is held by a share of the others',
    # and, where no term knows its curvature, by the gradient: a damping of 10 then moves 0.1.
    most = jnp.max(own, axis=(1, 2), keepdims=True)
    steepest = jnp.max(jnp.abs(gradient), axis=(1, 2), keepdims=True)
    floor = 1e-3 * most + steepest + 1e-12
    extra = damping * (own + floor) + 1e-6 * floor
    diagonal = main + extra[..., None] * jnp.eye(6)
    twist = -jax.vmap(solve_banded)(diagonal, to_next, to_second, gradient)
    size = jnp.stack(
        [
            jnp.max(jnp.linalg.norm(twist[..., :3], axis=-1)) / MAX_TURN,
            jnp.max(jnp.linalg.norm(twist[..., 3:], axis=-1)) / MAX_SHIFT,
        ]
    )
    return twist / jnp.maximum(jnp.max(size), 1.0)


def _move(poses: _Poses, twist: Float[Array, "O T 6"]) -> _Poses:
    rotations = axis_angle_to_matrix(twist[..., :3]) @ poses.rotations
    return _Poses(rotations, poses.translations + twist[..., 3:])
