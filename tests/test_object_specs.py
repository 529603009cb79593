"""Objects as users name them: options beside the file, which way is up, how large such things are."""

import warnings

import numpy as np
import pytest
import trimesh

from hoijax.errors import UserError
from hoijax.objects.asset import MeshScaleWarning, load_asset
from hoijax.objects.mesh_files import read_mesh
from hoijax.objects.orientation import AXES, Orientation, axis_vector, orientation_of
from hoijax.objects.specs import UnusualSizeWarning, load_objects, parse_object
from hoijax.objects.usual_sizes import USUAL_SIZES, usual_size_of
from priors.observe.prompt_list import read_prompts

Z_FROM_Y = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""y up to z up, with the front from +z to -y."""


def written(tmp_path, name, *, shift=(0.0, 0.0, 0.0), kind="chair", R=Z_FROM_Y, scale=1.0):
    asset = load_asset(kind)
    vertices = (asset.vertices @ R.T + shift) * scale
    trimesh.Trimesh(vertices, asset.faces, process=False).export(tmp_path / name)
    return tmp_path / name


def test_options_beside_a_file_are_read(tmp_path):
    spec = parse_object("desk chair=a,b.obj,up=z,front=-y,scale=0.01")
    assert (spec.source, spec.name, spec.up, spec.front, spec.scale) == (
        "a,b.obj", "desk chair", "z", "-y", 0.01)  # fmt: skip
    assert parse_object(str(spec)) == spec
    odd = tmp_path / "a=b,up=z"
    odd.write_text("")
    assert parse_object(odd).source == str(odd)  # a file of this very name


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("chair.obj,up=w", "is no axis"),
        ("chair.obj,up=z,front=-z", "two axes"),
        ("chair.obj,scale=0", "positive"),
        ("chair.obj,scale=big", "positive"),
        ("chair.obj,up=z,up=y", "twice"),
        ("=chair.obj", "missing"),
    ],
)
def test_options_that_make_no_sense_are_refused(item, says):
    with pytest.raises(UserError, match=says):
        parse_object(item)


@pytest.mark.parametrize("up", AXES)
def test_every_pair_of_axes_is_a_rotation_to_y_and_z(up):
    for front in (axis for axis in AXES if axis[-1] != up[-1]):
        R = Orientation(up, front, "").rotation()
        assert np.linalg.det(R) == pytest.approx(1.0)
        np.testing.assert_array_equal(R @ axis_vector(up), [0, 1, 0])
        np.testing.assert_array_equal(R @ axis_vector(front), [0, 0, 1])


@pytest.mark.parametrize("name", ["model.obj", "model.stl", "model.ply"])
@pytest.mark.parametrize("kind", ["chair", "table", "suitcase"])
def test_a_z_up_mesh_stands_after_all(tmp_path, name, kind):
    lines = []
    path = written(tmp_path, name, kind=kind)
    (asset,) = load_objects([path], log=lines.append)
    expected = load_asset(kind)
    np.testing.assert_allclose(asset.extents, expected.extents, atol=1e-5)
    assert "up z (guessed" in lines[0]
    assert f"{expected.extents[1]:.3g}" in lines[0]


def test_a_y_up_mesh_stays(tmp_path):
    path = written(tmp_path, "model.obj", R=np.eye(3))
    (asset,) = load_objects([path])
    np.testing.assert_allclose(asset.extents, load_asset("chair").extents, atol=1e-5)


def test_proportions_decide_off_the_origin(tmp_path):
    lines = []
    path = written(tmp_path, "model.obj", shift=(3.0, 5.0, 7.0), kind="skateboard")
    (asset,) = load_objects([f"skateboard={path}"], log=lines.append)
    assert asset.name == "skateboard"
    assert asset.extents[1] == pytest.approx(load_asset("skateboard").extents[1], abs=1e-5)
    assert "a skateboard is flat" in lines[0]


def test_a_table_off_the_origin_shows_its_top():
    vertices = load_asset("table").vertices @ Z_FROM_Y.T + [3.0, 5.0, 7.0]
    chosen = orientation_of(vertices, load_asset("table").faces, ".obj")
    assert chosen.up == "z"


def test_what_the_user_says_is_done(tmp_path):
    path = written(tmp_path, "chair.obj")
    (left,) = load_objects([f"{path},up=z,front=x"])
    (plain,) = load_objects([path], up="z", front="-y")
    expected = load_asset("chair")
    np.testing.assert_allclose(plain.vertices, expected.vertices, atol=1e-6)
    turn = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    centered = expected.vertices - expected.center
    np.testing.assert_allclose(
        np.ptp(left.vertices, axis=0), np.ptp(centered @ turn.T, axis=0), atol=1e-6
    )
    with pytest.raises(UserError, match="shipped objects"):
        load_objects(["chair,up=z"])


def test_sizes_that_such_things_do_not_have_are_remarked(tmp_path):
    small = written(tmp_path, "chair.glb", R=np.eye(3), scale=0.02)
    with pytest.warns(UnusualSizeWarning, match=r"scale=50.3"):
        load_objects([f"chair={small}"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (asset,) = load_objects([f"chair={small},scale=50"])
    assert asset.extents[1] == pytest.approx(load_asset("chair").extents[1], rel=1e-4)
    model = written(tmp_path, "model.glb", R=np.eye(3), scale=0.02)
    with pytest.warns(UnusualSizeWarning, match="a chair usually"):
        load_objects([model], text="a person sits on a chair")


def test_sizes_nobody_handles_are_remarked_without_a_noun(tmp_path):
    big = written(tmp_path, "model.glb", R=np.eye(3), scale=20)
    with pytest.warns(UnusualSizeWarning, match=r"mostly handle .* scale=0.01 "):
        load_objects([big])
    with pytest.warns(UnusualSizeWarning, match=r"scale=10 "):
        load_objects([f"{big},scale=0.001"])


def test_nouns_in_names():
    assert usual_size_of("OfficeChair_01") == USUAL_SIZES["chair"] == usual_size_of("chairs")
    assert usual_size_of("armchair") == USUAL_SIZES["armchair"]
    assert usual_size_of("chair and table") is None
    assert usual_size_of("scar") is None


def test_objects_of_a_prompt_file_take_options_and_relative_paths(tmp_path):
    written(tmp_path, "model.obj")
    (tmp_path / "p.jsonl").write_text(
        '{"text": "a person lifts a chair", "objects": ["chair=model.obj,up=z", "box"]}\n'
    )
    (scene,) = read_prompts(tmp_path / "p.jsonl")
    assert scene.objects == (f"chair={tmp_path / 'model.obj'},up=z", "box")


def test_3mf_is_z_up_and_names_its_package(tmp_path, monkeypatch):
    pytest.importorskip("lxml")
    asset = load_asset("chair")
    path = tmp_path / "chair.3mf"
    trimesh.Trimesh(asset.vertices @ Z_FROM_Y.T, asset.faces, process=False).export(path)
    (read,) = load_objects([path])
    np.testing.assert_allclose(read.extents, asset.extents, atol=1e-5)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install lxml"):
        load_asset(path)


@pytest.mark.parametrize(
    ("name", "factor", "unit"),
    [("mug.obj", 100.0, "centimetres"), ("chair.stl", 1000.0, "millimetres")],
)
def test_the_unit_of_a_file_without_one_is_guessed_by_its_noun(tmp_path, name, factor, unit):
    box = trimesh.creation.box((0.08, 0.1, 0.08) if "mug" in name else (0.5, 0.9, 0.5))
    box.apply_scale(factor).export(tmp_path / name)
    said = []
    (asset,) = load_objects([tmp_path / name], log=said.append)
    np.testing.assert_allclose(asset.extents * factor, np.sort(box.extents)[[0, 2, 1]], rtol=1e-5)
    assert f"scale {1 / factor:g} (guessed: {unit}" in said[0]
    with pytest.warns((UnusualSizeWarning, MeshScaleWarning)):  # as it is, where the user says so
        (asset,) = load_objects([f"{name.split('.')[0]}={tmp_path / name},scale=1"])
    assert asset.extents.max() == pytest.approx(box.extents.max(), rel=1e-5)


def test_a_file_of_a_guessed_unit_is_read_once(tmp_path, monkeypatch):
    trimesh.creation.box((50.0, 90.0, 50.0)).export(tmp_path / "chair.obj")
    reads = []
    monkeypatch.setattr(
        "hoijax.objects.asset.read_mesh", lambda *a, **k: reads.append(a) or read_mesh(*a, **k)
    )
    (asset,) = load_objects([tmp_path / "chair.obj"])
    assert asset.extents.max() == pytest.approx(0.9, rel=1e-5)
    assert len(reads) == 1


def test_nothing_is_scaled_that_may_be_meant(tmp_path):
    """Formats in metres, nouns of no known size, and sizes that no unit mends."""
    cases = (("mug.glb", 10.0), ("gadget.obj", 3.0), ("chair.obj", 0.34))
    for name, side in cases:
        trimesh.creation.box((side, side, side)).export(tmp_path / name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            (asset,) = load_objects([tmp_path / name])
        assert asset.extents.max() == pytest.approx(side, rel=1e-5)


def test_3mf_says_its_unit(tmp_path):
    pytest.importorskip("lxml")
    trimesh.creation.box((400.0, 300.0, 300.0)).export(tmp_path / "crate.3mf")
    said = []
    (asset,) = load_objects([tmp_path / "crate.3mf"], log=said.append)
    assert asset.extents.max() == pytest.approx(0.4)
    assert "the file is in millimeters" in said[0]
