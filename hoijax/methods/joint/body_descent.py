"""Levenberg-Marquardt on the body pass: a block of unknowns for each frame, and a few for the clip.

Residuals of a frame have a dense Jacobian by its block; paths over frames (steps, accelerations) are
differences of positions, whose Jacobians are the frames' own. So one forward-mode Jacobian a frame gives
all of a banded system with a border, which is solved in time linear in the frames.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from hoijax.bodies.fitting.residuals import planted_weights
from hoijax.methods.joint.body_problem import (
    BodyProblem,
    ClipChange,
    FrameChange,
    frame_residuals,
    matched_skin,
)
from hoijax.programs import program
from hoijax.solver.banded import solve_arrow

EASE, HARDEN = 0.3, 6.0
FIRST_DAMPING, MIN_DAMPING, MAX_DAMPING = 1e-3, 1e-6, 1e4
CONVERGED = 2e-4
"""A step that lowers the energy by less than this part of it is the last."""
SKATE_RHO = 0.3  # metres a second: a low foot that is quicker walks
FRAMES_AT_ONCE = 64
"""Jacobians of so many frames are in memory together."""
SKINS_AT_ONCE = 8
"""All of the skin is posed in so many frames together."""
STEP, BEND = (-1.0, 1.0), (1.0, -2.0, 1.0)


@flax.struct.dataclass
class BodySolution:
    """The changes, their energy (half the sum of squares), and that of the start."""

    changes: FrameChange
    clip: ClipChange
    energy: Float[Array, ""]
    first_energy: Float[Array, ""]


@flax.struct.dataclass
class _System:
    """Normal equations: banded blocks, border and corner, and the gradient by frame and by clip."""

    main: Float[Array, "T n n"]
    to_next: Float[Array, "T-1 n n"]
    to_second: Float[Array, "T-2 n n"]
    border: Float[Array, "T n c"]
    corner: Float[Array, "c c"]
    by_frame: Float[Array, "T n"]
    by_clip: Float[Array, " c"]


@flax.struct.dataclass
class _Priors:
    """Inverse variances of a frame's change, of its steps, and of the clip's numbers."""

    varying: Float[Array, " n"]
    steps: Float[Array, "T-1 n"]
    clip: Float[Array, " c"]


@dataclass(frozen=True)
class _Energy:
    """The energy of flat unknowns: x (T, n) of the frames, g (c,) of the clip, whose first n are the bias."""

    problem: BodyProblem
    priors: _Priors
    size: int
    """n"""
    frame_of: Callable[[Array], FrameChange]
    clip_of: Callable[[Array], ClipChange]
    paths_of: Callable[[Array], Any]

    def inputs(self, x: Array, g: Array) -> Array:
        """z of every frame: its change with the bias in it, then the clip's other numbers."""
        n = self.size
        return jnp.concatenate([x + g[:n], jnp.broadcast_to(g[n:], (len(x), len(g) - n))], 1)

    def changes_of(self, z: Array) -> tuple[FrameChange, ClipChange]:
        n = self.size
        return self.frame_of(z[:n]), self.clip_of(jnp.concatenate([jnp.zeros(n), z[n:]]))

    def residuals(self, z: Array, frame: Any, matched: Array) -> tuple[Array, Array]:
        """(residuals, paths) of one frame, flat."""
        residuals, paths = frame_residuals(*self.changes_of(z), frame, self.problem, matched)
        return ravel_pytree(residuals)[0], ravel_pytree(paths)[0]

    def with_slopes(self, row: tuple[Array, Any, Array]) -> tuple[tuple, tuple]:
        """The same and their Jacobians by z."""

        def twice(z):
            values = self.residuals(z, row[1], row[2])
            return values, values

        slopes, values = jax.jacfwd(twice, has_aux=True)(row[0])
        return values, slopes

    def total(self, r: Array, q: Array, x: Array, g: Array, weights: Any) -> Array:
        bends = zip(weights, (STEP, BEND), strict=True)
        paths = sum(jnp.sum(weight * _difference(q, c) ** 2) for weight, c in bends)
        changes = jnp.sum(self.priors.varying * x**2) + jnp.sum(self.priors.clip * g**2)
        changes = changes + jnp.sum(self.priors.steps * (x[1:] - x[:-1]) ** 2)
        return 0.5 * (jnp.sum(r**2) + paths + changes)

    def at(self, x: Array, g: Array, weights: Any, matched: Array) -> Array:
        flat = jax.vmap(self.residuals)(self.inputs(x, g), self.problem.frames, matched)
        return self.total(*flat, x, g, weights)

    def one_round(self, carry: tuple) -> tuple:
        """A damped step, taken where it lowers the energy under this round's weights."""
        problem, (x, g, damping, _, _, left) = self.problem, carry
        z = self.inputs(x, g)
        matched = jax.lax.map(
            lambda row: matched_skin(*self.changes_of(row[0]), row[1], problem),
            (z, problem.frames),
            batch_size=min(SKINS_AT_ONCE, len(x)),
        )
        rows = (z, problem.frames, matched)
        at_once = min(FRAMES_AT_ONCE, len(x))
        (r, q), (J, Q) = jax.lax.map(self.with_slopes, rows, batch_size=at_once)
        weights = _path_weights(jax.vmap(self.paths_of)(q), problem)
        here = self.total(r, q, x, g, weights)
        system = _normal_equations(r, J, q, Q, weights, self.size)
        dx, dg = _damped_step(_with_priors(system, x, g, self.priors), damping)
        there = self.at(x + dx, g + dg, weights, matched)
        taken = jnp.isfinite(there) & (there < here)
        x, g = jnp.where(taken, x + dx, x), jnp.where(taken, g + dg, g)
        damping = jnp.clip(damping * jnp.where(taken, EASE, HARDEN), MIN_DAMPING, MAX_DAMPING)
        converged = taken & (here - there < CONVERGED * here)
        return x, g, damping, weights, matched, jnp.where(converged, 0, left - 1)


