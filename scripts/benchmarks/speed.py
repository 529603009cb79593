"""Seconds per optimization step: hoijax beside PyTorch, on the published problem size.

    python -m scripts.benchmarks.speed --json out/speed.json
    python -m scripts.benchmarks.speed --quick --baseline grids
    python -m scripts.benchmarks.speed --method anchor-motion --json out/speed_anchor_motion.json

One step moves all K initializations once. The contestants take turns in one process, round after round, so
that a busy machine slows all of them alike; read the ratios, not the seconds. Compilation is timed apart,
with the persistent cache off. Import time and peak memory come from a process that runs hoijax alone.

Contestants: `hoijax`; `torch published` (scripts/baselines/torch_published.py, the style of research code);
`torch grids` (scripts/baselines/torch_grids.py, optimized, distance grids, batched) and `torch grids, lists` (the same
with hoijax's neighbor lists: only the implementation differs).
"""

import os

os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # honest compile times
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # PyTorch's idle threads must not spin
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

REFRESH_EVERY = 20
PUBLISHED_STEPS = 600
BASELINES = ("published", "grids", "both", "none")


@dataclass
class Contestant:
    """Something that takes steps, and how long they took."""

    name: str
    run: Callable[[], int]
    """Takes some steps, waits for the device, returns their number."""
    compile_seconds: float = 0.0
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def take_turn(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        steps = self.run()
        self.wall.append((time.perf_counter() - wall) / steps)
        self.cpu.append((time.process_time() - cpu) / steps)

    def row(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "seconds_per_step": median(self.wall),
            "cpu_seconds_per_step": median(self.cpu),
            "steps_per_second": 1.0 / median(self.wall),
            "compile_seconds": self.compile_seconds,
            "rounds_seconds_per_step": self.wall,
        }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=PUBLISHED_STEPS, help="hoijax steps a round")
    parser.add_argument("--inits", type=int, default=4, help="initializations K")
    parser.add_argument("--baseline", choices=BASELINES, default="both")
    parser.add_argument("--compile", action="store_true", help="also torch.compile the grids")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 100 hoijax steps")
    parser.add_argument("--bundle", help="also time every stage of solving this bundle")
    parser.add_argument("--json", type=Path, help="write rows and summary here")
    parser.add_argument("--against", type=Path, help="earlier --json: compare ratios with it")
    parser.add_argument(
        "--method",
        choices=("hoi-page", "anchor-motion"),
        default="hoi-page",
        help="anchor-motion: steps per second and memory by candidates and frames, nothing else",
    )
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.rounds = min(arguments.steps, 100), 1
    return arguments


def hoijax_contestant(problem: Any, steps: int) -> Contestant:
    """Stage c with the published terms and constant learning rate, compiled here."""
    import jax
    import jax.numpy as jnp

    from hoijax.losses.term import default_weights
    from hoijax.methods.hoi_page.terms import PUBLISHED_TERMS, object_problem
    from hoijax.solver.adam import Adam
    from hoijax.solver.neighbor_lists import empty_neighbors
    from hoijax.solver.problem import SolverInputs
    from hoijax.solver.resumable import optimize

    count = problem.size.inits
    lists = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (count, *x.shape)), empty_neighbors(problem.scene)
    )
    inputs = SolverInputs(
        object_problem(PUBLISHED_TERMS),
        problem.scene,
        problem.starts.batch(),
        lists,
        default_weights(PUBLISHED_TERMS),
    )
    solver = Adam(steps, min(REFRESH_EVERY, steps), 0.01, 0.01)
    begin = time.perf_counter()
    compiled = jax.jit(partial(optimize, solver)).lower(inputs).compile()
    seconds = time.perf_counter() - begin

    def run() -> int:
        jax.block_until_ready(compiled(inputs))
        return steps

    return Contestant("hoijax", run, seconds)


def torch_contestants(problem: Any, arguments: argparse.Namespace) -> list[Contestant]:
    """The PyTorch fits asked for, each warmed up by one step."""
    import torch

    from hoijax.methods.hoi_page.terms import PUBLISHED_TERMS
    from scripts.baselines.torch_grids import GridFit
    from scripts.baselines.torch_problem import TorchProblem, default_device
    from scripts.baselines.torch_published import PublishedFit

    device = default_device()
    tensors = TorchProblem.from_scene(problem.scene, device)
    weights = {term.name: (term.start, term.end) for term in PUBLISHED_TERMS}
    given = tensors, problem.starts, weights

    def contestant(name: str, make: Callable[[], Any], steps: int) -> Contestant:
        begin = time.perf_counter()
        fit = make()
        seconds = time.perf_counter() - begin

        def run() -> int:
            for _ in range(steps):
                fit.step(0.5)
            if device.type == "cuda":
                torch.cuda.synchronize()
            return steps

        return Contestant(name, run, seconds)

    def grids(refresh_every: int, compiled: bool) -> Callable[[], Any]:
        return lambda: GridFit(*given, refresh_every=refresh_every, compiled=compiled)

    out = []
    if arguments.baseline in ("published", "both"):
        out.append(contestant("torch published", lambda: PublishedFit(*given), 1))
    if arguments.baseline in ("grids", "both"):
        out.append(contestant("torch grids", grids(1, False), 5))
        out.append(contestant("torch grids, lists", grids(REFRESH_EVERY, False), REFRESH_EVERY))
        if arguments.compile:
            out.append(contestant("torch grids, compiled", grids(1, True), 5))
            compiled = grids(REFRESH_EVERY, True)
            out.append(contestant("torch grids, lists, compiled", compiled, REFRESH_EVERY))
    return out


