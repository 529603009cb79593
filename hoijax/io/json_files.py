"""JSON files written whole or not at all, read back, compared."""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """What differs between two JSON values, by dotted name."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        lines = []
        for key in sorted({*there, *here}):
            inner = f"{name}.{key}" if name else str(key)
            lines += differences(there.get(key), here.get(key), inner)
        return lines
    return [] if there == here else [f"{name}: {there!r} there, {here!r} now"]


def write_json(path: Path, content: Any, exclusive: bool = False) -> None:
    """A JSON file that appears whole or not at all, and is on the disk before it appears.

    exclusive: leave a file that is there as it is.
    """
    text = json.dumps(content, indent=1) + "\n"
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(partial, 0o644)
        if exclusive:
            with contextlib.suppress(FileExistsError):
                os.link(partial, path)
        else:
            os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is none to read."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
