"""Every term in every frame: where a loss comes from, and what a stitched trajectory costs."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hoijax.losses.term import Weights, scale_arguments
from hoijax.programs import program
from hoijax.solver.problem import Problem


@program(static=("problem",))
def frame_terms(
    problem: Problem, scene: Any, unknowns: Any, neighbors: Any, weights: Weights | None = None
) -> Float[Array, "K n T"]:
    """Unweighted terms of K candidates, summed over their entities; the mean over T is the term.

    neighbors: of which only what no refresh chooses counts (contact states). weights: for the robust
    scales; without them the terms' own.
    """

    def one(unknowns: Any, near: Any) -> Array:
        near = problem.refresh(scene, unknowns, near, jnp.asarray(True))
        posed = problem.pose(scene, unknowns, near)
        rows = []
        for term in problem.terms:
            values, mask = term.function(posed, *scale_arguments(term, weights))
            counted = jnp.where(mask, values, 0.0)
            rows.append(jnp.sum(counted.reshape(-1, counted.shape[-1]), axis=0))
        return jnp.stack(rows)

    return jax.vmap(one)(unknowns, neighbors)