@program
def solve_bodies(
    problem: BodyProblem, start: tuple[FrameChange, ClipChange], rounds: Int[Array, ""]
) -> BodySolution:
    """Minimize the energy from a start in at most `rounds` damped Gauss-Newton steps."""
    step_sigma, frame_of = ravel_pytree(problem.steps)
    clip_sigma, clip_of = ravel_pytree(problem.clip)
    varying, _ = ravel_pytree(problem.varying)
    follows = problem.frames.real[1:]
    priors = _Priors(
        varying=varying**-2, steps=follows[:, None] * step_sigma**-2, clip=clip_sigma**-2
    )
    frames = problem.frames.pelvis.shape[0]
    first = jax.vmap(lambda change: ravel_pytree(change)[0])(start[0]), ravel_pytree(start[1])[0]
    points, contours = problem.frames.point_weights, problem.frames.contours.weights
    none = jnp.zeros((*points.shape[:2], points.shape[2] + contours.shape[2]), jnp.int32)
    flat_paths, paths_of = _flat_paths(problem, none[0])
    energy = _Energy(problem, priors, len(step_sigma), frame_of, clip_of, paths_of)
    width = len(flat_paths)
    empty = jnp.zeros((frames - 1, width)), jnp.zeros((max(frames - 2, 0), width))
    carry = (*first, jnp.asarray(FIRST_DAMPING), empty, none, jnp.asarray(rounds, jnp.int32))
    x, g, _, last, matched, _ = jax.lax.while_loop(
        lambda carry: carry[-1] > 0, energy.one_round, carry
    )
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), (x, g), first)
    last_energy, first_energy = jax.lax.map(
        lambda pair: energy.at(pair[0], pair[1], last, matched), both
    )
    return BodySolution(
        changes=jax.vmap(frame_of)(x),
        clip=clip_of(g),
        energy=last_energy,
        first_energy=first_energy,
    )


def _flat_paths(problem: BodyProblem, matched: Array) -> tuple[Array, Callable[[Array], Any]]:
    """Zeros in place of a frame's paths, flat, and what makes paths of such an array."""
    example = jax.tree.map(lambda leaf: leaf[0], problem.frames)
    shapes = jax.eval_shape(
        partial(frame_residuals, problem=problem),
        problem.steps,
        problem.clip,
        example,
        matched=matched,
    )
    return ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes[1]))


def _damped_step(system: _System, damping: Array) -> tuple[Array, Array]:
    curvature = jnp.diagonal(system.main, axis1=1, axis2=2)
    extra = damping * curvature + 1e-6 * jnp.max(curvature)
    main = system.main + extra[..., None] * jnp.eye(curvature.shape[1])
    corner = system.corner + damping * jnp.diag(jnp.diagonal(system.corner))
    blocks = main, system.to_next, system.to_second, system.border, corner
    return solve_arrow(*blocks, (-system.by_frame, -system.by_clip))


