"""Every command as a user types it: what it promises, what it refuses, and what it leaves on disk."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
import trimesh
from small_scene import FRAMES, GENERATE, INITS, TEXT, Ran, copy_of, generated, run, tree

import hoijax.api.solve
import hoijax.exporters.formats
from hoijax.bundle.read import digest
from hoijax.bundle.write import bundle_hash, read_bundle
from hoijax.io.npz import read_npz
from hoijax.programs import forget_programs
from hoijax.results.result import load_result

EXPORTS = {"amass.npz", "scene.glb", "preview.mp4", "contact_sheet.png"}
RESULT = {"result.npz", "metrics.json", "run.json", "affordance.json", "objects", "physics.json"}
RESULT |= EXPORTS


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> tuple[Path, Ran]:
    return generated(tmp_path_factory)


@pytest.fixture(scope="session")
def folder(made) -> Path:
    return made[0]


def refused(place: Path, *arguments, says: str) -> str:
    """Run a command that must be refused in one message and leave `place` as it was."""
    before = tree(place)
    ran = run(*arguments)
    assert ran.code == 2, ran
    assert ran.err.startswith("error: ")
    assert ran.err.count("error: ") == 1
    assert "Traceback" not in ran.out + ran.err
    assert says in ran.err
    assert tree(place) == before
    return ran.err


# ---- what a generate is promised to leave and print


def test_generate_writes_everything_it_promises(made):
    folder, ran = made
    assert {path.name for path in folder.iterdir()} == RESULT | {"bundle"}
    header = json.loads((folder / "run.json").read_text())
    assert header["prompt"] == TEXT
    assert header["settings"]["inits"] == INITS
    assert header["bundle_hash"] == bundle_hash(folder / "bundle")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert len(metrics["candidates"]) == INITS
    assert metrics["candidates"][metrics["winner"]]["loss"] == min(
        candidate["loss"] for candidate in metrics["candidates"]
    )
    assert ran.err == ""
    table, _, listing = ran.out.rpartition("winner: ")
    for column in ("start", "loss", "contact@5cm", "non-collision", "result"):
        assert column in table
    winner, *lines = listing.splitlines()
    paths = [line for line in lines if line.startswith("  ")]
    assert winner == header["labels"][header["winner"]]
    assert {Path(path.strip()).name for path in paths} == {p.name for p in folder.iterdir()}
    assert not list(folder.parent.glob(".*")), "temporary folders left"


def test_the_exports_can_be_opened(folder):
    scene = trimesh.load_scene(folder / "scene.glb")
    assert len(scene.geometry) >= 2
    motion, problems = read_npz((folder / "amass.npz").read_bytes(), "amass.npz")
    assert not problems
    assert len(motion["poses"]) >= FRAMES
    assert (folder / "preview.mp4").read_bytes()[4:8] == b"ftyp"
    assert (folder / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_arrays_and_an_earlier_result_is_replaced(folder, tmp_path):
    forget_programs()
    out = copy_of(folder, tmp_path / "out")
    (out / "note.txt").write_text("of the earlier result")
    ran = run(*GENERATE, "--out", out)
    assert ran.code == 0, ran.err
    assert not (out / "note.txt").exists()
    assert (out / "result.npz").read_bytes() == (folder / "result.npz").read_bytes()
    assert bundle_hash(out / "bundle") == bundle_hash(folder / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_solve_takes_the_bundle_and_gives_the_same_result(folder, tmp_path):
    forget_programs()
    ran = run("solve", folder / "bundle", "--inits", INITS, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == RESULT
    assert "physics: " in ran.out
    solved, first = load_result(tmp_path / "out"), load_result(folder)
    np.testing.assert_array_equal(solved.object_translations, first.object_translations)
    np.testing.assert_array_equal(solved.losses, first.losses)
    assert "translation_cm" in json.loads((tmp_path / "out" / "metrics.json").read_text())


def test_evaluate_measures_again(folder, tmp_path):
    out = copy_of(folder, tmp_path / "out")
    stored = json.loads((out / "metrics.json").read_text())
    (out / "metrics.json").unlink()
    ran = run("evaluate", out)
    assert ran.code == 0, ran.err
    again = json.loads((out / "metrics.json").read_text())
    assert again.keys() == stored.keys()
    assert [row["loss"] for row in again["candidates"]] == [
        row["loss"] for row in stored["candidates"]
    ]
    for name in ("translation_cm", "rotation_deg", "noncollision", "contact_f1@5cm"):
        # The mesh was read back from a glb: other samples of the same surface.
        assert again[name] == pytest.approx(stored[name], rel=0.02), name
        assert name in ran.out


def test_evaluate_without_the_truth_leaves_errors_out(folder, tmp_path):
    out = copy_of(folder, tmp_path / "out")
    (out / "bundle" / "bundle.json").unlink()
    ran = run("evaluate", out)
    assert ran.code == 0, ran.err
    assert "noncollision" in ran.out
    assert "translation_cm" not in ran.out


def test_a_result_is_measured_by_protocols_and_judged(folder, tmp_path):
    out = copy_of(folder, tmp_path / "out")
    stored = json.loads((out / "metrics.json").read_text())
    ran = run("evaluate", out, "--protocol", "hoi-page,chois", "--json")
    assert ran.code == 0, ran.err
    values = json.loads(ran.out)["clips"]["out"]
    # The same definition by an exact distance and by the grid; the ground truth is that of the bundle.
    assert values["hoi-page/noncollision"] == pytest.approx(stored["noncollision"], abs=2e-3)
    assert "chois/contact_f1@5cm" in values
    ran = run("physics", out)
    assert ran.code == 0, ran.err
    (row,) = json.loads((out / "physics.json").read_text())["objects"]
    assert row["sentence"] in ran.out
    assert len(row["frames"]["explained"]) == load_result(out).frame_count


def test_export_writes_what_is_asked_for(folder, tmp_path):
    ran = run("export", folder, "--to", "amass,glb", "--out", tmp_path / "new" / "place")
    assert ran.code == 0, ran.err
    found = {path.name for path in (tmp_path / "new" / "place").iterdir()}
    assert found == {"amass.npz", "scene.glb"}
    again = trimesh.load_scene(tmp_path / "new" / "place" / "scene.glb")
    assert set(again.geometry) == set(trimesh.load_scene(folder / "scene.glb").geometry)
    assert ran.out.count("wrote ") == 2


def test_bundle_check_passes_a_sound_bundle(folder):
    ran = run("bundle", "check", folder / "bundle")
    assert ran.code == 0, ran.err
    assert f"{FRAMES} frames" in ran.out
    assert bundle_hash(folder / "bundle")[:16] in ran.out


def test_doctor_names_device_cache_and_bodies(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
    ran = run("doctor")
    assert ran.code == 0, ran.err
    for word in ("cpu", "anny.npz", str(tmp_path / "cache")[:40], "no-weights prior", "version"):
        assert word.replace(" ", "") in re.sub(r"[│\s]+", "", ran.out)


# ---- refused: meshes

MESHES = {
    "garbage.glb": (b"no mesh at all", "cannot be read as a mesh"),
    "garbage.obj": (b"no mesh at all\n", "holds no triangles"),
    "empty.obj": (b"", "garbage"),
    "points.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "holds no triangles"),
    "nan.obj": (b"v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n", "1 of 3 vertices are NaN"),
    "flat.obj": (b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "no area"),
}


@pytest.mark.parametrize("name", MESHES)
def test_bad_meshes_are_refused(tmp_path, name):
    content, says = MESHES[name]
    (tmp_path / name).write_bytes(content)
    says = "empty.obj" if name == "empty.obj" else says
    out = tmp_path / "out"
    message = refused(
        tmp_path, "generate", TEXT, "--objects", tmp_path / name, "--out", out, says=says
    )
    assert name in message


def test_a_missing_mesh_is_refused_with_the_names_that_exist(tmp_path):
    arguments = ("generate", TEXT, "--objects", "nowhere.obj", "--out", tmp_path / "out")
    message = refused(tmp_path, *arguments, says="'nowhere.obj' does not exist")
    assert "barbell, box, chair" in message


def test_a_mesh_in_millimetres_is_refused_with_its_size_and_the_scale(tmp_path):
    trimesh.creation.box((400, 300, 250)).export(tmp_path / "crate.stl")
    arguments = ("generate", TEXT, "--objects", tmp_path / "crate.stl", "--out", tmp_path / "out")
    message = refused(tmp_path, *arguments, says="--scale 0.001")
    assert "400 x 250 x 300 m" in message  # stl: z up


def test_a_scale_that_is_no_scale_is_refused(tmp_path):
    arguments = ("generate", TEXT, "--objects", "box", "--scale", "0", "--out", tmp_path / "out")
    refused(tmp_path, *arguments, says="--scale must be a positive number")


# ---- refused: sentences and graphs


def test_an_unknown_verb_is_refused_with_the_known_ones_and_the_way_out(tmp_path):
    arguments = ("generate", "a person dreams of a box", "--objects", "box")
    message = refused(tmp_path, *arguments, "--out", tmp_path / "out", says="no known verb")
    assert "lift, carry" in message
    assert "--pag" in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda graph: graph["edges"][0]["second"].update(part="wheel"),
            "'wheel' is no known part",
        ),
        (lambda graph: graph["edges"][0]["first"].update(part="tail"), "'tail' is no known body"),
        (
            lambda graph: graph["edges"][0]["second"].update(entity="car"),
            "'car' is no known object",
        ),
        (lambda graph: graph["objects"][0]["parts"].append("lid"), "'lid' is no known part of"),
        (lambda graph: graph.pop("edges"), "edges"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(folder, tmp_path, change, says):
    graph = json.loads((folder / "affordance.json").read_text())
    change(graph)
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    arguments = ("generate", TEXT, "--objects", "box", "--pag", tmp_path / "graph.json")
    refused(tmp_path, *arguments, "--out", tmp_path / "out", says=says)


@pytest.mark.parametrize(
    ("content", "says"),
    [("{not json", "is not JSON"), ("", "is not JSON"), (None, "No such file")],
)
def test_a_graph_that_is_no_json_is_refused(tmp_path, content, says):
    if content is not None:
        (tmp_path / "graph.json").write_text(content)
    arguments = ("generate", TEXT, "--objects", "box", "--pag", tmp_path / "graph.json")
    refused(tmp_path, *arguments, "--out", tmp_path / "out", says=says)


# ---- refused: bundles


def change_arrays(bundle: Path, **changes) -> None:
    """Replace arrays of observations.npz and sign the file again; None deletes one."""
    arrays, _ = read_npz((bundle / "observations.npz").read_bytes(), "observations.npz")
    arrays = {key: value for key, value in (arrays | changes).items() if value is not None}
    np.savez(bundle / "observations.npz", **arrays)
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["sha256"]["observations.npz"] = digest((bundle / "observations.npz").read_bytes())
    (bundle / "bundle.json").write_text(json.dumps(manifest))


def change_manifest(bundle: Path, **changes) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(manifest | changes))


def cut(bundle: Path) -> None:
    content = (bundle / "observations.npz").read_bytes()
    (bundle / "observations.npz").write_bytes(content[: len(content) // 2])


def flip_a_byte(bundle: Path) -> None:
    content = bytearray((bundle / "affordance.json").read_bytes())
    content[content.index(b"carries")] ^= 1
    (bundle / "affordance.json").write_bytes(content)


def pickled(bundle: Path) -> None:
    change_arrays(bundle, body_betas=np.array([[{"a": 1}] * 10], dtype=object))


def no_detection(bundle: Path) -> None:
    seen = read_bundle(bundle).observations
    change_arrays(bundle, object_detected=np.zeros_like(seen.object_detected))


DAMAGE = {
    "truncated": (cut, "observations.npz"),
    "another version": (lambda bundle: change_manifest(bundle, version=99), "version"),
    "hash mismatch": (flip_a_byte, "affordance.json"),
    "pickled array": (pickled, "pickled Python objects"),
    "no detection": (no_detection, "nothing to fit"),
    "missing array": (lambda bundle: change_arrays(bundle, object_pixels=None), "object_pixels"),
    "missing file": (lambda bundle: (bundle / "observations.npz").unlink(), "observations.npz"),
    "not a bundle": (lambda bundle: (bundle / "bundle.json").unlink(), "bundle.json"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_bundles_are_refused_by_every_command(folder, tmp_path, damage):
    do, says = DAMAGE[damage]
    bundle = copy_of(folder / "bundle", tmp_path / "scene")
    do(bundle)
    refused(tmp_path, "solve", bundle, "--out", tmp_path / "out", says=says)
    refused(tmp_path, "bundle", "check", bundle, says=says)
    if damage != "not a bundle":
        refused(tmp_path, "ablate", bundle, says=says)


def test_a_truncated_zip_is_refused(folder, tmp_path):
    path = tmp_path / "scene.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in tree(folder / "bundle").items():
            if content is not None:
                archive.writestr(name, content)
    assert run("bundle", "check", path).code == 0
    path.write_bytes(path.read_bytes()[:-200])
    refused(tmp_path, "solve", path, "--out", tmp_path / "out", says="truncated")


def test_a_missing_bundle_is_refused(tmp_path):
    gone = tmp_path / "gone"
    refused(tmp_path, "solve", gone, "--out", tmp_path / "out", says="no such bundle")
    refused(tmp_path, "ablate", gone, says="does not exist")
    refused(tmp_path, "ablate", tmp_path, says="no bundle in")


# ---- refused: output folders


def test_an_output_below_a_file_is_refused(folder, tmp_path):
    (tmp_path / "file").write_text("here first")
    below = tmp_path / "file" / "out"
    generate = ("generate", TEXT, "--objects", "box", "--out")
    refused(tmp_path, *generate, below, says="is a file, not a folder")
    refused(tmp_path, *generate, tmp_path / "file", says="is a file")
    refused(tmp_path, "solve", folder / "bundle", "--out", below, says="is a file")
    refused(tmp_path, "export", folder, "--to", "amass", "--out", below, says="cannot be written")
    refused(tmp_path, "ablate", folder / "bundle", "--out", below, says="cannot be written")


def test_an_output_folder_of_other_files_is_refused(folder, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    arguments = ("generate", TEXT, "--objects", "box", "--out", tmp_path)
    refused(tmp_path, *arguments, says="not a hoijax result")


def test_an_output_folder_that_holds_the_bundle_is_refused(folder, tmp_path):
    out = copy_of(folder, tmp_path / "out")
    refused(tmp_path, "solve", out / "bundle", "--out", out, says="holds the bundle")


def test_a_place_without_permission_is_refused(tmp_path, monkeypatch):
    """As on a read-only file system; tests may run as root, whom no mode bits stop."""

    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", read_only)
    arguments = ("generate", TEXT, "--objects", "box", "--out", tmp_path / "out")
    refused(tmp_path, *arguments, says="Read-only file system")


def test_a_full_disk_leaves_the_earlier_result(folder, tmp_path, monkeypatch):
    out = copy_of(folder, tmp_path / "out")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hoijax.exporters.formats, "save_glb", full)
    monkeypatch.setattr(hoijax.api.solve, "solve", lambda *_, **__: load_result(folder))
    arguments = ("solve", folder / "bundle", "--inits", INITS, "--out", out)
    refused(tmp_path, *arguments, says="No space left on device")


# ---- refused: options and results


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ("--preset", "best"),
            "no preset 'best' of the method joint. Known presets: default, hoi-page",
        ),
        (("--method", "magic"), "no method 'magic'. Known methods: joint, hoi-page"),
        (("--inits", "0"), "--inits must be at least 1"),
        (("--steps", "0"), "--steps must be at least 1"),
        (("--weights", "beauty=1"), "unknown loss terms ['beauty']; known: ['object_points'"),
        (("--weights", "contact:1"), "cannot read 'contact:1'"),
        (("--weights", "contact=much"), "cannot read 'contact=much'"),
    ],
)
def test_unknown_options_of_solve_are_refused(folder, tmp_path, options, says):
    refused(tmp_path, "solve", folder / "bundle", *options, "--out", tmp_path / "out", says=says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--preset", "best"), "no preset 'best'"),
        (("--inits", "0"), "--inits must be at least 1"),
        (("--frames", "2"), "--frames must be at least 3"),
        (("--frames", "5"), "at least 12 frames"),
    ],
)
def test_unknown_options_of_generate_are_refused(tmp_path, options, says):
    arguments = ("generate", TEXT, "--objects", "box", *options, "--out", tmp_path / "out")
    refused(tmp_path, *arguments, says=says)


@pytest.mark.parametrize(
    ("formats", "says"),
    [
        ("stl", "Known: amass, glb, mp4"),
        ("amass,obj", "Known: amass, glb, mp4"),
        ("", "no format is named"),
    ],
)
def test_unknown_export_formats_are_refused(folder, tmp_path, formats, says):
    arguments = ("export", folder, "--to", formats, "--out", tmp_path / "out")
    refused(tmp_path, *arguments, says=says)


def drop_prompt(result: Path) -> None:
    header = json.loads((result / "run.json").read_text())
    (result / "run.json").write_text(json.dumps({k: header[k] for k in header if k != "prompt"}))


def escape(result: Path) -> None:
    header = json.loads((result / "run.json").read_text())
    (result / "run.json").write_text(json.dumps(header | {"objects": ["../../secret"]}))


def one_candidate(result: Path) -> None:
    arrays, _ = read_npz((result / "result.npz").read_bytes(), "result.npz")
    np.savez(result / "result.npz", **(arrays | {"losses": arrays["losses"][:1]}))


@pytest.mark.parametrize(
    ("do", "says"),
    [
        (lambda result: (result / "run.json").unlink(), "not a result folder"),
        (lambda result: (result / "run.json").write_text("[1]"), "damaged"),
        (lambda result: (result / "result.npz").write_bytes(b"PK"), "result.npz"),
        (drop_prompt, "prompt: is missing"),
        (escape, "objects[0]: must be a name"),
        (one_candidate, "key 'losses'"),
        (lambda result: (result / "objects" / "box.glb").unlink(), "box.glb"),
    ],
)
def test_damaged_results_are_refused(folder, tmp_path, do, says):
    out = copy_of(folder, tmp_path / "out")
    do(out)
    refused(tmp_path, "evaluate", out, says=says)
    refused(tmp_path, "export", out, "--to", "amass", says=says)


def test_a_command_that_does_not_exist_ends_in_one_message():
    for arguments in ((), ("frobnicate",), ("solve",)):
        ran = run(*arguments)
        assert ran.code == 2
        assert re.search("hoijax|Commands: generate, observe", ran.err)
        assert "Traceback" not in ran.err


# ---- Ctrl-C


@pytest.mark.parametrize(
    "where", ["api.solve.solve", "exporters.formats.save_glb", "api.result_folder._write_metrics"]
)
@pytest.mark.slow
def test_an_interrupt_leaves_the_earlier_result(folder, tmp_path, monkeypatch, where):
    out = copy_of(folder, tmp_path / "out")
    before = tree(tmp_path)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(hoijax.api.solve, "solve", lambda *_, **__: load_result(folder))
    monkeypatch.setattr(f"hoijax.{where}", interrupt)
    ran = run("solve", folder / "bundle", "--inits", INITS, "--out", out)
    assert ran.code == 130
    assert "interrupted" in ran.err
    assert tree(tmp_path) == before


def test_an_interrupt_does_not_wait_for_the_preview(folder, tmp_path, monkeypatch):
    drawn = []

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    def endless_export(*given):
        with contextlib.suppress(CancelledError):
            for frame in range(12_000):
                given[-1].progress(frame, 12_000)
                time.sleep(0.01)
            drawn.append("the whole video")
        drawn.append("an end")

    monkeypatch.setattr(hoijax.api.solve, "solve", lambda *_, **__: load_result(folder))
    monkeypatch.setattr(hoijax.api.result_folder, "_write_metrics", interrupt)
    monkeypatch.setattr(hoijax.api.result_folder, "_export", endless_export)
    arguments = ("solve", folder / "bundle", "--inits", INITS, "--out", tmp_path / "out")
    assert run(*arguments).code == 130
    assert drawn == ["an end"]


def test_an_interrupted_export_leaves_nothing(folder, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(hoijax.exporters.formats, "save_glb", interrupt)
    assert run("export", folder, "--to", "amass,glb", "--out", tmp_path / "a" / "b").code == 130
    assert tree(tmp_path) == {}


# ---- the program itself, in a process of its own


def program(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "hoijax.cli.main", *map(str, arguments)]


def test_help_lists_the_commands():
    done = subprocess.run(program("--help"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    for command in ("generate", "solve", "evaluate", "export", "ablate", "doctor", "bundle"):
        assert command in done.stdout


def test_bad_input_ends_the_program_with_code_2(tmp_path):
    arguments = program("generate", TEXT, "--objects", "nowhere.obj", "--out", tmp_path / "out")
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: object 'nowhere.obj' does not exist")
    assert len(done.stderr.splitlines()) == 1
    assert tree(tmp_path) == {}


# A job started in the background by a script inherits an ignored SIGINT, and so would its children.
LISTENING = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from hoijax.cli.entry import main; main()"
)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such signals on Windows")
@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        (signal.SIGINT, 130, "interrupted: nothing was written."),
        (signal.SIGTERM, 143, ""),
    ],
    ids=["ctrl_c", "terminated"],
)
def test_a_signal_in_the_middle_of_a_solve_leaves_nothing(folder, tmp_path, sent, code, said):
    options = ("solve", folder / "bundle", "--inits", INITS, "--out", tmp_path / "o" / "x")
    arguments = [sys.executable, "-c", LISTENING, *map(str, options)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("body pass:"):  # stage a is done: the next ones are under way
                break
        time.sleep(0.2)
        process.send_signal(sent)
        _, error = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code
    assert error.strip().endswith(said)
    assert "Traceback" not in error
    assert tree(tmp_path) == {}
