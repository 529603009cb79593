"""Can stricter margins tell an object that is 5 cm off from the ground truth?

    python -m scripts.benchmarks.physics_margins --json docs/results/physics_margins.json

Every combination of margins, speeds and limits below judges the captured clips of ../shared/data/omomo
and their objects 5 cm off along six axes. Of those that hold a given share of the true frames of one half
of the clips, the one that holds the fewest frames off is chosen; both halves' shares are printed.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy import ndarray
from rich.console import Console
from rich.table import Table

from hoijax.physics.contacts import ContactSettings
from hoijax.physics.rigid_motion import rigid_motion
from hoijax.physics.support import Support, SupportSettings, find_support
from hoijax.results.protocols.mesh_motion import MeshMotion
from scripts.benchmarks.physics import HALF, OFF, WEIGHTS, captured, moved

MARGINS, STICKING = (0.01, 0.006), (0.05, 0.02)
LIMITS = {
    "missing weights": (0.05, 0.1, 0.2),
    "bone depth": (0.008, 0.012, 0.02),
    "ground depth": (0.01, 0.02),
    "body force in weights": (2.0, 4.0, 8.0, np.inf),
    "slip in m/s": (0.1, 0.2, 0.4, np.inf),
}
LEVELS = (0.98, 0.95, 0.9, 0.85)


@dataclass(frozen=True)
class Options:
    data: Path = Path("../shared/data/omomo")
    json: Path | None = None
    frames: int = 49


@dataclass(frozen=True)
class Judged:
    """What the limits are compared with: T frames of one motion, a row for each of LIMITS."""

    half: bool
    true: bool
    values: ndarray

    def held(self, limits: tuple[float, ...]) -> float:
        return float((self.values <= np.array(limits)[:, None]).all(axis=0).mean())


def motions(motion: MeshMotion) -> Iterator[tuple[bool, MeshMotion]]:
    """(is it the ground truth, motion): the truth and the object off along six axes."""
    yield True, motion
    for step in OFF * np.concatenate([np.eye(3), -np.eye(3)]):
        yield False, moved(motion, step)


def limited_values(support: Support) -> ndarray:
    slips = [np.linalg.norm(c.slips, axis=-1).max(initial=0.0) for c in support.contacts]
    return np.stack(
        [
            support.missing,
            support.bone_depth,
            support.ground_depth,
            support.body_force,
            np.array(slips),
        ]
    )


def judge_all(clips: dict[str, MeshMotion], settings: SupportSettings) -> list[Judged]:
    rows = []
    for name, clip in clips.items():
        for true, motion in motions(clip):
            rigid = rigid_motion(motion, WEIGHTS[motion.object_name])
            values = limited_values(find_support(motion, rigid, settings))
            rows.append(Judged(name in HALF, true, values))
    return rows


def held_shares(rows: list[Judged], limits: tuple[float, ...]) -> dict[str, float]:
    """Mean shares of frames held: of the truth and of what is off, in each half."""
    return {
        f"{half} {kind}": float(
            np.mean([r.held(limits) for r in rows if (r.half, r.true) == (chosen, true)])
        )
        for half, chosen in (("half", True), ("others", False))
        for kind, true in (("truth", True), ("off", False))
    }


def main(options: Options) -> None:
    log = Console()
    clips = {p.stem: captured(p, options.frames) for p in sorted(options.data.glob("*.npz"))}
    tried = []
    for margin, sticking in itertools.product(MARGINS, STICKING):
        settings = SupportSettings(ContactSettings(margin=margin, sticking=sticking))
        rows = judge_all(clips, settings)
        for limits in itertools.product(*LIMITS.values()):
            named = {"margin": margin, "sticking": sticking} | dict(
                zip(LIMITS, limits, strict=True)
            )
            tried.append(named | held_shares(rows, limits))
        log.print(f"margin {margin}, sticking {sticking}: done", highlight=False)
    table = Table("chosen on", "asked truth", "truth", "off", "other half: truth", "off")
    chosen_rows = []
    for tuned, other in (("half", "others"), ("others", "half")):
        for level in LEVELS:
            able = [row for row in tried if row[f"{tuned} truth"] >= level]
            if able:
                best = min(able, key=lambda row: row[f"{tuned} off"])
                chosen_rows.append({"chosen on": tuned, "asked truth": level} | best)
                keys = [f"{side} {kind}" for side in (tuned, other) for kind in ("truth", "off")]
                table.add_row(tuned, f"{level:.2f}", *(f"{best[key]:.2f}" for key in keys))
    log.print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(chosen_rows, indent=1).replace("Infinity", "null"))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
