"""The same descent by a well-kept general optimizer: L-BFGS of optax, for `benchmark_optimizers.py`.

It minimises the same terms at their final weights from the same starts. Like Levenberg-Marquardt it may
refresh the neighbor lists between rounds; unlike it, it knows nothing of the problem's structure.
"""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from hoijax.losses.term import default_weights, evaluate, final_total
from hoijax.methods.hoi_page.terms import object_problem
from hoijax.methods.passes import Prepared
from hoijax.scene.scene import Scene
from hoijax.solver.problem import Problem, Solution, result_code

ROUNDS = 3


def descend_lbfgs(prepared: Prepared, steps: int) -> Solution:
    """All candidates of a prepared scene, `steps` iterations each (every one with its line search)."""
    problem, weights = object_problem(prepared.terms), default_weights(prepared.terms)
    given = prepared.scene, prepared.initial, prepared.neighbors, weights
    return jax.block_until_ready(_solve(problem, *given, steps=steps))


@partial(jax.jit, static_argnames=("problem", "steps"))
def _solve(problem: Problem, scene: Scene, initial, neighbors, weights, *, steps: int) -> Solution:
    solver = optax.lbfgs(memory_size=10)
    terms = problem.terms

    def one(unknowns, neighbors):
        def one_round(carry, _):
            unknowns, neighbors = carry
            neighbors = problem.refresh(scene, unknowns, neighbors, jnp.asarray(True))

            def loss(unknowns):
                return evaluate(terms, problem.pose(scene, unknowns, neighbors), weights, 1.0)[0]

            slope = optax.value_and_grad_from_state(loss)

            def step(carry, _):
                unknowns, state = carry
                with jax.numpy_dtype_promotion("standard"):
                    value, gradient = slope(unknowns, state=state)
                    updates, state = solver.update(
                        gradient, state, unknowns, value=value, grad=gradient, value_fn=loss
                    )
                    unknowns = optax.apply_updates(unknowns, updates)
                return (unknowns, state), None

            start = unknowns, solver.init(unknowns)
            (unknowns, _), _ = jax.lax.scan(step, start, None, length=max(steps // ROUNDS, 1))
            report = evaluate(terms, problem.pose(scene, unknowns, neighbors), weights, 1.0)[1]
            return (unknowns, neighbors), report

        (unknowns, _), reports = jax.lax.scan(one_round, (unknowns, neighbors), None, length=ROUNDS)
        losses = final_total(terms, reports, weights)
        finite = jnp.isfinite(losses[-1])
        return Solution(
            unknowns=unknowns,
            losses=losses[-1],
            initial_losses=losses[0],
            reports=reports[-1],
            codes=result_code(losses[-1], finite, losses),
            history=reports,
        )

    return jax.vmap(one)(initial, neighbors)