def run_alone(arguments: argparse.Namespace) -> None:
    """Child process: import time, compile time, one run and peak memory of hoijax alone, as JSON."""
    begin = time.perf_counter()
    import hoijax

    imported = time.perf_counter() - begin
    import hoijax.methods.hoi_page.method  # noqa: F401

    method_imported = time.perf_counter() - begin
    import jax

    from scripts.benchmarks.speed_problem import ProblemSize, build_problem

    problem = build_problem(ProblemSize(inits=arguments.inits))
    contestant = hoijax_contestant(problem, arguments.steps)
    contestant.take_turn()
    contestant.take_turn()
    statistics = jax.devices()[0].memory_stats() or {}
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    report = {
        "import_seconds": imported,
        "import_method_seconds": method_imported,
        "compile_seconds": contestant.compile_seconds,
        "whole_descent_seconds": min(contestant.wall) * arguments.steps,
        "peak_memory_mb": host,
        "peak_device_memory_mb": statistics.get("peak_bytes_in_use", 0) / 2**20,
    }
    print(json.dumps(report))


def measure_alone(arguments: argparse.Namespace) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "scripts.benchmarks.speed",
        "--alone",
        "--inits",
        str(arguments.inits),
    ]
    command += ["--steps", str(arguments.steps)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def time_stages(path: str, inits: int) -> dict[str, dict[str, float]]:
    """Seconds of every stage of a published-preset solve of a bundle, cold and warm."""
    from hoijax.bundle.write import read_bundle
    from hoijax.methods.hoi_page.method import METHOD
    from hoijax.methods.running import solve_bundle

    settings = METHOD.settings("hoi-page", inits=inits)
    bundle = read_bundle(path)
    return {
        run: dict(solve_bundle(METHOD, bundle, settings).run["seconds"]) for run in ("cold", "warm")
    }


def summarize(rows: list[dict[str, Any]], alone: dict[str, Any]) -> dict[str, Any]:
    """Ratios against every PyTorch contestant, by wall clock and by processor time."""
    import jax

    by_name = {row["name"]: row for row in rows}
    ours = by_name["hoijax"]
    keys = {
        "torch_published": ["torch published"],
        # The fastest of the eager and the compiled program.
        "torch_grids": ["torch grids", "torch grids, compiled"],
        "torch_lists": ["torch grids, lists", "torch grids, lists, compiled"],
    }
    summary: dict[str, Any] = {}
    for key, names in keys.items():
        theirs = [by_name[name] for name in names if name in by_name]
        for prefix, column in (
            ("ratio", "seconds_per_step"),
            ("cpu_ratio", "cpu_seconds_per_step"),
        ):
            best = min((row[column] for row in theirs), default=None)
            summary[f"{prefix}_vs_{key}"] = None if best is None else best / ours[column]
    device = jax.devices()[0]
    kind = device.device_kind if device.platform != "cpu" else platform.processor() or "cpu"
    return summary | {
        "steps_per_second": ours["steps_per_second"],
        "device": f"{device.platform}: {kind}, {os.cpu_count()} cores",
        **alone,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("jax", "jaxlib", "torch") if "torch" in sys.modules else ("jax", "jaxlib")
    return {name: version(name) for name in names} | {"python": platform.python_version()}


def print_tables(rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    ours = next(row for row in rows if row["name"] == "hoijax")
    table = Table("contestant", "ms / step", "CPU ms / step", "steps / s", "compile s", "x hoijax")
    for row in rows:
        table.add_row(
            row["name"],
            f"{1e3 * row['seconds_per_step']:.1f}",
            f"{1e3 * row['cpu_seconds_per_step']:.1f}",
            f"{row['steps_per_second']:.2f}",
            f"{row['compile_seconds']:.1f}",
            f"{row['seconds_per_step'] / ours['seconds_per_step']:.1f}",
        )
    console = Console()
    console.print(table)
    for key, value in summary.items():
        console.print(f"{key}: {value:.3g}" if isinstance(value, float) else f"{key}: {value}")


def print_comparison(summary: dict[str, Any], earlier: Path) -> None:
    """Each ratio beside that of an earlier run: ratios survive another machine, seconds do not."""
    before = json.loads(earlier.read_text())["summary"]
    print(f"against {earlier} ({before.get('device')}):")
    for key, now in summary.items():
        then = before.get(key)
        if key.startswith(("ratio_", "cpu_ratio_")) and now and then:
            print(f"  {key}: {now:.3g}, was {then:.3g} ({now / then:.2f} of it)")


def main() -> None:
    arguments = parse_arguments()
    if arguments.alone:
        run_alone(arguments)
        return
    if arguments.method == "anchor-motion":
        from scripts.benchmarks import anchor_speed as anchor

        anchor.main(anchor.Options(json=arguments.json))
        return
    alone = measure_alone(arguments)
    from scripts.benchmarks.speed_problem import ProblemSize, build_problem

    problem = build_problem(ProblemSize(inits=arguments.inits))
    contestants = [hoijax_contestant(problem, arguments.steps)]
    if arguments.baseline != "none":
        contestants += torch_contestants(problem, arguments)
    for contestant in contestants:
        contestant.run()  # warm
    for _ in range(arguments.rounds):
        for contestant in contestants:
            contestant.take_turn()
    rows = [contestant.row() for contestant in contestants]
    summary = summarize(rows, alone)
    if arguments.bundle:
        summary["stage_seconds"] = time_stages(arguments.bundle, arguments.inits)
    print_tables(rows, summary)
    if arguments.against:
        print_comparison(summary, arguments.against)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"rows": rows, "summary": summary}, indent=2) + "\n")


if __name__ == "__main__":
    main()
