"""The bundle on disk: exact round trips, all-or-nothing writes, every damage named."""

import dataclasses
import hashlib
import io
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

import hoijax.bundle.files
from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.bundle.evidence import GROUPS, HEIGHT_OF_JOINTS
from hoijax.bundle.observations import Observations, observation_dtypes
from hoijax.bundle.schema import TRUTH_SHAPES
from hoijax.bundle.write import (
    Bundle,
    GroundTruth,
    Provenance,
    bundle_hash,
    check_bundle,
    read_bundle,
    read_ground_truth,
    write_bundle,
)
from hoijax.errors import UserError
from hoijax.io.npz import npz_bytes, read_npz
from hoijax.objects.asset import asset_from_arrays, load_asset, save_asset

T, H, W, P, O, N, B = 4, 6, 8, 1, 2, 16, 10  # noqa: E741
SIZES = {"T": T, "H": H, "W": W, "h": 3, "w": 4, "P": P, "O": O, "N": N, "M": N, "B": B, "E": 3}


def _array(axes: str, dtype, rng):
    shape = [int(a) if a.isdigit() else SIZES[a] for a in axes.split()]
    return (rng.random(shape) * 0.5).astype(dtype)


@pytest.fixture
def bundle(rng):
    annotations = Observations.__annotations__
    dtypes = observation_dtypes()
    arrays = {k: _array(kind.dim_str, dtypes[k], rng) for k, kind in annotations.items()}
    arrays["intrinsics"] = np.tile(np.float32([[9, 0, 4], [0, 9, 3], [0, 0, 1]]), (T, 1, 1))
    arrays["Ts_world_camera"] = np.tile(np.eye(4, dtype=np.float32), (T, 1, 1))
    arrays["instance_ids"] = rng.integers(0, P + O + 1, (T, H, W)).astype(np.uint8)
    arrays["object_detected"] = np.array([[True] * T, [False] * (T - 1) + [True]])
    arrays["object_point_parts"] = rng.integers(-1, 2, (O, T, N)).astype(np.int32)
    arrays["object_point_mask"] = rng.random((O, T, N)) < 0.8
    arrays["person_point_mask"] = rng.random((P, T, N)) < 0.8
    graph = PartAffordanceGraph.from_json(json.dumps(GRAPH))
    assets = (load_asset("barbell", samples=64), load_asset("table", samples=64))
    source = Provenance(model="test", revision="1", settings={"noise": [0.1, None]}, seed=3)
    return Bundle(
        "a person lifts a barbell off a table",
        10.0,
        graph,
        assets,
        ("anny",),
        Observations(**arrays),
        {"*": source, "intrinsics": source},
    )


@pytest.mark.parametrize("name", ["a", "a.zip"])
def test_proposed_yaws_are_kept_and_may_be_missing(bundle, tmp_path, name):
    plain = write_bundle(tmp_path / "plain", bundle)
    assert "yaws" not in (plain / "bundle.json").read_text()
    assert read_bundle(plain).proposed_yaws == {}
    second = bundle.assets[1].name
    proposed = dataclasses.replace(bundle, proposed_yaws={second: (90.0, 12.5)})
    path = write_bundle(tmp_path / name, proposed)
    assert check_bundle(path) == []
    assert read_bundle(path).proposed_yaws == {second: (90.0, 12.5)}


@pytest.mark.parametrize(
    ("yaws", "says"), [(["east"], "objects"), ([1.0] * 17, "16"), ([float("inf")], "JSON")]
)
def test_impossible_yaws_are_refused(bundle, tmp_path, yaws, says):
    path = write_bundle(tmp_path / "a", bundle)
    manifest = json.loads((path / "bundle.json").read_text())
    manifest["objects"][0]["yaws"] = yaws
    (path / "bundle.json").write_text(json.dumps(manifest))
    problems = check_bundle(path)
    assert len(problems) == 1, problems
    assert says in problems[0]


@pytest.fixture
def ground_truth(rng):
    arrays = {key: _array(axes, np.float32, rng) for key, axes in TRUTH_SHAPES.items()}
    arrays["Ts_world_object"] = np.tile(np.eye(4, dtype=np.float32), (O, T, 1, 1))
    arrays["Ts_world_camera"] = np.tile(np.eye(4, dtype=np.float32), (T, 1, 1))
    arrays["edge_contact"] = rng.random((3, T)) < 0.5
    return GroundTruth(**arrays)


