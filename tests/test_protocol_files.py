"""Motions of files and folders, measured by protocols from the command line."""

import csv
import io
import json

import numpy as np
import pytest
import trimesh
from small_scene import run
from test_protocols import held  # noqa: F401 (a fixture)

from hoijax.api.protocols import evaluate_protocols
from hoijax.errors import UserError
from hoijax.importers.mesh_motions import read_mesh_motions


def arrays_of(motion) -> dict[str, np.ndarray]:
    return {
        "body_vertices": motion.body_vertices,
        "body_faces": motion.body_faces,
        "object_vertices": motion.object_vertices,
        "object_faces": motion.object_faces,
        "fps": np.array(motion.fps),
        "joints": motion.body_joints,
        "hand_vertices": motion.hand_vertices,
    }


@pytest.fixture
def arrays(held):  # noqa: F811
    return arrays_of(held)


@pytest.fixture
def folders(arrays, tmp_path):
    """Two predictions and two truths of which one is shared; `a` has its object 5 cm too far along x."""
    for name in ("predicted", "true"):
        (tmp_path / name).mkdir()
    moved = arrays | {"object_vertices": arrays["object_vertices"] + [0.05, 0, 0]}
    np.savez(tmp_path / "predicted" / "a.npz", **moved)
    np.savez(tmp_path / "true" / "a.npz", **arrays)
    np.savez(tmp_path / "true" / "b.npz", **arrays)
    (tmp_path / "predicted" / "c.npz").write_bytes(b"no zip")
    return tmp_path / "predicted", tmp_path / "true"


def test_a_pair_of_mesh_sequences(folders):
    predicted, true = folders
    scores = evaluate_protocols(predicted / "a.npz", "chois,v2d", truth=true / "a.npz")
    values = scores.clips["a.npz"]
    assert values["chois/object_translation_mm"] == pytest.approx(50)
    assert values["chois/hand_penetration_cm"] == pytest.approx(4)  # 8 cm in one hand of two
    assert values["v2d/cd_h_sum_cm"] == pytest.approx(0, abs=1e-6)


def test_a_body_that_stands_along_z_is_remarked(tmp_path):
    body = trimesh.creation.box((0.5, 0.3, 1.7))  # z up
    tile = np.tile(body.vertices, (5, 1, 1))
    faces = np.asarray(body.faces)
    np.savez(
        tmp_path / "z.npz",
        body_vertices=tile,
        object_vertices=0.2 * tile,
        body_faces=faces,
        object_faces=faces,
        fps=30.0,
    )
    with pytest.warns(UserWarning, match="m along z. If it does not lie, the file is z up"):
        read_mesh_motions(tmp_path / "z.npz")


def write_meshes(folder, arrays, suffix=".ply"):
    """Two folders of meshes, named so that the alphabet is not the order: 8, 9, 10 ..."""
    for what in ("human", "object"):
        (folder / what).mkdir(parents=True)
        key = "body" if what == "human" else "object"
        for t, vertices in enumerate(arrays[f"{key}_vertices"]):
            mesh = trimesh.Trimesh(vertices, arrays[f"{key}_faces"], process=False)
            mesh.export(folder / what / f"{t + 8}{suffix}")
    return folder


@pytest.mark.parametrize("suffix", [".ply", ".obj"])
def test_two_folders_of_meshes(arrays, tmp_path, suffix):
    arrays["object_vertices"] = arrays["object_vertices"] + np.arange(6)[:, None, None] * 0.01
    folder = write_meshes(tmp_path / "a", arrays, suffix)
    (motion,) = read_mesh_motions(folder, fps=30.0)
    np.testing.assert_allclose(motion.object_vertices, arrays["object_vertices"], atol=1e-6)
    np.testing.assert_array_equal(motion.body_faces, arrays["body_faces"])
    np.savez(tmp_path / "true.npz", **arrays | {"fps": 30.0})
    scores = evaluate_protocols(folder, "behave", truth=tmp_path / "true.npz", fps=30.0)
    assert scores.clips["a"]["behave/chamfer_object_cm"] == pytest.approx(0, abs=1e-4)


def test_folders_of_meshes_that_do_not_fit_are_refused(arrays, tmp_path):
    folder = write_meshes(tmp_path / "a", arrays)
    with pytest.raises(UserError, match="give it with --fps"):
        read_mesh_motions(folder)
    (folder / "human" / "8.ply").write_text("no mesh")
    with pytest.raises(UserError, match=r"8\.ply: cannot be read as a mesh"):
        read_mesh_motions(folder, fps=30.0)
    trimesh.creation.icosphere(subdivisions=0).export(folder / "human" / "8.ply")
    with pytest.raises(UserError, match="another topology"):
        read_mesh_motions(folder, fps=30.0)
    (folder / "human" / "8.ply").unlink()
    with pytest.raises(UserError, match="one a frame of each"):
        read_mesh_motions(folder, fps=30.0)


def test_a_folder_is_one_call_and_what_is_missing_is_listed(folders):
    scores = evaluate_protocols(folders[0], "hoi-page", truth=folders[1])
    assert list(scores.clips) == ["a"]
    assert scores.missing["b"] == "the ground truth has it, the results do not"
    assert "c.npz" in scores.missing["c"]
    assert scores.mean == scores.clips["a"]


