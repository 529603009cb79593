"""Calibration of the spreads of a result: how many true errors are within the 90 % intervals.

    python -m scripts.benchmarks.spread --json docs/results/spread.json

Solves known scenes with all families of errors. An interval is 1.645 spreads. The first half of the scenes may set `SCALE_POSITION` and `SCALE_ROTATION` of
hoijax/methods/confidence.py (the factor that would make it 90 % is printed); the rest only reports. Also:
by how much the mean error falls when the fifth of the frames with the largest spread is left out, beside
what leaving out the fifth with the largest *errors* would do.
"""

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console

import hoijax
from hoijax.bundle.schema import GroundTruth
from hoijax.objects.symmetry import find_symmetries
from hoijax.results.metrics import rotation_errors_deg, translation_errors_cm
from hoijax.results.result import Result
from hoijax.runtime import describe_device, enable_compilation_cache
from priors.synthetic.erring_observations import erring_bundle
from scripts.benchmarks import robustness

INTERVAL = 1.645
LEFT_OUT = 0.2


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    only: tuple[str, ...] = ("",)
    """Only scenes whose name contains one of these."""
    frames: int = 25
    seeds: int = 2
    strengths: tuple[float, ...] = (0.5, 1.0)
    method: str = "joint"
    json: Path | None = None
    """Where to write the summary."""


@dataclass
class Pairs:
    """Errors and spreads of all frames of some scenes."""

    position: list[np.ndarray] = field(default_factory=list)
    rotation: list[np.ndarray] = field(default_factory=list)

    def add(self, result: Result, truth: GroundTruth) -> None:
        assert result.position_spread is not None
        assert result.rotation_spread is not None
        for o, asset in enumerate(result.assets):
            estimate, true = result.Ts_world_object[o], truth.Ts_world_object[o]
            error = translation_errors_cm(estimate, true, np.asarray(asset.center)) / 100.0
            self.position.append(np.stack([error, result.position_spread[o]]))
            turned, as_true = estimate[:, :3, :3], true[:, :3, :3]
            angle = np.radians(rotation_errors_deg(turned, as_true, find_symmetries(asset)))
            self.rotation.append(np.stack([angle, result.rotation_spread[o]]))

    def summary(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for name in ("position", "rotation"):
            error, spread = np.concatenate(getattr(self, name), axis=1)
            held = len(error) - int(LEFT_OUT * len(error))
            values |= {
                f"{name}_within_90": float(np.mean(error <= INTERVAL * spread)),
                f"{name}_factor_to_90": float(np.quantile(error / (INTERVAL * spread), 0.9)),
                f"{name}_mean_error": float(error.mean()),
                f"{name}_mean_by_spread": float(error[np.argsort(spread)[:held]].mean()),
                f"{name}_mean_by_error": float(np.sort(error)[:held].mean()),
            }
        return {name: round(value, 4) for name, value in values.items()}


def main() -> None:
    """Command line."""
    options = tyro.cli(Options, description=__doc__)
    console = Console(width=160)
    enable_compilation_cache()
    scenes = robustness.known_scenes(
        replace(robustness.Options(), frames=options.frames, only=options.only)
    )
    halves = {"tuned": Pairs(), "reported": Pairs()}
    for name, tuned, scene in scenes:
        for strength in options.strengths:
            for seed in range(options.seeds):
                given = robustness.strengths_of(robustness.ALL, strength)
                bundle, truth = erring_bundle(**scene, strengths=given, seed=seed)
                result = hoijax.solve(bundle, method=options.method)
                halves["tuned" if tuned else "reported"].add(result, truth)
                one = Pairs()
                one.add(result, truth)
                console.print(name, strength, seed, one.summary(), soft_wrap=True)
    content = {
        "device": describe_device(),
        "date": time.strftime("%Y-%m-%d"),
        **{half: pairs.summary() for half, pairs in halves.items() if pairs.position},
    }
    console.print(content)
    if options.json:
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