def _edge(entity, part, other, other_part):
    ends = {
        "first": {"entity": entity, "part": part},
        "second": {"entity": other, "part": other_part},
    }
    return {**ends, "is_continuous": True, "is_rel_static": True}


GRAPH = {
    "objects": [
        {
            "name": "barbell",
            "parts": ["bar", "weights"],
            "is_translational": True,
            "is_rotational": True,
        },
        {
            "name": "table",
            "parts": ["top", "legs"],
            "is_translational": False,
            "is_rotational": False,
        },
    ],
    "people": [{"name": "person 1"}],
    "edges": [
        _edge("person 1", "left_hand", "barbell", "bar"),
        _edge("person 1", "right_hand", "barbell", "bar"),
        _edge("barbell", "weights", "table", "top"),
    ],
}


def assert_same(a: Bundle, b: Bundle):
    for key in Observations.__annotations__:
        x, y = getattr(a.observations, key), getattr(b.observations, key)
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
    assert (a.prompt, a.fps, a.affordance, a.bodies) == (b.prompt, b.fps, b.affordance, b.bodies)
    assert dict(a.provenance) == dict(b.provenance)
    for x, y in zip(a.assets, b.assets, strict=True):
        for field in dataclasses.fields(x):
            np.testing.assert_array_equal(getattr(x, field.name), getattr(y, field.name))


@pytest.mark.parametrize("name", ["scene", "scene.zip"])
def test_round_trip_is_exact(tmp_path, bundle, ground_truth, name):
    path = write_bundle(tmp_path / "new" / name, bundle, ground_truth, video=b"not looked at")
    assert check_bundle(path) == []
    assert_same(read_bundle(path), bundle)
    back = read_ground_truth(path)
    for key in TRUTH_SHAPES:
        np.testing.assert_array_equal(getattr(back, key), getattr(ground_truth, key))
    assert os.listdir(path.parent) == [name]


def test_glb_preview_shows_the_same_surface(tmp_path, bundle):
    path = write_bundle(tmp_path / "scene", bundle)
    preview = load_asset(path / "objects" / "table.glb")
    table = bundle.assets[1]
    assert preview.part_names == table.part_names

    def triangles(asset):
        corners = asset.vertices[asset.faces].reshape(-1, 9)
        rows = np.column_stack([asset.face_parts, corners])
        return rows[np.lexsort(rows.T)]

    np.testing.assert_array_equal(triangles(preview), triangles(table))


def test_same_content_same_bytes_and_hash(tmp_path, bundle, ground_truth):
    a = write_bundle(tmp_path / "a", bundle, ground_truth)
    b = write_bundle(tmp_path / "b.zip", bundle, ground_truth)
    c = write_bundle(tmp_path / "c.zip", bundle, ground_truth)
    assert b.read_bytes() == c.read_bytes()
    assert bundle_hash(a) == bundle_hash(b) == bundle_hash(c)
    other = dataclasses.replace(bundle, prompt="something else")
    assert bundle_hash(write_bundle(tmp_path / "d", other, ground_truth)) != bundle_hash(a)


def test_zip_of_the_folder_made_by_a_file_manager(tmp_path, bundle):
    folder = write_bundle(tmp_path / "scene", bundle)
    (folder / ".DS_Store").write_bytes(b"x")
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(tmp_path))
        archive.writestr("__MACOSX/._scene", b"x")
    assert check_bundle(folder) == check_bundle(tmp_path / "mac.zip") == []
    assert_same(read_bundle(tmp_path / "mac.zip"), bundle)


def test_the_truth_is_not_opened(tmp_path, bundle, ground_truth):
    path = write_bundle(tmp_path / "scene", bundle, ground_truth)
    (path / "truth.npz").write_bytes(b"damaged")
    assert_same(read_bundle(path), bundle)
    assert [p.split(":")[0] for p in check_bundle(path)] == ["truth.npz"]
    with pytest.raises(UserError, match="expected SHA-256"):
        read_ground_truth(path)
    (path / "truth.npz").unlink()
    assert_same(read_bundle(path), bundle)
    with pytest.raises(UserError, match="only made and captured scenes have one"):
        read_ground_truth(path)


