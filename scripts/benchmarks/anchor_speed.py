"""Steps per second and memory of anchor motion, by candidates K and frames T.

    python -m scripts.benchmarks.speed --method anchor-motion --json docs/results/speed_anchor_motion.json
    python -m scripts.benchmarks.anchor_speed --frames 30 60 --inits 1 4 --steps 5

A carried chair, all terms, drawn images as by default. Memory is what the compiled program asks for beside
its inputs (XLA's own count), so a busy machine does not change it; the slopes in frames and in candidates are
printed with how far the points lie from a line. A step moves all K candidates once; its time holds the share
of the look-ups that are refreshed every so many steps. Compilation is timed apart, and the first use of the
program is warm-up. One row has every term computed again in the backward pass (rematerialisation).
"""

import dataclasses
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np
import tyro

import hoijax
from hoijax.bodies import load_body
from hoijax.bundle.schema import OBSERVATION_SHAPES
from hoijax.bundle.write import Bundle
from hoijax.initialization.align_observations import align
from hoijax.initialization.starts import yaw_starts
from hoijax.losses.term import LossTerm, default_weights
from hoijax.methods.anchor_motion import stages as anchor_motion
from hoijax.methods.anchor_motion.body_start import start_bodies
from hoijax.methods.anchor_motion.terms import anchor_problem, anchor_table
from hoijax.runtime import describe_device
from hoijax.scene.build_bodies import pose_full, with_moving_bodies
from hoijax.scene.build_objects import build_scene
from hoijax.scene.scene import Scene, Unknowns
from hoijax.settings import AnchorSettings
from hoijax.solver.adam import Adam
from hoijax.solver.neighbor_lists import first_neighbors
from hoijax.solver.problem import SolverInputs
from hoijax.solver.resumable import optimize

MEGABYTE = 2.0**20
WARM = 200
"""Candidates times frames up to which the program runs once before it is timed."""


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    inits: tuple[int, ...] = (1, 4, 16)
    """At the shortest of `frames`."""
    frames: tuple[int, ...] = (30, 60, 120)
    """Lengths of a clip at K = 1; the published size is 120 frames."""
    steps: int = 25
    """Steps timed, with one refresh of look-ups: as many as between two of them in a solve."""
    images: int = 64
    """Width of drawn images; 0: none."""
    remat: bool = True
    """Also one row with every term computed again in the backward pass."""
    json: Path | None = None


def made_bundle() -> Bundle:
    """A carried chair of 25 frames."""
    text = "a person carries a chair with both hands"
    return hoijax.observe(text, hoijax.load_objects(["chair"]), frames=25)[0]


def with_frames(bundle: Bundle, frames: int) -> Bundle:
    """The clip, played forwards and backwards until it has so many frames."""
    count = bundle.frame_count
    there_and_back = np.concatenate([np.arange(count), np.arange(count - 2, 0, -1)])
    index = np.resize(there_and_back, frames)
    arrays = {}
    for name, shape in OBSERVATION_SHAPES.items():
        value, axes = np.asarray(getattr(bundle.observations, name)), shape.split()
        arrays[name] = np.take(value, index, axes.index("T")) if "T" in axes else value
    return dataclasses.replace(bundle, observations=type(bundle.observations)(**arrays))


def staged(bundle: Bundle, settings: AnchorSettings) -> tuple[Scene, Unknowns, np.ndarray]:
    """Scene, K starts and contact states, without the search for good ones."""
    body = load_body(bundle.body)
    motions = start_bodies(bundle, body, "estimate", None)
    full = pose_full(body, bundle.observations, motions)
    Ts_world_pointmap = align(bundle.observations, full, settings.alignment)
    objects = build_scene(bundle, Ts_world_pointmap, full, settings)
    starts = yaw_starts(objects, settings.inits, 0)
    scene, _ = with_moving_bodies(objects, bundle, body, motions, Ts_world_pointmap, settings)
    initial = anchor_motion.first_unknowns(motions, starts.unknowns, settings)
    states = np.ones((settings.inits, objects.edges.mask.shape[0], scene.frame_count))
    return scene, initial, states.astype(np.float32)


def computed_again(term: LossTerm) -> LossTerm:
    return dataclasses.replace(term, function=jax.checkpoint(term.function))


def measure(bundle: Bundle, frames: int, inits: int, options: Options, remat: bool) -> dict:
    """One row: memory of the compiled program, seconds to compile it, steps per second."""
    settings = dataclasses.replace(AnchorSettings(), inits=inits, render_width=options.images)
    scene, initial, states = staged(with_frames(bundle, frames), settings)
    table = anchor_table(rendered=options.images > 0, jointed=False, hands=False)
    problem = anchor_problem([computed_again(t) for t in table] if remat else table)
    neighbors = first_neighbors(scene, states)
    inputs = SolverInputs(problem, scene, initial, neighbors, default_weights(table))
    begun = time.perf_counter()
    solver = Adam(options.steps, options.steps, 0.01, 0.01)
    compiled = jax.jit(partial(optimize, solver)).lower(inputs).compile()
    compile_seconds = time.perf_counter() - begun
    if inits * frames <= WARM:
        jax.block_until_ready(compiled(inputs))
    begun, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(compiled(inputs))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    needed = compiled.memory_analysis()
    assert needed is not None
    return {
        "frames": frames,
        "inits": inits,
        "remat": remat,
        "steps_per_second": round(options.steps / seconds, 3),
        "cpu_seconds_per_step": round(cpu / options.steps, 3),
        "minutes_for_1000_steps": round(1000 * seconds / options.steps / 60.0, 1),
        "program_mb": round(needed.temp_size_in_bytes / MEGABYTE, 1),
        "inputs_mb": round(needed.argument_size_in_bytes / MEGABYTE, 1),
        "compile_seconds": round(compile_seconds, 1),
    }


def slope(rows: list[dict], by: str) -> dict[str, float]:
    """Line through program memory: MB per unit, and the largest departure from it as a share."""
    x = np.array([row[by] for row in rows], float)
    y = np.array([row["program_mb"] for row in rows])
    line = np.polyfit(x, y, 1)
    away = np.abs(np.polyval(line, x) - y).max() / y.max()
    return {"mb_per_unit": round(float(line[0]), 2), "largest_departure": round(float(away), 4)}


def main(options: Options) -> None:
    """Measure, print, write."""
    bundle = made_bundle()
    shortest = min(options.frames)
    cases = [(frames, 1, False) for frames in options.frames]
    cases += [(shortest, inits, False) for inits in options.inits if inits > 1]
    cases += [(shortest, 1, True)] * options.remat
    rows = []
    for frames, inits, remat in cases:
        rows.append(measure(bundle, frames, inits, options, remat))
        print(rows[-1], flush=True)
    plain = [row for row in rows if not row["remat"]]
    summary: dict[str, object] = {
        "device": describe_device(),
        "pictures": options.images,
        "memory_in_frames": slope([r for r in plain if r["inits"] == 1], "frames"),
        "memory_in_inits": slope([r for r in plain if r["frames"] == shortest], "inits"),
    }
    if options.remat:
        first, again = plain[0], rows[-1]
        summary["remat_memory_ratio"] = round(again["program_mb"] / first["program_mb"], 3)
        summary["remat_time_ratio"] = round(
            again["cpu_seconds_per_step"] / first["cpu_seconds_per_step"], 3
        )
    print(json.dumps(summary, indent=2))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"rows": rows, "summary": summary}, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
