"""Objects of a bundle: meshes in a format of their own, or a file as a user has it."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hoijax.bundle.files import MANIFEST
from hoijax.bundle.plausibility import mesh_problems
from hoijax.bundle.schema import (
    MESH_DTYPES,
    MESH_SHAPES,
    SAMPLE_DTYPES,
    SAMPLE_SHAPES,
    ManifestObject,
    array_problems,
)
from hoijax.errors import UserError
from hoijax.io.npz import read_npz
from hoijax.objects.asset import Asset, asset_from_arrays, load_asset


def parts_file(node: ManifestObject) -> str:
    """Name of the file with the part labels of an object's mesh file."""
    return str(Path(node.file).with_suffix("")) + ".parts.json"


def read_asset(
    node: ManifestObject, contents: Mapping[str, bytes]
) -> tuple[Asset | None, list[str]]:
    """(the object of a node, where nothing stands in the way; every problem)."""
    try:
        if node.file.endswith(".npz"):
            return _asset_from_npz(node, contents[node.file])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"mesh{Path(node.file).suffix}"
            path.write_bytes(contents[node.file])
            if (labels := parts_file(node)) in contents:
                path.with_name("mesh.parts.json").write_bytes(contents[labels])
            asset = load_asset(path, name=node.name)
    except UserError as error:
        return None, [f"{node.file}: {error}"]
    if asset.part_names != node.parts:
        return None, [
            f"{node.file}: expected the parts {list(node.parts)} as in {MANIFEST}, found "
            f"{list(asset.part_names)}"
        ]
    return asset, []


def _asset_from_npz(node: ManifestObject, content: bytes) -> tuple[Asset | None, list[str]]:
    arrays, damage = read_npz(content, node.file)
    if not arrays and damage:
        return None, list(damage.values())
    shapes, dtypes = MESH_SHAPES, MESH_DTYPES
    if any(key in arrays for key in SAMPLE_SHAPES):
        shapes, dtypes = {**shapes, **SAMPLE_SHAPES}, {**dtypes, **SAMPLE_DTYPES}
    problems = array_problems(arrays, node.file, shapes, dtypes, {}, damage)
    for key in ("face_parts", "sample_parts"):
        labels = arrays.get(key, np.zeros(0))
        if labels.size and (labels.min() < -1 or labels.max() >= len(node.parts)):
            problems.append(
                f"{node.file}: key {key!r}: expected -1 to {len(node.parts) - 1}, found "
                f"{labels.min()} to {labels.max()}"
            )
    problems = problems or mesh_problems(arrays, node.file)
    if problems:
        return None, problems
    mesh = (arrays["vertices"], arrays["faces"], arrays["face_parts"])
    checked = asset_from_arrays(node.name, *mesh, node.parts, where=node.file)
    if "samples" not in arrays:
        return checked, []
    samples, normals, parts = (arrays[key] for key in SAMPLE_SHAPES)
    return Asset(node.name, *mesh, node.parts, samples, normals, parts), []
