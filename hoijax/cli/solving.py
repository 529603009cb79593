"""`hoijax generate | solve`: what makes results."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from hoijax.cli.bounds import check_weight
from hoijax.cli.console import Reporter
from hoijax.cli.flags import (
    ObjectFlags,
    OutputFlags,
    StrictFlags,
    Text,
    TrackFlags,
    format_names,
)
from hoijax.cli.many import parse_shard, say_progress
from hoijax.cli.physics import say_verdict
from hoijax.cli.prior_flags import PriorFlags
from hoijax.cli.results import say_result
from hoijax.errors import UserError
from hoijax.settings import DEFAULT_METHOD

if TYPE_CHECKING:
    from hoijax.results.result import Result

FRAMES = 49
"""Length of a clip that is made."""
Outcome = tuple["Result", list[dict[str, float]]]
"""A result and the metrics of its candidates."""


@dataclass(frozen=True, kw_only=True)
class Generate(PriorFlags, ObjectFlags, TrackFlags, StrictFlags, OutputFlags):
    """Sentence and object meshes to a 4D interaction, without model weights or with."""

    text: Text
    """What happens, in English: "a person lifts a barbell from the ground with both hands"."""
    objects: tuple[str, ...] = ()
    """Mesh files (glb, obj, ply, stl, urdf), or shipped objects: barbell, box, chair, broom,
    suitcase, skateboard, table, ball, and with joints scissors, laptop, drawer, door, chest. Each may
    have a name and axes: "mug=model.obj,up=z,front=-y,scale=0.01". With anchor-motion a static scene is composed
    first where there is no object, or, with models, neither an --image nor a --video."""
    out: Path
    """Result folder to write."""
    prior: Literal["rules", "packaged", "diffusion"] = "rules"
    """rules (no video), packaged (your --video on the CPU, no download) or diffusion (an image, a
    video and what large models see in it)."""
    frames: int | None = None
    """Length of the clip: 49 by default (at 12 frames a second without weights), all of your --video."""
    seed: int = 0
    """The same seed gives the same result."""
    method: str = DEFAULT_METHOD
    """joint corrects bodies and camera, then moves objects; hoi-page moves objects among bodies as they
    are estimated; anchor-motion (or anchorhoi) moves both."""
    preset: str | None = None
    """"default" (ours) or "hoi-page" (published settings)."""
    static: Path | None = None
    """With anchor-motion: a composed static scene that is there (`hoijax compose`), in place of composing one."""
    inits: int | None = None
    """Candidate trajectories optimized at once; as many as the preset says by default."""
    physics: bool = True
    """Say whether what touches the objects can carry them, and write physics.json."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.experiments.tracking import open_tracker
        from hoijax.methods.base import ALIASES

        tracker = open_tracker(self.track)
        anchored = ALIASES.get(self.method, self.method) == "anchor-motion"
        if self.static is not None and not anchored:
            raise UserError("--static is a scene that --method anchorhoi sets in motion.")
        if self.static is not None and self.objects:
            raise UserError("--static brings its own object: leave --objects out.")
        numbers: dict[str, Any] = {
            "frames": FRAMES if self.frames is None else self.frames,
            "inits": self.inits,
            "physics": self.physics,
            "stage_options": None
            if self.prior == "rules"
            else self.stage_options(self.prior, self.frames),
        }
        if anchored and self._from_static_scene():
            result, rows = self._generate_composed(numbers, reporter)
        else:
            result, rows = self._generate(numbers, reporter)
        say_verdict(reporter, self.out)
        say_result(reporter, result, rows, self.out)
        if tracker is not None:
            tracker(result, rows, self.out)
        self.check(result.run)

    def _generate(self, numbers: dict[str, Any], reporter: Reporter) -> Outcome:
        from hoijax.affordance.graph import PartAffordanceGraph
        from hoijax.api.solve import generate

        by_rules = self.prior == "rules"
        return generate(
            self.text,
            self.objects,
            self.out,
            graph=PartAffordanceGraph.from_json(self.pag) if self.pag and by_rules else None,
            **self.axes(),
            seed=self.seed,
            method=self.method,
            preset=self.preset,
            **numbers,
            log=reporter.log,
        )

    def _from_static_scene(self) -> bool:
        """Whether a static scene comes first: it brings the object, or the image that nobody gives."""
        unseen = self.prior != "rules" and self.video is None and self.image is None
        return self.static is not None or not self.objects or (unseen and len(self.objects) == 1)

    def _generate_composed(self, numbers: dict[str, Any], reporter: Reporter) -> Outcome:
        from hoijax.api.animate import generate_composed
        from hoijax.api.compose import ComposeOptions

        options = ComposeOptions(
            guidance="deepfloyd" if self.prior == "diffusion" else "closed-form",
            object=self.objects[0] if self.objects else None,
            axes=self.axes(),
            seed=self.seed,
            pag=self.pag,
        )
        return generate_composed(
            self.text, self.out, options, static=self.static, **numbers, log=reporter.log
        )


