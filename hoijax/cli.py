"""The command line: `hoijax generate | observe | solve | evaluate | export | view | ablate | doctor | bundle check`."""

import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Column, Table

from hoijax.errors import UserError
from hoijax.prior_flags import PriorFlags

Text = tyro.conf.Positional[str]
Folder = tyro.conf.Positional[Path]
# Paths and messages are printed as they are; where nobody looks, tables need not fit a terminal.
_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}
console = Console(width=None if sys.stdout.isatty() else 120, **_PLAIN)
errors = Console(stderr=True, **_PLAIN)


@dataclass(frozen=True)
class Generate(PriorFlags):
    """Sentence and object meshes to a 4D interaction; without any model weights, or with them."""

    text: Text
    """What happens, in English: "a person lifts a barbell from the ground with both hands"."""
    objects: tuple[str, ...]
    """Mesh files (glb, obj, ply, stl), or procedural objects: barbell, box, chair, broom,
    suitcase, skateboard, table, ball."""
    out: Path
    """Result folder to write."""
    prior: Literal["rules", "diffusion"] = "rules"
    """rules (no weights) or diffusion (an image, a video and what models see in it)."""
    frames: int = 49
    """Length of the clip; at 12 frames a second without weights."""
    scale: float = 1.0
    """Factor from the meshes' unit to metres (0.001 for millimetres)."""
    seed: int = 0
    """The same seed gives the same result."""
    method: Literal["hoi-page", "anchorhoi"] = "hoi-page"
    """hoi-page moves the objects among estimated bodies; anchorhoi moves bodies and objects."""
    preset: str = "default"
    """"default" (ours) or "hoi-page" (published settings)."""
    inits: int | None = None
    """Candidate trajectories optimised at once; as many as the preset says by default."""

    def run(self) -> None:
        from hoijax.affordance import PartAffordanceGraph
        from hoijax.pipeline import generate

        rules = self.prior == "rules"
        graph = PartAffordanceGraph.from_json(self.pag) if self.pag and rules else None
        result, rows = generate(
            self.text,
            self.objects,
            self.out,
            graph=graph,
            frames=self.frames,
            scale=self.scale,
            seed=self.seed,
            method=self.method,
            preset=self.preset,
            inits=self.inits,
            stage_options=None if rules else self.stage_options(),
            log=_log,
        )
        _print_result(result, rows, self.out)


@dataclass(frozen=True, kw_only=True)
class Observe(PriorFlags):
    """Sentence and object meshes to an observation bundle; or many of them, from a file."""

    text: tyro.conf.Positional[str | None] = None
    """What happens, in English. Not with --prompts."""
    objects: tuple[str, ...] = ()
    """Mesh files (glb, obj, ply, stl), or procedural objects."""
    out: Path
    """Bundle folder (or .zip) to write; with --prompts the folder of all bundles."""
    prior: Literal["rules", "diffusion"] = "diffusion"
    """diffusion (an image, a video and what models see in it) or rules (no weights)."""
    prompts: Path | None = None
    """A jsonl file of scenes: {"text": ..., "objects": [...]} and more, one a line."""
    frames: int = 49
    """Length of the clip."""
    scale: float = 1.0
    """Factor from the meshes' unit to metres (0.001 for millimetres)."""
    seed: int = 0
    """The same seed gives the same result on the same machine."""

    def run(self) -> None:
        from hoijax.pipeline import observe_prompts, observe_to_folder

        numbers = {"frames": self.frames, "scale": self.scale, "seed": self.seed}
        options = self.stage_options()
        if self.prompts is not None:
            if self.text is not None or self.objects or self.prior == "rules":
                raise UserError(
                    "--prompts brings texts and objects, and uses models: leave TEXT, --objects and "
                    "--prior rules away."
                )
            done, failed = observe_prompts(self.prompts, self.out, options, **numbers, log=_log)
            console.print(f"{done} bundles in {self.out}, {len(failed)} failures")
            for name, message in failed.items():
                console.print(f"  {name}: {message}")
            if failed:
                raise UserError(f"{len(failed)} scenes failed; the same command tries them again.")
            return
        if self.text is None:
            raise UserError('say what happens: hoijax observe "a person ..." --objects ...')
        path = observe_to_folder(
            self.text, self.objects, self.out, options, prior=self.prior, **numbers, log=_log
        )
        console.print(f"wrote {path}")


