"""glTF files whose nodes carry joints: `"extras": {"joint": {"type": "revolute", "axis": [0, 1, 0], ...}}`.

A node with a joint starts a link: everything below it, up to the next joint, moves with it. The node's own
transform is the joint's place in its parent link. What hangs on no joint is the root link.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from hoijax.errors import UserError
from hoijax.io.validation import parse_json
from hoijax.objects.articulated.joints import FIXED
from hoijax.objects.articulated.model import ArticulatedAsset, assemble
from hoijax.objects.asset import Asset, asset_from_arrays
from hoijax.objects.mesh_files import orient_outward

ROOT = "root"
_JSON_CHUNK = 0x4E4F534A


def read_articulated_glb(path: Path, *, samples: int = 2048) -> ArticulatedAsset:
    """Links and joints of a binary glTF file (y up, metres).

    A joint's metadata: "type" (revolute, prismatic, fixed), "axis" in the node's frame, "lower" and "upper"
    (radians or metres; left out: no limit). Raises UserError for files that are not glb, nodes without
    unique names, transforms that are not rigid, and everything `assemble` refuses.
    """
    import trimesh

    nodes = _read_nodes(path)
    try:
        scene = trimesh.load_scene(str(path), process=False)
    except Exception as error:  # trimesh's readers raise whatever their parsers raise
        raise UserError(
            f"{path}: cannot be read as a mesh ({type(error).__name__}: {error})"
        ) from error
    names = [node.get("name", "") for node in nodes]
    parents = {child: i for i, node in enumerate(nodes) for child in node.get("children", [])}
    joints = {i for i, node in enumerate(nodes) if _joint_of(node) is not None}
    if not joints:
        raise UserError(
            f'{path}: no node has "extras": {{"joint": ...}}; this object has no joints'
        )

    def link_of(i: int | None) -> int | None:
        while i is not None and i not in joints:
            i = parents.get(i)
        return i

    label = {None: ROOT} | {i: names[i] for i in joints}
    if len(set(label.values())) < len(label) or not all(label.values()):
        raise UserError(
            f"{path}: nodes with joints need names that differ, and none may be '{ROOT}'"
        )
    T_link = {None: np.eye(4)} | _world_transforms(nodes, parents, joints, path)
    pieces: dict[int | None, list] = {i: [] for i in label}
    for name in scene.graph.nodes_geometry:
        T, geometry = scene.graph[name]
        mesh, node = scene.geometry[geometry], name
        while node is not None and node not in names:  # one primitive of several of a node
            node = scene.graph.transforms.parents.get(node)
        link = link_of(None if node is None else names.index(node))
        if isinstance(mesh, trimesh.Trimesh):
            T = np.linalg.inv(T_link[link]) @ T
            vertices = np.asarray(mesh.vertices) @ T[:3, :3].T + T[:3, 3]
            pieces[link].append((vertices, np.asarray(mesh.faces, np.int64)))
    links = {label[i]: _merge(label[i], pieces[i], samples, str(path)) for i in label}
    rows = []
    for i in sorted(joints):
        above = link_of(parents.get(i))
        kind, axis, limits = _joint_numbers(nodes[i], f"{path}: joint of node '{names[i]}'")
        T_above_link = np.linalg.inv(T_link[above]) @ T_link[i]
        rows.append((names[i], kind, label[above], label[i], T_above_link, axis, limits))
    return assemble(path.stem, links, rows, where=str(path))


def _read_nodes(path: Path) -> list[dict[str, Any]]:
    """The nodes of the JSON chunk, checked to be a forest."""
    data = path.read_bytes()
    try:
        magic, _, _, length, kind = struct.unpack_from("<4sIIII", data)
        content = parse_json(data[20 : 20 + length].decode("utf-8"))
        nodes = content["nodes"]
        children = [c for node in nodes for c in node.get("children", [])]
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable glb file ({error!r})") from error
    if magic != b"glTF" or kind != _JSON_CHUNK:
        raise UserError(f"{path}: not a glb file (binary glTF 2.0)")
    known = all(isinstance(c, int) and 0 <= c < len(nodes) for c in children)
    if not known or len(set(children)) < len(children) or _has_loop(nodes):
        raise UserError(f"{path}: its nodes are not a tree; export the file again")
    return nodes


def _has_loop(nodes: list[dict[str, Any]]) -> bool:
    """Whether some nodes are reached from no root (every node has one parent at most)."""
    below = {c for node in nodes for c in node.get("children", [])}
    reached, stack = 0, [i for i in range(len(nodes)) if i not in below]
    while stack:
        reached += 1
        stack += nodes[stack.pop()].get("children", [])
    return reached < len(nodes)


def _joint_of(node: dict[str, Any]) -> dict[str, Any] | None:
    extras = node.get("extras")
    joint = extras.get("joint") if isinstance(extras, dict) else None
    return joint if isinstance(joint, dict) else None


def _joint_numbers(node: dict[str, Any], where: str) -> tuple[str, np.ndarray, tuple[float, float]]:
    joint = _joint_of(node) or {}
    kind = str(joint.get("type", ""))
    try:
        axis = np.asarray(joint.get("axis", (1.0, 0.0, 0.0)), np.float64).reshape(3)
        lower, upper = float(joint.get("lower", -np.inf)), float(joint.get("upper", np.inf))
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: axis must be three numbers, lower and upper one each") from error
    return kind, axis, (0.0, 0.0) if kind == FIXED else (lower, upper)


def _local_transform(node: dict[str, Any], where: str) -> np.ndarray:
    """T_parent_node of a glTF node; rigid, since joints and distances are."""
    try:
        if "matrix" in node:
            T = np.asarray(node["matrix"], np.float64).reshape(4, 4).T
        else:
            T = np.eye(4)
            rotation = Rotation.from_quat(node.get("rotation", (0.0, 0.0, 0.0, 1.0))).as_matrix()
            T[:3, :3] = rotation * np.asarray(node.get("scale", (1.0, 1.0, 1.0)), np.float64)
            T[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: its transform is not made of numbers ({error})") from error
    above_a_joint = _joint_of(node) is not None or bool(node.get("children"))
    if above_a_joint and not np.allclose(T[:3, :3].T @ T[:3, :3], np.eye(3), atol=1e-4):
        raise UserError(
            f"{where} is scaled or sheared; apply the scale to the meshes before exporting"
        )
    return T


def _world_transforms(
    nodes: list[dict[str, Any]], parents: dict[int, int], asked: set[int], path: Path
) -> dict[int, np.ndarray]:
    """T_world_node of the nodes asked for. Others may be scaled."""
    known: dict[int, np.ndarray] = {}

    def world(i: int) -> np.ndarray:
        if i not in known:
            local = _local_transform(nodes[i], f"{path}: node '{nodes[i].get('name', '')}'")
            known[i] = (world(parents[i]) if i in parents else np.eye(4)) @ local
        return known[i]

    return {i: world(i) for i in asked}


def _merge(name: str, pieces: list, samples: int, where: str) -> Asset | None:
    if not pieces:
        return None
    starts = np.cumsum([0, *(len(v) for v, _ in pieces)])
    vertices = np.concatenate([v for v, _ in pieces])
    faces = np.concatenate([f + s for (_, f), s in zip(pieces, starts, strict=False)])
    return asset_from_arrays(
        name,
        vertices,
        orient_outward(vertices, faces),
        samples=samples,
        where=f"{where}: link '{name}'",
    )