@dataclass(frozen=True)
class Solve(TrackFlags, StrictFlags, OutputFlags):
    """Observation bundles to object trajectories; of many, those not done yet."""

    bundle: tyro.conf.Positional[tuple[Path, ...]]
    """Bundle folder or zip; or many: folders of bundles, globs in quotes, several paths. Many may be
    solved by any number of processes on one shared --out, see docs/cluster.md."""
    out: Path
    """Result folder to write; with many bundles the folder of all results."""
    force: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Many bundles: solve all of them again where --out holds results of other settings."""
    formats: str | None = None
    """Exports of every result, comma-separated; "amass,glb,mp4", and "amass,glb" with many bundles."""
    workers: int | None = None
    """Many bundles: processes on this machine; one, or on CPU as many as cores are worth."""
    cluster: str | None = None
    """Many bundles: "ray" solves by Ray tasks, on the cluster of $RAY_ADDRESS or on this machine."""
    shard: str | None = None
    """Many bundles: I/N solves every N-th of them, from the I-th on (counted from 0): one task of an array."""
    distributed: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Many bundles: one of the processes of a TPU slice or multi-node job, over one global mesh."""
    method: str = DEFAULT_METHOD
    """joint corrects bodies and camera, then moves objects; hoi-page moves objects among bodies as they
    are estimated; anchor-motion (or anchorhoi) moves both."""
    preset: str | None = None
    """"default" (ours) or "hoi-page" (published settings)."""
    window: int | None = None
    """Frames of the overlapping windows that a long clip is solved in; by default as many as the
    memory allows, the whole clip if it can be."""
    physics: bool = True
    """Say whether what touches the objects can carry them, and write physics.json."""
    weights: str = ""
    """Loss weights by name, "contact=100 penetration=0:10" (a:b ramps from a to b)."""
    fast: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """One bundle: the result and scene.glb alone; no metrics, preview or physics."""
    restart: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Start again instead of resuming an interrupted run of this --out."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.api.solve import solve_to_folder
        from hoijax.cli.method_flags import options_of_flags
        from hoijax.experiments.tracking import open_tracker
        from hoijax.jobs.scene_names import is_many

        if not self.bundle:
            raise UserError("say what to solve: hoijax solve BUNDLE --out RESULT")
        options: dict[str, Any] = {
            "method": self.method,
            "preset": self.preset,
            "weights": parse_weights(self.weights),
            **options_of_flags(self),
        }
        if self.formats is not None:
            options["formats"] = format_names(self.formats)
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers must be at least 1, got {self.workers}.")
        tracker = open_tracker(self.track)
        if self.fast and tracker is not None:
            raise UserError("--track records metrics, which --fast leaves out: omit one of them.")
        if is_many(self.bundle):
            self._solve_many(options, reporter)
            return
        result, rows = solve_to_folder(
            self.bundle[0],
            self.out,
            window=self.window,
            restart=self.restart,
            fast=self.fast,
            physics=self.physics,
            log=reporter.log,
            **options,
        )
        say_verdict(reporter, self.out)
        say_result(reporter, result, rows, self.out)
        if tracker is not None:
            tracker(result, rows, self.out)
        self.check(result.run)

    def _solve_many(self, options: dict[str, Any], reporter: Reporter) -> None:
        from hoijax.jobs.scenes import solve_many

        if self.window is not None or self.track is not None:
            raise UserError("--window and --track are for one bundle at a time.")
        if self.strict:
            raise UserError("--strict is for one bundle at a time; summary.csv has all doubts.")
        if self.fast:
            raise UserError("--fast is for one bundle at a time: many have a summary of metrics.")
        if self.restart:
            raise UserError(
                "--restart is for one bundle at a time; many are solved again by --force."
            )
        many: dict[str, Any] = {
            "force": self.force,
            "workers": self.workers,
            "cluster": self.cluster,
            "distributed": self.distributed,
            "shard": parse_shard(self.shard),
            "physics": self.physics,
        }
        progress = solve_many(self.bundle, self.out, log=reporter.log, **many, **options)
        counts = f"{progress.done} of {progress.total} scenes done"
        say_progress(reporter, progress, self.out, f"{counts} in {self.out}; see summary.csv there")


def parse_weights(text: str) -> dict[str, float | tuple[float, float]]:
    """ "contact=100 penetration=0:10" to {"contact": 100.0, "penetration": (0.0, 10.0)}."""
    weights: dict[str, float | tuple[float, float]] = {}
    for item in text.replace(",", " ").split():
        name, equals, value = item.partition("=")
        try:
            numbers = [float(number) for number in value.split(":")]
        except ValueError:
            numbers = []
        if not equals or len(numbers) not in (1, 2):
            raise UserError(
                f"--weights: cannot read '{item}'. Write name=number or name=start:end, "
                'such as "contact=100 penetration=0:10".'
            )
        for number in numbers:
            check_weight(item, number)
        weights[name] = numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])
    return weights