# --- writing: all or nothing ---


@pytest.mark.parametrize("name", ["scene", "scene.zip"])
def test_interrupt_leaves_what_was_there(tmp_path, bundle, monkeypatch, name):
    path = write_bundle(tmp_path / name, bundle)
    before = bundle_hash(path)
    original, calls = Path.replace, []

    def interrupted(self, target):
        calls.append(self)
        if len(calls) == (1 if name.endswith("zip") else 2):
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(path, dataclasses.replace(bundle, prompt="new"))
    monkeypatch.undo()
    assert os.listdir(tmp_path) == [name]
    assert bundle_hash(path) == before
    assert check_bundle(path) == []


def test_interrupt_while_writing_leaves_nothing(tmp_path, bundle, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    monkeypatch.setattr(hoijax.bundle.files, "write_member", interrupted)
    files = {"bundle.json": b"{}"}
    for name in ("scene", "scene.zip"):
        with pytest.raises(KeyboardInterrupt):
            hoijax.bundle.files.write_files(tmp_path / name, files)
    assert os.listdir(tmp_path) == []


def test_an_old_bundle_is_replaced_and_other_files_are_not(tmp_path, bundle):
    path = write_bundle(tmp_path / "scene", bundle)
    new = dataclasses.replace(bundle, prompt="new")
    assert read_bundle(write_bundle(path, new)).prompt == "new"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="holds other files"):
        write_bundle(tmp_path / "mine", bundle)
    with pytest.raises(UserError, match="is a file"):
        write_bundle(tmp_path / "mine" / "thesis.tex", bundle)
    assert os.listdir(tmp_path / "mine") == ["thesis.tex"]


def without(bundle: Bundle, *groups: str) -> Bundle:
    """The bundle with groups of evidence left out."""
    return dataclasses.replace(bundle, absent=tuple(k for g in groups for k in GROUPS[g]))


@pytest.mark.parametrize("group", [g for g in GROUPS if g not in ("camera poses", "body shape")])
def test_a_bundle_may_lack_a_group_of_evidence(tmp_path, bundle, group):
    lacking = without(bundle, group)
    if group == "object points":
        lacking = without(bundle, group, "part labels")
    path = write_bundle(tmp_path / "scene", lacking)
    assert check_bundle(path) == []
    with np.load(path / "observations.npz") as file:
        assert not set(file.files) & set(GROUPS[group])
    back = read_bundle(path)
    assert back.absent == lacking.absent
    assert back.absences
    kept = [
        key for key in Observations.__annotations__ if key not in (*lacking.absent, "body_mask")
    ]
    for key in kept:
        np.testing.assert_array_equal(
            getattr(back.observations, key), getattr(bundle.observations, key)
        )
    for key in GROUPS[group]:
        assert np.isfinite(getattr(back.observations, key)).all()


def test_masks_and_keypoints_are_enough(tmp_path, bundle):
    o = bundle.observations
    gone = [g for g in GROUPS if g not in ("masks", "keypoints")]
    path = write_bundle(tmp_path / "scene", without(bundle, *gone))
    back = read_bundle(path).observations
    assert not back.body_mask.any()
    assert not back.object_point_mask.any()
    assert not back.person_point_mask.any()
    width, height = back.intrinsics[0, :2, 2] * 2
    assert (height, width) == back.image_size
    np.testing.assert_array_equal(back.object_detected, o.object_detected)
    neither = without(bundle, *gone, "masks")
    with pytest.raises(UserError, match="no frame has a detection of 'barbell', neither a mask"):
        write_bundle(tmp_path / "none", neither)


def test_a_photograph_is_a_clip_of_one_frame(tmp_path, bundle):
    path = write_bundle(tmp_path / "scene", bundle)
    one_frame(path)
    assert check_bundle(path) == []
    assert read_bundle(path).frame_count == 1


def test_version_1_opens(tmp_path, bundle):
    path = write_bundle(tmp_path / "scene", bundle)
    set_arrays(path, drop=["body_mask", "frame_mask", "color_images"])
    set_manifest(path, version=1)
    assert check_bundle(path) == []
    grey = dataclasses.replace(bundle.observations, color_images=None)
    assert_same(read_bundle(path), dataclasses.replace(bundle, observations=grey))
    set_arrays(path, drop=["body_mask", "frame_mask", "keypoints"])
    assert "key 'keypoints': is missing" in check_bundle(path)[0]


