"""Scenes, losses and solvers as functions on arrays: what a researcher holds in a notebook.

Names and checks end here; below are pure functions of pytrees, free to be jitted, differentiated and
mapped.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.errors import UserError
from hoijax.initialization import starts
from hoijax.losses.term import LossFunction, LossTerm, Weights, default_weights, evaluate
from hoijax.objects.asset import Asset, load_asset
from hoijax.scene.posed import pose_scene
from hoijax.scene.scene import Neighbors, Scene, Unknowns
from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
from hoijax.solver.neighbor_lists import (
    empty_neighbors,
    first_neighbors,
    refresh_all,
    refresh_bodies,
)
from hoijax.solver.problem import Problem, Solution, SolverInputs
from hoijax.solver.resumable import Solver, optimize

__all__ = ["load_object", "minimize", "search_starts", "total_loss"]

TermWeights = Mapping[str, Any] | Float[Array, " n"] | None


def load_object(spec: str | Path, *, name: str | None = None, scale: float = 1.0) -> Asset:
    """A mesh file (glb, gltf, obj, ply, stl) or a procedural object by its name, for `Scene.from_arrays`.

    name: that contacts call it; the file's stem by default. scale: from the file's unit to metres.
    """
    return load_asset(spec, name=name, scale=scale)


def search_starts(scene: Scene, count: int = 6) -> Unknowns:
    """K distinct starts, (K, ...): paths through a search of poses; turns about y where nothing was observed.

    Runs on the host between compiled parts: not for `jit`.
    """
    if count < 1:
        raise UserError(f"count must be at least 1, got {count}.")
    if np.asarray(scene.observed.point_mask).any(axis=(1, 2)).all():
        alike = [np.eye(3)[None]] * scene.object_count
        return starts.search_starts(scene, alike, count).unknowns
    return _turns(scene, count)


def _turns(scene: Scene, count: int) -> Unknowns:
    """Even turns about y, where the contacts of an object are, or standing over the origin."""
    shape = (count, scene.object_count, scene.frame_count)
    angles = 2.0 * np.pi * np.arange(count) / count
    zero = np.zeros(count)
    six = np.stack([np.cos(angles), zero, -np.sin(angles), zero, zero + 1.0, zero], axis=-1)
    centers = np.zeros((*shape[1:], 3))
    centers[..., 1] = -np.asarray(scene.objects.samples)[..., 1].min(axis=1)[:, None]
    edges = scene.edges
    for o in range(scene.object_count):
        of_body = np.asarray(edges.mask & (edges.target == o) & (edges.source == shape[1]))
        slots = np.asarray(edges.slot_mask)[of_body]
        if of_body.any():
            centers[o] = np.asarray(edges.points)[of_body][slots].mean(axis=(0, 2))
    return Unknowns(
        jnp.asarray(np.broadcast_to(six[:, None, None], (*shape, 6)), jnp.float32),
        jnp.asarray(np.broadcast_to(centers, (*shape, 3)), jnp.float32),
    )


def total_loss(
    scene: Scene,
    terms: Sequence[LossTerm | LossFunction],
    weights: TermWeights = None,
    neighbors: Neighbors | None = None,
) -> Callable[[Unknowns], Float[Array, ""]]:
    """x -> weighted sum of the terms for one candidate, at the end of their schedules.

    terms: a plain function is a term of its own name and weight 1.
    neighbors: look-ups to hold; by default they are derived from x, without gradient.
    """
    problem = _problem(terms)
    numbers = _weights(problem.terms, weights)

    def loss(unknowns: Unknowns) -> Float[Array, ""]:
        near = neighbors
        if near is None:
            here = jax.lax.stop_gradient(unknowns)
            near = problem.refresh(scene, here, empty_neighbors(scene), jnp.asarray(True))
        return evaluate(problem.terms, problem.pose(scene, unknowns, near), numbers, 1.0)[0]

    return loss


def minimize(
    scene: Scene,
    terms: Sequence[LossTerm | LossFunction],
    x0: Unknowns,
    solver: Solver | None = None,
    weights: TermWeights = None,
) -> Solution:
    """Minimize the terms from K starts, `x0` with a leading axis K; works under `jit` and `vmap`.

    terms: a plain function is a term of its own name and weight 1. solver: `LevenbergMarquardt(rounds=12)` by default; `Adam(...)` for bodies that move. weights: numbers
    by name of a term, traced or not, or one array in the order of the terms. Raises UserError for an x0
    of another shape and weights of no term.
    """
    expected = (scene.object_count, scene.frame_count, 3)
    if x0.object_translation.ndim != 4 or x0.object_translation.shape[1:] != expected:
        raise UserError(
            f"x0 needs a leading axis of candidates: object_translation (K, {scene.object_count}, "
            f"{scene.frame_count}, 3), got {x0.object_translation.shape}."
        )
    count = x0.object_translation.shape[0]
    states = np.ones((count, scene.edges.mask.shape[0], scene.frame_count), np.float32)
    problem, neighbors = _problem(terms), first_neighbors(scene, states)
    inputs = SolverInputs(problem, scene, x0, neighbors, _weights(problem.terms, weights))
    return optimize(solver or LevenbergMarquardt(rounds=12), inputs)


def _problem(given: Sequence[LossTerm | LossFunction]) -> Problem:
    for term in given:
        if not isinstance(term, LossTerm) and not hasattr(term, "__name__"):
            raise UserError(f"terms are LossTerms or functions of the posed scene, got {term!r}.")
    terms = [
        term if isinstance(term, LossTerm) else LossTerm.constant(term.__name__, term, 1.0)
        for term in given
    ]
    names = [term.name for term in terms]
    if not names or len(set(names)) < len(names):
        raise UserError(f"terms need names of their own, at least one: {names}.")
    reads_pixels = any(term.reads_pixel_neighbors for term in terms)
    return Problem(tuple(terms), pose_scene, refresh_all if reads_pixels else refresh_bodies)


def _weights(terms: Sequence[LossTerm], given: TermWeights) -> Weights:
    """The terms' own weights with the given ones in their place; those may be traced."""
    weights = default_weights(terms)
    if given is None:
        return weights
    if not isinstance(given, Mapping):
        values = jnp.asarray(given, jnp.float32)
        if values.shape != (len(terms),):
            raise UserError(
                f"weights need one number for each of {len(terms)} terms: {values.shape}."
            )
        given = dict(zip([term.name for term in terms], values, strict=True))
    unknown = sorted(set(given) - set(weights))
    if unknown:
        raise UserError(f"weights of no term: {unknown}. Known: {sorted(weights)}.")
    ramps = {name: jnp.asarray(value, jnp.float32) for name, value in given.items()}
    return weights | {name: jnp.broadcast_to(ramp, (2,)) for name, ramp in ramps.items()}
