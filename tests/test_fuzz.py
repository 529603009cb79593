"""Mutated files of every reader: read, or refused in one UserError; never a traceback of something else.

Derandomized and bounded, so that a run is a run; the cases that a longer search found are examples.
"""

import contextlib
import functools
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_result_schema import tiny_result
from trimesh.visual import ColorVisuals

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.errors import UserError
from hoijax.importers import import_amass
from hoijax.io.npz import npz_bytes, read_npz
from hoijax.objects.appearance import checked_appearance, read_appearance
from hoijax.objects.articulated.urdf import read_urdf
from hoijax.objects.asset import load_asset
from hoijax.objects.specs import parse_object
from hoijax.results.result import load_result, save_result
from priors.language.script import script_from_text

Mutation = tuple[float, int, bytes]
"""(place as a share of the file, bytes taken away, bytes put there)."""

mutations = st.lists(
    st.tuples(
        st.floats(0.0, 1.0),
        st.one_of(st.integers(0, 4), st.integers(0, 400)),
        st.one_of(
            st.binary(max_size=8),
            st.sampled_from(
                [b"\x00" * 8, b"\xff" * 8, b"nan", b"-1", b"1e999", b"[[", b'"', b"9" * 30]
            ),
        ),
    ),
    min_size=1,
    max_size=3,
)
bounded = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def mutated(content: bytes, changes: list[Mutation]) -> bytes:
    for share, taken, put in changes:
        place = int(share * len(content))
        content = content[:place] + put + content[place + taken :]
    return content


URDF = (
    '<robot name="r"><link name="a"><visual><geometry><box size="1 1 1"/></geometry></visual></link>'
    '<link name="b"><visual><geometry><sphere radius="0.2"/></geometry></visual></link>'
    '<joint name="j" type="revolute"><parent link="a"/><child link="b"/><axis xyz="0 0 1"/>'
    '<limit lower="0" upper="1"/></joint></robot>'
)


@functools.cache
def seeds() -> dict[str, bytes]:
    """A small sound file for every reader, by its name."""
    box = trimesh.creation.box((0.4, 0.3, 0.2))
    files: dict[str, Any] = {
        f"box.{kind}": box.export(file_type=kind) for kind in ("obj", "ply", "stl", "off")
    }
    files = {name: c.encode() if isinstance(c, str) else bytes(c) for name, c in files.items()}
    box.visual = ColorVisuals(box, vertex_colors=np.full((8, 4), 200, np.uint8))
    files["box.glb"] = trimesh.Scene(box).export(file_type="glb")
    files["amass.npz"] = npz_bytes(
        {"poses": np.zeros((3, 165)), "trans": np.zeros((3, 3)), "betas": np.zeros(16),
         "mocap_frame_rate": np.array(30.0)}
    )  # fmt: skip
    files["robot.urdf"] = URDF.encode()
    with tempfile.TemporaryDirectory() as folder:
        save_result(tiny_result(), folder)
        for name in ("run.json", "result.npz", "affordance.json"):
            files[name] = (Path(folder) / name).read_bytes()
    return files