def test_folder_that_cannot_be_written(tmp_path, bundle):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"cannot write the bundle .*file is a file, not a folder"):
        write_bundle(tmp_path / "file" / "scene", bundle)


def test_writer_refuses_what_the_reader_would(tmp_path, bundle):
    points = bundle.observations.object_points.copy()
    points[0, 1, 2] = np.nan
    bad = dataclasses.replace(
        bundle, observations=bundle.observations.replace(object_points=points)
    )
    with pytest.raises(UserError, match="'object_points': expected finite numbers, found 3 of"):
        write_bundle(tmp_path / "scene", bad)
    assert os.listdir(tmp_path) == []


# --- damage: each is named with file, key, expected and found ---


def sign(path: Path):
    """Make the hashes fit again, so that the content's own checks have to find the damage."""
    manifest = json.loads((path / "bundle.json").read_text())
    for name in manifest["sha256"]:
        if (path / name).is_file():
            manifest["sha256"][name] = hashlib.sha256((path / name).read_bytes()).hexdigest()
    (path / "bundle.json").write_text(json.dumps(manifest))


def set_manifest(path: Path, **values):
    manifest = json.loads((path / "bundle.json").read_text())
    (path / "bundle.json").write_text(json.dumps(manifest | values))


def set_arrays(path: Path, drop=(), **values):
    with np.load(path / "observations.npz") as file:
        arrays = {k: file[k] for k in file.files if k not in drop}
    np.savez(path / "observations.npz", **(arrays | values))
    sign(path)


def arrays_of(path: Path):
    with np.load(path / "observations.npz") as file:
        return {key: file[key] for key in file.files}


def truncate(path: Path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))


def with_nan(array):
    array = array.copy()
    array.flat[0] = np.nan
    return array


FOCAL_TIMES_100 = np.array([[100, 1, 1], [1, 100, 1], [1, 1, 1]], np.float32)
OFF_CENTER = np.array([[0, 0, 20], [0, 0, 0], [0, 0, 0]], np.float32)
WIDE_PIXELS = np.array([[3, 1, 1], [1, 1, 1], [1, 1, 1]], np.float32)


def tall(joints):
    """The same person, 3 m tall."""
    joints = joints.copy()
    joints[:, 0], joints[:, 15] = [0, 0, 0], [0, 3.0 / HEIGHT_OF_JOINTS, 0]
    return joints


def rename_file(path: Path, name: str):
    manifest = json.loads((path / "bundle.json").read_text())
    manifest["objects"][0]["file"] = name
    manifest["sha256"][name] = "0" * 64
    (path / "bundle.json").write_text(json.dumps(manifest))


def scaled_camera(path: Path):
    Ts = arrays_of(path)["Ts_world_camera"]
    Ts[2, :3, :3] *= 2
    set_arrays(path, Ts_world_camera=Ts)


def one_frame(path: Path):
    arrays = arrays_of(path)
    cut = {}
    for key, kind in Observations.__annotations__.items():
        axes = kind.dim_str.split()
        if "T" in axes:
            cut[key] = np.take(arrays[key], [3], axis=axes.index("T"))
    set_arrays(path, **cut)
    set_manifest(path, frame_count=1)


def edit_graph(path: Path, old: str, new: str):
    text = (path / "affordance.json").read_text()
    assert old in text
    (path / "affordance.json").write_text(text.replace(old, new))
    sign(path)


def first_mesh(path: Path) -> str:
    return json.loads((path / "bundle.json").read_text())["objects"][0]["file"]


def move_samples(path: Path):
    set_arrays_of(path, first_mesh(path), samples=lambda a: a + np.float32(1000.0))


def set_arrays_of(path: Path, name: str, **changes):
    arrays, _ = read_npz((path / name).read_bytes(), name)
    changed = {key: change(arrays[key]) for key, change in changes.items()}
    (path / name).write_bytes(npz_bytes(arrays | changed))
    sign(path)


def in_millimetres(path: Path):
    set_arrays_of(path, first_mesh(path), vertices=lambda a: a * 1000, samples=lambda a: a * 1000)


