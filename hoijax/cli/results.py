"""`hoijax evaluate | export | view | doctor | bundle`: what reads bundles and results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from hoijax.cli.console import Reporter
from hoijax.cli.flags import Folder, OutputFlags, format_names
from hoijax.errors import UserError


@dataclass(frozen=True)
class Evaluate(OutputFlags):
    """Measure a result folder again; with the bundle's truth where it is still there."""

    result: Folder
    """Result folder. With --protocol also a motion file, or a folder of many results or files."""
    protocol: str | None = None
    """Measure by papers' definitions instead: "all" or a list such as "chois,behave,v2d"."""
    truth: Path | None = None
    """With --protocol: ground truth; by default that of the bundle a result was solved from."""
    objects: tuple[Path, ...] = ()
    """With --protocol and AMASS, OMOMO, InterAct or InterMimic motion: its objects' meshes, in its order."""
    body: str = "anny"
    """With --protocol and such motion: the body it moves, "anny" or an SMPL-X file."""
    fps: float | None = None
    """With --protocol: frames a second of folders of meshes, which have none."""
    format: Literal["table", "csv", "latex"] = "table"
    """With --protocol: what to print; --json has it as JSON."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.api.result_folder import evaluate

        if self.protocol is not None:
            self._by_protocols(reporter, self.protocol)
            return
        if self.truth or self.objects or self.fps or self.format != "table":
            raise UserError(
                "--truth, --objects, --fps and --format need --protocol, such as --protocol all."
            )
        if not (self.result / "run.json").is_file() and self.result.exists():
            raise UserError(
                f"'{self.result}' is not a result folder: run.json is missing. Motion files and folders of "
                "many are measured with --protocol, such as --protocol all."
            )
        values = evaluate(self.result)
        reporter.table(
            ["metric", "value"], [[name, f"{value:.4g}"] for name, value in values.items()]
        )
        reporter.add(result=self.result, metrics=values)

    def _by_protocols(self, reporter: Reporter, protocols: str) -> None:
        from hoijax.api.protocols import evaluate_protocols
        from hoijax.results.protocols.tables import as_csv, as_latex, score_rows

        scores = evaluate_protocols(
            self.result,
            protocols,
            truth=self.truth,
            objects=self.objects,
            body=self.body,
            fps=self.fps,
        )
        columns, rows = score_rows(scores.clips, scores.mean)
        if self.format == "table":
            reporter.table(columns, rows)
        else:
            text = {"csv": as_csv, "latex": as_latex}[self.format](columns, rows)
            reporter.say(text.rstrip())
        for clip, reason in scores.missing.items():
            reporter.warn(f"not measured: {clip}: {reason}")
        omitted = scores.omitted if self.format == "table" else {}
        for clip, reasons in omitted.items():
            for measure, reason in reasons.items():
                reporter.say(f"omitted: {clip}: {measure} {reason}")
        reporter.add(
            result=self.result,
            clips=scores.clips,
            mean=scores.mean,
            omitted=scores.omitted,
            missing=scores.missing,
        )


@dataclass(frozen=True)
class Export(OutputFlags):
    """Write a result for other programs."""

    result: Folder
    """Result folder."""
    to: str = "amass,glb,mp4"
    """Comma-separated formats: amass, glb, mp4, bvh, usd, intermimic, omomo, interact, mjcf, fbx, holosoma."""
    out: Path | None = None
    """Folder to write to; the result folder by default."""
    fps: float | None = None
    """Frame rate; the result's by default, and for amass at least 30."""
    up: Literal["y", "z"] | None = None
    """Up axis of the world, where the format leaves the choice; amass is z up, the others y up."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.api.result_folder import export
        from hoijax.exporters.formats import ExportOptions

        options = ExportOptions(self.fps, self.up)
        paths = export(self.result, self.out or self.result, format_names(self.to), options)
        for path in paths:
            reporter.say(f"wrote {path}")
        reporter.add(files=paths)


@dataclass(frozen=True)
class View(OutputFlags):
    """A result in the browser: play, compare, ask why, edit; or as one html file."""

    result: Folder
    """Result folder."""
    port: int = 8080
    """Port to serve at; 0 takes any free one."""
    host: str = "127.0.0.1"
    """Address to serve at; 0.0.0.0 lets in other machines that have the printed address with its token."""
    save: Path | None = None
    """Write a static html page that plays without a server here, and serve nothing."""
    candidate: int | None = None
    """With --save: which candidate, counted from 1; the winner by default."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.runtime import enable_compilation_cache
        from hoijax.viewer import open_viewer, save_page

        enable_compilation_cache()
        if self.save is not None:
            chosen = None if self.candidate is None else self.candidate - 1
            path = save_page(self.result, self.save, candidate=chosen)
            reporter.say(f"wrote {path}")
            reporter.add(files=[path])
            return
        if self.json:
            raise UserError(
                "--json needs an end: give --save, a viewer serves until it is stopped."
            )
        viewer = open_viewer(self.result, host=self.host, port=self.port)
        reporter.say(f"open {viewer.url} in a browser; Ctrl-C ends")
        try:
            viewer.run()
        except KeyboardInterrupt:
            reporter.say("closed.")
        finally:
            viewer.server.stop()