def read_or_refused(read, content: bytes, name: str) -> None:
    """Anything but a UserError fails the test."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / name
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            read(path)


@pytest.mark.parametrize("name", ["box.obj", "box.ply", "box.stl", "box.off", "box.glb"])
@given(changes=mutations)
@example(changes=[(0.3, 10_000, b"")])
@example(changes=[(0.74, 10_000, b"")])  # a third of a mesh, without a word
@example(changes=[(0.0, 4, b"\x00\x00\x00\x00")])
@bounded
def test_meshes(name, changes):
    read_or_refused(load_asset, mutated(seeds()[name], changes), name)


def instances(data: dict) -> None:
    """Tens of thousands of nodes that show one mesh."""
    data["nodes"] = [{"mesh": 0} for _ in range(20_000)]
    data["scenes"] = [{"nodes": list(range(20_000))}]


def loop(data: dict) -> None:
    """Nodes that hang on each other."""
    data["nodes"] = [{"children": [1], "mesh": 0}, {"children": [0]}]


def bomb(data: dict) -> None:
    data["accessors"].append({"count": 10**9, "type": "VEC3", "componentType": 5126})


def outside(data: dict) -> None:
    data["buffers"][0]["uri"] = "file:///dev/zero"


@pytest.mark.parametrize("damage", [instances, loop, bomb, outside])
def test_glbs_that_lie_are_refused_by_every_reader(damage):
    content = seeds()["box.glb"]
    length = int.from_bytes(content[12:16], "little")
    data = json.loads(content[20 : 20 + length])
    damage(data)
    text = json.dumps(data).encode()
    text += b" " * (-len(text) % 4)
    chunks = content[20 + length :]
    whole = 20 + len(text) + len(chunks)
    head = content[:8] + whole.to_bytes(4, "little") + len(text).to_bytes(4, "little")
    lying = head + content[16:20] + text + chunks
    read_or_refused(load_asset, lying, "box.glb")
    if (
        damage is not outside
    ):  # trimesh reads the binary chunk whatever a first buffer's address says
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "box.glb").write_bytes(lying)
            with pytest.raises(UserError):
                load_asset(Path(folder) / "box.glb")
    assert checked_appearance(lying) is None


VALUES_OF_NO_RESULT = {
    "fps": ["fast", 1e300, 1e-300, -1, None, [24]],
    "winner": [[1], "first", -1, 10**6],
    "prompt": [7, None, ["a"]],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, row in VALUES_OF_NO_RESULT.items() for value in row]
)
def test_headers_of_wrong_types_are_refused(key, value):
    with tempfile.TemporaryDirectory() as folder:
        save_result(tiny_result(), folder)
        header = json.loads((Path(folder) / "run.json").read_text())
        (Path(folder) / "run.json").write_text(json.dumps(header | {key: value}))
        with pytest.raises(UserError):
            load_result(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("betas", np.full(16, np.nan)),
        ("betas", np.full(16, 1e30)),
        ("poses", np.zeros((3, 165), complex)),
        ("poses", np.array(["a"])),
        ("poses", np.zeros((2, 165))),
        ("trans", np.full((3, 3), np.inf)),
        ("mocap_frame_rate", np.array(0.0)),
        ("mocap_frame_rate", np.array(1e300)),
    ],
)
def test_motions_that_no_body_makes_are_refused(key, value):
    arrays = {"poses": np.zeros((3, 165)), "trans": np.zeros((3, 3)), "betas": np.zeros(16)}
    arrays |= {"mocap_frame_rate": np.array(30.0), key: value}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "amass.npz"
        path.write_bytes(npz_bytes(arrays))
        with pytest.raises(UserError, match="frame rate" if "rate" in key else key):
            import_amass(path)


@given(changes=mutations)
@bounded
def test_colors_of_meshes(changes):
    content = mutated(seeds()["box.glb"], changes)
    read_or_refused(lambda path: read_appearance(path, np.eye(4)), content, "box.glb")
    checked_appearance(content)


@given(changes=mutations)
@bounded
def test_importers(changes):
    read_or_refused(import_amass, mutated(seeds()["amass.npz"], changes), "amass.npz")


@given(changes=mutations)
@bounded
def test_urdf(changes):
    read_or_refused(
        lambda path: read_urdf(path, samples=16), mutated(seeds()["robot.urdf"], changes), "r.urdf"
    )


@given(changes=mutations)
@bounded
def test_graphs(changes):
    read_or_refused(
        PartAffordanceGraph.from_json, mutated(seeds()["affordance.json"], changes), "graph.json"
    )


@pytest.mark.parametrize("name", ["run.json", "result.npz"])
@given(changes=mutations)
@bounded
def test_results(name, changes):
    with tempfile.TemporaryDirectory() as folder:
        save_result(tiny_result(), folder)
        (Path(folder) / name).write_bytes(mutated(seeds()[name], changes))
        with contextlib.suppress(UserError):
            load_result(folder)


@given(changes=mutations)
@bounded
def test_archives_of_arrays(changes):
    arrays, damage = read_npz(mutated(seeds()["amass.npz"], changes), "a.npz")
    assert arrays or damage


@given(text=st.text(max_size=60))
@example(text="a=b=c,up=z,,scale=")
@example(text="\x00")
@example(text="mug=model.obj,scale=nan")
@example(text="mug=model.obj,scale=1e999")
@example(text="a\nb=model.obj,up=w")
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_items_of_objects(text):
    with contextlib.suppress(UserError):
        parse_object(text)


WORDS = ("a", "person", "lifts", "puts", "box", "it", "down", "not", "two", "people", "and", "on", "the",
         "head", "left", "hand", "throws", "to", "another", "sits", "by", "of", "backwards", "7")  # fmt: skip


@given(words=st.lists(st.sampled_from(WORDS), max_size=14))
@example(words=["a", "person", *["lifts"] * 100_000])
@example(words=["1000", "people", "lift", "the", "box"])
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_sentences(words):
    with contextlib.suppress(UserError):
        script_from_text(" ".join(words), [load_asset("box", samples=64)])
