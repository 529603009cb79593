"""`hoijax ablate`: rows of the paper's table, sweeps of weights, and error budgets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hoijax.cli.console import Reporter
from hoijax.cli.flags import Folder, OutputFlags
from hoijax.settings import DEFAULT_METHOD

PAPER = "hoi-page"
"""The method whose ablation table is published."""


@dataclass(frozen=True)
class Ablate(OutputFlags):
    """Solve bundles with parts of the method off: the paper's table; or a sweep."""

    bundles: Folder
    """A bundle, or a folder of bundles or result folders."""
    method: str | None = None
    """What is solved with, as in `hoijax solve`: hoi-page, or with --noise joint, unless named."""
    preset: str | None = None
    """Settings the rows start from: the published ones by default; with hoi-page "hoi-page" or "default"."""
    weights: str | None = None
    """Sweep loss weights instead: every combination of "contact=0,1e2,1e3 penetration=0,10"; with
    --design also ranges, "contact=1..1e3"; NAME.start, NAME.end, robust scales such as
    object_points.scale, and learning_rate with adam."""
    design: str = "full"
    """With --weights: "full" (every combination), "random" or "sobol"."""
    samples: int | None = None
    """With --design random or sobol: how many combinations."""
    seeds: int = 1
    """With --weights: how many seeds, from --seed on."""
    noise: str | None = None
    """Error budget instead: which error of the priors costs how much on these clips. Families such as
    "body_lean,depth_drift,masks_lost", "each" one, or "all" together."""
    levels: int = 5
    """With --noise: strengths from 0 to twice those of real priors."""
    out: Path | None = None
    """Write the rows as JSON here; with --noise or --weights a folder (page, plots, CSV, Markdown, LaTeX)."""
    restart: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Start again instead of resuming an interrupted run of this --out."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.cli.method_flags import options_of_flags
        from hoijax.experiments.ablation import ablate

        if self.weights is not None:
            self._sweep(reporter, self.weights)
            return
        if self.noise is not None:
            self._noise(reporter, self.noise)
            return
        rows = ablate(
            self.bundles,
            method=self.method or PAPER,
            preset=self.preset,
            **options_of_flags(self),
            out=self.out,
            restart=self.restart,
            log=reporter.log,
        )
        cells = [[v if isinstance(v, str) else f"{v:.4f}" for v in row.values()] for row in rows]
        reporter.table(list(rows[0]), cells)
        reporter.add(rows=rows)
        reporter.say("contact@0cm and non-collision as published; VideoCLIP needs CLIP weights.")
        if self.out:
            reporter.say(f"wrote {self.out}")

    def _noise(self, reporter: Reporter, families: str) -> None:
        from hoijax.cli.method_flags import options_of_flags
        from hoijax.experiments.noise_budget import costs, noise_budget

        rows = noise_budget(
            self.bundles,
            [name.strip() for name in families.split(",")],
            levels=self.levels,
            out=self.out,
            method=self.method or DEFAULT_METHOD,
            preset=self.preset,
            restart=self.restart,
            log=reporter.log,
            **options_of_flags(self),
        )
        cells = [[v if isinstance(v, str) else f"{v:.3g}" for v in row.values()] for row in rows]
        reporter.table(list(rows[0]), cells)
        for family, added in costs(rows):
            reporter.say(f"{family}: {added:+.1f} cm of ADD-S as strong as in real priors")
        reporter.add(rows=rows)
        if self.out:
            reporter.say(f"wrote {self.out}")

    def _sweep(self, reporter: Reporter, weights: str) -> None:
        from hoijax.cli.method_flags import options_of_flags
        from hoijax.experiments.sweep import METRICS, SweepPlan, cells, sweep
        from hoijax.methods.base import method_named

        method = method_named(self.method or PAPER)
        options = {"method": method, "preset": self.preset or method.published}
        options |= options_of_flags(self)
        plan = SweepPlan(weights, self.design, self.samples, self.seeds)
        rows = sweep(
            self.bundles, plan, out=self.out, restart=self.restart, log=reporter.log, **options
        )
        columns, lines = cells(rows)
        # Every term as well would need a very wide terminal; the files have them.
        shown = [i for i, name in enumerate(columns) if name.startswith("w(") or name == "loss"]
        shown += range(len(columns) - len(METRICS), len(columns))
        reporter.table([columns[i] for i in shown], [[line[i] for i in shown] for line in lines])
        reporter.add(columns=columns, rows=lines)
        if self.out:
            reporter.say(f"wrote {self.out}")
