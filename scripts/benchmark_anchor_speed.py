"""Steps per second and memory of anchor motion, by candidates K and frames T.

    python scripts/benchmark_anchor_speed.py --json docs/results/speed_anchor_motion.json
    python scripts/benchmark_speed.py --anchor

Memory is what the compiled program asks for beside its inputs (XLA's own count), so a busy machine does not
change it; the slopes in frames and in candidates are printed with how far the points lie from a line. A
step moves all K candidates once. Compilation is timed apart. `--remat` compares with terms that are computed
again in the backward pass.
"""

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import hoijax
from hoijax.anchor_config import AnchorSettings
from hoijax.anchor_scene import AnchorScene, AnchorUnknowns
from hoijax.anchor_staging import object_settings, pose_full, stage_anchor
from hoijax.bodies import load_body
from hoijax.bundle import Bundle
from hoijax.bundle_format import OBSERVATION_SHAPES
from hoijax.losses.term import LossTerm
from hoijax.methods import anchor_motion
from hoijax.methods.anchor_terms import anchor_problem, anchor_table, weights_of
from hoijax.methods.body_start import start_bodies
from hoijax.methods.point_maps import align
from hoijax.runtime import describe_device
from hoijax.solver.initialise import yaw_starts
from hoijax.solver.optimise import Schedule, optimise
from hoijax.staging import build_scene, stage_contacts

MEGABYTE = 2.0**20


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    inits: tuple[int, ...] = (1, 4, 16)
    frames: tuple[int, ...] = (25, 49, 97)
    """Lengths of a clip at K = 1; candidates are varied at the middle one."""
    steps: int = 4
    """Steps timed, after as many to warm up."""
    pictures: int = 0
    """Width of drawn pictures; 0: none."""
    remat: bool = False
    """Also with every term computed again in the backward pass."""
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


def staged(
    bundle: Bundle, settings: AnchorSettings
) -> tuple[AnchorScene, AnchorUnknowns, np.ndarray]:
    """Scene, K starts and contact states, without the search for good ones."""
    body = load_body(bundle.body)
    motions = start_bodies(bundle, body, "estimate", None)
    full = pose_full(body, bundle.observations, motions)
    Ts_world_pointmap = align(bundle.observations, full, settings.alignment)
    given = bundle.affordance, bundle.assets, bundle.observations, bundle.body
    objects = build_scene(*given, Ts_world_pointmap, full, object_settings(settings))
    starts = yaw_starts(objects, settings.inits, 0)
    table = stage_contacts(bundle.affordance, bundle.assets)
    scene, _ = stage_anchor(bundle, body, objects, table, motions, Ts_world_pointmap, settings)
    initial = anchor_motion.first_unknowns(motions, starts, None, settings)
    states = np.ones((settings.inits, objects.edges.mask.shape[0], scene.objects.frame_count))
    return scene, initial, states.astype(np.float32)


def computed_again(term: LossTerm) -> LossTerm:
    return dataclasses.replace(term, function=jax.checkpoint(term.function))


def measure(bundle: Bundle, frames: int, inits: int, options: Options, remat: bool) -> dict:
    """One row: memory of the compiled program, seconds to compile it, steps per second."""
    settings = dataclasses.replace(AnchorSettings(), inits=inits, picture_width=options.pictures)
    scene, initial, states = staged(with_frames(bundle, frames), settings)
    table = anchor_table(drawn=options.pictures > 0, jointed=False, hands=False)
    problem = anchor_problem([computed_again(t) for t in table] if remat else table)
    schedule = Schedule(jnp.asarray(0.01), jnp.asarray(0.01))
    arguments = (
        scene, initial, anchor_motion.first_neighbours(scene, states), weights_of(table, {}), schedule,
    )  # fmt: skip
    begun = time.perf_counter()
    counts = {"steps": options.steps, "refresh_every": options.steps}
    compiled = optimise.lower(problem, *arguments, **counts).compile()
    compile_seconds = time.perf_counter() - begun
    jax.block_until_ready(compiled(*arguments))
    begun, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(compiled(*arguments))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    needed = compiled.memory_analysis()
    assert needed is not None
    return {
        "frames": frames,
        "inits": inits,
        "remat": remat,
        "steps_per_second": round(options.steps / seconds, 3),
        "cpu_seconds_per_step": round(cpu / options.steps, 3),
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
    middle = options.frames[len(options.frames) // 2]
    cases = [(frames, 1) for frames in options.frames]
    cases += [(middle, inits) for inits in options.inits if inits > 1]
    rows = []
    for remat in (False, True)[: 1 + options.remat]:
        for frames, inits in cases:
            rows.append(measure(bundle, frames, inits, options, remat))
            print(rows[-1], flush=True)
    summary: dict[str, object] = {"device": describe_device(), "pictures": options.pictures}
    for remat in (False, True)[: 1 + options.remat]:
        own = [row for row in rows if row["remat"] == remat]
        name = "remat" if remat else "plain"
        summary[f"{name}_memory_in_frames"] = slope([r for r in own if r["inits"] == 1], "frames")
        summary[f"{name}_memory_in_inits"] = slope(
            [r for r in own if r["frames"] == middle], "inits"
        )
    print(json.dumps(summary, indent=2))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"rows": rows, "summary": summary}, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
