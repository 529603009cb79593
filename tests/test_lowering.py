"""The solver is lowered for cpu, cuda and tpu on this machine, and asks for nothing that TPUs dislike."""

import re
from functools import partial

import jax
import jax.export
import jax.numpy as jnp
import pytest
from anchor_factory import make_anchor
from test_batch import K, make_jobs

from hoijax.losses.term import default_weights
from hoijax.methods.anchor_terms import TERMS as ANCHOR_TERMS
from hoijax.methods.anchor_terms import anchor_problem
from hoijax.methods.hoi_page import DEFAULT_TERMS, PUBLISHED_TERMS, object_problem
from hoijax.methods.object_curvature import with_curvature
from hoijax.solver.halving import halving_rungs
from hoijax.solver.newton import optimise_newton
from hoijax.solver.optimise import Schedule, optimise

PLATFORMS = ("cpu", "cuda", "tpu")
KNOWN_CALLS = re.compile(r"(lapack|cusolver|cublas|hipsolver)_\w+|Sharding|SPMD\w+")
"""Factorisations of 6 x 6 blocks, each for its platform; on TPU they are operations of XLA itself."""


def disliked(text: str) -> list[str]:
    """What a lowered program holds that a TPU does not do or does badly."""
    found = []
    if re.search(r"[<x]f64[>x]|tensor<f64", text):
        found.append("float64")
    if re.search(r"tensor<(\d+x)*\?", text):
        found.append("a dynamic shape")
    if re.search(r"stablehlo\.(infeed|outfeed|send|recv)\b", text):
        found.append("talk with the host")
    calls = set(re.findall(r"custom_call @([\w.]+)", text))
    found += sorted(call for call in calls if not KNOWN_CALLS.fullmatch(call))
    return found


def lowered(solve, *given) -> str:
    exported = jax.export.export(jax.jit(solve), platforms=PLATFORMS)(*given)
    assert exported.platforms == PLATFORMS
    return exported.mlir_module()


@pytest.fixture(scope="module")
def job():
    return make_jobs(1)[0]


def lm(job):
    terms = with_curvature(DEFAULT_TERMS)
    problem = object_problem(terms)
    halving = halving_rungs(K, 4)
    solve = partial(optimise_newton, problem, rounds=4, steps=1, halving=halving)
    return solve, (job.scene, job.initial, job.neighbours, default_weights(terms))


def adam(job):
    problem = object_problem(PUBLISHED_TERMS)
    solve = partial(optimise, problem, steps=2, refresh_every=1)
    rates = Schedule(jnp.asarray(0.01), jnp.asarray(1e-3))
    weights = default_weights(PUBLISHED_TERMS)
    return solve, (job.scene, job.initial, job.neighbours, weights, rates)


def anchor_motion(job):
    scene, unknowns, neighbours = make_anchor()
    many = partial(jax.tree.map, lambda x: jnp.stack([x] * K))
    solve = partial(optimise, anchor_problem(ANCHOR_TERMS), steps=2, refresh_every=1)
    rates = Schedule(jnp.asarray(0.01), jnp.asarray(1e-3))
    weights = default_weights(ANCHOR_TERMS)
    return solve, (scene, many(unknowns), many(neighbours), weights, rates)


@pytest.mark.slow
@pytest.mark.parametrize("method", [lm, adam, anchor_motion], ids=lambda method: method.__name__)
def test_every_method_lowers_for_every_platform(job, method):
    solve, given = method(job)
    text = lowered(solve, *given)
    assert "stablehlo.while" in text, "the loop is in the program"
    assert disliked(text) == []


def test_what_tpus_dislike_would_be_found():
    def talks(x):
        return jax.pure_callback(lambda y: y, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    text = jax.jit(talks).lower(jnp.ones(3)).as_text()  # callbacks cannot even be exported
    assert any("callback" in found for found in disliked(text))
    with jax.enable_x64(True):
        assert "float64" in disliked(lowered(lambda x: x * 2.0, jnp.ones(3, jnp.float64)))
    (count,) = jax.export.symbolic_shape("n")
    any_length = jax.ShapeDtypeStruct((count,), jnp.float32)
    assert "a dynamic shape" in disliked(lowered(lambda x: x * 2, any_length))
    assert disliked(lowered(lambda x: x * 2, jnp.ones(3))) == []
