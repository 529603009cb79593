"""Every term in every frame: where a loss comes from, and what a stitched trajectory costs."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hoijax.losses.term import Weights, scale_arguments
from hoijax.scene.posed import pose_scene
from hoijax.scene.scene import Neighbors, Scene, Unknowns
from hoijax.solver.neighbor_lists import empty_neighbors
from hoijax.solver.problem import Problem


def frame_terms(
    problem: Problem,
    scene: Scene,
    unknowns: Unknowns,
    states: Float[Array, "K E T"],
    weights: Weights | None = None,
) -> Float[Array, "K n T"]:
    """Unweighted terms of K candidates, summed over their entities; the mean over T is the term.

    states: in which frames each edge counts. weights: for the robust scales; without them the terms'
    own. Neighbors are chosen anew.
    """
    return _frame_terms(problem, scene, unknowns, states, (empty_neighbors(scene), weights))


@jax.jit(static_argnums=0)
def _frame_terms(
    problem: Problem,
    scene: Scene,
    unknowns: Unknowns,
    states: Float[Array, "K E T"],
    given: tuple[Neighbors, Weights | None],
) -> Float[Array, "K n T"]:
    empty, weights = given

    def one(unknowns: Unknowns, state: Array) -> Array:
        near = dataclasses.replace(empty, contact_state=state)
        near = problem.refresh(scene, unknowns, near, jnp.asarray(True))
        posed = pose_scene(scene, unknowns, near)
        rows = []
        for term in problem.terms:
            values, mask = term.function(posed, *scale_arguments(term, weights))
            kept = jnp.where(mask, values, 0.0)
            rows.append(jnp.sum(kept.reshape(-1, kept.shape[-1]), axis=0))
        return jnp.stack(rows)

    return jax.vmap(one)(unknowns, states)
