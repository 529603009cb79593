"""Numbers and texts of the command line that cannot be meant end in one message, before any work."""

import os
import subprocess
import sys

import pytest
from small_scene import run

from hoijax.cli.bounds import MAX_WORDS, environment_problem

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
    ],
)
def test_numbers_out_of_bounds_are_refused(arguments, says, tmp_path):
    out = () if arguments[0] == "export" else ("--out", tmp_path / "out")
    ran = run(*arguments, *out)
    assert (ran.code, says in ran.err) == (2, True), ran.err[:400]
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()


def test_errors_of_the_machine_are_told_from_those_of_the_code():
    jax_says = "Unable to initialize backend 'tpu': not in the list of known backends."
    assert "JAX_PLATFORMS" in str(environment_problem(RuntimeError(jax_says)))
    assert "HOME" in str(environment_problem(RuntimeError("Could not determine home directory.")))
    assert environment_problem(RuntimeError("a fault of ours")) is None
    with pytest.raises(AssertionError) as ours:
        raise AssertionError
    assert environment_problem(ours.value) is None


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
