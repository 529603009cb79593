"""Where a step goes: time of every loss term alone (value with gradient, and curvature), and of the rest.

    python -m scripts.benchmarks.profile_terms --table default --json out/profile.json

The problem is that of `benchmark_speed.py`: 49 frames, K candidates, 1,024 points, 10k vertices. A
term alone cannot share work with others, so the sum of the rows is more than the whole. Bytes and
floating point operations are XLA's own count of the compiled program.

Two limits of the machine are measured beside: bytes a second of a plain stream (y = a x + y), and rows a
second that can be gathered from a table of distance grids (32 bytes each, eight corners of a cell) by
indices that are known already. What looks distances up is held to the second: "of gather" is the share of
a term's time that gathering its rows alone takes.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from hoijax.geometry.rotations import rotation_6d_to_matrix
from hoijax.losses.term import default_weights, evaluate, reduce_term, weights_at
from hoijax.methods.hoi_page.terms import TERMS, object_problem
from hoijax.runtime import describe_device, enable_compilation_cache, versions
from hoijax.scene.posed import pose_objects
from hoijax.scene.scene import Scene
from hoijax.solver.levenberg_marquardt import banded_step, total_curvature
from hoijax.solver.neighbor_lists import empty_neighbors, refresh_vertices
from scripts.benchmarks.speed_problem import ProblemSize, build_problem

TURNS = 8


@dataclass(frozen=True)
class Options:
    """Options of the profile."""

    table: str = "default"
    """Terms: "default" or "hoi-page"."""
    inits: int = 4
    repeats: int = 10
    json: Path | None = None


def looped(function: Callable, length: int) -> Callable:
    """`function` `length` times in a loop, as the solver calls it; no turn is ready before the last is.

    Outside of loops XLA on CPU interleaves independent terms, whose intermediates then push each
    other out of the cache: all terms together took 1.5 times as long as in the solver.
    """

    def turns(first: Any, *others: Any) -> jax.Array:
        def turn(shift: jax.Array, _: None) -> tuple[jax.Array, None]:
            moved = jax.tree.map(lambda x: x + shift.astype(x.dtype), first)
            sums = [jnp.sum(leaf) for leaf in jax.tree.leaves(function(moved, *others))]
            return 1e-30 * jnp.sum(jnp.stack(sums).astype(jnp.float32)), None

        return jax.lax.scan(turn, jnp.zeros(()), None, length=length)[0]

    return turns


def measure(
    name: str, function: Callable, arguments: tuple, repeats: int, length: int = TURNS
) -> dict[str, Any]:
    """Least time of a compiled function over its repeats, with XLA's count of its work."""
    plain = jax.jit(function).lower(*arguments).compile()
    cost = plain.cost_analysis() or {}
    compiled = plain
    if length > 1:
        compiled = jax.jit(looped(function, length)).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    wall, cpu = [], []
    for _ in range(repeats):
        begun = time.perf_counter(), time.process_time()
        jax.block_until_ready(compiled(*arguments))
        wall.append((time.perf_counter() - begun[0]) / length)
        cpu.append((time.process_time() - begun[1]) / length)
    least = min(wall)  # of a shared machine, the least disturbed turn
    return {
        "what": name,
        "ms": round(1e3 * least, 3),
        "cpu ms": round(1e3 * min(cpu), 3),
        "MB": round(cost.get("bytes accessed", 0.0) / 1e6, 2),
        "MFLOP": round(cost.get("flops", 0.0) / 1e6, 2),
        "GB/s": round(cost.get("bytes accessed", 0.0) / least / 1e9, 2),
    }


def limits(corners: jax.Array, repeats: int) -> tuple[dict[str, float], float]:
    """({"stream GB/s"}, seconds of gathering one row of the grids at random)."""
    x = jnp.ones(2**25)
    stream = measure("stream", lambda x, y: 2.0 * x + y, (x, x), repeats, 1)
    table = corners.reshape(-1, 8)
    rows = np.random.default_rng(0).integers(0, len(table), 2**18).astype(np.int32)
    gather = measure(
        "gather",
        lambda table, rows: table.at[rows].get(mode="promise_in_bounds"),
        (table, jnp.asarray(rows)),
        repeats,
        1,
    )
    return {"stream GB/s": round(3 * 4 * x.size / stream["ms"] / 1e6, 1)}, gather["ms"] / len(rows)


