"""Meshes that lie about themselves, have no surface, or are far away: refused at once, or read right."""

import json
import struct
import subprocess
import sys
import textwrap
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from hoijax.errors import UserError
from hoijax.objects import mesh_checks
from hoijax.objects.asset import graph_name, load_asset, save_asset
from hoijax.objects.mesh_files import orient_outward

BOX = trimesh.creation.box(extents=[0.4, 0.3, 0.2])


def glb(tmp_path: Path, change) -> Path:
    """A box as glb whose JSON was changed."""
    path = save_asset(load_asset("box", samples=16), tmp_path / "box.glb")
    content = path.read_bytes()
    size = struct.unpack_from("<I", content, 12)[0]
    data = json.loads(content[20 : 20 + size])
    change(data)
    text = json.dumps(data).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + size :]
    head = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
    path.write_bytes(head + text + rest)
    return path


def without_view(data: dict) -> None:
    data["accessors"].append({"count": 10**9, "type": "VEC3", "componentType": 5126})


BAD_GLTF = {
    "zeros": (without_view, "claims 3000000000 numbers"),
    "count": (lambda d: d["accessors"][0].update(count=10**6), "more than its buffer view holds"),
    "words": (lambda d: d["accessors"][0].update(count="many"), "no count"),
    "loop": (lambda d: d["nodes"].append({"children": [len(d["nodes"])]}), "loop"),
    "child": (lambda d: d["nodes"][0].update(children=[99]), "no tree"),
    "parents": (lambda d: d["nodes"].extend([{"children": [0]}, {"children": [0]}]), "no tree"),
    "type": (lambda d: d["nodes"][0].update(children=5), "cannot be read"),
    "list": (lambda d: d.update(nodes={"a": 1}), "no list"),
    "instances": (lambda d: d["nodes"].extend([{"mesh": 0}] * 100_000), "at most 10000"),
    "meshopt": (
        lambda d: d.update(extensionsRequired=["EXT_meshopt_compression"]),
        "compressed .EXT_meshopt.*gltf-transform",
    ),
    "sparse": (lambda d: d["accessors"][0].update(sparse={"count": 1}), "is sparse"),
    "copies": (
        lambda d: d.update(extensionsUsed=["EXT_mesh_gpu_instancing"]),
        "uninstance in.glb out.glb",
    ),
    "unknown": (lambda d: d.update(extensionsRequired=["EXT_other"]), "without .* EXT_other"),
}


@pytest.mark.parametrize("name", BAD_GLTF)
def test_gltf_that_lies_is_refused(tmp_path, name):
    change, message = BAD_GLTF[name]
    with pytest.raises(UserError, match=message):
        load_asset(glb(tmp_path, change))


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_fractions_of_integers_are_metres(tmp_path, kind):
    """What quantizers write: positions and texture coordinates as normalized integers."""
    path = save_asset(load_asset("box", samples=16), tmp_path / "box.glb")
    plain = load_asset(path, samples=16)
    content = path.read_bytes()
    size = struct.unpack_from("<I", content, 12)[0]
    data = json.loads(content[20 : 20 + size])
    binary = bytearray(content[20 + size + 8 :])
    reach, largest = float(np.abs(plain.vertices).max()), np.iinfo(kind).max
    for mesh in data["meshes"]:
        accessor = data["accessors"][mesh["primitives"][0]["attributes"]["POSITION"]]
        start = data["bufferViews"][accessor["bufferView"]]["byteOffset"]
        points = np.frombuffer(bytes(binary), "<f4", 3 * accessor["count"], start).reshape(-1, 3)
        rows = np.zeros((len(points), 4), kind)  # rows begin at multiples of four bytes
        rows[:, :3] = np.round(points / reach * largest)
        view = {"buffer": 0, "byteOffset": len(binary), "byteLength": rows.nbytes}
        data["bufferViews"].append(view | {"byteStride": 4 * rows.itemsize})
        binary += rows.tobytes()
        accessor |= {"bufferView": len(data["bufferViews"]) - 1, "normalized": True}
        accessor |= {"componentType": {np.int8: 5120, np.int16: 5122}[kind], "byteOffset": 0}
    for node in data["nodes"]:
        if "mesh" in node:
            node["scale"] = [reach] * 3
    data["buffers"][0]["byteLength"] = len(binary)
    data["extensionsRequired"] = ["KHR_mesh_quantization"]
    text = json.dumps(data).encode()
    text += b" " * (-len(text) % 4)
    total = 28 + len(text) + len(binary)
    head = struct.pack("<4sIIII", b"glTF", 2, total, len(text), 0x4E4F534A)
    path.write_bytes(head + text + struct.pack("<II", len(binary), 0x004E4942) + binary)
    read = load_asset(path, samples=16)
    np.testing.assert_allclose(read.vertices, plain.vertices, atol=reach / largest)
    assert read.part_names == plain.part_names


