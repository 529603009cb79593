"""Meshes in, assets out: files of every kind, parts, samples, and the messages for bad ones."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import trimesh

from hoijax.errors import UserError
from hoijax.objects.asset import MeshScaleWarning, asset_from_arrays, load_asset, save_asset
from hoijax.objects.mesh_files import orient_outward
from hoijax.objects.procedural import PROCEDURAL_OBJECTS

EXPECTED_PARTS = {
    "barbell": {"bar", "weights"},
    "box": {"bottom", "sides", "top"},
    "chair": {"seat", "backrest", "legs"},
    "broom": {"handle", "head"},
    "suitcase": {"body", "handle", "wheels"},
    "skateboard": {"deck", "wheels", "trucks"},
    "table": {"top", "legs"},
    "ball": {"surface"},
}


def test_every_procedural_object_has_the_expected_parts():
    assert {name: set(load_asset(name).part_names) for name in PROCEDURAL_OBJECTS} == EXPECTED_PARTS


@pytest.mark.parametrize("name", list(PROCEDURAL_OBJECTS))
def test_procedural_objects_are_closed_solids_resting_on_the_ground(name):
    asset = load_asset(name)
    mesh = trimesh.Trimesh(asset.vertices, asset.faces, process=False)
    assert mesh.is_watertight
    for body in mesh.split(only_watertight=False):
        assert body.is_watertight
        assert body.volume > 0.0
    assert abs(asset.vertices[:, 1].min()) < 1e-6
    assert abs(asset.center[0]) < 1e-3
    assert 0.2 < asset.extents.max() < 2.0
    assert (asset.face_parts >= 0).all()


def test_barbell_rests_on_its_weights_and_the_bar_can_be_gripped():
    asset = load_asset("barbell")
    of_part = [asset.vertices[np.unique(asset.faces[asset.face_parts == p])] for p in range(2)]
    bar, weights = (of_part[asset.part_index(part)] for part in ("bar", "weights"))
    assert weights[:, 1].min() == pytest.approx(0.0, abs=1e-6)
    middle = bar[np.abs(bar[:, 0]) < 0.3]
    assert 0.02 < np.ptp(middle[:, 1]) < 0.035


@pytest.mark.parametrize("name", ["chair", "suitcase", "ball"])
def test_saved_assets_come_back_with_their_parts(name, tmp_path):
    asset = load_asset(name)
    back = load_asset(save_asset(asset, tmp_path / "deep" / "thing.glb"), name=name)
    assert back.part_names == asset.part_names
    assert np.array_equal(np.bincount(back.face_parts), np.bincount(asset.face_parts))
    for part in range(len(asset.part_names)):
        ours, theirs = (
            np.sort(a.vertices[a.faces[a.face_parts == part]].reshape(-1, 9), axis=0)
            for a in (asset, back)
        )
        assert np.allclose(ours, theirs, atol=1e-6)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["thing.glb"]


def test_saved_assets_keep_unlabeled_faces_and_part_order(tmp_path):
    box = trimesh.creation.box()
    labels = np.array([1] * 4 + [0] * 4 + [-1] * 4)
    names = ("zeta", "alpha", "never used")
    asset = asset_from_arrays("thing", np.asarray(box.vertices), box.faces, labels, names)
    back = load_asset(save_asset(asset, tmp_path / "thing.glb"))
    assert back.part_names == asset.part_names
    assert sorted(back.face_parts) == sorted(labels)


def test_samples_are_seeded_spread_by_area_and_lie_on_their_part():
    asset, again = load_asset("table"), load_asset("table")
    assert np.array_equal(asset.samples, again.samples)
    assert not np.array_equal(asset.samples, load_asset("table", seed=1).samples)
    mesh = trimesh.Trimesh(asset.vertices, asset.faces, process=False)
    for part in range(len(asset.part_names)):
        share = mesh.area_faces[asset.face_parts == part].sum() / mesh.area
        for count in (len(asset.samples), 512):  # a prefix is spread over the object too
            of_part = (asset.sample_parts[:count] == part).mean()
            assert of_part == pytest.approx(share, abs=0.002 if count > 512 else 0.01)
    _, distance, _ = trimesh.proximity.closest_point_naive(mesh, asset.samples[:64])
    assert distance.max() < 1e-5
    assert np.allclose(np.linalg.norm(asset.sample_normals, axis=1), 1.0, atol=1e-5)


def test_sample_normals_point_outward():
    asset = load_asset("ball")
    outward = asset.samples - asset.center
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert (np.sum(outward * asset.sample_normals, axis=1) > 0.98).all()


def test_scale_and_name():
    asset = load_asset("ball", name="planet", scale=10.0)
    assert asset.name == "planet"
    assert asset.extents == pytest.approx([2.2] * 3, rel=1e-3)
    assert asset.radius == pytest.approx(1.1, rel=1e-3)
    assert asset.center == pytest.approx([0.0, 1.1, 0.0], abs=1e-3)


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply", "stl", "off"])
def test_formats_agree(suffix, tmp_path):
    path = tmp_path / f"crate.{suffix}"
    trimesh.creation.box(extents=[0.3, 0.4, 0.5]).export(path)
    asset = load_asset(path)
    assert asset.name == "crate"
    assert asset.part_names == ()
    assert (asset.sample_parts == -1).all()
    assert asset.extents == pytest.approx([0.3, 0.4, 0.5])
    assert trimesh.Trimesh(asset.vertices, asset.faces).volume == pytest.approx(0.06)


def test_parts_of_a_foreign_glb_lose_their_counters_and_follow_their_nodes(tmp_path):
    scene = trimesh.Scene()
    leg = trimesh.creation.box(extents=[0.1, 1.0, 0.1])
    for i, x in enumerate((-0.5, 0.5)):
        move = trimesh.transformations.translation_matrix([x, 0.0, 0.0])
        scene.add_geometry(leg, geom_name=f"leg.00{i}", transform=move)
    flip = np.diag([1.0, -1.0, 1.0, 1.0])  # a mirrored node
    flip[1, 3] = 1.0
    scene.add_geometry(
        trimesh.creation.box(extents=[1.2, 0.1, 0.4]), geom_name="top", transform=flip
    )
    scene.export(tmp_path / "bench.glb")
    asset = load_asset(tmp_path / "bench.glb")
    assert set(asset.part_names) == {"leg", "top"}
    assert asset.extents == pytest.approx([1.2, 1.55, 0.4], abs=1e-5)
    for body in trimesh.Trimesh(asset.vertices, asset.faces).split():
        assert body.volume > 0.0


@pytest.mark.parametrize("keyword", ["o", "g"])
def test_parts_of_an_obj_come_from_objects_or_groups(keyword, tmp_path):
    text = f"{keyword} seat\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    text += f"{keyword} back.001\nv 0 0 1\nv 1 0 1\nv 0 1 1\nf 4 5 6\n"
    (tmp_path / "chair.obj").write_text(text)
    asset = load_asset(tmp_path / "chair.obj")
    assert asset.part_names == ("seat", "back")
    assert asset.vertices[asset.faces[asset.face_parts == 1]][..., 2] == pytest.approx(1.0)


def test_parts_file_labels_a_mesh(tmp_path):
    mesh = trimesh.creation.box()
    mesh.export(tmp_path / "crate.obj")
    labels = np.where(mesh.triangles_center[:, 1] > 0.4, 0, -1)
    content = {"part_names": ["lid"], "face_parts": labels.tolist()}
    (tmp_path / "crate.parts.json").write_text(json.dumps(content))
    asset = load_asset(tmp_path / "crate.obj")
    assert asset.part_names == ("lid",)
    assert asset.samples[asset.sample_parts == 0][:, 1] == pytest.approx(0.5)
    assert (asset.samples[asset.sample_parts == -1][:, 1] < 0.5).mean() > 0.99


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a part file"),
        ("[]", "not a part file"),
        ('{"part_names": ["lid"]}', "not a part file"),
        ('{"part_names": [""], "face_parts": []}', "non-empty strings"),
        ('{"part_names": ["lid"], "face_parts": [0, 0]}', "12 whole numbers"),
        (json.dumps({"part_names": ["lid"], "face_parts": [1] * 12}), "between -1 and 0"),
    ],
)
def test_bad_parts_files_are_refused(content, message, tmp_path):
    trimesh.creation.box().export(tmp_path / "crate.stl")
    (tmp_path / "crate.parts.json").write_text(content)
    with pytest.raises(UserError, match=message) as error:
        load_asset(tmp_path / "crate.stl")
    assert "crate.parts.json" in str(error.value)


TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("noise.glb", b"\x00\x01\x02", "cannot be read as a mesh"),
        ("words.obj", b"hello\n", "no triangles"),
        ("empty.stl", b"", "no triangles|cannot be read"),
        ("points.obj", TRIANGLE.encode(), "no triangles"),
        ("nan.obj", f"{TRIANGLE}v nan 0 0\nf 1 2 4\n".encode(), "NaN or infinite.*Repair"),
        ("inf.obj", f"{TRIANGLE}v inf 0 0\nf 1 2 4\n".encode(), "NaN or infinite"),
        ("index.obj", f"{TRIANGLE}f 1 2 9\n".encode(), "cannot be read|refers to vertex"),
        ("flat.obj", b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "no area"),
        ("notes.txt", b"hello", "not supported|cannot be read"),
    ],
)
def test_unusable_files_are_refused_with_their_name(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_asset(tmp_path / name)
    assert name in str(error.value)


def test_truncated_glb_is_refused(tmp_path):
    path = save_asset(load_asset("box"), tmp_path / "box.glb")
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UserError, match="cannot be read as a mesh"):
            load_asset(path)


def test_missing_mesh_names_the_procedural_objects(tmp_path):
    with pytest.raises(UserError, match=r"does not exist.*barbell"):
        load_asset(tmp_path / "nothing.glb")
    with pytest.raises(UserError, match="is a folder"):
        load_asset(tmp_path)
    with pytest.raises(UserError, match=r"saved as \.glb"):
        save_asset(load_asset("ball"), tmp_path / "ball.obj")


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_bad_scale_is_refused(scale):
    with pytest.raises(UserError, match="--scale must be a positive number"):
        load_asset("ball", scale=scale)


def test_nan_vertices_that_no_face_uses_do_no_harm(tmp_path):
    (tmp_path / "stray.obj").write_text(f"{TRIANGLE}v nan 0 0\nf 1 2 3\n")
    assert np.isfinite(load_asset(tmp_path / "stray.obj").vertices).all()


@pytest.mark.parametrize(
    ("side", "advice"),
    [
        (450.0, "--scale 0.001"),
        (45.0, "--scale 0.01"),
        (0.004, "too small to be held .--scale 10"),  # a 4 mm bead is no crate in kilometres
        (0.00004, "kilometres .use --scale 1000"),
    ],
)
def test_wrong_units_are_warned_about_with_size_and_remedy(side, advice, tmp_path):
    trimesh.creation.box(extents=[side, side / 2, side / 3]).export(tmp_path / "crate.stl")
    with pytest.warns(MeshScaleWarning, match=f"measures {side:.4g} x.*{advice}"):
        load_asset(tmp_path / "crate.stl")


def test_scaled_millimetres_are_silent(tmp_path):
    trimesh.creation.box(extents=[450.0, 300.0, 300.0]).export(tmp_path / "crate.stl")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asset = load_asset(tmp_path / "crate.stl", scale=0.001)
    assert asset.extents == pytest.approx([0.45, 0.3, 0.3], rel=1e-4)


def test_faces_are_turned_outward_but_open_surfaces_left_alone(rng):
    torus = trimesh.creation.torus(1.0, 0.3, major_sections=12, minor_sections=8)
    faces = np.asarray(torus.faces)
    mixed = np.where(rng.random((len(faces), 1)) < 0.4, faces[:, ::-1], faces)
    for given in (faces, faces[:, ::-1], mixed):
        turned = orient_outward(np.asarray(torus.vertices), given)
        volume = trimesh.Trimesh(torus.vertices, turned, process=False).volume
        assert volume == pytest.approx(torus.volume)
    sheet = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    triangles = np.array([[0, 1, 2], [2, 1, 3]])
    assert np.array_equal(orient_outward(sheet, triangles), triangles)


def test_unknown_part_lists_the_known_ones():
    with pytest.raises(UserError, match=r"no part 'lid'.*seat"):
        load_asset("chair").part_index("lid")


SCANS = Path(__file__).parents[2] / "shared" / "data" / "omomo" / "objects"


@pytest.mark.skipif(not SCANS.is_dir(), reason="captured scans are not here")
def test_captured_scans_load():
    for path in sorted(SCANS.glob("*.obj")):
        asset = load_asset(path)
        assert 0.3 < asset.extents.max() < 2.0
        assert len(asset.samples) == 4096
