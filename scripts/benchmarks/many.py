"""Scenes a second: `hoijax solve DIR/` against three loops over its bundles.

    python -m scripts.benchmarks.many made/ --make 1000                  # small scenes, by processes
    python -m scripts.benchmarks.many made/ --count 400 --save docs/results/many.json

shell: `hoijax solve BUNDLE` for one bundle after the other, as a shell loop runs it: a process each,
which imports, traces, and draws the preview. previews: `solve_to_folder` in one warm process, the
same files. plain: the same with the exports of the folder command, which makes no previews. The
loops have all cores and programs compiled before; the folder command is a process of its own, its
start included, and `steady` leaves out its first and last tenth.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

KINDS = {
    "box": "a person carries a box with both hands",
    "barbell": "a person lifts a barbell from the ground with both hands",
    "chair": "a person sits on a chair",
    "ball": "a person kicks a ball with the right foot",
}
FRAMES = 12
"""The fewest that the prior without weights makes."""


def make_share(folder: Path, first: int, stride: int, count: int) -> None:
    """Every `stride`-th scene from `first` on that is not there yet."""
    # One thread a process: set before JAX starts.
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    from hoijax.api.observe import load_objects, observe
    from hoijax.bundle.write import write_bundle
    from hoijax.runtime import enable_compilation_cache

    enable_compilation_cache()
    for number in range(first, count, stride):
        name = list(KINDS)[number % len(KINDS)]
        path = folder / f"{name}-{number:04d}"
        if not path.exists():
            bundle, ground_truth = observe(
                KINDS[name], load_objects([name]), frames=FRAMES, seed=number
            )
            write_bundle(path, bundle, ground_truth)


def make_scenes(folder: Path, count: int) -> None:
    """Small scenes of the prior without weights, by a process a core."""
    folder.mkdir(parents=True, exist_ok=True)
    cores = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    before, begun = len(list(folder.iterdir())), time.perf_counter()
    shares = [(folder, first, cores, count) for first in range(cores)]
    processes = [context.Process(target=make_share, args=share) for share in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    made, took = len(list(folder.iterdir())) - before, time.perf_counter() - begun
    print(f"{made} scenes made in {took:.0f} s: {made / took:.2f} a second")


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """So many of the paths, of all kinds."""
    by_number = sorted(paths, key=lambda path: path.name.rpartition("-")[2])
    return by_number[:count]


def seconds(act: Callable[[], object]) -> tuple[float, float]:
    """(seconds, CPU seconds of this process and those it waited for)."""
    begun, cpu = time.perf_counter(), cpu_seconds()
    act()
    return time.perf_counter() - begun, cpu_seconds() - cpu


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usages)


def told(scenes: int, took: tuple[float, float]) -> dict[str, float]:
    """What is kept of a run. On a machine that others use, CPU seconds say more."""
    return {
        "scenes": scenes,
        "seconds": took[0],
        "rate": scenes / took[0],
        "cpu_seconds_a_scene": took[1] / scenes,
    }


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hoijax.cli.main", "solve", *map(str, arguments)]


def time_shell(paths: Sequence[Path], given: argparse.Namespace, out: Path) -> dict[str, float]:
    """One process after the other."""

    def loop() -> None:
        for n, path in enumerate(paths):
            run = command(path, "--out", out / f"shell-{n}", *_choices(given))
            subprocess.run(run, check=True, stdout=subprocess.DEVNULL)

    took = seconds(loop)
    print(f"shell: {len(paths)} scenes in {took[0]:.1f} s", flush=True)
    return told(len(paths), took)


def _choices(given: argparse.Namespace) -> tuple[object, ...]:
    return "--inits", given.inits, "--method", given.method


def time_loops(
    paths: Sequence[Path], given: argparse.Namespace, out: Path
) -> dict[str, dict[str, float]]:
    """Both loops in this process; each has solved a scene of every kind before."""
    from hoijax.api.result_folder import DEFAULT_FORMATS
    from hoijax.api.solve import solve_to_folder
    from hoijax.jobs.scenes import FORMATS_OF_MANY
    from hoijax.runtime import enable_compilation_cache

    enable_compilation_cache()

    def loop(kind: str, chosen: Sequence[Path], formats: tuple[str, ...]) -> None:
        for n, path in enumerate(chosen):
            to = out / f"{kind}-{n}"
            solve_to_folder(path, to, method=given.method, inits=given.inits, formats=formats)

    loop("warm", spread(paths, len(KINDS)), DEFAULT_FORMATS)
    rates = {}
    for kind, formats in (("plain", FORMATS_OF_MANY), ("previews", DEFAULT_FORMATS)):
        took = seconds(lambda kind=kind, formats=formats: loop(kind, paths, formats))
        rates[kind] = told(len(paths), took)
        print(f"{kind}: {len(paths)} scenes in {took[0]:.1f} s", flush=True)
    return rates


def time_folder(paths: Sequence[Path], given: argparse.Namespace, out: Path) -> dict:
    """Scenes/s of the folder command: all of it, and from its first to its last tenth."""
    options = () if given.workers is None else ("--workers", given.workers)
    run = command(*paths, "--out", out / "many", *_choices(given), *options)
    took = seconds(lambda: subprocess.run(run, check=True))
    done = sorted(p.stat().st_mtime for p in (out / "many/.work/done").iterdir())
    cut = max(len(done) // 10, 1)
    inner = done[cut:-cut]
    steady = (len(inner) - 1) / max(inner[-1] - inner[0], 1e-9) if len(inner) > 1 else None
    print(f"folder: {len(done)} scenes in {took[0]:.1f} s", flush=True)
    return told(len(done), took) | {"steady": steady}


def measure(given: argparse.Namespace) -> dict:
    from hoijax.jobs.scene_names import find_scenes
    from hoijax.runtime import describe_device, versions

    paths = spread([Path(path) for path in find_scenes([given.bundles]).values()], given.count)
    report: dict = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": describe_device(),
        "load_before": os.getloadavg(),
        "versions": versions(),
        "command": "python " + " ".join(sys.argv),
        "inits": given.inits,
        "method": given.method,
        "frames": FRAMES,
    }
    # What XLA compiled is kept where the user keeps it; results are dropped.
    out = Path(tempfile.mkdtemp(dir=given.scratch))
    try:
        if given.shell:
            report["shell"] = time_shell(spread(paths, given.shell), given, out)
        if given.loop:
            report |= time_loops(spread(paths, given.loop), given, out)
        if not given.no_folder:
            report["folder"] = time_folder(paths, given, out)
            rate = report["folder"]["rate"]
            kinds = [kind for kind in ("shell", "previews", "plain") if kind in report]
            report["folder_over"] = {kind: rate / report[kind]["rate"] for kind in kinds}
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundles", type=Path)
    parser.add_argument(
        "--make", type=int, default=0, help="make scenes up to this number, and end"
    )
    parser.add_argument("--count", type=int, default=400, help="scenes of the folder command")
    parser.add_argument("--loop", type=int, default=24, help="scenes of either loop; 0: none")
    parser.add_argument("--shell", type=int, default=5, help="scenes of the shell loop; 0: none")
    parser.add_argument("--no-folder", action="store_true", help="time the loops only")
    parser.add_argument("--inits", type=int, default=4)
    parser.add_argument("--method", default="joint", help="joint or hoi-page")
    parser.add_argument("--workers", type=int, default=None, help="as of hoijax solve")
    parser.add_argument("--scratch", type=Path, default=None, help="where results go meanwhile")
    parser.add_argument("--save", type=Path, default=None, help="JSON that keeps what was measured")
    given = parser.parse_args()
    if given.make:
        make_scenes(given.bundles, given.make)
        return
    text = json.dumps(measure(given), indent=1)
    print(text)
    if given.save:
        given.save.write_text(text + "\n")


if __name__ == "__main__":
    main()
