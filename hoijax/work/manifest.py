"""What the results of a folder depend on, written beside them, so that nothing else is mixed in."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hoijax.errors import UserError
from hoijax.io.json_files import differences, read_json, write_json

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1


def manifest_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of settings, as it is read back."""
    settings = json.loads(_canonical(settings))
    return {
        "manifest_version": MANIFEST_VERSION,
        "settings_hash": settings_hash(settings),
        "settings": settings,
    }


def refuse_foreign(out: Path) -> None:
    """Nothing is written to a folder that holds other things."""
    if not out.is_dir() or (out / MANIFEST).exists():
        return
    others = sorted(name for name in os.listdir(out) if not name.startswith("."))
    if others and not (out / MANIFEST).exists():  # made by another process meanwhile
        raise UserError(
            f"--out '{out}' holds files that are not results of many scenes ({others[0]}). "
            "Give a new or empty folder."
        )


def check_manifest(out: Path, wanted: dict[str, Any], force: bool, is_first: bool) -> None:
    """Refuse a folder of other settings; with `force`, make it one of these settings."""
    present = read_json(out / MANIFEST)
    if present is None:
        raise UserError(f"'{out / MANIFEST}' is no JSON object. Restore it, or give another --out.")
    if present == wanted:
        return
    if not force:
        listed = "\n".join(f"  {line}" for line in differences(present, wanted))
        raise UserError(
            f"--out '{out}' holds results of other settings:\n{listed}\nGive the same "
            "settings, another --out, or --force to do them all again."
        )
    if not is_first:
        raise UserError(
            f"--force: another process works in '{out}' with other settings. Stop it first."
        )
    write_json(out / MANIFEST, wanted)


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings as canonical JSON."""
    return hashlib.sha256(_canonical(settings).encode()).hexdigest()


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """An OSError in here is a UserError that names the output folder."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--out '{out}' cannot be written: {error.strerror or error}. "
            "Check the permissions and the free space, or give another --out."
        ) from error
