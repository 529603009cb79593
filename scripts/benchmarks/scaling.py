"""Time and memory of the descent against every size of the problem, with a fitted exponent.

    python -m scripts.benchmarks.scaling --json out/scaling.json --plot out/scaling.png
    python -m scripts.benchmarks.scaling --axes inits frames

One size at a time grows, the others stay at the base problem (a small one, so that the largest sizes fit a
small machine). Time is the least of a few turns of a fixed number of Levenberg-Marquardt rounds without
halving, in CPU seconds on a CPU (a shared machine changes the wall clock, not the work) and in wall seconds
elsewhere; memory is what the compiler reserves for temporaries. Exponents are slopes of a straight line
through the logarithms of the upper half of the sizes: 1 is linear.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from hoijax.losses.term import default_weights
from hoijax.methods.hoi_page.stages import first_neighbors
from hoijax.methods.hoi_page.terms import DEFAULT_TERMS, object_problem
from hoijax.runtime import describe_device, enable_compilation_cache, versions
from hoijax.scene.scene import Scene, Unknowns
from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
from hoijax.solver.problem import SolverInputs
from hoijax.solver.resumable import optimize
from scripts.benchmarks.speed_problem import ProblemSize, build_problem

BASE = ProblemSize(frames=49, inits=2, points=256, samples=4096, vertices=4096, contact_points=16)
SIZES: dict[str, tuple[int, ...]] = {
    "inits": (1, 4, 16, 64, 256, 1024),
    "frames": (49, 100, 200, 400, 600),
    "points": (128, 512, 2048, 8192),
    "vertices": (2048, 8192, 32768),
    "contact_points": (8, 32, 128, 512),
    "parts": (4, 8, 16, 32),
    "objects": (1, 2, 4, 8),
    "people": (1, 2, 4, 8),
}
ROUNDS, STEPS = 2, 3


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    axes: tuple[str, ...] = tuple(SIZES)
    """Sizes that grow."""
    largest: int = 10**9
    """Leave out sizes above this."""
    turns: int = 3
    json: Path | None = None
    """Write rows here; rows of other axes that are there already stay."""
    plot: Path | None = None


def problem_of(axis: str, size: int) -> tuple[Scene, Unknowns]:
    """Scene and starts with one size changed."""
    named = {field.name for field in dataclasses.fields(ProblemSize)}
    made = build_problem(dataclasses.replace(BASE, **({axis: size} if axis in named else {})))
    scene, starts = made.scene, made.starts.batch()
    if axis == "people":
        bodies = jnp.repeat(scene.body_vertices_world, size, axis=0)
        scene = dataclasses.replace(scene, body_vertices_world=bodies)
    if axis == "parts":
        scene = _more_parts(scene, size)
    if axis == "objects":
        scene, starts = _more_objects(scene, starts, size)
    return scene, starts


def _more_parts(scene: Scene, count: int) -> Scene:
    """More grids, and points that are spread over all of them."""
    corners = scene.grids.corners
    rows = jnp.arange(2 + count)
    corners = corners[jnp.where(rows < 2, rows, 2 + (rows - 2) % (corners.shape[0] - 2))]
    observed = scene.observed
    labels = jnp.arange(observed.part_grids.shape[-1]) % count
    shares = jax.nn.one_hot(labels, count) * count / len(labels)
    shape = (*observed.part_grids.shape, count)
    observed = dataclasses.replace(
        observed,
        part_grids=jnp.broadcast_to(2 + labels, observed.part_grids.shape).astype(jnp.int32),
        part_shares=jnp.broadcast_to(shares, shape),
        part_of_sample=jnp.resize(
            observed.part_of_sample, (1, count, observed.part_of_sample.shape[-1])
        ),
    )
    grids = dataclasses.replace(scene.grids, corners=corners)
    return dataclasses.replace(scene, grids=grids, observed=observed)


def _more_objects(scene: Scene, starts: Unknowns, count: int) -> tuple[Scene, Unknowns]:
    """Copies of the object side by side, each with contact edges of its own."""

    def repeat(tree: Any, axis: int = 0) -> Any:
        return jax.tree.map(lambda x: jnp.repeat(x, count, axis=axis), tree)

    each = scene.grids.corners.shape[0]
    edges, objects = scene.edges, scene.objects
    owner = jnp.tile(jnp.arange(count), len(edges.target))
    edges = dataclasses.replace(
        repeat(edges),
        target=owner,
        source=jnp.full_like(owner, count),
        grid=jnp.repeat(edges.grid, count) + each * owner,
    )
    first = objects.first_grid[0] + each * jnp.arange(count)
    grids = dataclasses.replace(
        scene.grids,
        corners=jnp.tile(scene.grids.corners, (count, 1, 1, 1, 1)),
        lower=repeat(scene.grids.lower),
        spacing=repeat(scene.grids.spacing),
    )
    scene = dataclasses.replace(
        scene,
        grids=grids,
        objects=dataclasses.replace(repeat(objects), first_grid=first),
        observed=repeat(scene.observed),
        edges=edges,
    )
    return scene, repeat(starts, axis=1)


def measure(axis: str, size: int, turns: int) -> dict[str, Any]:
    """Row of one size."""
    scene, starts = problem_of(axis, size)
    count = starts.object_translation.shape[0]
    states = np.ones((count, len(scene.edges.target), scene.frame_count), np.float32)
    neighbors, weights = first_neighbors(scene, states), default_weights(DEFAULT_TERMS)
    inputs = SolverInputs(object_problem(DEFAULT_TERMS), scene, starts, neighbors, weights)
    solver = LevenbergMarquardt(ROUNDS, STEPS)
    begun = time.perf_counter()
    program = jax.jit(partial(optimize, solver)).lower(inputs).compile()
    compile_seconds = time.perf_counter() - begun
    clock: Callable[[], float] = (
        time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    )
    seconds = []
    for _ in range(turns + 1):  # the first warms up
        begun = clock()
        jax.block_until_ready(program(inputs))
        seconds.append(clock() - begun)
    memory = program.memory_analysis()
    return {
        "axis": axis,
        "size": size,
        "seconds": min(seconds[1:]),
        "temporary_bytes": int(memory.temp_size_in_bytes) if memory else 0,
        "compile_seconds": round(compile_seconds, 2),
    }


def exponent(rows: Sequence[dict[str, Any]], key: str) -> float:
    """Slope of log(key) over log(size), upper half of the sizes."""
    upper = rows[len(rows) // 2 - (len(rows) == 3) :] if len(rows) > 2 else rows
    x = np.log([row["size"] for row in upper])
    y = np.log([max(row[key], 1e-9) for row in upper])
    return float(np.polyfit(x, y, 1)[0]) if len(upper) > 1 else float("nan")


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Time and memory of every axis, logarithmic, with a straight line of slope 1 beside each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    axes = list(dict.fromkeys(row["axis"] for row in rows))
    figure, panels = pyplot.subplots(2, len(axes), figsize=(2.6 * len(axes), 5), squeeze=False)
    for column, axis in enumerate(axes):
        mine = [row for row in rows if row["axis"] == axis]
        sizes = np.array([row["size"] for row in mine], float)
        for line, (key, label) in enumerate((("seconds", "s"), ("temporary_bytes", "bytes"))):
            values = np.array([row[key] for row in mine], float)
            panel = panels[line][column]
            panel.loglog(sizes, values, "o-")
            panel.loglog(sizes, values[-1] * sizes / sizes[-1], ":", color="gray")
            panel.set_title(f"{axis}: {label} ~ n^{exponent(mine, key):.2f}", fontsize=9)
            panel.tick_params(labelsize=7)
            for side in (panel.xaxis, panel.yaxis):
                side.set_minor_formatter(ticker.NullFormatter())
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def report(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is written: rows, and the exponents of every axis."""
    axes = dict.fromkeys(row["axis"] for row in rows)
    exponents = {
        axis: {
            key: round(exponent([row for row in rows if row["axis"] == axis], key), 2)
            for key in ("seconds", "temporary_bytes")
        }
        for axis in axes
    }
    return {
        "device": describe_device(),
        "versions": versions(),
        "exponents": exponents,
        "rows": rows,
    }


def main() -> None:
    options = tyro.cli(Options)
    enable_compilation_cache()
    rows: list[dict[str, Any]] = []
    if options.json and options.json.exists():  # other axes, measured before
        before = json.loads(options.json.read_text())["rows"]
        rows = [row for row in before if row["axis"] not in options.axes]
    for axis in options.axes:
        for size in SIZES[axis]:
            if size > options.largest:
                continue
            rows.append(row := measure(axis, size, options.turns))
            print(row, flush=True)
            jax.clear_caches()
        if options.json:  # after every axis: a long benchmark may be cut off
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(report(rows), indent=2) + "\n")
    table = Table("axis", "size", "seconds", "temporaries MB", "compile s")
    for row in rows:
        megabytes = row["temporary_bytes"] / 1e6
        table.add_row(
            row["axis"],
            str(row["size"]),
            f"{row['seconds']:.3f}",
            f"{megabytes:.1f}",
            str(row["compile_seconds"]),
        )
    Console(width=100).print(f"device: {describe_device()}", table, report(rows)["exponents"])
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