def test_the_command_prints_a_table_csv_latex_and_json(folders):
    arguments = ("evaluate", folders[0], "--protocol", "rhobin,repho", "--truth", folders[1])
    table, latex, rows = (
        run(*arguments, *more) for more in ((), ("--format", "latex"), ("--format", "csv"))
    )
    assert table.code == 0, table.err
    assert "rhobin/object_rotation_deg" in table.out
    assert "not measured: b:" in table.err
    assert r"rhobin/object\_rotation\_deg & 0" in latex.out
    assert latex.out.startswith(r"\begin{tabular}{lr}")
    columns, *body = list(csv.reader(io.StringIO(rows.out)))
    assert columns == ["metric", "a"]
    assert dict(body)["rhobin/object_translation_root_aligned_mm"] == "50"
    content = json.loads(run(*arguments, "--json").out)
    assert content["clips"]["a"] == content["mean"]
    assert set(content["missing"]) == {"b", "c"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fps": None}, "it has no fps"),
        ({"fps": np.float64(0)}, "one positive number"),
        ({"body_vertices": None}, "no motion that can be evaluated"),
        ({"object_faces": np.array([[0, 1, 8]])}, "indices of its vertices"),
        ({"joints": np.zeros((6, 17, 3))}, "22 or more"),
        ({"joints": np.zeros((5, 24, 3))}, "different numbers of frames"),
        ({"object_vertices": np.full((6, 8, 3), np.nan)}, "NaN or infinite in 6 of 6 frames"),
        ({"object_vertices": np.zeros((6, 8))}, "decimal numbers"),
        ({"body_vertices": "millimeters"}, "the body measures"),
        ({"object_vertices": "millimeters"}, "the object measures"),
    ],
)
def test_bad_files_are_refused_with_one_sentence(arrays, tmp_path, change, says):
    change = {k: arrays[k] * 1000 if isinstance(v, str) else v for k, v in change.items()}
    content = {k: v for k, v in (arrays | change).items() if v is not None}
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(UserError, match=says):
        read_mesh_motions(tmp_path / "bad.npz")


def test_a_motion_without_its_meshes_says_which_are_needed(tmp_path):
    np.savez(tmp_path / "smpl.npz", poses=np.zeros((4, 72)), trans=np.zeros((4, 3)))
    with pytest.raises(UserError, match="moves no object"):
        read_mesh_motions(tmp_path / "smpl.npz")
    frames = {"poses": np.zeros((4, 156)), "trans": np.zeros((4, 3)), "mocap_framerate": 30.0}
    np.savez(tmp_path / "body.npz", **frames)
    with pytest.raises(UserError, match="moves no object"):
        read_mesh_motions(tmp_path / "body.npz")
    motion = {"object_names": np.array(["box"]), "object_translations": np.zeros((1, 4, 3))}
    motion["object_rotations"] = np.tile(np.eye(3), (1, 4, 1, 1))
    np.savez(tmp_path / "both.npz", **frames, **motion)
    with pytest.raises(UserError, match="--objects"):
        read_mesh_motions(tmp_path / "both.npz")


def test_an_amass_motion_with_its_object(tmp_path):
    """Arms spread on the ground, a box 2 m ahead: nothing touches, nothing slides."""
    np.savez(
        tmp_path / "a.npz",
        poses=np.zeros((4, 156)),
        trans=np.zeros((4, 3)),
        mocap_framerate=30.0,
        up_axis=np.array("y"),
        object_names=np.array(["box"]),
        object_translations=np.tile([0.0, 0.0, 2.0], (1, 4, 1)),
        object_rotations=np.tile(np.eye(3), (1, 4, 1, 1)),
    )
    scores = evaluate_protocols(tmp_path / "a.npz", "chois,hoi-page", objects=["box"])
    values = scores.clips["a.npz"]
    assert values["hoi-page/noncollision"] == 1
    assert values["chois/contact_share@5cm"] == values["chois/foot_sliding_mm@8cm_4cm"] == 0
    with np.load(tmp_path / "a.npz") as motion:
        scaled = motion["object_translations"] * 1000
        np.savez(tmp_path / "mm.npz", **{**motion, "object_translations": scaled})
    with pytest.raises(UserError, match="never nearer than 2000 m"):
        read_mesh_motions(tmp_path / "mm.npz", ["box"])


def test_options_of_protocols_need_protocols_and_paths_must_exist(folders, tmp_path):
    ran = run("evaluate", folders[0], "--format", "csv")
    assert ran.code == 2
    assert "need --protocol" in ran.err
    ran = run("evaluate", folders[1] / "a.npz")
    assert ran.code == 2
    assert "measured with --protocol" in ran.err
    ran = run("evaluate", tmp_path / "none", "--protocol", "all")
    assert ran.code == 2
    assert "does not exist" in ran.err
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="nothing to measure"):
        evaluate_protocols(tmp_path / "empty")


def test_the_physics_command_judges_a_motion_file(folders, tmp_path):
    """One hand 1 cm from the box, the other 3 cm inside: two points can hold it, but for the moment."""
    true = folders[1] / "a.npz"
    ran = run(
        "physics", true, "--no-replay", "--mass", "2", "--out", tmp_path / "physics.json", "--json"
    )
    assert ran.code == 0, ran.err
    content = json.loads(ran.out)
    (row,) = json.loads((tmp_path / "physics.json").read_text())["objects"]
    assert row["sentence"] == content["verdicts"][0]
    assert row["assumed"]["mass_kg"] == pytest.approx(2)
    assert len(row["frames"]["explained"]) == 6
    assert sorted(p.name for p in folders[1].iterdir()) == ["a.npz", "b.npz"]
    table = run("physics", true, "--mass", "2", "--no-replay")
    assert "explained_share@1cm" in table.out
    for arguments, says in (
        (("--mass", "-1"), "--mass must be at least"),
        (("--ground-truth",), "has no ground truth"),
    ):
        refused = run("physics", true, *arguments)
        assert refused.code == 2
        assert says in refused.err
