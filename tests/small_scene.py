"""Real commands run in this process, and one small generated result that the test files share."""

import contextlib
import io
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import jax
import pytest

from hoijax.cli.main import main
from hoijax.objects.asset import MeshScaleWarning

TEXT, FRAMES, INITS = "a person carries a box with both hands", 12, 2
GENERATE = ("generate", TEXT, "--objects", "box", "--frames", str(FRAMES), "--inits", str(INITS))


@dataclass(frozen=True)
class Ran:
    """What a command printed and returned."""

    code: int
    out: str
    err: str


def as_users_run():
    """Whole solves outside the session's strict promotion: optax's Adam multiplies ints and floats."""
    return jax.numpy_dtype_promotion("standard")


def run(*arguments: str | Path) -> Ran:
    """`hoijax ARGUMENTS` by its entry point, in this process."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["hoijax", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),  # main replaces warnings.showwarning
        as_users_run(),
    ):
        warnings.simplefilter("always", MeshScaleWarning)
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return Ran(code, out.getvalue(), err.getvalue())


_made: dict[str, tuple[Path, Ran]] = {}


def generated(factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The result folder of the small scene and what its `hoijax generate` printed; made once.

    Shared: copy it (`copy_of`) before changing anything in it.
    """
    if not _made:
        folder = factory.mktemp("generated") / "box"
        ran = run(*GENERATE, "--out", folder)
        assert ran.code == 0, ran.err
        _made["box"] = (folder, ran)
    return _made["box"]


def copy_of(folder: Path, target: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(folder, target))


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the bytes of files: what a refused command must not change."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