def _path_weights(paths: dict[str, Array], problem: BodyProblem) -> tuple[Array, Array]:
    """Inverse variances of steps (T-1, Q) and accelerations (T-2, Q) of every coordinate."""
    deviations = problem.evidence
    feet = jax.lax.stop_gradient(paths["feet"])
    stands = jax.vmap(planted_weights)(feet)
    speed = problem.fps * (feet[1:] - feet[:-1])
    slow = SKATE_RHO**2 / (speed[..., 0] ** 2 + speed[..., 2] ** 2 + SKATE_RHO**2)
    planted = (jnp.minimum(stands[1:], stands[:-1]) * slow**2)[..., None]
    real = problem.frames.real
    joints = paths["joints"]
    sticks = problem.frames.held.sticks
    sticks = jnp.minimum(sticks[1:], sticks[:-1])[..., None] * (problem.fps / deviations.slip) ** 2
    grips = paths["grips"]
    known = problem.frames.plants[1:, ..., None] / deviations.plant**2
    across = jnp.asarray([1.0, 0.0, 1.0])
    steps = {
        "grips": jnp.broadcast_to(sticks, grips[1:].shape),
        "feet": across * problem.fps**2 * jnp.maximum(planted / deviations.skate**2, known),
        "joints": jnp.zeros_like(joints[1:]),
    }
    bends = {
        "grips": jnp.zeros_like(grips[2:]),
        "feet": jnp.zeros_like(feet[2:]),
        "joints": jnp.full_like(joints[2:], 1.0) * problem.fps**4 / deviations.acceleration**2,
    }
    flat = jax.vmap(lambda tree: ravel_pytree(tree)[0])
    return real[1:, None] * flat(steps), real[2:, None] * flat(bends)


def _difference(values: Array, coefficients: tuple[float, ...]) -> Array:
    count = len(values) - len(coefficients) + 1
    return sum(c * values[i : i + count] for i, c in enumerate(coefficients))  # pyright: ignore[reportReturnType]


def _normal_equations(r, J, q, Q, weights, size: int) -> _System:
    """J^T J and J^T r of frames' residuals and of weighted differences of their paths.

    What a frame adds by its own z is in `bands`, as blocks on the diagonal and right of it. A clip's number is
    in every frame's z: its rows and columns are sums of theirs.
    """
    frames = len(r)
    gradient = jnp.einsum("tri,tr->ti", J, r)
    # Of every pair of frames, the weights of all differences that have both: one product for each band.
    pairs = [jnp.zeros((max(frames - i, 0), q.shape[1])) for i in range(3)]
    pull = jnp.zeros_like(q)
    for weight, coefficients in zip(weights, (STEP, BEND), strict=True):
        count = frames - len(coefficients) + 1
        if count < 1:
            continue
        value = weight * _difference(q, coefficients)
        for i, ci in enumerate(coefficients):
            pull = pull.at[i : i + count].add(ci * value)
            for j in range(i, len(coefficients)):
                pairs[j - i] = pairs[j - i].at[i : i + count].add(ci * coefficients[j] * weight)
    gradient = gradient + jnp.einsum("tri,tr->ti", Q, pull)
    bands = [
        jnp.einsum("tri,trj->tij", pair[..., None] * Q[: frames - i], Q[i:])
        for i, pair in enumerate(pairs)
    ]
    bands[0] = bands[0] + jnp.einsum("tri,trj->tij", J, J)
    border = bands[0]
    for i, band in enumerate(bands[1:], start=1):
        across = jnp.swapaxes(band, 1, 2)
        border = border.at[: len(band)].add(band).at[i : i + len(band)].add(across)
    main, to_next, to_second = (band[:, :size, :size] for band in bands)
    return _System(
        main=main,
        to_next=to_next,
        to_second=to_second,
        border=border[:, :size],
        corner=jnp.sum(border, axis=0),
        by_frame=gradient[:, :size],
        by_clip=jnp.sum(gradient, axis=0),
    )


def _with_priors(system: _System, x: Array, g: Array, priors: _Priors) -> _System:
    eye = jnp.eye(x.shape[1])
    diagonal = (
        jnp.broadcast_to(priors.varying, x.shape).at[1:].add(priors.steps).at[:-1].add(priors.steps)
    )
    step = priors.steps * (x[1:] - x[:-1])
    by_frame = system.by_frame + priors.varying * x
    return system.replace(  # pyright: ignore[reportAttributeAccessIssue]
        main=system.main + diagonal[..., None] * eye,
        to_next=system.to_next - priors.steps[..., None] * eye,
        corner=system.corner + jnp.diag(priors.clip),
        by_frame=by_frame.at[1:].add(step).at[:-1].add(-step),
        by_clip=system.by_clip + priors.clip * g,
    )
