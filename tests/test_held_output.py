"""Two processes with one --out: the second is refused before it works, and nothing is left behind."""

import subprocess
import sys
from pathlib import Path

import pytest

import hoijax
from hoijax.api.solve import solve_to_folder
from hoijax.io.file_lock import held_output

HOLDS = """
import sys
from hoijax.io.file_lock import held_output
with held_output(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_and_a_third_is_not(tmp_path):
    out = tmp_path / "new" / "result"
    command = [sys.executable, "-c", HOLDS, str(out)]
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipe) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(hoijax.UserError, match="another process is writing"), held_output(out):
            pass
        with pytest.raises(hoijax.UserError, match="give another --out"):
            solve_to_folder(tmp_path / "bundle", out)
        first.communicate("")
    assert list(tmp_path.iterdir()) == []
    with held_output(out):
        assert [file.name for file in out.parent.iterdir()] == [".result.lock"]


def test_a_process_that_is_killed_holds_nothing(tmp_path):
    out = tmp_path / "result"
    command = [sys.executable, "-c", HOLDS, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        first.stdout.readline()
        first.kill()
    with held_output(out):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127])
def test_names_as_long_as_a_file_system_takes(tmp_path, name):
    with held_output(tmp_path / name):
        (tmp_path / name).mkdir()
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_where_nothing_can_be_written_the_output_says_so(tmp_path):
    (tmp_path / "file").touch()
    with held_output(Path(tmp_path / "file" / "below" / "result")):
        pass
