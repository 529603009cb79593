"""Does the color of what is seen tell turns apart? A painted box, solved with and without color images.

The box is the same after half a turn about any of its axes, so that shape alone is right in one of four.
Rotation errors here are of the box as it is painted, not modulo symmetries.

    python -m scripts.benchmarks.colors --json docs/results/colors.json
"""

import dataclasses
import json
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import trimesh
import tyro
from trimesh.visual import ColorVisuals

import hoijax
from hoijax.results.metrics import rotation_errors_deg
from hoijax.runtime import describe_device, enable_compilation_cache
from priors.synthetic.erring_observations import erring_bundle
from priors.synthetic.from_text import BODY, scene_of_text
from scripts.benchmarks.robustness import ALL, strengths_of

TEXTS = ("a person lifts a box", "a person carries a box")
SIDES = (
    (200, 200, 190),
    (60, 110, 70),
    (210, 180, 60),
    (150, 120, 90),
    (170, 60, 50),
    (90, 90, 100),
)
"""sRGB of +x, -x, +y, -y, +z and -z."""
RIGHT_DEGREES = 30.0


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    seeds: int = 4
    frames: int = 25
    json: Path | None = None


def painted_box(path: Path) -> Path:
    """A box with a color on each side."""
    mesh = trimesh.creation.box((0.5, 0.32, 0.38)).subdivide().subdivide()
    axis = np.abs(mesh.face_normals).argmax(axis=1)
    side = 2 * axis + (np.take_along_axis(mesh.face_normals, axis[:, None], 1)[:, 0] < 0)
    colors = np.concatenate([np.array(SIDES)[side], np.full((len(side), 1), 255)], axis=1)
    mesh.visual = ColorVisuals(mesh, face_colors=colors.astype(np.uint8))
    mesh.export(path)
    return path


def rows_of(options: Options, box: Path) -> list[dict]:
    """Rotation errors of the winner, degrees, with and without colors."""
    rows = []
    for seed in range(options.seeds):
        for text in TEXTS:
            assets = hoijax.load_objects([f"box={box}"])
            scene, script, fps = scene_of_text(text, assets, frames=options.frames, seed=seed)
            given = {"scene": scene, "graph": script.graph, "prompt": text, "fps": fps}
            strengths = strengths_of(ALL, 1.0)
            bundle, truth = erring_bundle(**given, body=BODY, strengths=strengths, seed=seed)
            nothing = dataclasses.replace(bundle.observations, color_images=None)
            grey = dataclasses.replace(bundle, observations=nothing)
            row = {"text": text, "seed": seed}
            for name, given_bundle in (("with_colors", bundle), ("without", grey)):
                result = hoijax.solve(given_bundle)
                R, R_true = result.Ts_world_object[0], truth.Ts_world_object[0]
                errors = rotation_errors_deg(R[:, :3, :3], R_true[:, :3, :3], np.eye(3)[None])
                row[name] = round(float(np.median(errors)), 1)
            print(row, flush=True)
            rows.append(row)
    return rows


def main(options: Options) -> None:
    """Run and print."""
    enable_compilation_cache()
    with TemporaryDirectory() as folder:
        rows = rows_of(options, painted_box(Path(folder) / "box.glb"))
    summary = {
        name: sum(row[name] < RIGHT_DEGREES for row in rows) for name in ("with_colors", "without")
    }
    print(f"right within {RIGHT_DEGREES:.0f} degrees, of {len(rows)}: {summary}")
    if options.json:
        text = {
            "device": describe_device(),
            "date": str(date.today()),
            "right": summary,
            "rows": rows,
        }
        options.json.write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
