"""What a GPU is wanted for, one process a step, resumable; see scripts/gpu_benchmarks.sh.

    python -m scripts.benchmarks.gpu --json docs/results/gpu.json
    python -m scripts.benchmarks.gpu --rehearse --json /tmp/gpu.json

Every step writes its rows into the JSON file as it ends. A step that fails or runs out of time is recorded
with the end of what it printed, and tried again by the next call.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

SENTENCE = "a person lifts a box from the ground with both hands"
ENVIRONMENT = """
import json, jax, jax.numpy as jnp
from hoijax.runtime import describe_device, versions
x = jnp.ones((4096, 4096), jnp.bfloat16)
assert float((x @ x)[0, 0]) == 4096.0
print(json.dumps({"device": describe_device(), "versions": versions()}))
"""


@dataclass(frozen=True)
class Options:
    """Options of the run."""

    json: Path = Path("docs/results/gpu.json")
    minutes: float = 9.0
    """No step starts after that, and none lasts longer."""
    rehearse: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Small sizes, on whatever device there is."""
    only: tuple[str, ...] = ()
    """Steps by name; all of them where none is named."""


@dataclass(frozen=True)
class Step:
    """A command; OUT in it is where it writes."""

    name: str
    command: tuple[str, ...]
    reads: str = ""
    """File below OUT whose JSON are the rows; empty: the last line that was printed."""


def steps(rehearse: bool) -> list[Step]:
    """In the order in which they run."""

    def module(name: str, *options: str) -> tuple[str, ...]:
        return (sys.executable, "-m", f"scripts.benchmarks.{name}", *options)

    def published(inits: int, *options: str) -> Step:
        size = ("--quick",) if inits > 64 else ("--rounds", "3")
        if rehearse:
            size = ("--rounds", "1", "--steps", "5")
        given = (*size, "--inits", str(inits), "--json", "OUT/rows.json", *options)
        return Step(f"published problem, K = {inits}", module("speed", *given), "rows.json")

    hoijax = (sys.executable, "-m", "hoijax.cli.entry")
    frames, inits = ("12", "2") if rehearse else ("49", "6")
    sizes = ("--objects", "box", "--frames", frames, "--inits", inits)
    budget = ("--families", "none", "--strengths", "1", "--methods", "joint", "--only", "box")
    if not rehearse:
        budget = ("--methods", "joint")
    rays = ("--skip-ablation", "--scenes", "sit", "--out", "OUT/rows.json")
    return [
        Step("environment", (sys.executable, "-c", ENVIRONMENT)),
        published(2 if rehearse else 4, "--baseline", "grids"),
        Step(
            "joint solve, cold",
            (*hoijax, "generate", SENTENCE, *sizes, "--out", "OUT/made"),
            "made/run.json",
        ),
        Step(
            "joint solve, warm",
            (*hoijax, "generate", SENTENCE, *sizes, "--out", "OUT/made"),
            "made/run.json",
        ),
        Step(
            "roofline",
            module(
                "profile_terms", "--inits", "2" if rehearse else "64", "--json", "OUT/rows.json"
            ),
            "rows.json",
        ),
        published(4 if rehearse else 64, "--baseline", "grids"),
        published(8 if rehearse else 1024, "--baseline", "grids"),
        Step("rays", module("compose", "--preset", "small", *rays), "rows.json"),
        Step(
            "error budget",
            module("robustness", "--frames", frames, *budget, "--json", "OUT/rows.json"),
            "rows.json",
        ),
        published(3 if rehearse else 5, "--baseline", "grids", "--compile"),
    ]


def run(step: Step, seconds: float) -> dict[str, Any]:
    """What one step found, or why it did not."""
    with tempfile.TemporaryDirectory() as folder:
        command = [part.replace("OUT", folder) for part in step.command]
        begun = time.perf_counter()
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds, check=False
            )
            output, code = ended.stdout + ended.stderr, ended.returncode
        except subprocess.TimeoutExpired:
            output, code = f"out of time after {seconds:.0f} s", 124
        row: dict[str, Any] = {"seconds": round(time.perf_counter() - begun, 1)}
        if code != 0:
            return row | {"failed": output[-2000:]}
        path = Path(folder) / step.reads
        text = path.read_text() if step.reads else output.strip().splitlines()[-1]
        return row | {"rows": json.loads(text)}


def main(options: Options) -> None:
    """All steps that are not in the file yet."""
    known = json.loads(options.json.read_text()) if options.json.exists() else {}
    end = time.monotonic() + 60.0 * options.minutes
    for step in steps(options.rehearse):
        done = step.name in known and "rows" in known[step.name]
        left = end - time.monotonic()
        if done or left < 5.0 or (options.only and step.name not in options.only):
            continue
        print(f"{step.name} ...", flush=True)
        known[step.name] = run(step, left)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        partial = options.json.with_suffix(".partial")
        partial.write_text(json.dumps(known, indent=1) + "\n")
        os.replace(partial, options.json)
        print(f"  {known[step.name]['seconds']} s{' FAILED' * ('failed' in known[step.name])}")
    missing = [s.name for s in steps(options.rehearse) if "rows" not in known.get(s.name, {})]
    print(f"not there yet: {', '.join(missing) or 'nothing'}")


if __name__ == "__main__":
    main(tyro.cli(Options))
