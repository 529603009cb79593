"""The pieces of a body's distance field, made on the host: which skin moves together, and its grid at rest.

A piece is a set of vertices with similar skinning weights. Its grid holds, with D the distance to the whole
skin at rest and d >= D the distance to the piece's own skin:

    outside the body   d
    inside             -D + FALL (d - D)

Inside its own territory that is the exact depth, and beyond it the value rises: the piece ends in a blunt
cone instead of a cut face. So no mesh is cut or capped, depths are right up to the middle of the body, and
pieces that turn against each other at a joint stay joined by their cones.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.spatial import KDTree

from hoijax.bodies.kinematics import JOINT_COUNT, JOINT_NAMES, JOINT_PARENTS
from hoijax.bodies.parts import farthest_points
from hoijax.bodies.skinning import dense_weights
from hoijax.objects.distance_grid import pack_corners

FALL = 4.0
PURE_WEIGHT = 0.9
"""Vertices with this much weight on one joint belong to that joint's own piece."""
BLENDED_PIECES = 64
PATCH_SIZE = 0.3
"""Skin this far apart (metres) is as unlike as weights that differ by one."""
MARGIN, FINE_MARGIN = 0.04, 0.02
"""The grid of a piece reaches this far beyond its skin, metres; finger grids reach less."""
FINE_JOINTS = frozenset(range(25, JOINT_COUNT))
FINE_SHARE = 0.4
"""Finger cells are this much smaller."""

FACE_STEPS = 4

_FACE = ("jaw", "left_eye_smplhf", "right_eye_smplhf")


@dataclass(frozen=True)
class Pieces:
    """Arrays of a BodyField that depend on the rest pose; see there."""

    cells: Float[np.ndarray, "C 8"]
    layout: Float[np.ndarray, "P 8"]
    blend: Float[np.ndarray, "P 55"]
    centers: Float[np.ndarray, "P 3"]
    radii: Float[np.ndarray, " P"]
    vertex_pieces: Int[np.ndarray, " V"]


def movement_weights(
    skin_indices: Int[np.ndarray, "v k"], skin_weights: Float[np.ndarray, "v k"]
) -> Float[np.ndarray, "v 55"]:
    """Skinning weights with jaw and eyes given to the head, which they hardly leave."""
    weights = dense_weights(skin_indices, skin_weights).astype(np.float64)
    head = JOINT_NAMES.index("head")
    for name in _FACE:
        weights[:, head] += weights[:, JOINT_NAMES.index(name)]
        weights[:, JOINT_NAMES.index(name)] = 0.0
    return weights


def assign_pieces(
    vertices: Float[np.ndarray, "v 3"], weights: Float[np.ndarray, "v 55"]
) -> tuple[Int[np.ndarray, " v"], Float[np.ndarray, "P 55"]]:
    """Piece of every vertex, and the mean weights of every piece.

    Skin that hangs on one joint makes one piece per joint, and fingers always do. The rest is split into
    BLENDED_PIECES patches that are alike in weights and near in place: linear blend skinning shrinks what lies
    between joints, and small patches follow it while each of them stays rigid.
    """
    strongest = weights.argmax(1)
    alone = (weights.max(1) > PURE_WEIGHT) | np.isin(strongest, list(FINE_JOINTS))
    joints, piece = np.unique(strongest, return_inverse=True)
    between = np.flatnonzero(~alone)
    if len(between):
        features = np.concatenate([weights[between], vertices[between] / PATCH_SIZE], axis=1)
        piece[between] = len(joints) + _patches(np.ascontiguousarray(features, np.float32))
    used, piece = np.unique(piece, return_inverse=True)
    blend = np.stack([weights[piece == p].mean(0) for p in range(len(used))])
    return piece, blend / blend.sum(1, keepdims=True)


