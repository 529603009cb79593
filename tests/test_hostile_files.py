"""Damaged and hostile files of every reader: one clear UserError, before memory or time are spent."""

import io
import os
import pickle
import re
import socket
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.bundle.discovery import find_bundles
from hoijax.bundle.write import read_bundle
from hoijax.errors import UserError
from hoijax.importers import import_amass, import_gvhmr, import_interact, import_omomo
from hoijax.io.atomic import added_files, check_apart, check_output
from hoijax.io.npz import MAX_MEMBERS, npz_bytes, read_npz
from hoijax.io.validation import parse_json
from hoijax.jobs.scene_names import scene_items

FRAMES = 3


def npy(header: str, payload: bytes = b"") -> bytes:
    """An npy file with this header, whatever it says."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + payload


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as stored:
        for name, content in members.items():
            stored.writestr(name, content)
    return buffer.getvalue()


def header(shape: str, dtype: str = "'<f4'") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}"


BAD_HEADERS = {
    "negative": header("(-1, -8)"),
    "true": header("(True, 1)"),
    "vast": header("(4611686018427387904, 4, 0)"),
    "nested": "{'descr': " + "(" * 300 + "'<f4'" + ")" * 300 + ", 'shape': (1,)}",
    "record": header("(1,)", "[('a', '<f4')]"),
    "no dtype": header("(1,)", "'nothing'"),
    "text": header("'long'"),
    "no dictionary": "[1, 2, 3]",
    "empty": "",
    "date": header("(1,)", "'<M8[s]'"),
    "bomb": header("(1000000000,)"),
}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps({"poses": np.zeros(3)}), "a pickle, which may run code"),
        (npy(header("(1,)"), b"\0" * 4), "a single array; .* numpy.savez"),
        (b"", "an empty file"),
    ],
)
def test_what_is_no_npz_is_named(content, says):
    assert re.search(says, read_npz(content, "f.npz")[1][""])


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_bad_npy_header_is_one_problem_of_its_key(name):
    content = archive(
        {"a.npy": npy(BAD_HEADERS[name], b"\0" * 4), "b.npy": npy(header("()"), b"\0" * 4)}
    )
    tracemalloc.start()
    arrays, problems = read_npz(content, "f.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(arrays) == ["b"]
    assert problems["a"].startswith("f.npz: key 'a': ")
    assert peak < 2**24


def test_archives_that_claim_too_much_or_are_damaged_are_refused():
    _, problems = read_npz(archive({f"{i}.npy": b"" for i in range(MAX_MEMBERS + 1)}), "f.npz")
    assert "at most 10000" in problems[""]
    bomb = bytearray(archive({"a.npy": b"x" * 8}))
    directory = bomb.index(b"PK\x01\x02")
    bomb[directory + 24 : directory + 28] = (2**32 - 2).to_bytes(4, "little")  # its unpacked size
    _, problems = read_npz(bytes(bomb), "f.npz")
    assert "claims to unpack to 4294967294 bytes" in problems[""]
    for compression in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED):
        damaged = bytearray(archive({"a.npy": npy(header("(64,)"), bytes(256))}, compression))
        for at in range(45, 60):
            damaged[at] ^= 0xFF
        _, problems = read_npz(bytes(damaged), "f.npz")
        assert problems["a"].startswith("f.npz: key 'a': "), compression


def test_json_that_is_nested_or_no_json_is_refused():
    for text in ("[" * 100_000, "[" * 100 + "]" * 100, '{"a":' * 300 + "1" + "}" * 300, "1" * 9999):
        with pytest.raises(ValueError, match=r"nested|Expecting|Exceeds"):
            parse_json(text)
    assert parse_json('{"a": [1, {"b": []}]}') == {"a": [1, {"b": []}]}


@pytest.fixture
def pipe(tmp_path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    return tmp_path / "link"


def test_pipes_and_devices_are_not_read(pipe):
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(UserError, match="not a regular file"):
            PartAffordanceGraph.from_json(path)
        with pytest.raises(UserError, match="not a regular file"):
            import_amass(path)


def test_an_output_that_is_a_pipe_or_in_the_bundle_is_refused_and_stays(pipe, tmp_path):
    for path in (pipe, Path("/dev/null")):
        with pytest.raises(UserError, match="pipe, socket or device"):
            check_output(path)
        assert path.exists()
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (tmp_path / "other").symlink_to("bundle")
    for out in (bundle / "new", bundle, tmp_path / "other" / "new", tmp_path):
        with pytest.raises(UserError, match=r"inside the bundle|holds the bundle"):
            check_apart(bundle, out)
    check_apart(bundle, tmp_path / "bundle-2")


def test_nothing_is_written_into_a_bundle_or_a_pipe(pipe, tmp_path):
    """Results and exports alike; into the folder of a result that has its bundle in it they are."""
    bundle = tmp_path / "result" / "bundle"
    (bundle / "objects").mkdir(parents=True)
    (bundle / "bundle.json").write_text("{}")
    for out in (bundle, bundle / "objects", bundle / "new" / "er"):
        with pytest.raises(UserError, match="inside the bundle"), added_files(out):
            pass
    with pytest.raises(UserError, match="inside the bundle"):
        check_output(bundle / "new")
    with pytest.raises(UserError, match="is no folder"), added_files(pipe):
        pass
    assert sorted(path.name for path in bundle.iterdir()) == ["bundle.json", "objects"]
    with added_files(tmp_path / "result" / "exports") as folder:
        (folder / "motion.bvh").write_text("")
    assert (tmp_path / "result" / "exports" / "motion.bvh").is_file()


def test_a_socket_is_no_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # addresses of sockets are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("listens")
        with pytest.raises(UserError, match="pipe, socket or device"):
            check_output(tmp_path / "listens")
        assert (tmp_path / "listens").is_socket()


def test_a_pipe_among_the_bundles_of_a_folder_does_not_block_a_run(pipe):
    pipe.rename(pipe.with_name("scene.zip"))
    (found,) = find_bundles(pipe.parent)
    with pytest.raises(UserError, match=r"scene\.zip"):
        read_bundle(found)


def test_results_of_many_scenes_are_not_written_into_a_bundle(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "bundles" / name).mkdir(parents=True)
        (tmp_path / "bundles" / name / "bundle.json").write_text("{}")
    many = [tmp_path / "bundles"]
    for out in (tmp_path / "bundles" / "b" / "results", tmp_path / "bundles"):
        with pytest.raises(UserError, match=r"inside the bundle|holds the bundle"):
            scene_items(many, out)
    assert len(scene_items(many, tmp_path / "results")) == 2


# --- importers: one table of good files, one of what spoils them ---

ROTATIONS = np.tile(np.eye(3), (FRAMES, 1, 1))
MIRRORS = ROTATIONS * [1.0, 1.0, -1.0]
OBJECTS = {
    "object_names": np.array(["box"]),
    "object_rotations": ROTATIONS[None],
    "object_translations": np.zeros((1, FRAMES, 3)),
}
GOOD = {
    "amass": {
        "poses": np.zeros((FRAMES, 165)),
        "trans": np.zeros((FRAMES, 3)),
        "betas": np.zeros(10),
        "mocap_frame_rate": 30.0,
        **OBJECTS,
    },
    "gvhmr": {
        "body_pose": np.zeros((FRAMES, 63)),
        "global_orient": np.zeros((FRAMES, 3)),
        "transl": np.zeros((FRAMES, 3)),
        "betas": np.zeros((FRAMES, 10)),
    },
    "omomo": {
        "trans": np.zeros((FRAMES, 3)),
        "root_orient": np.zeros((FRAMES, 3)),
        "pose_body": np.zeros((FRAMES, 63)),
        "obj_trans": np.zeros((FRAMES, 3, 1)),
        "obj_rot": ROTATIONS,
        "trans2joint": np.zeros(3),
    },
    "interact": {"poses": np.zeros((FRAMES, 156)), "trans": np.zeros((FRAMES, 3))},
}
READERS = {
    "amass": import_amass,
    "gvhmr": import_gvhmr,
    "omomo": import_omomo,
    "interact": import_interact,
}
SPOILED = [
    ("amass", "betas", np.full(10, np.nan)),
    ("amass", "betas", np.full(10, 1e6)),
    ("amass", "betas", np.array(["a"])),
    ("amass", "betas", np.array([None] * 10, object)),
    ("amass", "betas", np.zeros(10, "M8[s]")),
    ("amass", "betas", np.array(3.0)),
    ("amass", "object_names", np.array(["box"], object)),
    ("omomo", "trans2joint", np.zeros(3, object)),
    ("amass", "poses", np.full((FRAMES, 165), "a")),
    ("amass", "poses", np.zeros((FRAMES, 165), complex)),
    ("amass", "poses", np.full((FRAMES, 165), 1e30)),
    ("amass", "poses", np.zeros((0, 165))),
    ("amass", "trans", np.zeros((FRAMES + 1, 3))),
    ("amass", "trans", np.full((FRAMES, 3), np.inf)),
    ("amass", "trans", np.full((FRAMES, 3), 1e9)),
    ("amass", "mocap_frame_rate", "fast"),
    ("amass", "mocap_frame_rate", 1e-300),
    ("amass", "mocap_frame_rate", 3 + 4j),
    ("amass", "object_rotations", MIRRORS[None]),
    ("amass", "object_rotations", 2.0 * ROTATIONS[None]),
    ("amass", "object_translations", np.full((1, FRAMES, 3), np.nan)),
    ("amass", "object_translations", np.zeros((2, FRAMES, 3))),
    ("amass", "object_names", np.array([1.5])),
    ("amass", "object_names", np.array(["box", "ball"])),
    ("amass", "rest_joints", np.full((55, 3), np.nan)),
    ("amass", "rest_joints", np.zeros((54, 3))),
    ("amass", "up_axis", 3.0),
    ("gvhmr", "body_pose", np.zeros((FRAMES, 69))),
    ("gvhmr", "global_orient", np.zeros((FRAMES + 1, 3))),
    ("gvhmr", "transl", np.full((FRAMES, 3), np.nan)),
    ("gvhmr", "betas", np.full((FRAMES, 10), np.nan)),
    ("omomo", "obj_rot", MIRRORS),
    ("omomo", "obj_rot", np.zeros((FRAMES, 9))),
    ("omomo", "obj_rot", ROTATIONS[:2]),
    ("omomo", "obj_trans", np.full((FRAMES, 3), np.nan)),
    ("omomo", "obj_trans", np.array(["here"])),
    ("omomo", "root_orient", np.zeros((FRAMES + 1, 3))),
    ("omomo", "pose_body", np.zeros((FRAMES, 66))),
    ("omomo", "trans", np.zeros((FRAMES, 2))),
    ("omomo", "trans2joint", np.zeros(4)),
    ("omomo", "obj_scale", np.array(["one"])),
    ("interact", "poses", np.zeros((FRAMES, 165))),
    ("interact", "trans", np.zeros(3)),
]


@pytest.mark.parametrize(
    ("reader", "key", "value"), SPOILED, ids=[f"{r}-{k}-{i}" for i, (r, k, _) in enumerate(SPOILED)]
)
def test_importers_refuse_what_no_motion_can_be(tmp_path, reader, key, value):
    path = tmp_path / "motion.npz"
    np.savez(path, **GOOD[reader])
    READERS[reader](path)
    np.savez(path, **(GOOD[reader] | {key: value}))
    with pytest.raises(UserError, match=r"motion\.npz") as refused:
        READERS[reader](path)
    assert any(name in str(refused.value) for name in (key, "frame", "O T", "up axis"))


def test_an_importer_names_every_problem_at_once(tmp_path):
    path = tmp_path / "motion.npz"
    spoiled = {"trans": np.full((FRAMES, 3), np.nan), "betas": np.array(["a"])}
    path.write_bytes(npz_bytes({k: np.asarray(v) for k, v in (GOOD["amass"] | spoiled).items()}))
    with pytest.raises(UserError, match=r"has 2 problems[\s\S]*'trans'[\s\S]*") as refused:
        import_amass(path)
    assert "'betas'" in str(refused.value)