@dataclass(frozen=True)
class Doctor(OutputFlags):
    """What is installed, which device is really used, where files are kept."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.cli.doctor import report, warnings_of

        facts = report()
        reporter.table(["what", "found"], list(facts.items()), width=80)
        reporter.add(found=facts)
        for warning in warnings_of(facts):
            reporter.warn(warning)


@dataclass(frozen=True)
class BundleCommand(OutputFlags):
    """Check an observation bundle array by array; every problem is listed."""

    action: tyro.conf.Positional[Literal["check"]]
    path: Folder
    """Bundle folder or zip."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.bundle.write import bundle_hash, check_bundle, read_bundle

        problems = check_bundle(self.path)
        if problems:
            listed = "\n".join(f"  {i + 1}. {problem}" for i, problem in enumerate(problems))
            raise UserError(f"bundle '{self.path}' has {len(problems)} problem(s):\n{listed}")
        bundle = read_bundle(self.path)
        reporter.add(
            bundle=self.path,
            frames=bundle.frame_count,
            fps=bundle.fps,
            people=len(bundle.bodies),
            objects=[asset.name for asset in bundle.assets],
            sha256=bundle_hash(self.path),
            absent=bundle.absences,
        )
        reporter.say(
            f"{self.path}: sound. {bundle.frame_count} frames at {bundle.fps:g} fps, "
            f"{len(bundle.bodies)} people, objects: {', '.join(a.name for a in bundle.assets)}. "
            f"SHA-256 {bundle_hash(self.path)[:16]}..."
        )
        for line in bundle.absences:
            reporter.say(f"  {line}")


def _table(result, rows: list[dict[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Columns and a line for every candidate."""
    from hoijax.solver.problem import ResultCode

    columns = ["start", "loss", "contact@5cm", "non-collision", "result"]
    ground_truth = "translation_cm" in rows[0]
    if ground_truth:
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
        if ground_truth:
            cells[4:4] = [f"{row['translation_cm']:.2f}", f"{row['rotation_deg']:.2f}"]
        if moves:
            cells[4:4] = [f"{row['mpjpe_mm']:.1f}"]
        lines.append(cells)
    return columns, lines


def say_result(reporter: Reporter, result, rows: list[dict[str, float]], out: Path) -> None:
    """The table of candidates where they were measured, the winner and the paths: the end of a run."""
    from hoijax.solver.problem import ResultCode

    if rows:
        reporter.table(*_table(result, rows))
    corrections = result.run.get("corrections", {})
    if corrections:
        texts = (f"{name} {value:.3g}" for name, value in corrections.items())
        reporter.say(f"found off in the estimates: {', '.join(texts)}")
    reporter.say(f"winner: {result.labels[result.winner]}")
    files = sorted(out.iterdir())
    for path in files:
        reporter.say(f"  {path}")
    candidates = [
        {"start": label, "loss": float(loss), "ended": ResultCode(int(code)).name.lower()}
        for label, loss, code in zip(result.labels, result.losses, result.codes, strict=True)
    ]
    confidence = result.run.get("confidence", {})
    if "unexplained_colors" in confidence:
        shares = map(min, confidence["unexplained_colors"])
        texts = (f"{name} {100 * x:.0f} %" for name, x in zip(result.labels, shares, strict=True))
        reporter.say(f"colors of the clip left unexplained: {', '.join(texts)}")
    for k in confidence.get("twins", ()):
        reporter.say(
            f"cannot be told apart by this evidence: {result.labels[result.winner]} and {result.labels[k]}"
        )
    if confidence.get("doubts"):
        reporter.say(f"low confidence: {'; '.join(confidence['doubts'])}")
    reporter.add(
        out=out,
        confidence=confidence,
        winner=result.winner,
        candidates=candidates,
        metrics=rows[result.winner] if rows else {},
        seconds=result.run.get("seconds", {}),
        files=files,
    )
