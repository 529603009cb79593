"""What a mesh file claims about itself, checked before a reader believes it: counts, node trees, codecs."""

import importlib.util
import io
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

from hoijax.errors import UserError
from hoijax.io.npz import archive_problem, read_regular_file
from hoijax.io.validation import parse_json

MAX_MESH_BYTES = 1 << 30
MAX_NODES = 10_000
"""Of a scene file: each is a copy of a mesh."""
MAX_ELEMENTS = 50_000_000
"""Numbers of one accessor of a glTF file."""
ARCHIVES = (".zip", ".gz", ".bz2", ".xz", ".7z", ".rar", ".tar", ".tgz", ".zae")
_GLB_JSON = 0x4E4F534A
_COMPONENT_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_PACKAGES = {".3mf": ("lxml", "lxml"), ".dae": ("collada", "pycollada")}
"""(module, package) that trimesh reads a format by."""
GLTF_TOOL = "npx @gltf-transform/cli copy in.glb out.glb"
_CODECS = {
    "EXT_meshopt_compression": GLTF_TOOL,
    "KHR_meshopt_compression": GLTF_TOOL,
    "KHR_draco_mesh_compression": f'pip install "hoijax[meshes]" (or {GLTF_TOOL})',
}
_INSTANCES = "EXT_mesh_gpu_instancing"
_HARMLESS = re.compile(r"\w+_(materials|texture|lights|animation|xmp|node_visibility)\w*")
"""Extensions that change no surface."""
_READ = {"KHR_draco_mesh_compression", "KHR_mesh_quantization"}


def check_mesh_file(path: Path) -> None:
    """Raises UserError where the file cannot be what it says, or needs a decoder that is not here."""
    suffix = path.suffix.lower()
    if suffix in ARCHIVES:
        raise UserError(f"{path}: is an archive. Unpack it and give the mesh file inside.")
    module, package = _PACKAGES.get(suffix, (None, None))
    if module is not None and importlib.util.find_spec(module) is None:
        raise UserError(
            f"{path}: {suffix} files are read by the package {package}: pip install {package} (or "
            "export the mesh as glb)."
        )
    try:
        content = read_regular_file(path, MAX_MESH_BYTES)
        if suffix in (".glb", ".gltf"):
            check_gltf(path, gltf_json(content, suffix == ".glb"))
        elif suffix == ".off":
            _check_off(content)
        elif suffix == ".ply":
            _check_ply(content)
        elif suffix == ".stl":
            _check_stl(content)
        elif suffix == ".3mf":
            _check_3mf(content)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read as a mesh ({reason}). Export it again.") from error