def _patches(features: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
    """Patch of every row: k-means from far apart starts."""
    means = features[farthest_points(features, BLENDED_PIECES)]
    for _ in range(8):
        nearest = _squared(features, means).argmin(1)
        means = np.stack([features[nearest == p].mean(0) for p in np.unique(nearest)])
    return _squared(features, means).argmin(1)


def _squared(rows: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Squared distances of rows to means, (n, m)."""
    squares = (rows * rows).sum(1)[:, None] + (means * means).sum(1)
    return squares - 2.0 * rows @ means.T


@dataclass(frozen=True)
class _Lattice:
    """Nodes at whole multiples of `size` in the rest pose, shared by all pieces, and their depth in the body."""

    size: float
    first: Int[np.ndarray, "3"]
    depth: Float[np.ndarray, "a b c"]
    """Distance to the skin inside the body, 0 outside."""

    @staticmethod
    def over(
        boxes: list[tuple], size: float, vertices: np.ndarray, faces: np.ndarray
    ) -> "_Lattice":
        """The nodes in any of the boxes (first, last index per axis)."""
        import igl

        first = np.min([low for low, _ in boxes], axis=0)
        shape = np.max([high for _, high in boxes], axis=0) - first + 1
        used = np.zeros(shape, bool)
        for low, high in boxes:
            used[_window(low - first, high - first)] = True
        used &= _between_skin(used.shape, first, size, vertices[faces])
        nodes = (np.argwhere(used) + first) * size
        inside = np.abs(igl.fast_winding_number(vertices, faces, nodes)) > 0.5
        depths = np.zeros(len(nodes))
        depths[inside] = np.sqrt(igl.point_mesh_squared_distance(nodes[inside], vertices, faces)[0])
        depth = np.zeros(shape)
        depth[used] = depths
        return _Lattice(size, first, depth)


def _window(low: np.ndarray, high: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))


def _between_skin(
    shape: tuple[int, ...], first: np.ndarray, size: float, corners: Float[np.ndarray, "f 3 3"]
) -> Bool[np.ndarray, "a b c"]:
    """Nodes with skin on both sides of them along every axis: no other can be inside."""
    steps = np.arange(FACE_STEPS + 1) / FACE_STEPS
    shares = [(1 - u - v, u, v) for u in steps for v in steps if u + v <= 1.0 + 1e-9]
    on_faces = np.einsum("sc,fcx->sfx", np.array(shares), corners).reshape(-1, 3)
    index = np.round(on_faces / size).astype(int) - first
    index = index[np.all((index >= 0) & (index < shape), axis=1)]
    seen = np.zeros(shape, bool)
    seen[tuple(index.T)] = True
    seen = ndimage.binary_dilation(seen, iterations=2)
    filled = np.ones(shape, bool)
    for axis in range(3):
        before = np.maximum.accumulate(seen, axis)
        after = np.flip(np.maximum.accumulate(np.flip(seen, axis), axis), axis)
        filled &= before & after
    return filled


def build_pieces(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    weights: Float[np.ndarray, "v 55"],
    resolution: float,
) -> Pieces:
    """Pieces and grids of a rest mesh (closed, metres); `resolution` is the size of a cell in metres."""
    vertices, faces = vertices.astype(np.float64), faces.astype(np.int64)
    piece_of_vertex, blend = assign_pieces(vertices, weights)
    owned = [faces[(piece_of_vertex == p)[faces].any(1)] for p in range(len(blend))]
    is_fine = np.isin(blend.argmax(1), list(FINE_JOINTS)).astype(int)
    sizes = [float(np.float32(resolution * fraction)) for fraction in (1.0, FINE_SHARE)]
    margins = [MARGIN, FINE_MARGIN]
    boxes = []
    for members, fine in zip(owned, is_fine, strict=True):
        skin = vertices[members.ravel()]
        low = np.floor((skin.min(0) - margins[fine]) / sizes[fine]).astype(int)
        boxes.append((low, np.ceil((skin.max(0) + margins[fine]) / sizes[fine]).astype(int)))
    lattices = [
        _Lattice.over(
            [b for b, f in zip(boxes, is_fine, strict=True) if f == fine], size, vertices, faces
        )
        for fine, size in enumerate(sizes)
        if (is_fine == fine).any()
    ]
    cells, layout, centers, radii, row = [], [], [], [], 0
    for members, fine, (low, high) in zip(owned, is_fine, boxes, strict=True):
        lattice = lattices[fine]
        skin = vertices[np.unique(members)]
        center = (0.5 * (skin.min(0) + skin.max(0))).astype(np.float32).astype(float)
        values = _piece_values(lattice, low, high, vertices, members)
        packed = pack_corners(values).reshape(-1, 8)
        cells.append(packed)
        layout.append([*(low * lattice.size - center), *(high - low), lattice.size, row])
        centers.append(center)
        radii.append(np.linalg.norm(skin - center, axis=1).max())
        row += len(packed)
    return Pieces(
        np.concatenate(cells),
        np.array(layout, np.float32),
        blend.astype(np.float32),
        np.array(centers, np.float32),
        np.array(radii, np.float32),
        piece_of_vertex,
    )


def _piece_values(
    lattice: _Lattice, low: np.ndarray, high: np.ndarray, vertices: np.ndarray, members: np.ndarray
) -> Float[np.ndarray, "a b c"]:
    """What the grid of a piece holds on a box of the lattice; see the module's docstring."""
    import igl

    index = np.stack(
        np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij"),
        axis=-1,
    )
    used, local = np.unique(members, return_inverse=True)
    nodes = (index * lattice.size).reshape(-1, 3)
    squared = igl.point_mesh_squared_distance(nodes, vertices[used], local.reshape(-1, 3))[0]
    distance = np.sqrt(squared).reshape(index.shape[:-1])
    depth = lattice.depth[_window(low - lattice.first, high - lattice.first)]
    return np.where(depth > 0.0, -depth + FALL * (distance - depth), distance)


SAMPLES = 512
REST_GAP = 0.10
"""Skin this near to a piece at rest may touch it in any pose, metres: armpits fold as deep as 5 cm."""


def self_contact_samples(
    pieces: Pieces,
    vertices: Float[np.ndarray, "v 3"],
    weights: Float[np.ndarray, "v 55"],
    mean_vertices: Float[np.ndarray, "v 3"],
) -> tuple[Int[np.ndarray, " M"], Bool[np.ndarray, "M P"]]:
    """Vertices spread over the skin, and the pieces each of them must stay out of.

    mean_vertices: the mean body's, over which they are spread: everybody's samples are the same
    vertices, so that arrays of different people have equal shapes. Two places are kept apart when their joints are more than one step apart in the tree and they are more
    than REST_GAP apart at rest.
    """
    chosen = farthest_points(mean_vertices, SAMPLES)
    steps = _tree_steps()
    joints = weights[chosen].argmax(1)
    apart = np.zeros((len(chosen), len(pieces.blend)), bool)
    for piece, blend in enumerate(pieces.blend):
        far_in_tree = steps[:, blend > 0.2].min(1)[joints] > 1
        skin = vertices[pieces.vertex_pieces == piece]
        gap = KDTree(skin).query(vertices[chosen])[0]
        apart[:, piece] = far_in_tree & (gap > REST_GAP)
    return chosen.astype(np.int32), apart


def _tree_steps() -> Int[np.ndarray, "55 55"]:
    """Number of bones between two joints."""
    steps = np.where(np.eye(JOINT_COUNT, dtype=bool), 0, JOINT_COUNT)
    for joint, parent in enumerate(JOINT_PARENTS[1:], start=1):
        steps[joint, parent] = steps[parent, joint] = 1
    for via in range(JOINT_COUNT):
        steps = np.minimum(steps, steps[:, via, None] + steps[via])
    return steps
