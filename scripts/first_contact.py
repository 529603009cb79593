"""First contact with real weights: what every frozen model needs and gives, on one image.

    python -m scripts.first_contact --out contact               # what is in the hub's cache
    python -m scripts.first_contact --out contact --random-weights   # a GPU, but no weights
    python -m scripts.first_contact --out rehearsal --tiny      # tiny networks, on any machine

Perception runs in float32 and in the default precision, which are compared; images and clips take two
denoising steps. Seconds and memory of loading and running go to OUT/first_contact.json and, as a table
for docs/priors.md, OUT/first_contact.md. Every step has a process of its own: one that fails or is
killed is a row. Steps that are done are kept; run again for those that are not. Smallest first.

Not among them: BlazePose and rules (no weights to fetch), endpoints, GVHMR, SAM 3D Body and GEM-X
(packages of the user), the guidance models of `hoijax compose`. Runs from a checkout: tiny networks are
those of the tests.
"""

import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from hoijax.errors import UserError, nearest_hint
from hoijax.io.json_files import read_json, write_json
from priors.models.catalog import CHOICES
from priors.models.doctor import is_cached
from priors.models.torch_runtime import device_and_dtype, torch_settings
from scripts.contact.steps import MODES, Step, StepOptions, planned, run_step

__all__ = ["Options", "main"]

GRACE = 2.0
"""Seconds that a process has to end after it was told to."""


