"""Write the four synthetic scenes of the ablation table in docs/method.md.

    python -m scripts.bundles.ablation_bundles out/scenes
    python -m scripts.bundles.ablation_bundles out/nearer --nearer 0.10
    hoijax ablate out/nearer --steps 120

`--nearer` moves every observed object point towards the camera: the error that monocular depth makes
between a person and an object, which no alignment to the person can remove.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

import hoijax
from hoijax.runtime import enable_compilation_cache

SCENES = {
    "barbell_lift": ("barbell", "a person lifts a barbell from the ground with both hands"),
    "box_lift": ("box", "a person lifts a box with both hands"),
    "chair_carry": ("chair", "a person carries a chair with both hands"),
    "suitcase_carry": ("suitcase", "a person carries a suitcase"),
}


@dataclass(frozen=True)
class Options:
    """Where to write, and how far objects are seen from where they are."""

    folder: tyro.conf.Positional[Path]
    nearer: float = 0.0
    """Metres towards the camera."""
    seed: int = 0


def seen_nearer(bundle: hoijax.Bundle, metres: float) -> hoijax.Bundle:
    """The bundle with its object points moved along the optical axis."""
    seen = bundle.observations
    moved = seen.object_points - np.array([0, 0, metres], np.float32)
    points = np.where(seen.object_point_mask[..., None], moved, 0).astype(np.float32)
    return dataclasses.replace(bundle, observations=dataclasses.replace(seen, object_points=points))


def main() -> None:
    """Command line."""
    options = tyro.cli(Options, description=__doc__)
    enable_compilation_cache()
    for name, (object_name, text) in SCENES.items():
        bundle, ground_truth = hoijax.observe(
            text, hoijax.load_objects([object_name]), seed=options.seed
        )
        path = options.folder / name
        print(hoijax.write_bundle(path, seen_nearer(bundle, options.nearer), ground_truth))


if __name__ == "__main__":
    main()
