"""`physics.json` of a result folder."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from hoijax.io.json_files import write_json
from hoijax.physics.verdict import Verdict

VERDICTS = "physics.json"


def write_verdicts(path: Path, verdicts: Sequence[Verdict]) -> None:
    """Verdicts of all objects as JSON."""
    write_json(path, {"objects": [dataclasses.asdict(v) for v in verdicts]})


def read_sentences(folder: Path) -> list[str]:
    """What a result folder's verdicts say, an object each; nothing where it has none."""
    path = folder / VERDICTS
    if not path.is_file():
        return []
    objects = json.loads(path.read_text())["objects"]
    return [f"{v['object_name']}: {v['sentence']}".removeprefix(": ") for v in objects]
