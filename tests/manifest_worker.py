"""A process that works through a manifest of made-up items: `python manifest_worker.py OUT LOG COUNT SECONDS`.

Every result is a folder with two files written one after the other, so that a kill in between would
show; LOG gets a line for every result that is about to take its place and for every one that did.
"""

import os
import sys
import time
from pathlib import Path

from hoijax.io.atomic import output_folder
from hoijax.jobs.manifest import Item, Manifest
from hoijax.jobs.runner import work_through


def items(count: int) -> list[Item]:
    return [Item(f"scene-{i}", f"bundles/scene-{i}", f"key {i}") for i in range(count)]


def content(item: Item) -> str:
    return f"result of {item.id} " * 100


def note(log: Path, line: str) -> None:
    with log.open("a") as stream:
        stream.write(line + "\n")


def share(names, out: Path, log: Path, count: int, seconds: float) -> tuple[int, int]:
    """Some of the items, as a task of a cluster does them: (done, failed)."""
    own = [item for item in items(count) if item.id in names]
    found = _work(out, log, own, seconds)
    return found.done, len(found.failed)


def main(out: Path, log: Path, count: int, seconds: float) -> None:
    _work(out, log, items(count), seconds)


def _work(out: Path, log: Path, own: list[Item], seconds: float):
    def act(item: Item, confirm):
        with output_folder(out / item.id) as folder:
            (folder / "first.txt").write_text(content(item))
            time.sleep(seconds)
            (folder / "run.json").write_text(content(item))
            confirm()
            note(log, f"{item.id} {os.getpid()}")
        return {"length": len(content(item))}

    with Manifest.open(out, own, {"seconds": "any"}) as manifest:
        note(log, "up")
        return work_through(manifest, act)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
