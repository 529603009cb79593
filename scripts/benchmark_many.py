"""Scenes a second: `hoijax solve` on a folder against a loop over its bundles.

    python scripts/benchmark_many.py bundles/ --loop 8 --inits 4
    python scripts/benchmark_many.py made/ --make 48 --frames 12   # makes small scenes first

The loop is what one would write without the folder command: `solve_to_folder` for every bundle, in
one process, compiled programs warm; once with the exports of a single result (with its preview), and
once with those of many (without). Both sides have solved a scene of every kind before the clock runs.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hoijax.many_scenes import FORMATS_OF_MANY, find_scenes, solve_many
from hoijax.observing import load_objects, observe
from hoijax.pipeline import DEFAULT_FORMATS, solve_to_folder
from hoijax.runtime import describe_device, enable_compilation_cache

KINDS = {
    "box": "a person carries a box with both hands",
    "barbell": "a person lifts a barbell from the ground with both hands",
    "chair": "a person sits on a chair",
    "ball": "a person kicks a ball with the right foot",
}


def make_scenes(folder: Path, count: int, frames: int) -> None:
    """Small scenes of the prior without weights, those that are not there yet."""
    from hoijax.bundle import write_bundle

    for number in range(count):
        name = list(KINDS)[number % len(KINDS)]
        path = folder / f"{name}-{number:03d}"
        if not path.exists():
            bundle, truth = observe(KINDS[name], load_objects([name]), frames=frames, seed=number)
            write_bundle(path, bundle, truth)


def seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundles", type=Path)
    parser.add_argument("--make", type=int, default=0)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--loop", type=int, default=8, help="scenes that the loop is timed on")
    parser.add_argument("--inits", type=int, default=4)
    parser.add_argument("--workers", type=int, default=None)
    given = parser.parse_args()
    enable_compilation_cache()
    if given.make:
        make_scenes(given.bundles, given.make, given.frames)
    scenes = find_scenes([given.bundles])
    paths = list(scenes.values())
    step = max(len(paths) // given.loop, 1)
    chosen = paths[::step][: given.loop]
    rates = {}
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)

        def loop(kind: str, formats: tuple[str, ...]) -> None:
            for n, path in enumerate(chosen):
                solve_to_folder(path, out / f"{kind}-{n}", inits=given.inits, formats=formats)

        options = {"inits": given.inits}
        loop("warm", FORMATS_OF_MANY)
        solve_many(chosen, out / "warm", workers=1, **options)
        for kind, formats in (("loop", FORMATS_OF_MANY), ("loop with previews", DEFAULT_FORMATS)):
            took = seconds(lambda kind=kind, formats=formats: loop(kind, formats))
            rates[kind] = len(chosen) / took
            print(f"{kind}: {len(chosen)} scenes in {took:.1f} s", flush=True)
        took = seconds(
            lambda: solve_many(
                [given.bundles], out / "many", workers=given.workers, log=print, **options
            )
        )
        rates["folder"] = len(paths) / took
        print(f"folder: {len(paths)} scenes in {took:.1f} s")
    ratios = {kind: rates["folder"] / rate for kind, rate in rates.items()}
    print(json.dumps({"device": describe_device(), "scenes/s": rates, "folder over": ratios}))


if __name__ == "__main__":
    main()
