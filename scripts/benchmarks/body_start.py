"""How good the bodies are that anchor motion starts from: the bundle's, fitted without them, and with them.

    python -m scripts.benchmarks.body_start --json docs/results/body_start.json

Synthetic scenes with keypoints at 3 px noise, 20 % of them missing, and contacts hidden (occluded_scenes.py);
captured sequences as they are. Mean error of the 22 body joints in millimetres; nothing is aligned. The
bundle's motion is the ground truth with 2 degrees and 2 cm of smooth noise. A recovery network on a real clip is
further off: "poor" is the bundle's motion with POOR_DEGREES and POOR_METRES of smooth error, and the fit
that is given it.
"""

import dataclasses
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from hoijax.bodies import load_body
from hoijax.bundle.write import Bundle, read_bundle, read_ground_truth
from hoijax.methods.anchor_motion.body_start import start_bodies
from hoijax.runtime import describe_device, enable_compilation_cache
from priors.synthetic.observation_noise import NoiseModel
from priors.synthetic.rendered_observations import erring_motion
from scripts.benchmarks.quality import Options as Scenes
from scripts.benchmarks.quality import captured_bundles, made_bundles

KINDS = ("estimate", "keypoints", "fit")
POOR_DEGREES, POOR_METERS = 8.0, 0.08
"""Root mean square angle of every joint's error, and distance of the body's, smooth over four frames."""


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    scenes: str = "all"
    """"made", "omomo" or "all"."""
    seeds: int = 2
    """Seeds a made object."""
    only: tuple[str, ...] = ("",)
    """Only scenes whose name contains one of these."""
    json: Path | None = None
    """Write the rows here."""


def worsened(bundle: Bundle) -> Bundle:
    """The bundle with a body motion as a network might give it."""
    o = bundle.observations
    noise = dataclasses.replace(
        NoiseModel(), body_rotation_degrees=POOR_DEGREES, body_translation=POOR_METERS
    )
    rotations, translations = erring_motion(
        o.body_rotations, o.body_translations, noise, np.random.default_rng(0)
    )
    changed = dataclasses.replace(o, body_rotations=rotations, body_translations=translations)
    return dataclasses.replace(bundle, observations=changed)


def measure(path: Path) -> dict:
    """One scene, one row."""
    bundle, ground_truth = read_bundle(path), read_ground_truth(path)
    body = load_body(bundle.body)
    shaped = body.shape(jnp.asarray(ground_truth.body_betas[0]))
    shaped = shaped.with_rest_joints(jnp.asarray(ground_truth.body_rest_joints[0]))
    pose = jax.jit(jax.vmap(lambda r, t: shaped.pose_joints(r, t)[:22, :3, 3]))

    def joints(rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
        return np.asarray(pose(jnp.asarray(rotations), jnp.asarray(translations)))

    true = joints(ground_truth.body_rotations[0], ground_truth.body_translations[0])
    row: dict = {"scene": path.name}
    for name, kind, given in (
        *((kind, kind, bundle) for kind in KINDS),
        ("poor", "estimate", worsened(bundle)),
        ("poor_fit", "fit", worsened(bundle)),
    ):
        begun = time.perf_counter()
        motions = start_bodies(given, body, kind, None)
        seconds = time.perf_counter() - begun
        away = joints(motions.rotations[0], motions.translations[0]) - true
        row[f"{name}_mm"] = round(1000 * float(np.linalg.norm(away, axis=-1).mean()), 1)
        row[f"{name}_seconds"] = round(seconds, 1)
    return row


def main() -> None:
    """Command line."""
    options = tyro.cli(Options, description=__doc__)
    enable_compilation_cache()
    wanted = Scenes(method="anchor-motion", seeds=options.seeds, only=options.only)
    makers = {"made": made_bundles, "omomo": captured_bundles}
    chosen = list(makers.values()) if options.scenes == "all" else [makers[options.scenes]]
    rows = []
    with tempfile.TemporaryDirectory(prefix="hoijax-starts-") as folder:
        for path in [path for make in chosen for path in make(Path(folder), wanted)]:
            rows.append(measure(path))
            print(rows[-1], flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        content = {"device": describe_device(), "rows": rows}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
