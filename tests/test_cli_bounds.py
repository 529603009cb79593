"""Numbers and texts of the command line that cannot be meant end in one message, before any work."""

import dataclasses
import os
import pwd
import stat
import subprocess
import sys
import tempfile
from typing import get_args

import pytest
from small_scene import run

from hoijax import runtime
from hoijax.cli.bounds import BOUNDS, MAX_WORDS, environment_problem
from hoijax.cli.doctor import body_files
from hoijax.cli.main import commands
from hoijax.errors import UserError
from hoijax.io.atomic import check_output
from priors.store import default_store

GENERATE = ("generate", "a person lifts a box", "--objects", "box")
ABLATE = ("ablate", "nowhere", "--weights", "contact=1..10", "--design", "sobol")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((*GENERATE, "--seed", "-1"), "--seed must be at least 0"),
        ((*GENERATE, "--seed", "1" + 20 * "0"), "--seed must be at most"),
        ((*GENERATE, "--frames", "1000000000"), "--frames must be at most"),
        ((*GENERATE, "--inits", "1000000"), "--inits must be at most"),
        ((*GENERATE, "--scale", "1e300"), "--scale must be a positive number"),
        (("generate", "lift " * (MAX_WORDS + 1), "--objects", "box"), "the sentence has"),
        (("solve", "nowhere", "--steps", "1" + 22 * "0"), "--steps must be at most"),
        (("solve", "nowhere", "--static-frame", "-1"), "--static-frame must be at least 0"),
        (("solve", "nowhere", "--weights", "contact=nan"), "a weight is a number"),
        (("solve", "nowhere", "--weights", "contact=0:inf"), "a weight is a number"),
        (("solve", "nowhere", "--weights", "contact=1e300"), "a weight is a number"),
        (("solve", "nowhere", "--weights", "contact=-1"), "a weight is a number"),
        (("solve", "nowhere", "--formats", ","), "no format is named"),
        ((*ABLATE, "--samples", "100000000000"), "--samples must be at most"),
        ((*ABLATE, "--samples", "-1"), "--samples must be at least 1"),
        (("export", "nowhere", "--fps", "nan"), "--fps must be at least"),
        (("solve", "nowhere", "--learning-rate", "nan"), "--learning-rate must be at least"),
        (("solve", "nowhere", "--grid-resolution", "100000"), "--grid-resolution must be at most"),
        (("physics", "nowhere", "--friction", "-1"), "--friction must be at least 0"),
    ],
)
def test_numbers_out_of_bounds_are_refused(arguments, says, tmp_path):
    out = () if arguments[0] == "export" else ("--out", tmp_path / "out")
    ran = run(*arguments, *out)
    assert (ran.code, says in ran.err) == (2, True), ran.err[:400]
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()


def test_every_number_of_every_command_has_bounds():
    checked_elsewhere = {"port", "scale"}
    without = [
        f"{command} --{field.name}"
        for command, kind in commands().items()
        for field in dataclasses.fields(kind)
        if field.name not in {*BOUNDS, *checked_elsewhere}
        and {int, float}
        & {field.type, *get_args(field.type), *get_args((*get_args(field.type), 0)[0])}
    ]
    assert without == []


@pytest.mark.parametrize("kind", ["long", "loop", "dangling"])
def test_an_output_that_no_folder_can_be_is_refused_before_any_work(tmp_path, kind):
    out = tmp_path / ("a" * 300 if kind == "long" else "link")
    if kind != "long":
        out.symlink_to("link" if kind == "loop" else tmp_path / "gone" / "away")
    with pytest.raises(UserError, match="cannot be written"):
        check_output(out)


def test_errors_of_the_machine_are_told_from_those_of_the_code():
    jax_says = "Unable to initialize backend 'tpu': not in the list of known backends."
    assert "JAX_PLATFORMS" in str(environment_problem(RuntimeError(jax_says)))
    assert "HOME" in str(environment_problem(RuntimeError("Could not determine home directory.")))
    assert environment_problem(RuntimeError("a fault of ours")) is None
    with pytest.raises(AssertionError) as ours:
        raise AssertionError
    assert environment_problem(ours.value) is None


def test_a_user_id_without_a_home_has_a_cache_that_is_its_own(tmp_path, monkeypatch):
    """As in a container that is run under a number: `docker run --user 12345`."""
    for variable in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR", "HOIJAX_PRIORS_CACHE"):
        monkeypatch.delenv(variable, raising=False)

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for writable_by_others in (False, True):
        runtime._homeless_cache.cache_clear()
        folder = runtime.cache_folder()
        assert folder.is_relative_to(tmp_path)
        assert default_store().parent.parent == folder.parent.parent
        own = tmp_path / f"hoijax-{os.getuid()}"
        assert (folder.parent.parent == own) != writable_by_others
        assert stat.S_IMODE(folder.parent.parent.stat().st_mode) == 0o700
        own.chmod(0o777)
    runtime._homeless_cache.cache_clear()
    body_files()


@pytest.mark.parametrize("platform", ["rocm", "nonsense"])
def test_a_device_that_is_not_here_is_named(platform):
    """In a process of its own: JAX looks for devices once."""
    script = (
        "from hoijax.cli.main import main; import hoijax.cli.main as m, jax.numpy as jnp, sys\n"
    )
    script += "m.check_bounds = lambda command: jnp.zeros(1)\n"
    script += "sys.argv = ['hoijax', 'doctor']; main()"
    env = {**os.environ, "JAX_PLATFORMS": platform}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)
    assert (ran.returncode, "JAX_PLATFORMS names a device" in " ".join(ran.stderr.split())) == (
        2,
        True,
    )
    assert "Traceback" not in ran.stderr
