"""Mean joint error of `priors.models.body_fit.fit_body` on synthetic scenes: keypoints and point map in, body out.

    python -m scripts.benchmarks.body_fit --json out/body_fit.json

The observations are those of `benchmark_quality.py --scenes made`, with the default noise model; the
fit knows neither the person's size nor the bundle's own body estimate. The error is the mean over
frames and the 22 body joints, in the world, nothing aligned.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import hoijax
from hoijax.bodies import load_body
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.runtime import describe_device, enable_compilation_cache
from priors.models.body_fit import fit_body
from scripts.benchmarks.quality import MADE


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    only: tuple[str, ...] = tuple(MADE)
    """Objects, by name."""
    seed: int = 0
    json: Path | None = None


def joints(body: SkinnedBody, motion: Any) -> np.ndarray:
    """(T, 22, 3) world joints of the first person."""
    shaped = body.shape(motion.betas).with_rest_joints(motion.rest_joints)
    return np.asarray(jax.vmap(shaped.pose_joints)(motion.rotations, motion.translations))[
        :, :22, :3, 3
    ]


def measure(name: str, seed: int, body: SkinnedBody) -> dict[str, Any]:
    """One scene."""
    bundle, ground_truth = hoijax.observe(MADE[name], hoijax.load_objects([name]), seed=seed)
    o = bundle.observations
    begun = time.perf_counter()
    fitted = fit_body(
        o.keypoints[0],
        o.intrinsics,
        o.Ts_world_camera,
        body=body,
        person_points=o.person_points[0],
        person_point_mask=o.person_point_mask[0],
        fps=bundle.fps,
    )
    seconds = time.perf_counter() - begun
    true = type(fitted)(
        ground_truth.body_rotations[0],
        ground_truth.body_translations[0],
        ground_truth.body_betas[0],
        ground_truth.body_rest_joints[0],
        ground_truth.Ts_world_camera,
    )
    error = np.linalg.norm(joints(body, fitted) - joints(body, true), axis=-1).mean()
    return {
        "scene": f"{name}_{seed}",
        "mpjpe_mm": round(1e3 * float(error), 1),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    options = tyro.cli(Options)
    enable_compilation_cache()
    body = load_body("anny")
    rows = [measure(name, options.seed, body) for name in options.only]
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    errors = [row["mpjpe_mm"] for row in rows]
    summary = {"mpjpe_mm_mean": float(np.mean(errors)), "mpjpe_mm_median": float(np.median(errors))}
    Console().print(table, summary)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        content = {"device": describe_device(), "rows": rows, "summary": summary}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
