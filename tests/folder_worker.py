"""A process that works through a folder of made-up items:

    python folder_worker.py OUT LOG COUNT SECONDS [serial | groups] [ITEM_THAT_KILLS]

Every result is a folder with two files written one after the other, so that a kill in between would
show; LOG gets a line when the process begins, and for every item that it begins and that it ends.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hoijax.io.atomic import output_folder
from hoijax.work.folder import Item, WorkFolder, work_folder
from hoijax.work.runner import GroupWork, Progress, work_in_groups

SETTINGS = {"seconds": "any"}


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
    progress = work(out, log, own, seconds)
    return progress.done, len(progress.failed)


def one_by_one(folder: WorkFolder, act: Callable[[Item], dict]) -> Progress:
    """Items as `hoijax solve DIR` does them, in groups of one."""
    group = GroupWork(lambda item: item, lambda group: group, lambda item, *_: act(item), lambda: 1)
    return work_in_groups(folder, group, 1)


def work(
    out: Path, log: Path, own: list[Item], seconds: float, how: str = "serial", kills: str = ""
) -> Progress:
    def write(item: Item) -> dict:
        note(log, f"begin {item.id} {os.getpid()}")
        if item.id == kills:
            os.kill(os.getpid(), signal.SIGKILL)
        with output_folder(out / item.id) as folder:
            (folder / "first.txt").write_text(content(item))
            time.sleep(seconds)
            (folder / "run.json").write_text(content(item))
            note(log, f"end {item.id} {os.getpid()}")
        return {"length": len(content(item))}

    with work_folder(out, own, SETTINGS) as folder:
        note(log, "up")
        if how == "serial":
            return one_by_one(folder, write)
        group = GroupWork(
            lambda item: item,
            lambda group: [write(item) for item in group],
            lambda item, prepared, row: row,
            lambda: 3,
            fraction=1.0,
        )
        return work_in_groups(folder, group, 1)


if __name__ == "__main__":
    out, log, count, seconds, *rest = sys.argv[1:]
    work(Path(out), Path(log), items(int(count)), float(seconds), *rest)