def vast(key: str):
    return lambda p: set_arrays_of(p, "observations.npz", **{key: lambda a: np.full_like(a, 1e30)})


DAMAGES = {
    "vast points": (
        vast("object_points"),
        r"'object_points': expected at most 10000, found 1e\+30",
    ),
    "vast focal length": (vast("intrinsics"), "'intrinsics': expected at most"),
    "vast betas": (vast("body_betas"), "'body_betas': expected at most 100"),
    "vast rest joints": (vast("body_rest_joints"), "'body_rest_joints': expected at most 10"),
    "samples off the mesh": (move_samples, "samples lie off the mesh"),
    "mesh in millimetres": (in_millimetres, "Is it in millimetres"),
    "endless fps": (lambda p: set_manifest(p, fps=1e300), r"key fps: .*less than or equal to"),
    "truncated npz": (
        lambda p: (truncate(p / "observations.npz"), sign(p)),
        r"observations\.npz: expected an npz .* truncated",
    ),
    "empty npz": (
        lambda p: ((p / "observations.npz").write_bytes(b""), sign(p)),
        r"observations\.npz: expected an npz .*an empty file",
    ),
    "bare npy": (
        lambda p: ((p / "observations.npz").write_bytes(b"\x93NUMPY\x01\x00 and so on"), sign(p)),
        r"observations\.npz: expected an npz",
    ),
    "flipped byte": (
        lambda p: flip(p / "observations.npz"),
        r"observations\.npz: expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}",
    ),
    "missing file": (
        lambda p: (p / "objects" / "table.npz").unlink(),
        r"objects/table\.npz: is missing; bundle\.json lists it",
    ),
    "pickled array": (
        lambda p: set_arrays(p, keypoints=np.array([{"a": 1}, None], dtype=object)),
        r"observations\.npz: key 'keypoints': .*pickled Python objects, which are never read",
    ),
    "missing key": (
        lambda p: set_arrays(p, drop=["body_betas"]),
        r"observations\.npz: key 'body_betas': is missing; expected float32 \(P, B\)",
    ),
    "unknown key": (
        lambda p: set_arrays(p, extra=np.zeros(3)),
        r"observations\.npz: key 'extra': is unknown; the keys are intrinsics",
    ),
    "wrong dtype": (
        lambda p: set_arrays(p, body_betas=np.zeros((P, B))),
        r"key 'body_betas': expected dtype float32, found float64",
    ),
    "wrong axes": (
        lambda p: set_arrays(p, body_betas=np.zeros(B, np.float32)),
        r"key 'body_betas': expected 2 axes \(P, B\), found shape \(10,\)",
    ),
    "wrong length": (
        lambda p: set_arrays(p, object_pixels=np.zeros((O, T, N + 1, 2), np.float32)),
        r"key 'object_pixels': axis 2 \(N\): expected 16 \(key 'object_points'\), found 17",
    ),
    "wrong fixed length": (
        lambda p: set_arrays(p, keypoints=np.zeros((P, T, 25, 3), np.float32)),
        r"key 'keypoints': axis 2 \(18\): expected 18 \(always\), found 25",
    ),
    "NaN": (
        lambda p: set_arrays(p, body_betas=with_nan(arrays_of(p)["body_betas"])),
        r"key 'body_betas': expected finite numbers, found 1 of 10 NaN or infinite",
    ),
    "no detection": (
        lambda p: set_arrays(
            p, object_detected=np.array([[True] * T, [False] * T]), body_betas=np.ones((P, B), "f4")
        ),
        r"no frame has a detection of 'table'",
    ),
    "person never seen": (
        lambda p: set_arrays(
            p,
            person_point_mask=np.zeros((P, T, N), bool),
            keypoints=np.zeros((P, T, 18, 3), np.float32),
            body_mask=np.zeros((P, T), bool),
        ),
        r"no frame has a detection of person 1",
    ),
    "instance id": (
        lambda p: set_arrays(p, instance_ids=np.full((T, H, W), 9, np.uint8)),
        r"key 'instance_ids': expected 0 to 3 \(people, then objects\), found 9",
    ),
    "part label": (
        lambda p: set_arrays(p, object_point_parts=np.full((O, T, N), 2, np.int32)),
        r"key 'object_point_parts': expected -1 to 1 for 'barbell', found 2 to 2",
    ),
    "person of 3 m": (
        lambda p: set_arrays(p, body_rest_joints=tall(arrays_of(p)["body_rest_joints"])),
        r"'body_rest_joints': person 1 measures 3 m; expected 0\.4 to 2\.8 m",
    ),
    "focal length of another size": (
        lambda p: set_arrays(p, intrinsics=arrays_of(p)["intrinsics"] * FOCAL_TIMES_100),
        "a focal length of 900 to 900 pixels is no camera's at 8 x 6 .*leave the key out",
    ),
    "focal lengths that disagree": (
        lambda p: set_arrays(p, intrinsics=arrays_of(p)["intrinsics"] * WIDE_PIXELS),
        "the focal lengths 27 and 9 contradict each other",
    ),
    "principal point": (
        lambda p: set_arrays(p, intrinsics=arrays_of(p)["intrinsics"] + OFF_CENTER),
        r"the principal point \(24, 3\) lies outside an image of 8 x 6",
    ),
    "no frame to read": (
        lambda p: set_arrays(p, frame_mask=np.zeros(T, bool)),
        "'frame_mask': leaves no frame to read",
    ),
    "half of a group": (
        lambda p: set_arrays(p, drop=["person_pixels"]),
        r"key 'person_pixels': is missing; expected float32 \(P, T, M, 2\)",
    ),
    "motion without camera": (
        lambda p: set_arrays(p, drop=["Ts_world_camera"]),
        r"key 'Ts_world_camera': is missing; expected float32 \(T, 4, 4\)",
    ),
    "array of version 2 in version 1": (
        lambda p: set_manifest(p, version=1),
        r"key 'body_mask': is unknown",
    ),
    "camera not rigid": (
        scaled_camera,
        r"key 'Ts_world_camera': expected rotations .* found 1 of 4 .* first at \[2\]",
    ),
    "confidence": (
        lambda p: set_arrays(p, keypoints=np.full((P, T, 18, 3), 5, np.float32)),
        r"key 'keypoints': expected confidences from 0 to 1, found 5 to 5",
    ),
    "frame count": (
        lambda p: set_manifest(p, frame_count=5),
        r"axis 0 \(T\): expected 5 \(frame_count in bundle\.json\), found 4",
    ),
    "version": (lambda p: set_manifest(p, version=7), r"key 'version': expected 1 or 2, found 7"),
    "foreign json": (
        lambda p: (p / "bundle.json").write_text('{"a": 1}'),
        r"bundle\.json: key 'format': expected 'hoijax-bundle', found None",
    ),
    "truncated json": (
        lambda p: truncate(p / "bundle.json"),
        r"bundle\.json: expected JSON, found damage",
    ),
    "json with NaN": (
        lambda p: set_manifest(p, fps=float("nan")),
        r"bundle\.json: expected JSON, found damage: NaN is not a JSON number",
    ),
    "json that is no text": (
        lambda p: (p / "bundle.json").write_bytes(b"\xff\xfe"),
        r"bundle\.json: expected JSON, found damage",
    ),
    "no bundle.json": (lambda p: (p / "bundle.json").unlink(), r"bundle\.json: is missing"),
    "fps": (
        lambda p: set_manifest(p, fps=0),
        r"bundle\.json: key fps: .*greater than or equal to 0\.1",
    ),
    "text without end": (
        lambda p: set_manifest(p, prompt="w" * 10_001),
        r"bundle\.json: key prompt: String should have at most 10000 characters",
    ),
    "unknown manifest key": (
        lambda p: set_manifest(p, color="red"),
        r"bundle\.json: key color: is not a key of the schema; the keys here are format, version",
    ),
    "no provenance": (
        lambda p: set_manifest(p, provenance={}),
        r"key 'provenance': says nothing of intrinsics, .*'\*' stands for",
    ),
    "path out": (
        lambda p: rename_file(p, "../../etc/passwd"),
        r"bundle\.json: the file name '\.\./\.\./etc/passwd' leads out of the bundle",
    ),
    "absolute path": (
        lambda p: rename_file(p, "/etc/passwd"),
        r"the file name '/etc/passwd' leads out of the bundle",
    ),
    "link out": (
        lambda p: (
            (p / "affordance.json").unlink(),
            (p / "affordance.json").symlink_to("/etc/passwd"),
        ),
        r"affordance\.json: is a link that leads out of the bundle",
    ),
    "unknown part in graph": (
        lambda p: edit_graph(p, '"bar"', '"baar"'),
        r"affordance\.json: objects\[0\]\.parts\[0\]: 'baar' is no known part of 'barbell'; did you",
    ),
    "other people": (
        lambda p: edit_graph(p, "person 1", "Ada"),
        r"affordance\.json: people: expected \['person 1'\] as in bundle\.json, found \['Ada'\]",
    ),
    "graph that is no json": (
        lambda p: (truncate(p / "affordance.json"), sign(p)),
        r"affordance\.json: expected JSON, found damage",
    ),
    "mesh face": (
        lambda p: (
            (p / "objects" / "table.npz").write_bytes(
                npz_bytes(
                    {
                        "vertices": np.zeros((3, 3), np.float32),
                        "faces": np.array([[0, 1, 7]], np.int32),
                        "face_parts": np.array([0], np.int32),
                    }
                )
            ),
            sign(p),
        ),
        r"objects/table\.npz: .*refers to vertex 7",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(tmp_path, bundle, ground_truth, damage):
    path = write_bundle(tmp_path / "scene", bundle, ground_truth)
    spoil, message = DAMAGES[damage]
    spoil(path)
    with pytest.raises(UserError) as caught:
        read_bundle(path)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert any(re.search(message, problem) for problem in check_bundle(path))


def test_all_problems_at_once(tmp_path, bundle):
    path = write_bundle(tmp_path / "scene", bundle)
    set_arrays(path, drop=["object_pixels"], body_betas=np.zeros((P, B)))
    edit_graph(path, '"bar"', '"baar"')
    truncate(path / "objects" / "table.npz")
    (path / "notes.txt").write_text("x")
    problems = "\n".join(check_bundle(path))
    for message in (
        "'object_pixels': is missing",
        "found float64",
        "'baar'",
        "table.npz: expected SHA",
    ):
        assert message in problems
    assert "notes.txt: is not listed" in problems
    with pytest.raises(UserError) as caught:
        read_bundle(path)
    assert "notes.txt" not in str(caught.value)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "C:/evil", "a\\evil"])
