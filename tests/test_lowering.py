"""The solver is lowered for cpu, cuda and tpu on this machine, and asks for nothing that TPUs dislike."""

import re
from functools import partial

import jax
import jax.export
import jax.numpy as jnp
import pytest
from anchor_factory import make_anchor
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as Spec
from test_batch import K, make_jobs

from hoijax.losses.term import default_weights
from hoijax.methods.anchor_motion.terms import TERMS as ANCHOR_TERMS
from hoijax.methods.anchor_motion.terms import anchor_problem
from hoijax.methods.hoi_page.terms import DEFAULT_TERMS, PUBLISHED_TERMS, object_problem
from hoijax.solver.adam import Adam
from hoijax.solver.halving import halving_rungs
from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
from hoijax.solver.problem import Problem, SolverInputs
from hoijax.solver.resumable import Solver, optimize

DEVICES = 8
COLLECTIVES = (
    "all_reduce|all_gather|all_to_all|reduce_scatter|collective_permute|collective_broadcast"
)
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


def collectives(text: str) -> list[str]:
    """How devices talk to each other in a lowered program."""
    return sorted(set(re.findall(rf"(?:stablehlo|sdy)\.({COLLECTIVES})\b", text)))


def lowered(solve, *given) -> str:
    exported = jax.export.export(jax.jit(solve), platforms=PLATFORMS)(*given)
    assert exported.platforms == PLATFORMS
    return exported.mlir_module()


def over_devices(solve, given):
    """`solve` of a scene on each of eight devices, as `solver.batch` maps it, and shapes of its input.

    In a `shard_map` a program is what each device does: the compiler adds no communication.
    """
    mesh = AbstractMesh((DEVICES,), ("scenes",))

    def own(*given):
        found = solve(*jax.tree.map(lambda x: x[0], given))
        return jax.tree.map(lambda x: x[None], found)

    mapped = jax.shard_map(
        own, mesh=mesh, in_specs=Spec("scenes"), out_specs=Spec("scenes"), check_vma=False
    )
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((DEVICES, *x.shape), x.dtype), given)
    return mapped, shapes


@pytest.fixture(scope="module")
def job():
    return make_jobs(1)[0]


def solve_by(solver: Solver, problem: Problem):
    return lambda *given: optimize(solver, SolverInputs(problem, *given))


def lm(job):
    solver = LevenbergMarquardt(rounds=4, steps=1, halving=halving_rungs(K, 4))
    given = job.scene, job.initial, job.neighbors, default_weights(DEFAULT_TERMS)
    return solve_by(solver, object_problem(DEFAULT_TERMS)), given


def adam(job):
    solve = solve_by(Adam(steps=2, refresh_every=1), object_problem(PUBLISHED_TERMS))
    return solve, (job.scene, job.initial, job.neighbors, default_weights(PUBLISHED_TERMS))


def anchor_motion(job):
    scene, unknowns, neighbors = make_anchor()
    many = partial(jax.tree.map, lambda x: jnp.stack([x] * K))
    solve = solve_by(Adam(steps=2, refresh_every=1), anchor_problem(ANCHOR_TERMS))
    return solve, (scene, many(unknowns), many(neighbors), default_weights(ANCHOR_TERMS))


@pytest.mark.slow
@pytest.mark.parametrize("method", [lm, adam, anchor_motion], ids=lambda method: method.__name__)
def test_every_method_lowers_for_every_platform(job, method):
    solve, given = method(job)
    mapped, shapes = over_devices(solve, given)
    text = lowered(mapped, *shapes)
    assert "stablehlo.while" in text, "the loop is in the program"
    assert disliked(text) == []
    assert collectives(text) == []


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
    mapped, shapes = over_devices(lambda x: jax.lax.psum(x, "scenes"), (jnp.ones(3),))
    assert collectives(lowered(mapped, *shapes)) == ["all_reduce"]