def _check_3mf(content: bytes) -> None:
    """Raises ValueError where the archive that a 3MF is holds more than a mesh can be."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            problem = archive_problem(package, MAX_MESH_BYTES)
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
    if problem is not None:
        raise ValueError(f"it {problem}")


def gltf_json(content: bytes, is_binary: bool) -> dict[str, Any]:
    """The JSON of a glTF file. Raises ValueError where it is none or is cut off."""
    if is_binary:
        try:
            magic, _, length, size, kind = struct.unpack_from("<4sIIII", content)
        except struct.error:
            raise ValueError("it is no binary glTF file") from None
        if magic != b"glTF" or kind != _GLB_JSON:
            raise ValueError("it is no binary glTF file")
        if length > len(content) or 20 + size > len(content):
            raise ValueError(f"it is cut off: {len(content)} bytes of {max(length, 20 + size)}")
        content = content[20 : 20 + size]
    data = parse_json(content.decode("utf-8"))
    if not isinstance(data, dict):
        raise ValueError("its JSON is no object")
    return data


def _rows(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = data.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"its {key} are no list of objects")
    return rows


def check_gltf(path: Path, data: dict[str, Any]) -> None:
    """Raises ValueError for counts and node trees that cannot be, UserError for a decoder that is not here."""
    named = [*data.get("extensionsUsed", []), *data.get("extensionsRequired", [])]
    for codec, remedy in _CODECS.items():
        is_here = codec == "KHR_draco_mesh_compression" and importlib.util.find_spec("DracoPy")
        if codec in named and not is_here:
            raise UserError(f"{path}: its meshes are compressed ({codec}). Decode them: {remedy}.")
    _check_extensions(path, data)
    views = _rows(data, "bufferViews")
    is_compressed = any(codec in named for codec in _CODECS)
    for i, accessor in enumerate(_rows(data, "accessors")):
        _check_accessor(f"accessor {i}", accessor, views, is_compressed)
    _check_nodes(_rows(data, "nodes"))


def _check_extensions(path: Path, data: dict[str, Any]) -> None:
    """Raises UserError for copies of meshes, and for what a reader must know and ours does not."""
    if _INSTANCES in data.get("extensionsUsed", []):
        raise UserError(
            f"{path}: its meshes are copied by {_INSTANCES}, which is not read. Make them meshes of their "
            "own: npx @gltf-transform/cli uninstance in.glb out.glb."
        )
    unknown = [
        name
        for name in data.get("extensionsRequired", [])
        if name not in _READ and not _HARMLESS.fullmatch(str(name))
    ]
    if unknown:
        raise UserError(
            f"{path}: it cannot be read without the glTF extension {unknown[0]}. Export it without, or as obj."
        )


def _check_accessor(
    place: str, accessor: dict[str, Any], views: list[dict[str, Any]], is_compressed: bool
) -> None:
    count, width = accessor.get("count"), _COMPONENTS.get(str(accessor.get("type")))
    size = _COMPONENT_BYTES.get(accessor.get("componentType", 0))
    if not isinstance(count, int) or count < 0 or width is None or size is None:
        raise ValueError(f"{place} has no count and type")
    if count * width > MAX_ELEMENTS:
        raise ValueError(f"{place} claims {count * width} numbers; at most {MAX_ELEMENTS}")
    if "sparse" in accessor:
        raise ValueError(f"{place} is sparse, which is not read")
    view = accessor.get("bufferView")
    if view is None or is_compressed:
        return
    if not isinstance(view, int) or not 0 <= view < len(views):
        raise ValueError(f"{place} names a buffer view that is not there")
    stride = views[view].get("byteStride") or width * size
    needed = accessor.get("byteOffset", 0) + (stride * (count - 1) + width * size if count else 0)
    if needed > views[view].get("byteLength", 0):
        raise ValueError(f"{place} claims more than its buffer view holds")


def _check_nodes(nodes: list[dict[str, Any]]) -> None:
    """A forest: every child is there, has one parent, and hangs on a root."""
    if len(nodes) > MAX_NODES:
        raise ValueError(f"it has {len(nodes)} nodes; at most {MAX_NODES} are read")
    children = [node.get("children", []) for node in nodes]
    named = [child for row in children for child in row]
    is_known = all(isinstance(child, int) and 0 <= child < len(nodes) for child in named)
    if not is_known or len(set(named)) < len(named):
        raise ValueError("its nodes are no tree")
    below, reached = set(named), 0
    stack = [i for i in range(len(nodes)) if i not in below]
    while stack:
        reached += 1
        stack += children[stack.pop()]
    if reached < len(nodes):
        raise ValueError("its nodes hang on each other in a loop")


def _check_off(content: bytes) -> None:
    """The lines after the header are as many as it says: half a file reads as a smaller mesh else."""
    lines = [line.split(b"#")[0].split() for line in content.splitlines()]
    words = [line for line in lines if line]
    if words and re.fullmatch(rb"(ST)?(C)?(N)?(4)?OFF", words[0][0]):
        words = [words[0][1:], *words[1:]] if len(words[0]) > 1 else words[1:]
    try:
        vertices, faces = int(words[0][0]), int(words[0][1])
    except (IndexError, ValueError):
        raise ValueError("it has no counts of vertices and faces") from None
    if vertices < 0 or faces < 0 or len(words) - 1 < vertices + faces:
        raise ValueError(
            f"it claims {vertices} vertices and {faces} faces, but has {len(words) - 1} lines"
        )


def _check_ply(content: bytes) -> None:
    """Every element takes a byte at least: a count beyond the file's size lies."""
    header = content[: content.find(b"end_header") + 1]
    counts = [int(count) for count in re.findall(rb"element\s+\w+\s+(\d+)", header)]
    if not counts or sum(counts) > len(content):
        raise ValueError(f"it claims {sum(counts)} elements in {len(content)} bytes")


def _check_stl(content: bytes) -> None:
    """A binary file is as long as its count of triangles says; text has none."""
    if content[:5].lower() == b"solid" or len(content) < 84:
        return
    count = struct.unpack_from("<I", content, 80)[0]
    if 84 + 50 * count > len(content):
        raise ValueError(f"it claims {count} triangles in {len(content)} bytes")
