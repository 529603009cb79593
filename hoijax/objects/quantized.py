"""glTF files whose numbers are fractions of integers (KHR_mesh_quantization): read as what they mean.

trimesh takes the integers themselves, so a chair becomes kilometres large and its texture slips.
"""

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.io.npz import read_regular_file
from hoijax.objects.mesh_checks import MAX_MESH_BYTES, gltf_json

_LARGEST = {5120: 127.0, 5121: 255.0, 5122: 32767.0, 5123: 65535.0}
_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2"}
_WIDTHS = {"VEC2": 2, "VEC3": 3}
_HEADER = struct.Struct("<4sIIII")
_CHUNK = struct.Struct("<II")
_BIN = 0x004E4942


def mesh_source(path: Path) -> tuple[Any, dict[str, Any]]:
    """What trimesh is given to read a file, and its options: the path, or bytes with plain floats."""
    name = str(path)
    if path.suffix.lower() in (".glb", ".gltf"):
        content = read_regular_file(path, MAX_MESH_BYTES)
        is_binary = path.suffix.lower() == ".glb"
        data = gltf_json(content, is_binary)
        fractions = _fractions(data)
        if fractions and not is_binary:
            raise UserError(
                f"{path}: its vertices are fractions of integers. Make them plain: "
                "npx @gltf-transform/cli dequantize in.gltf out.glb."
            )
        if fractions:
            return io.BytesIO(_with_floats(content, data, fractions)), {"file_type": "glb"}
    if any(0xD800 <= ord(letter) < 0xE000 for letter in name):  # a name that is not UTF-8
        return io.BytesIO(path.read_bytes()), {"file_type": path.suffix[1:].lower()}
    return name, {}


def _fractions(data: dict[str, Any]) -> list[int]:
    """Accessors of positions and texture coordinates that are normalized integers."""
    used = {
        index
        for mesh in data.get("meshes", [])
        for primitive in mesh.get("primitives", [])
        for name, index in primitive.get("attributes", {}).items()
        if name == "POSITION" or name.startswith("TEXCOORD")
    }
    rows = data.get("accessors", [])
    return sorted(
        i
        for i in used
        if isinstance(i, int) and i < len(rows) and rows[i].get("normalized")
        and rows[i].get("componentType") in _LARGEST and rows[i].get("bufferView") is not None
    )  # fmt: skip


def _with_floats(content: bytes, data: dict[str, Any], fractions: list[int]) -> bytes:
    """The binary file with these accessors on new views of floats, at the end of its buffer."""
    *_, size, _ = _HEADER.unpack_from(content)
    start = 20 + size
    length, kind = _CHUNK.unpack_from(content, start) if start + 8 <= len(content) else (0, 0)
    if kind != _BIN:
        raise ValueError("its buffer is missing")
    binary = bytearray(content[start + 8 : start + 8 + length])
    for index in fractions:
        accessor = data["accessors"][index]
        floats = _as_floats(binary, accessor, data["bufferViews"][accessor["bufferView"]])
        binary += bytes(-len(binary) % 4)
        view = {"buffer": 0, "byteOffset": len(binary), "byteLength": floats.nbytes}
        binary += floats.tobytes()
        data["bufferViews"].append(view)
        accessor |= {"bufferView": len(data["bufferViews"]) - 1, "componentType": 5126}
        for key in ("byteOffset", "normalized", "min", "max"):
            accessor.pop(key, None)
    binary += bytes(-len(binary) % 4)
    data["buffers"][0]["byteLength"] = len(binary)
    text = json.dumps(data).encode()
    text += b" " * (-len(text) % 4)
    total = 20 + len(text) + 8 + len(binary)
    header = _HEADER.pack(b"glTF", 2, total, len(text), 0x4E4F534A)
    return header + text + _CHUNK.pack(len(binary), _BIN) + bytes(binary)


def _as_floats(
    binary: bytearray, accessor: dict[str, Any], view: dict[str, Any]
) -> Float32[ndarray, "N w"]:
    """Integers over the largest of their type, at least -1."""
    kind, width = np.dtype(_TYPES[accessor["componentType"]]), _WIDTHS[accessor["type"]]
    offset = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    stride = view.get("byteStride") or kind.itemsize * width
    rows = np.ndarray(
        (accessor["count"], width), kind, binary, offset, strides=(stride, kind.itemsize)
    )
    return np.maximum(rows / _LARGEST[accessor["componentType"]], -1.0).astype(np.float32)
