"""Where a step goes: time of every loss term alone (value with gradient, and curvature), and of the rest.

    python scripts/profile_terms.py --table default --json out/profile.json

The problem is that of `benchmark_speed.py`: 49 frames, K candidates, 1,024 points, 10k vertices. A
term alone cannot share work with others, so the sum of the rows is more than the whole. Bytes and
floating point operations are XLA's own count of the compiled program.
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
from speed_problem import ProblemSize, build_problem

from hoijax.losses.term import default_weights, evaluate, reduce_term, weights_at
from hoijax.methods.hoi_page import TERMS, object_problem
from hoijax.methods.object_curvature import with_curvature
from hoijax.rotations import rotation_6d_to_matrix
from hoijax.runtime import describe_device, enable_compilation_cache, versions
from hoijax.scene import PosedScene
from hoijax.solver.neighbours import empty_neighbours, refresh_vertices
from hoijax.solver.newton import banded_step, total_curvature


@dataclass(frozen=True)
class Options:
    """Options of the profile."""

    table: str = "default"
    """Terms: "default" or "hoi-page"."""
    inits: int = 4
    repeats: int = 10
    json: Path | None = None


def measure(name: str, function: Callable, arguments: tuple, repeats: int) -> dict[str, Any]:
    """Median time of a compiled function over its repeats, with XLA's count of its work."""
    compiled = jax.jit(function).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - begun)
    cost = compiled.cost_analysis() or {}
    middle = float(np.median(seconds))
    return {
        "what": name,
        "ms": round(1e3 * middle, 3),
        "MB": round(cost.get("bytes accessed", 0.0) / 1e6, 2),
        "MFLOP": round(cost.get("flops", 0.0) / 1e6, 2),
        "GB/s": round(cost.get("bytes accessed", 0.0) / middle / 1e9, 2),
    }


def profile(options: Options) -> list[dict[str, Any]]:
    """Rows of the table."""
    problem = build_problem(ProblemSize(inits=options.inits))
    scene, starts = problem.scene, problem.starts.batch()
    terms = with_curvature(TERMS[options.table])
    weights = default_weights(terms)
    lists = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (options.inits, *x.shape)), empty_neighbours(scene)
    )
    refresh = jax.vmap(lambda u, n: refresh_vertices(scene, u, n))
    lists = jax.jit(refresh)(starts, lists)
    rotations, translations = rotation_6d_to_matrix(starts.rotation_6d), starts.translation
    inputs = (rotations, translations, lists)

    def posed_of(rotations, translations, neighbours):
        return PosedScene(scene, rotations, translations, neighbours)

    def sloped(loss: Callable) -> Callable:
        def one(rotations, translations, neighbours):
            def of(poses):
                return loss(posed_of(poses[0], poses[1], neighbours))

            return jax.value_and_grad(of)((rotations, translations))

        return jax.vmap(one)

    def curved(some: tuple) -> Callable:
        current = weights_at(some, weights, 1.0)
        return jax.vmap(lambda r, t, n: total_curvature(some, posed_of(r, t, n), current))

    rows = []
    whole = sloped(lambda posed: evaluate(terms, posed, weights, 1.0)[0])
    rows.append(measure("value and gradient, all", whole, inputs, options.repeats))
    rows.append(measure("curvature, all", curved(terms), inputs, options.repeats))
    blocks = jax.jit(curved(terms))(*inputs)
    gradient = jnp.ones((*translations.shape[:-1], 6))
    step = jax.vmap(lambda blocks, gradient: banded_step(blocks, gradient, jnp.asarray(1e-2)))
    rows.append(measure("banded solve", step, (blocks, gradient), options.repeats))
    rows.append(measure("vertex neighbours", refresh, (starts, lists), options.repeats))
    update = object_problem(terms).refresh
    if any(term.reads_pixel_neighbours for term in terms):
        never = jnp.asarray(False)
        pixels = jax.vmap(lambda u, n: update(scene, u, n, never))
        rows.append(measure("pixel neighbours", pixels, (starts, lists), options.repeats))
    for term in terms:
        alone = sloped(lambda posed, term=term: reduce_term(term, posed))
        rows.append(measure(f"{term.name}: value, gradient", alone, inputs, options.repeats))
        single = (dataclasses.replace(term),)
        rows.append(measure(f"{term.name}: curvature", curved(single), inputs, options.repeats))
    return rows


def main() -> None:
    options = tyro.cli(Options)
    enable_compilation_cache()
    rows = profile(options)
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=120).print(f"device: {describe_device()}", table)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        content = {"device": describe_device(), "versions": versions(), "rows": rows}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