def test_draco_names_its_decoder_where_there_is_none(tmp_path, monkeypatch):
    path = glb(tmp_path, lambda d: d.update(extensionsUsed=["KHR_draco_mesh_compression"]))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"compressed .KHR_draco.*pip install .hoijax.meshes"):
        load_asset(path)


def test_draco_is_decoded_where_its_decoder_is(tmp_path):
    pytest.importorskip("DracoPy", reason="needs DracoPy")
    from trimesh.exchange.gltf import export_glb

    (tmp_path / "box.glb").write_bytes(export_glb(BOX.scene(), extension_draco=True))
    assert load_asset(tmp_path / "box.glb").extents == pytest.approx([0.4, 0.3, 0.2], abs=1e-3)


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


@pytest.mark.parametrize("suffix", ["off", "stl", "glb"])
def test_half_a_file_is_no_smaller_mesh(tmp_path, suffix):
    path = tmp_path / f"crate.{suffix}"
    trimesh.creation.icosphere(3, 0.2).export(path)
    load_asset(path)
    cut(path, 0.74)
    with pytest.raises(UserError, match="cannot be read as a mesh"):
        load_asset(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("3D/other.txt", b""),
        (
            "3D/3dmodel.model",
            b'<model xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"/>',
        ),
    ],
)
def test_a_3mf_without_its_model_says_so(tmp_path, name, content):
    pytest.importorskip("lxml")
    with zipfile.ZipFile(tmp_path / "a.3mf", "w") as package:
        package.writestr(name, content)
    with pytest.raises(UserError, match=r"a\.3mf: .*is missing.*Export it again"):
        load_asset(tmp_path / "a.3mf")


