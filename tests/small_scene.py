"""Real commands run in this process, and one small generated result that the test files share."""

import contextlib
import dataclasses
import fcntl
import io
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import jax
import jaxtyping
import pytest

from hoijax.cli.main import main
from hoijax.methods.hoi_page import settings as hoi_page
from hoijax.methods.joint import settings as joint
from hoijax.objects.asset import MeshScaleWarning
from hoijax.programs import forget_programs
from hoijax.settings import AlignmentSettings, SearchSettings

TEXT, FRAMES, INITS = "a person carries a box with both hands", 12, 2
GENERATE = ("generate", TEXT, "--objects", "box", "--frames", str(FRAMES), "--inits", str(INITS))

SMALL_SEARCH = SearchSettings(rotations=24, coarse_steps=4, fine_points=64, fine_steps=4, keep=8)
SMALL_ALIGNMENT = AlignmentSettings(steps=40, points=64, vertices=256)
SMALL: dict = {
    "steps": 9,
    "points": 96,
    "contact_points": 16,
    "grid_resolution": 24,
    "alignment": SMALL_ALIGNMENT,
    "search": SMALL_SEARCH,
}
SMALL_BODY_PASS = joint.BodyPassSettings(rounds=4, points=32, vertices=512, contact_rounds=2)
"""What presets are in commands of tests: a third of the work, every stage of it but the search for sizes
(`test_object_sizes.py`), which is half of such a solve."""


@dataclass(frozen=True)
class Ran:
    """What a command printed and returned."""

    code: int
    out: str
    err: str


@contextlib.contextmanager
def as_users_run():
    """Whole solves outside the session's strict promotion: optax's Adam multiplies ints and floats.

    In every thread, as JAX's own context manager would not: each promotion has programs of its own.
    """
    before = jax.config.jax_numpy_dtype_promotion  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_numpy_dtype_promotion", "standard")
    try:
        yield
    finally:
        jax.config.update("jax_numpy_dtype_promotion", before)


@contextlib.contextmanager
def small_presets():
    """Presets of HOI-PAGE and joint with `SMALL` settings; only in this process."""
    hoi = {name: small(preset) for name, preset in hoi_page.PRESETS.items()}
    both = {name: small(preset) for name, preset in joint.PRESETS.items()}
    both["default"] = dataclasses.replace(
        both["default"], body_pass=SMALL_BODY_PASS, object_scale="fixed"
    )
    with mock.patch.dict(hoi_page.PRESETS, hoi), mock.patch.dict(joint.PRESETS, both):
        yield


def small(preset):
    """What is published keeps its steps and the weights of its alignment."""
    changed = dict(SMALL)
    if preset.preset != "default":
        few = {"steps": 40, "points": 64, "vertices": 256}
        changed["alignment"] = dataclasses.replace(preset.alignment, **few)
        changed["steps"] = preset.steps
    return dataclasses.replace(preset, **changed)


def run(*arguments: str | Path, small: bool = True) -> Ran:
    """`hoijax ARGUMENTS` by its entry point, in this process; with `small_presets`."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        small_presets() if small else contextlib.nullcontext(),
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


def shared_folder(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that one worker of pytest-xdist makes by `make(folder)`, and all the others wait for.

    Shared: copy it (`copy_of`) before changing anything in it. A `make` that fails is tried again by
    the next who asks.
    """
    base = factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent  # each worker has a folder of its own below the session's
    folder = base / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file is closed
        if not folder.with_suffix(".done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            folder.with_suffix(".done").touch()
    return folder


def generated(factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The result folder of the small scene and what its `hoijax generate` printed; made once.

    Compiled like everything in tests that are not marked optimized, and without shape checks, as tests marked
    slow. Tests that compare with it to the bit
    forget what their process has in memory first (`forget_programs`), to load it as another one would.
    """

    def make(folder: Path) -> None:
        forget_programs()
        plain = jax.config.values["jax_disable_most_optimizations"]
        checked = not jaxtyping.config.jaxtyping_disable
        jax.config.update("jax_disable_most_optimizations", True)
        jaxtyping.config.update("jaxtyping_disable", True)
        try:
            ran = run(*GENERATE, "--out", folder / "box")
        finally:
            jax.config.update("jax_disable_most_optimizations", plain)
            jaxtyping.config.update("jaxtyping_disable", not checked)
        assert ran.code == 0, ran.err
        (folder / "ran.json").write_text(json.dumps(dataclasses.asdict(ran)))

    folder = shared_folder(factory, "generated", make)
    return folder / "box", Ran(**json.loads((folder / "ran.json").read_text()))


def copy_of(folder: Path, target: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(folder, target))


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the bytes of files: what a refused command must not change."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