def test_zip_that_leads_out_is_refused(tmp_path, bundle, name):
    path = write_bundle(tmp_path / "scene.zip", bundle)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        archive.writestr(info, b"x")
    with pytest.raises(UserError, match=r"the file name .* in the zip"):
        read_bundle(path)
    assert len(check_bundle(path)) == 1


def test_damaged_zips(tmp_path, bundle):
    with pytest.raises(UserError, match="there is no such bundle"):
        read_bundle(tmp_path / "none")
    path = write_bundle(tmp_path / "scene.zip", bundle)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="no zip, or a truncated one"):
        read_bundle(path)
    spoilt = bytearray(content)
    spoilt[content.index(b'"prompt"')] ^= 255
    path.write_bytes(bytes(spoilt))
    assert any("cannot be unpacked" in p or "damage" in p for p in check_bundle(path))
    (tmp_path / "text.zip").write_text("hello")
    assert "expected a bundle folder or a zip" in check_bundle(tmp_path / "text.zip")[0]


def test_npz_header_that_lies_about_its_size():
    member = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    np.lib.format.write_array_header_1_0(member, header)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("huge.npy", member.getvalue() + b"1234")
        archive.writestr("text.txt", b"1234")
        archive.writestr("short.npy", b"12")
    arrays, problems = read_npz(file.getvalue(), "f.npz")
    assert arrays == {}
    assert "expected 4398046511104 bytes" in problems["huge"]
    assert "another kind of file" in problems["text.txt"]
    assert problems["short"].startswith("f.npz: key 'short':")


