"""What commands print: for people, for machines, and not at all; progress; records; the doctor."""

import dataclasses
import io
import json
import re
import sys
import types

import numpy as np
import pytest
from rich.console import Console
from small_scene import copy_of, generated, run

from hoijax.cli import console, doctor
from hoijax.cli import main as cli
from hoijax.cli.console import Progress, Reporter
from hoijax.errors import UserError
from hoijax.experiments import tracking
from hoijax.progress import Stopwatch, counted, finished
from hoijax.results.result import load_result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return generated(tmp_path_factory)[0]


# ---- for machines


def test_json_is_one_object_and_nothing_else(folder, tmp_path):
    ran = run("evaluate", copy_of(folder, tmp_path / "out"), "--json")
    content = json.loads(ran.out)
    assert (content["command"], content["exit_code"]) == ("evaluate", 0)
    assert content["metrics"]["noncollision"] > 0
    assert ran.err == ""


def test_json_names_files_and_bundles(folder, tmp_path):
    ran = run("export", folder, "--to", "amass", "--out", tmp_path, "--json")
    assert json.loads(ran.out)["files"] == [str(tmp_path / "amass.npz")]
    told = json.loads(run("bundle", "check", folder / "bundle", "--json").out)
    assert told["objects"] == ["box"]
    assert re.fullmatch("[0-9a-f]{64}", told["sha256"])


def test_errors_are_json_too_and_stay_on_stderr(tmp_path):
    ran = run("evaluate", tmp_path / "none", "--json")
    content = json.loads(ran.out)
    assert ran.code == content["exit_code"] == 2
    assert "run.json is missing" in content["error"]
    assert content["error"] in ran.err


def test_a_viewer_that_serves_has_no_json(folder):
    ran = run("view", folder, "--json", "--port", "0")
    assert ran.code == 2
    assert "--save" in ran.err


def test_solving_gives_the_numbers_of_its_table(folder):
    reporter = Reporter("solve", as_json=True)
    from hoijax.cli.results import say_result

    result = load_result(folder)
    stored = json.loads((folder / "metrics.json").read_text())["candidates"]
    rows = [{k: v for k, v in row.items() if isinstance(v, float)} for row in stored]
    say_result(reporter, result, rows, folder)
    assert reporter.facts["winner"] == result.winner
    assert [c["loss"] for c in reporter.facts["candidates"]] == result.losses.tolist()
    assert reporter.facts["metrics"] == rows[result.winner]


def test_quiet_prints_nothing(folder, tmp_path):
    ran = run("export", folder, "--to", "amass", "--out", tmp_path, "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    ran = run("evaluate", tmp_path / "none", "--quiet")
    assert ran.err.startswith("error: ")


# ---- progress


@pytest.fixture
def clock(monkeypatch, tmp_path):
    """Time that only passes when told to, and a record of its own."""
    now = types.SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(console.time, "perf_counter", lambda: now.seconds)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    return now


def test_the_time_left_is_learnt_from_the_last_run(clock):
    first = Progress("solve", None)
    assert first.seconds_left() is None
    first.finished("align", 4.0)
    first.finished("optimize", 10.0)
    first.stop(remember=True)
    second = Progress("solve", None)
    assert second.seconds_left() == pytest.approx(14.0)
    clock.seconds += 1.0
    assert second.seconds_left() == pytest.approx(13.0)
    second.finished("align", 1.0)
    clock.seconds += 60.0  # longer than it ever took: no negative times
    assert second.seconds_left() == 0.0
    assert Progress("generate", None).seconds_left() is None
    second.stop(remember=False)
    assert Progress("solve", None).expected == {"align": 4.0, "optimize": 10.0}


def test_parts_that_are_done_say_more_than_the_last_run(clock):
    progress = Progress("solve", None)
    clock.seconds += 6.0
    progress.counted("optimize", 2, 5)
    assert progress.seconds_left() == pytest.approx(9.0)
    progress.finished("optimize", 15.0)
    assert progress.part is None


def test_a_record_that_is_damaged_or_cannot_be_written_is_no_harm(clock, tmp_path, monkeypatch):
    for content in ("{", "[1]", '{"solve": 3}', '{"solve": {"a": "x"}}'):
        (tmp_path / "seconds.json").write_text(content)
        assert Progress("solve", None).expected == {}
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "seconds.json" / "below"))
    progress = Progress("solve", None)
    progress.finished("align", 1.0)
    progress.stop(remember=True)


def test_a_terminal_shows_a_bar_that_goes_away(clock):
    (console._record_path()).write_text(json.dumps({"solve": {"align": 4.0, "optimize": 12.0}}))
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=80, highlight=False)
    progress = Progress("solve", terminal)
    progress("begun")
    clock.seconds += 4.0
    progress.finished("align", 4.0)
    with terminal.capture() as captured:
        terminal.print(progress)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", captured.get())
    assert "optimize  4 s  about 12 s left" in shown
    assert "━" in shown
    progress.stop(remember=False)
    assert "align: 4.0 s" in out.getvalue()


def test_elsewhere_there_are_lines(clock):
    out = io.StringIO()
    progress = Progress("solve", Console(file=out, width=80, markup=False))
    progress.counted("optimize", 1, 2)
    progress.finished("optimize", 3.0)
    assert [line.split(",")[0] for line in out.getvalue().splitlines()] == [
        "optimize: 1 of 2",
        "optimize: 3.0 s",
    ]


def test_any_function_is_a_log():
    said: list[str] = []
    finished(said.append, "align", 1.25)
    counted(said.append, "optimize", 1, 3)
    counted(said.append, "optimize", 1, 1)
    assert said == ["align: 1.2 s", "optimize: 1 of 3"]
    times: dict[str, float] = {}
    Stopwatch(times, said.append).lap("scene")
    assert set(times) == {"scene"}
    assert said[-1].startswith("scene: ")