@dataclass(frozen=True)
class Solve:
    """Any observation bundle to object trajectories; or many of them, finishing what is missing."""

    bundle: tyro.conf.Positional[tuple[Path, ...]]
    """Bundle folder or zip; or many: folders of bundles, globs in quotes, several paths. Many may be
    solved by any number of processes on one shared --out, see docs/cluster.md."""
    out: Path
    """Result folder to write; with many bundles the folder of all results."""
    force: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Many bundles: solve all of them again where --out holds results of other settings."""
    method: str = "hoi-page"
    """hoi-page moves the objects among estimated bodies; anchor-motion moves bodies and objects."""
    static: Path | None = None
    """anchor-motion: result folder with the still whose contacts hold."""
    static_frame: int = 0
    """anchor-motion: frame of --static."""
    body_start: str = "fit"
    """anchor-motion: "fit" (to keypoints and point maps), "estimate" (the bundle's) or "static"."""
    preset: str = "default"
    """"default" (ours) or "hoi-page" (published settings); hoi-page only."""
    inits: int | None = None
    """Candidate trajectories optimised at once; as many as the preset says by default."""
    optimizer: str | None = None
    """"lm" (Levenberg-Marquardt) or "adam"; as the preset says by default."""
    steps: int | None = None
    """Optimisation steps; as many as the preset says by default."""
    seed: int = 0
    weights: str = ""
    """Loss weights by name, "contact=100 penetration=0:10" (a:b ramps from a to b)."""

    def run(self) -> None:
        from hoijax.anchor_pipeline import AnchorOptions
        from hoijax.many_scenes import is_many, solve_many
        from hoijax.pipeline import solve_to_folder

        if not self.bundle:
            raise UserError("say what to solve: hoijax solve BUNDLE --out RESULT")
        options: dict[str, Any] = {
            "method": self.method,
            "preset": self.preset,
            "weights": parse_weights(self.weights),
            "inits": self.inits,
            "optimizer": self.optimizer,
            "steps": self.steps,
            "seed": self.seed,
            "anchor": AnchorOptions(self.static, self.static_frame, self.body_start),
        }
        if is_many(self.bundle):
            found = solve_many(self.bundle, self.out, force=self.force, log=_log, **options)
            _print_standing(found, self.out)
            return
        result, rows = solve_to_folder(self.bundle[0], self.out, log=_log, **options)
        _print_result(result, rows, self.out)


@dataclass(frozen=True)
class Evaluate:
    """Measure a result folder again; with the bundle's truth where it is still there."""

    result: Folder
    """Result folder."""

    def run(self) -> None:
        from hoijax.pipeline import evaluate

        values = evaluate(self.result)
        _print_table(
            ["metric", "value"], [[name, f"{value:.4g}"] for name, value in values.items()]
        )


@dataclass(frozen=True)
class Export:
    """Write a result for other programs."""

    result: Folder
    """Result folder."""
    to: str = "amass,glb,mp4"
    """Comma-separated formats: amass, glb, mp4, bvh, usd, intermimic, omomo, interact, mjcf."""
    out: Path | None = None
    """Folder to write to; the result folder by default."""
    fps: float | None = None
    """Frame rate; the result's by default."""
    up: Literal["y", "z"] = "y"
    """Up axis of the world, where the format leaves the choice."""

    def run(self) -> None:
        from hoijax.export.formats import ExportOptions
        from hoijax.pipeline import export

        formats = [name.strip() for name in self.to.split(",") if name.strip()]
        options = ExportOptions(self.fps, self.up)
        for path in export(self.result, self.out or self.result, formats, options):
            console.print(f"wrote {path}")


@dataclass(frozen=True)
class Ablate:
    """Solve bundles with parts of the method switched off, and print the paper's table."""

    bundles: Folder
    """A bundle, or a folder of bundles or result folders."""
    preset: str = "hoi-page"
    """Settings the rows start from: "hoi-page" (published) or "default"."""
    inits: int | None = None
    """Candidate trajectories optimised at once; as many as the preset says by default."""
    steps: int | None = None
    """Optimisation steps; as many as the preset says by default."""
    seed: int = 0
    weights: str | None = None
    """Sweep loss weights instead: every combination of "contact=0,1e2,1e3 penetration=0,10"."""
    out: Path | None = None
    """Write the rows as JSON here; with --weights a folder (CSV, Markdown, LaTeX)."""

    def run(self) -> None:
        from hoijax.ablation import ablate

        if self.weights is not None:
            self._sweep(self.weights)
            return
        rows = ablate(
            self.bundles,
            preset=self.preset,
            inits=self.inits,
            steps=self.steps,
            seed=self.seed,
            out=self.out,
            log=_log,
        )
        cells = [[v if isinstance(v, str) else f"{v:.4f}" for v in row.values()] for row in rows]
        _print_table(list(rows[0]), cells)
        console.print("contact@0cm and non-collision as published; VideoCLIP needs CLIP weights.")
        if self.out:
            console.print(f"wrote {self.out}")

    def _sweep(self, weights: str) -> None:
        from hoijax.ablation import COLUMNS
        from hoijax.sweep import cells, sweep

        numbers = {"inits": self.inits, "steps": self.steps, "seed": self.seed}
        rows = sweep(self.bundles, weights, preset=self.preset, out=self.out, log=_log, **numbers)
        columns, lines = cells(rows)
        # Every term as well would need a very wide terminal; the files have them.
        shown = [i for i, name in enumerate(columns) if name.startswith("w(") or name == "loss"]
        shown += range(len(columns) - len(COLUMNS), len(columns))
        _print_table([columns[i] for i in shown], [[line[i] for i in shown] for line in lines])
        if self.out:
            console.print(f"wrote {self.out}")


@dataclass(frozen=True)
class View:
    """A result in the browser: play, compare, ask why, edit and solve again; or as one html file."""

    result: Folder
    """Result folder."""
    port: int = 8080
    """Port to serve at; 0 takes any free one."""
    host: str = "127.0.0.1"
    """Address to serve at; 0.0.0.0 lets other machines in."""
    save: Path | None = None
    """Write a static html page that plays without a server here, and serve nothing."""
    candidate: int | None = None
    """With --save: which candidate, counted from 1; the winner by default."""

    def run(self) -> None:
        from hoijax.runtime import enable_compilation_cache
        from hoijax.viewer import open_viewer, save_page

        enable_compilation_cache()
        if self.save is not None:
            chosen = None if self.candidate is None else self.candidate - 1
            console.print(f"wrote {save_page(self.result, self.save, candidate=chosen)}")
            return
        viewer = open_viewer(self.result, host=self.host, port=self.port)
        console.print(f"open {viewer.url} in a browser; Ctrl-C ends")
        try:
            viewer.run()
        except KeyboardInterrupt:
            console.print("closed.")
        finally:
            viewer.server.stop()


@dataclass(frozen=True)
class Doctor:
    """What is installed, which device is really used, where files are kept."""

    def run(self) -> None:
        from hoijax.doctor import report

        _print_table(["what", "found"], list(report().items()))


@dataclass(frozen=True)
class BundleCommand:
    """Check an observation bundle file by file and array by array; every problem is listed."""

    action: tyro.conf.Positional[Literal["check"]]
    path: Folder
    """Bundle folder or zip."""

    def run(self) -> None:
        from hoijax.bundle import bundle_hash, check_bundle, read_bundle

        problems = check_bundle(self.path)
        if problems:
            listed = "\n".join(f"  {i + 1}. {problem}" for i, problem in enumerate(problems))
            raise UserError(f"bundle '{self.path}' has {len(problems)} problem(s):\n{listed}")
        bundle = read_bundle(self.path)
        console.print(
            f"{self.path}: sound. {bundle.frame_count} frames at {bundle.fps:g} fps, "
            f"{len(bundle.bodies)} people, objects: {', '.join(a.name for a in bundle.assets)}. "
            f"SHA-256 {bundle_hash(self.path)[:16]}..."
        )


Command = (
    Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Observe, tyro.conf.subcommand("observe")]
    | Annotated[Solve, tyro.conf.subcommand("solve")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Ablate, tyro.conf.subcommand("ablate")]
    | Annotated[View, tyro.conf.subcommand("view")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
    | Annotated[BundleCommand, tyro.conf.subcommand("bundle")]
)


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
        weights[name] = numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])
    return weights