def test_npz_reads_what_numpy_writes(rng):
    arrays = {
        "c": rng.random((3, 4)),
        "f": np.asfortranarray(rng.random((3, 4))),
        "empty": np.zeros((0, 3), np.int32),
        "scalar": np.array(True),
    }
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **arrays)
        back, problems = read_npz(file.getvalue(), "f")
        assert problems == {}
        for key, array in arrays.items():
            np.testing.assert_array_equal(back[key], array)
    with np.load(io.BytesIO(npz_bytes(arrays)), allow_pickle=False) as file:
        for key, array in arrays.items():
            np.testing.assert_array_equal(file[key], array)
    with pytest.raises(UserError, match="Python objects"):
        npz_bytes({"a": np.array([None])})


def test_objects_from_mesh_files_and_without_samples(tmp_path, bundle):
    path = write_bundle(tmp_path / "scene", bundle)
    box = load_asset("box", name="table")
    save_asset(box, path / "objects" / "box.glb")
    manifest = json.loads((path / "bundle.json").read_text())
    manifest["objects"][1] |= {"parts": list(box.part_names), "file": "objects/box.glb"}
    manifest["sha256"]["objects/box.glb"] = ""
    text = json.dumps(manifest).replace('"objects/box.glb": ""', f'"objects/box.glb": "{"0" * 64}"')
    (path / "bundle.json").write_text(text)
    edit_graph(path, '"legs"', '"sides"')
    back = read_bundle(path).assets[1]
    assert back.part_names == box.part_names
    np.testing.assert_array_equal(
        np.sort(back.vertices, axis=0)[0], np.sort(box.vertices, axis=0)[0]
    )

    with np.load(path / "objects" / "barbell.npz") as file:
        mesh = {key: file[key] for key in ("vertices", "faces", "face_parts")}
    np.savez(path / "objects" / "barbell.npz", **mesh)
    sign(path)
    assert len(read_bundle(path).assets[0].samples) == 4096