# ---- records elsewhere


def test_a_missing_tracker_is_refused_before_work(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    ran = run("solve", folder / "bundle", "--out", tmp_path / "out", "--track", "wandb")
    assert ran.code == 2
    assert "pip install wandb" in ran.err
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="wandb, tensorboard"):
        tracking.open_tracker("mlflow")
    assert tracking.open_tracker(None) is None


def test_wandb_gets_curves_metrics_and_settings(folder, monkeypatch):
    """A stand-in with wandb's interface: what it would have been sent."""
    sent = types.SimpleNamespace(logs=[], summary={}, given={}, finished=False)

    def init(**given):
        sent.given = given
        return types.SimpleNamespace(
            log=lambda values, step: sent.logs.append((step, values)),
            summary=sent.summary,
            finish=lambda: setattr(sent, "finished", True),
        )

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    result = load_result(folder)
    rows = [{"noncollision": 0.9}] * len(result.losses)
    track = tracking.open_tracker("wandb")
    assert track is not None
    track(result, rows, folder)
    assert [step for step, _ in sent.logs] == list(range(result.history.shape[1]))
    np.testing.assert_allclose(
        [values["term/contact"] for _, values in sent.logs],
        result.history[result.winner][:, result.term_names.index("contact")],
    )
    assert sent.summary["metric/noncollision"] == 0.9
    assert sent.given["config"]["settings"] == result.run["settings"]
    assert sent.finished


def test_tensorboard_gets_scalars(folder, tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, path: str) -> None:
            assert path.endswith("tensorboard")

        def add_scalar(self, name, value, step):
            written.append((name, step))

        def close(self):
            written.append("closed")

    module = types.ModuleType("tensorboard.summary")
    module.Writer = Writer
    monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "tensorboard.summary", module)
    result = load_result(folder)
    track = tracking.open_tracker("tensorboard")
    assert track is not None
    track(result, [{"noncollision": 0.9}] * len(result.losses), tmp_path)
    assert ("term/contact", 0) in written
    assert written[-1] == "closed"


# ---- the doctor


FOUND = {doctor.BACKEND: "cpu", doctor.GPU: "NVIDIA H100", doctor.BODIES: "none found"}


def test_an_idle_gpu_is_a_loud_warning(monkeypatch):
    monkeypatch.setattr(doctor, "_find", lambda name: False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    (told,) = doctor.warnings_of(FOUND)
    assert "THE GPU IS NOT USED" in told
    assert "jax[cuda13]" in told
    monkeypatch.setattr(doctor, "_find", lambda name: True)
    assert "driver" in doctor.warnings_of(FOUND)[0]
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert "JAX_PLATFORMS=cpu" in doctor.warnings_of(FOUND)[0]
    assert doctor.warnings_of(FOUND | {doctor.GPU: "none seen"}) == []
    assert doctor.warnings_of(FOUND | {doctor.BACKEND: "gpu"}) == []


def test_a_card_is_seen_through_its_tool(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA Test 3000, 8192 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.graphics_card() == "NVIDIA Test 3000, 8192 MiB"
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert "driver is not running" in doctor.graphics_card()


def test_body_files_are_found_and_misnamed_ones_named(tmp_path, monkeypatch):
    (tmp_path / "smplx").mkdir()
    (tmp_path / "smplx" / "SMPLX_NEUTRAL.pkl").write_bytes(b"x")
    (tmp_path / "SMPLX_MALE.npz").write_bytes(b"no npz")
    (tmp_path / "other.npz").write_bytes(b"")
    monkeypatch.setenv("HOIJAX_BODIES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    told = doctor.body_files()
    assert len(told) == 2
    assert all("not usable" in line for line in told)
    assert "an npz is needed, not .pkl" in told[1]
    found = FOUND | {doctor.GPU: "none seen", doctor.BODIES: "; ".join(told)}
    assert "cannot be used" in doctor.warnings_of(found)[0]


def test_the_doctor_says_what_fits_and_which_port(monkeypatch):
    content = json.loads(run("doctor", "--json").out)["found"]
    assert re.search(r"K = \d+ fits", content["memory"])
    assert "8080" in content["viewer port"]
    monkeypatch.setattr("hoijax.methods.memory.free_bytes", lambda: 10**7)
    assert "too little" in doctor._memory()


# ---- help


@pytest.mark.parametrize("command", [(), *[(name,) for name in cli.COMMANDS]])
def test_help_reads_well_in_80_columns(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.rstrip() for line in run(*command, "--help").out.splitlines()]
    # The usage line is tyro's, and the terminal's to break.
    assert max(len(line) for line in lines if not line.startswith("usage")) <= 80
    text = re.sub(r"[│╭╮╰╯─\s]+", " ", " ".join(lines))
    if not command:
        assert all(f" {name} " in text for name in cli.COMMANDS)
        return
    kind = cli.commands()[command[0]]
    first = kind.__doc__.split(".")[0].split(";")[0]
    assert " ".join(first.split()) in text
    for field in dataclasses.fields(kind):
        # Every option has a sentence of its own, not only its name and default.
        shown = text.split(f"--{field.name.rstrip('_').replace('_', '-')} ")
        if len(shown) > 1:
            words = re.sub(r"\(.*?\)|\{.*?\}|[A-Z|]{3,}", " ", shown[-1].split(" --")[0])
            assert len(words.split()) >= 1, (field.name, shown[-1][:80])


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    from importlib import metadata

    from hoijax.cli import main as cli

    monkeypatch.setattr("sys.argv", ["hoijax", "--version"])
    cli.main()
    assert capsys.readouterr().out == f"hoijax {metadata.version('hoijax')}\n"