def looked_up(scene: Scene, inits: int, active: int) -> dict[str, int]:
    """Distances that a term looks up in one evaluation of all candidates."""
    o, t, n = scene.observed.points_world.shape[:3]
    people = scene.body_vertices_world.shape[0]
    e, sides, _, c = scene.edges.points.shape[:4]
    counts = {
        "object_points": o * t * n,
        "part_points": o * t * n,
        "penetration": o * people * t * active,
        "contact": e * sides * t * c,
    }
    return {name: inits * count for name, count in counts.items()}


def profile(options: Options) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Rows of the table, and the limits of the machine."""
    problem = build_problem(ProblemSize(inits=options.inits))
    scene, starts = problem.scene, problem.starts.batch()
    terms = TERMS[options.table]
    weights = default_weights(terms)
    lists = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (options.inits, *x.shape)), empty_neighbors(scene)
    )
    refresh = jax.vmap(lambda u, n: refresh_vertices(scene, u, n))
    lists = jax.jit(refresh)(starts, lists)
    rotations, translations = (
        rotation_6d_to_matrix(starts.object_rotation_6d),
        starts.object_translation,
    )
    inputs = (rotations, translations, lists)

    def posed_of(rotations, translations, neighbors):
        return pose_objects(scene, rotations, translations, neighbors)

    def sloped(loss: Callable) -> Callable:
        def one(rotations, translations, neighbors):
            def of(poses):
                return loss(posed_of(poses[0], poses[1], neighbors))

            return jax.value_and_grad(of)((rotations, translations))

        return jax.vmap(one)

    def curved(some: tuple) -> Callable:
        current = weights_at(some, weights, 1.0)
        return jax.vmap(lambda r, t, n: total_curvature(some, posed_of(r, t, n), current))

    ceilings, row_ms = limits(scene.grids.corners, options.repeats)
    queries = looked_up(scene, options.inits, lists.active_vertices.shape[-1])
    rows = []
    whole = sloped(lambda posed: evaluate(terms, posed, weights, 1.0)[0])
    rows.append(measure("value and gradient, all", whole, inputs, options.repeats))
    rows.append(measure("curvature, all", curved(terms), inputs, options.repeats))
    blocks = jax.jit(curved(terms))(*inputs)
    gradient = jnp.ones((*translations.shape[:-1], 6))
    step = jax.vmap(lambda blocks, gradient: banded_step(blocks, gradient, jnp.asarray(1e-2)))
    rows.append(measure("banded solve", step, (blocks, gradient), options.repeats))
    rows.append(measure("vertex neighbors", refresh, (starts, lists), options.repeats))
    update = object_problem(terms).refresh
    if any(term.reads_pixel_neighbors for term in terms):
        never = jnp.asarray(False)
        pixels = jax.vmap(lambda u, n: update(scene, u, n, never))
        rows.append(measure("pixel neighbors", pixels, (starts, lists), options.repeats))
    for term in terms:
        alone = sloped(lambda posed, term=term: reduce_term(term, posed))
        row = measure(f"{term.name}: value, gradient", alone, inputs, options.repeats)
        if term.name in queries:
            row["of gather"] = round(queries[term.name] * row_ms / row["ms"], 2)
        rows.append(row)
        single = (dataclasses.replace(term),)
        rows.append(measure(f"{term.name}: curvature", curved(single), inputs, options.repeats))
    ceilings["random rows / us"] = round(1e-3 / row_ms, 1)
    return rows, ceilings


def main() -> None:
    options = tyro.cli(Options)
    enable_compilation_cache()
    rows, ceilings = profile(options)
    columns = (*rows[0], "of gather")
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    Console(width=120).print(f"device: {describe_device()}", table, ceilings)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "device": describe_device(),
            "versions": versions(),
            "limits": ceilings,
            "rows": rows,
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
