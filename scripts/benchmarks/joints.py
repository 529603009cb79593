"""Joint values of the shipped objects with joints, solved by anchor motion, against the ground truth.

    python -m scripts.benchmarks.joints --json docs/results/joints.json
    python -m scripts.benchmarks.joints --objects chest laptop --seeds 1

Synthetic scenes: a person acts with the root link while the joint moves by itself. A frame counts as right within
10 degrees, or within a tenth of the travel where a joint slides. "start" is where the search puts the joint,
before any descent. "hidden" is the share of frames in which a link shows fewer than `MANY` points.
"""

import dataclasses
import json
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from hoijax.bundle.write import Bundle
from hoijax.methods.anchor_motion import stages as anchor_motion
from hoijax.methods.anchor_motion.method import METHOD
from hoijax.methods.running import solve_bundle
from hoijax.objects.articulated.joints import PRISMATIC, Joint
from hoijax.objects.articulated.loading import load_articulated
from hoijax.runtime import describe_device, enable_compilation_cache
from hoijax.settings import AnchorSettings
from priors.synthetic.articulated_scenes import observe_articulated

SENTENCES = {
    "chest": "a person carries a chest with both hands",
    "laptop": "a person holds a laptop with both hands",
    "drawer": "a person carries a drawer with both hands",
    "door": "a person pushes a door with both hands",
    "scissors": "a person holds scissors",
}
RIGHT_DEGREES, RIGHT_SHARE = 10.0, 0.1
MANY = 40


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    objects: tuple[str, ...] = tuple(SENTENCES)
    seeds: tuple[int, ...] = (0, 1, 2)
    frames: int = 20
    far: bool = False
    """Small objects in a view of the whole person too, instead of a close-up."""
    inits: int = 2
    steps: int = 100
    """Of each of the two passes."""
    body_start: str = "estimate"
    images: int = 0
    """Width of drawn images; 0: none."""
    json: Path | None = None


def solve(bundle: Bundle, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """(started, found): joint values of the first start, and of the winner, (D, T)."""
    settings = dataclasses.replace(
        AnchorSettings(),
        inits=options.inits,
        track_steps=options.steps,
        steps=options.steps,
        body_start=options.body_start,
        render_width=options.images,
    )
    values: list[np.ndarray] = []
    original = anchor_motion.start_joints

    def listening(*arguments):
        starts = original(*arguments)
        values.append(np.asarray(starts.unknowns.joint_values))
        return starts

    anchor_motion.start_joints = listening
    try:
        result = solve_bundle(METHOD, bundle, settings)
    finally:
        anchor_motion.start_joints = original
    assert result.joint_values is not None
    return values[0][result.winner], np.asarray(result.joint_values[result.winner])


def in_units(values: np.ndarray, joint: Joint) -> np.ndarray:
    """Degrees, or centimetres."""
    return 100.0 * values if joint.kind == PRISMATIC else np.degrees(values)


def bound_of(joint: Joint) -> float:
    """Largest error of a frame that is right, in degrees or centimetres."""
    if joint.kind == PRISMATIC:
        return 100.0 * RIGHT_SHARE * (joint.upper - joint.lower)
    return RIGHT_DEGREES


def measure(name: str, seed: int, options: Options) -> dict:
    """One scene, one row; its first joint."""
    scene = observe_articulated(
        SENTENCES[name],
        load_articulated(name),
        frames=options.frames,
        seed=seed,
        close_up=False if options.far else None,
    )
    bundle, _, ground_truth = scene
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started, solved = solve(bundle, options)
    joint = bundle.joints[0]
    error, first = (in_units(np.abs(v[0] - ground_truth[0]), joint) for v in (solved, started))
    seen = bundle.observations.object_point_mask.sum(axis=-1).min(axis=0)
    return {
        "object": name,
        "seed": seed,
        "unit": "cm" if joint.kind == PRISMATIC else "deg",
        "start_median": round(float(np.median(first)), 2),
        "start_worst": round(float(first.max()), 2),
        "median": round(float(np.median(error)), 2),
        "p90": round(float(np.percentile(error, 90)), 2),
        "worst": round(float(error.max()), 2),
        "right": round(float((error <= bound_of(joint)).mean()), 3),
        "hidden": round(float((seen < MANY).mean()), 3),
        "seconds": round(time.perf_counter() - begun, 1),
        "errors": [round(float(e), 2) for e in error],
        "start_errors": [round(float(e), 2) for e in first],
        "truth": [round(float(v), 2) for v in in_units(ground_truth[0], joint)],
        "seen": [int(n) for n in seen],
    }


def summarize(rows: list[dict]) -> dict[str, dict[str, float]]:
    """By object, over the frames of all seeds."""
    summary = {}
    for name in dict.fromkeys(row["object"] for row in rows):
        of_object = [row for row in rows if row["object"] == name]
        errors = np.concatenate([row["errors"] for row in of_object])
        summary[name] = {
            "median": round(float(np.median(errors)), 2),
            "p90": round(float(np.percentile(errors, 90)), 2),
            "right": round(float(np.mean([row["right"] for row in of_object])), 3),
            "seeds_with_median_right": round(
                float(np.mean([row["right"] >= 0.5 for row in of_object])), 3
            ),
        }
    return summary


def write(rows: list[dict], options: Options) -> None:
    """Rows and summary so far."""
    if options.json is None:
        return
    options.json.parent.mkdir(parents=True, exist_ok=True)
    chosen = {k: str(v) for k, v in dataclasses.asdict(options).items()}
    content = {"device": describe_device(), "options": chosen, "rows": rows}
    content["summary"] = summarize(rows)
    options.json.write_text(json.dumps(content, indent=2) + "\n")


def main(options: Options) -> None:
    """Measure, print, write; seed by seed, so that what was cut off has all objects."""
    enable_compilation_cache()
    console = Console(width=160)
    rows = []
    for seed in options.seeds:
        for name in options.objects:
            rows.append(measure(name, seed, options))
            shown = {k: v for k, v in rows[-1].items() if not isinstance(v, list)}
            console.print(shown, soft_wrap=True)
            write(rows, options)
    table = Table(*(k for k, v in rows[0].items() if not isinstance(v, list)))
    for row in rows:
        table.add_row(*(str(v) for v in row.values() if not isinstance(v, list)))
    console.print(table, summarize(rows))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
