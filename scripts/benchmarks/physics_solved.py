"""Solved results for the ranking of the physics verdict: known scenes, without and with errors of priors.

    python -m scripts.benchmarks.physics_solved --out out/solved
    python -m scripts.benchmarks.physics --results out/solved/results --no-controls --no-ranking

Eight synthetic and six captured scenes, joint, without errors and with all errors at strength 1 and 2. Each
leaves its bundle, with the ground truth, and its result; those that are there are not solved again.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

import hoijax
from hoijax.bundle.write import write_bundle
from hoijax.results.result import save_result
from hoijax.runtime import enable_compilation_cache
from priors.synthetic.erring_observations import erring_bundle
from scripts.benchmarks import robustness
from scripts.benchmarks.robustness import ALL, NONE, SEVERAL, known_scenes, strengths_of


@dataclass(frozen=True)
class Options:
    out: Path
    """Folder of bundles and results."""
    frames: int = 25
    strengths: tuple[float, ...] = (0.0, 1.0, 2.0)
    """0: no errors; 1: as real priors err, all at once."""
    only: tuple[str, ...] = ("",)
    """Only scenes whose name contains one of these."""
    method: str = "joint"


def main(options: Options) -> None:
    enable_compilation_cache()
    log = Console()
    scenes = robustness.Options(frames=options.frames, only=options.only)
    for name, _, scene in known_scenes(scenes):
        for strength in () if name in SEVERAL else options.strengths:
            label = f"{name}-{strength:g}"
            folder = options.out / "results" / label
            if (folder / "run.json").is_file():
                continue
            wanted = strengths_of(ALL if strength else NONE, strength)
            bundle, ground_truth = erring_bundle(**scene, strengths=wanted, seed=0)
            path = write_bundle(options.out / "bundles" / label, bundle, ground_truth)
            folder.mkdir(parents=True, exist_ok=True)
            save_result(hoijax.solve(path, method=options.method), folder)
            log.print(label, highlight=False)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