def _log(message: str) -> None:
    console.print(message, style="dim")


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Nothing is cut off: what does not fit a cell goes on in its next line."""
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for row in rows:
        table.add_row(*row)
    console.print(table, soft_wrap=False)


def _print_standing(found, out: Path) -> None:
    """How many scenes there are; a failure ends the command with exit code 2."""
    console.print(f"{found.done} of {found.total} scenes done in {out}; see summary.csv there")
    if found.elsewhere:
        console.print(f"{found.elsewhere} are being solved by other processes")
    for name, message in found.failed.items():
        console.print(f"  {name}: {message}")
    if found.failed:
        raise UserError(f"{len(found.failed)} scenes failed; the same command tries them again.")


def _print_result(result, rows: list[dict[str, float]], out: Path) -> None:
    """The table of initialisations, the winner and the paths: the last lines of a run."""
    from hoijax.solver.optimise import ResultCode

    columns = ["start", "loss", "contact@5cm", "non-collision", "result"]
    truth = "translation_cm" in rows[0]
    if truth:
        columns[4:4] = ["error cm", "error deg"]
    moves = result.candidate_body_rotations is not None and "mpjpe_mm" in rows[0]
    if moves:
        columns[4:4] = ["mpjpe mm"]
    lines = []
    for k, row in enumerate(rows):
        cells = [
            ("* " if k == result.winner else "  ") + result.labels[k],
            f"{result.losses[k]:.4g}",
            f"{row['edge_contact_share@5cm']:.2f}",
            f"{row['noncollision']:.3f}",
            ResultCode(int(result.codes[k])).message,
        ]
        if truth:
            cells[4:4] = [f"{row['translation_cm']:.2f}", f"{row['rotation_deg']:.2f}"]
        if moves:
            cells[4:4] = [f"{row['mpjpe_mm']:.1f}"]
        lines.append(cells)
    _print_table(columns, lines)
    console.print(f"winner: {result.labels[result.winner]}")
    for path in sorted(out.iterdir()):
        console.print(f"  {path}")


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    errors.print(f"warning: {message}", style="yellow")


def _terminate(signum: int, frame: object) -> None:
    sys.exit(128 + signum)


def main() -> None:
    """Entry point of `hoijax`. Exit codes: 0 done, 2 bad input, 130 interrupted, 143 terminated."""
    warnings.showwarning = _show_warning
    if threading.current_thread() is threading.main_thread():
        # A scheduler's SIGTERM must unwind like Ctrl-C, or half a result folder stays behind.
        signal.signal(signal.SIGTERM, _terminate)
    try:
        tyro.cli(Command, prog="hoijax", description=__doc__).run()
    except UserError as error:
        errors.print(f"error: {error}", style="red")
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: nothing was written.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