def test_an_object_without_parts(tmp_path, bundle):
    whole = asset_from_arrays("barbell", bundle.assets[0].vertices, bundle.assets[0].faces)
    graph = json.loads(json.dumps(GRAPH).replace('["bar", "weights"]', '["surface"]'))
    for edge in graph["edges"]:
        for end in ("first", "second"):
            if edge[end]["entity"] == "barbell":
                edge[end]["part"] = "surface"
    parts = np.minimum(bundle.observations.object_point_parts, 1)
    parts[0] = -1
    changed = dataclasses.replace(
        bundle,
        assets=(whole, bundle.assets[1]),
        affordance=PartAffordanceGraph.from_json(json.dumps(graph)),
        observations=bundle.observations.replace(object_point_parts=parts),
    )
    assert_same(read_bundle(write_bundle(tmp_path / "scene", changed)), changed)


def test_one_body_for_all(bundle):
    assert bundle.body == "anny"
    with pytest.raises(UserError, match="different bodies: anny, smplx"):
        _ = dataclasses.replace(bundle, bodies=("anny", "smplx")).body


def test_a_stranger_writes_one(tmp_path, monkeypatch):
    """The program in docs/bundle.md, which imports numpy and json alone, makes a sound bundle."""
    text = (Path(__file__).parents[1] / "docs" / "bundle.md").read_text()
    programs = re.findall(r"```python\n(.*?)```", text, re.S)
    writer = next(p for p in programs if "np.savez" in p)
    imports = set(re.findall(r"^(?:import|from) (\w+)", writer, re.M))
    assert imports <= {"hashlib", "json", "pathlib", "numpy"}
    monkeypatch.chdir(tmp_path)
    exec(compile(writer, "docs/bundle.md", "exec"), {})
    assert check_bundle("my_scene") == []
    bundle = read_bundle("my_scene")
    assert bundle.affordance.edges[0].second.entity == bundle.assets[0].name
    assert bundle.frame_count >= 3


@pytest.mark.slow
def test_random_damage_never_ends_in_anything_but_a_message(tmp_path, bundle):
    """Bytes changed or cut anywhere: read, or refused with a UserError; no other exception."""
    content = write_bundle(tmp_path / "scene.zip", bundle).read_bytes()
    directory = len(content) - 1200  # the zip's own records are at its end
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        spoilt = np.frombuffer(content, np.uint8).copy()
        places = rng.integers(rng.choice([0, directory]), len(content), rng.integers(1, 6))
        spoilt[places] = rng.integers(0, 256, len(places))
        cut = len(content) if rng.random() < 0.8 else int(rng.integers(len(content)))
        (tmp_path / "spoilt.zip").write_bytes(spoilt[:cut].tobytes())
        try:
            read_bundle(tmp_path / "spoilt.zip")
        except UserError:
            refused += 1
    assert refused > 100