def test_a_3mf_that_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
    pytest.importorskip("lxml")
    monkeypatch.setattr(mesh_checks, "MAX_MESH_BYTES", 100_000)
    with zipfile.ZipFile(tmp_path / "a.3mf", "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("3D/3dmodel.model", b" " * 200_000)
    with pytest.raises(UserError, match="claims to unpack to 200000 bytes; at most 100000"):
        load_asset(tmp_path / "a.3mf")
    (tmp_path / "b.3mf").write_bytes(b"no archive")
    with pytest.raises(UserError, match="not a zip file"):
        load_asset(tmp_path / "b.3mf")


def test_counts_beyond_the_file_and_archives_are_refused(tmp_path):
    lie = b"ply\nformat ascii 1.0\nelement vertex 1000000000\nproperty float x\nend_header\n"
    for name, content in (
        ("lie.ply", lie),
        ("lie.stl", bytes(80) + struct.pack("<I", 2**31) + bytes(50)),
        ("lie.off", b"OFF\n1000000000 1 0\n0 0 0\n"),
        ("word.off", b"OFF\nmany\n"),
        ("mesh.zip", b"PK\x03\x04"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=r"claims|counts|archive"):
            load_asset(tmp_path / name)


def test_off_files_of_every_header_are_read(tmp_path):
    body = "3 1 0\n0 0 0\n1 0 0\n\n0 1 0\n3 0 1 2\n"
    for header in ("OFF\n", "# by hand\nOFF\n"):
        (tmp_path / "a.off").write_text(header + body)
        assert len(load_asset(tmp_path / "a.off").faces) == 1


@pytest.mark.slow
def test_collapsed_vertices_are_refused_before_the_faces_are_oriented(tmp_path):
    """20,000 faces on one point took 17 GB; in a process of its own, with bounded memory."""
    script = f"""
        import resource
        import numpy as np
        from hoijax.errors import UserError
        from hoijax.objects.asset import load_asset
        from hoijax.objects.mesh_files import orient_outward
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        faces = np.arange(60_000).reshape(-1, 3)
        points = np.zeros((60_000, 3))
        with open({str(tmp_path / "point.obj")!r}, "w") as stream:
            stream.writelines(["v 0 0 0\\n"] * 60_000)
            stream.writelines(f"f {{a + 1}} {{b + 1}} {{c + 1}}\\n" for a, b, c in faces)
        try:
            load_asset({str(tmp_path / "point.obj")!r})
        except UserError as error:
            print(error)
        points[:3] = np.eye(3)  # one face is left, all others are on one point
        assert (orient_outward(points, faces) == faces).all()
        fan = np.column_stack([np.zeros(20_000, int), np.ones(20_000, int), np.arange(2, 20_002)])
        points = np.random.default_rng(0).random((20_002, 3))
        assert (orient_outward(points, fan) == fan).all()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "no area (20000 faces" in done.stdout


def test_faces_without_area_do_not_keep_the_others_from_being_turned():
    inside_out = BOX.faces[:, ::-1]
    degenerate = np.array([[0, 0, 1], [2, 2, 2]])
    turned = orient_outward(BOX.vertices, np.concatenate([inside_out, degenerate]))
    np.testing.assert_array_equal(np.sort(turned[:12]), np.sort(BOX.faces))
    corners = BOX.vertices[turned[:12]]
    assert np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) > 0.0


def test_a_mesh_far_from_its_origin_keeps_its_shape(tmp_path):
    far = BOX.copy()
    far.apply_translation([1e6, -2e6, 5e5])
    (tmp_path / "far.obj").write_text(
        "".join(f"v {x:.9f} {y:.9f} {z:.9f}\n" for x, y, z in far.vertices)
        + "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in far.faces)
    )
    with pytest.warns(UserWarning, match="units from its origin"):
        asset = load_asset(tmp_path / "far.obj")
    np.testing.assert_allclose(asset.extents, [0.4, 0.3, 0.2], atol=1e-6)
    np.testing.assert_allclose(asset.center, 0.0, atol=1e-6)
    (tmp_path / "vast.obj").write_text("v 0 0 0\nv 1e30 0 0\nv 0 1e30 0\nf 1 2 3\n")
    with pytest.raises(UserError, match="coordinates reach"):
        load_asset(tmp_path / "vast.obj")


def test_a_urdf_where_a_mesh_is_meant_names_the_command_that_takes_it(tmp_path):
    path = tmp_path / "drawer.urdf"
    path.write_text("<robot name='drawer'><link name='base'/></robot>")
    with pytest.raises(UserError, match="hoijax generate"):
        load_asset(path)


@pytest.mark.parametrize("side", [3e8, 1e-9])
def test_a_size_that_no_unit_explains_is_refused(tmp_path, side):
    path = tmp_path / "chair.glb"
    trimesh.creation.box([side, side, side]).export(path)
    with pytest.raises(UserError, match="--scale FACTOR"):
        load_asset(path)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("chair", "chair"),
        ("two\nlines", "two_lines"),
        ("back\\slash", "back_slash"),
        ("\x1b[31mred", "_[31mred"),
        ("person 1", "object person 1"),
        ("a" * 200, "a" * 80),
        ("latin\udce9", "latin\ufffd"),
        (" ", "object"),
        (".", "object"),
    ],
)
def test_names_of_files_become_names_of_a_graph(tmp_path, stem, name):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert graph_name(stem) == name
        assert len(said) == (stem != name)
        BOX.export(tmp_path / "mesh.obj")
        (tmp_path / "mesh.obj").rename(tmp_path / f"{stem}.obj")
        assert load_asset(tmp_path / f"{stem}.obj").name == name