@dataclass(frozen=True)
class Options:
    """What is run, and where to."""

    out: Path
    """Folder of the rows and the table; one that has rows already is continued."""
    tiny: bool = False
    """Tiny random networks of the published classes: a rehearsal of this script, whose numbers say
    nothing about the models."""
    random_weights: bool = False
    """Networks of full size with random weights: shapes, memory, precision and speed are real, answers
    are not."""
    minutes: float = 10.0
    """Budget of all steps together; what is left over waits for the next run."""
    only: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A role, or ROLE=NAME. Again for more of them."""
    download: bool = False
    """Fetch weights that are not in the hub's cache; otherwise they are rows without numbers."""
    again: bool = False
    """Run steps again that are done."""
    image: Path | None = None
    """An image with a person, in place of a drawn one."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: str = "auto"
    """The default precision that float32 is compared with: auto, float16 or bfloat16."""
    memory: str = "model"
    """resident, model or sequential, as of `hoijax observe`."""

    @property
    def mode(self) -> str:
        return MODES[2] if self.random_weights else MODES[1] if self.tiny else MODES[0]


def main(options: Options) -> int:
    """Run the steps; 0 where all of them are done, 1 otherwise. UserError for input that cannot be."""
    steps = _chosen(options)
    rows = _known_rows(options)
    deadline = time.monotonic() + 60 * options.minutes
    step_options = StepOptions(
        options.mode,
        options.device,
        options.precision,
        options.memory,
        None if options.image is None else str(options.image),
    )
    waiting = [s for s in steps if options.again or rows.get(s.key, {}).get("status") != "ok"]
    if options.mode != "weights":
        os.environ["HF_HUB_OFFLINE"] = "1"
    server = _server(waiting)
    for number, step in enumerate(waiting):
        reason = _not_now(step, options, deadline)
        row = {"step": step.key, "mode": options.mode, **reason}
        if not reason:
            print(f"{number + 1}/{len(waiting)} {step.key}", flush=True)
            row = _isolated(server, step, step_options, deadline - time.monotonic())
        if row["status"] != "ok":
            print(f"  {step.key}: {row['status']}: {row.get('error', '')}", flush=True)
        rows[step.key] = row
        _write(options.out, options.mode, rows)
    _write(options.out, options.mode, rows)
    done = sum(rows.get(step.key, {}).get("status") == "ok" for step in steps)
    print(f"{done} of {len(steps)} steps are done: {options.out / 'first_contact.md'}")
    return 0 if done == len(steps) else 1


def _chosen(options: Options) -> list[Step]:
    """The steps asked for, after all checks of the input."""
    if options.tiny and options.random_weights:
        raise UserError("--tiny and --random-weights exclude one another: choose the size.")
    if options.minutes <= 0:
        raise UserError(f"--minutes must be above 0, got {options.minutes:g}.")
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out} is a file; give a folder.")
    if options.image is not None and not options.image.is_file():
        raise UserError(f"--image {options.image}: there is no such file.")
    device_and_dtype(torch_settings(options.device, options.precision, options.memory))
    steps = planned(options.mode)
    words = {step.key for step in steps} | {step.role for step in steps}
    for word in options.only:
        if word not in words:
            hint = nearest_hint(word, sorted(words))
            raise UserError(
                f"--only {word}: no such step.{hint} Roles: {', '.join(_roles(steps))}."
            )
    chosen = [s for s in steps if not options.only or {s.key, s.role} & set(options.only)]
    return chosen


def _roles(steps: Sequence[Step]) -> list[str]:
    return sorted({step.role for step in steps})


def _known_rows(options: Options) -> dict[str, dict[str, Any]]:
    """Rows of an earlier run in the same folder. UserError where it was one of another mode."""
    path = options.out / "first_contact.json"
    if not path.exists():
        return {}
    stored = read_json(path)
    if stored is None or not isinstance(stored.get("rows"), list):
        raise UserError(f"{path} is damaged. Delete it, or give another --out.")
    if stored.get("mode") != options.mode:
        raise UserError(
            f"--out {options.out} holds a run with {stored.get('mode')}, this one is with {options.mode}. "
            "Give another --out."
        )
    return {row["step"]: row for row in stored["rows"]}


def _not_now(step: Step, options: Options, deadline: float) -> dict[str, str]:
    """Why a step does not run now: its status and error; empty where it does."""
    choice = CHOICES[step.role][step.name]
    missing = [hub_id for hub_id in (choice.id, *choice.also) if not is_cached(hub_id)]
    if options.mode == "weights" and missing and not options.download:
        commands = "; ".join(f"hf download {hub_id}" for hub_id in missing)
        return {"status": "no weights", "error": f"not in the hub's cache: {commands}"}
    if time.monotonic() >= deadline:
        return {"status": "not run", "error": "the minutes were over; run again"}
    return {}


def _server(steps: Sequence[Step]) -> Any:
    """Processes are forked from one that has the libraries imported: 20 imports would take minutes."""
    context = multiprocessing.get_context("forkserver")
    preload = ["__main__", "torch", "transformers.modeling_utils", "priors.models.registry"]
    if any(step.role in ("image", "video") for step in steps):
        preload.append("diffusers.pipelines.pipeline_utils")
    context.set_forkserver_preload(preload)
    return context


def _isolated(server: Any, step: Step, options: StepOptions, seconds: float) -> dict[str, Any]:
    """The row of a step that ran in a process of its own, for at most so long."""
    with tempfile.TemporaryDirectory(prefix="first-contact-row-") as folder:
        path = Path(folder, "row.json")
        arguments = (step.role, step.name, options, str(path))
        process = server.Process(target=run_step, args=arguments, daemon=False)
        process.start()
        process.join(max(seconds, 0.0))
        row: dict[str, Any] = {"step": step.key, "mode": options.mode}
        if process.is_alive():
            process.terminate()
            process.join(GRACE)
            process.kill()
            process.join()
            return row | {"status": "stopped", "error": "the minutes were over before it ended"}
        written = read_json(path) if path.exists() else None
        if written is None:
            error = f"its process ended with status {process.exitcode}, as where memory runs out"
            return row | {"status": "failed", "error": error}
        return written


def _write(out: Path, mode: str, rows: dict[str, dict[str, Any]]) -> None:
    """The rows, and a table of them."""
    out.mkdir(parents=True, exist_ok=True)
    order = {step.key: n for n, step in enumerate(planned())}
    listed = sorted(rows.values(), key=lambda row: order.get(row["step"], len(order)))
    machine = _machine()
    write_json(out / "first_contact.json", {"mode": mode, "machine": machine, "rows": listed})
    (out / "first_contact.md").write_text(table(mode, machine, listed), encoding="utf-8")


def _machine() -> str:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return f"{platform.machine()}, {os.cpu_count()} cores, no GPU"
    return f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}"


TITLES = {
    "weights": "First contact with the published weights",
    "tiny": "A rehearsal with tiny random networks: these numbers say nothing about the models",
    "random weights": "Full size with random weights: memory and seconds are real, answers are not",
}


def table(mode: str, machine: str, rows: Sequence[dict[str, Any]]) -> str:
    """Markdown of rows."""
    lines = [
        f"**{TITLES[mode]}.** {machine}.",
        "",
        "| model | parameters, 1e9 | precision | load | run | GPU | process | output | default against float32 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        name = f"`{row['step']}`"
        if row["status"] != "ok":
            lines.append(
                f"| {name} | {row['status']}: {_cell(row.get('error', ''))} | | | | | | | |"
            )
            continue
        run, load = row["run"], row["load"]
        most = max(load.get("gpu_gib", 0.0), run.get("gpu_gib", 0.0))
        gpu = f"{most:.3g} GiB" if most else ""
        cells = [
            name,
            f"{row['parameters']:.2g}",
            ", ".join(row["dtypes"]),
            f"{load['seconds']:.2g} s",
            f"{run['seconds']:.2g} s",
            gpu,
            f"{run['ram_gib']:.3g} GiB",
            _cell(row["shape"]),
            _cell(row.get("difference", "")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:160]


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(Options, description=__doc__)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
