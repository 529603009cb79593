"""Mutated files of every reader: read, or refused in one UserError; never a traceback of something else.

Derandomized and bounded, so that a run is a run; the cases that a longer search found are examples.
"""

import contextlib
import functools
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
@example(changes=[(0.0, 4, b"\x00\x00\x00\x00")])
@bounded
def test_meshes(name, changes):
    read_or_refused(load_asset, mutated(seeds()[name], changes), name)


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
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_items_of_objects(text):
    with contextlib.suppress(UserError):
        parse_object(text)


WORDS = ("a", "person", "lifts", "puts", "box", "it", "down", "not", "two", "people", "and", "on", "the",
         "head", "left", "hand", "throws", "to", "another", "sits", "by", "of", "backwards", "7")  # fmt: skip


@given(words=st.lists(st.sampled_from(WORDS), max_size=14))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_sentences(words):
    with contextlib.suppress(UserError):
        script_from_text(" ".join(words), [load_asset("box", samples=64)])
