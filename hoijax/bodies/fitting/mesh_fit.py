"""Fit our body to the surface of any other body: pose, bone lengths and betas by ICP, point to plane.

Source: Rusinkiewicz and Levoy, "Efficient Variants of the ICP Algorithm" (3DIM 2001), in both
directions and with robust weights; one Levenberg-Marquardt step for each set of correspondences.
"""

from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy import ndarray

from hoijax.bodies.kinematics import BODY_JOINT_COUNT, JOINT_PARENTS
from hoijax.bodies.parts import farthest_points
from hoijax.bodies.skinned_body import ShapedBody, SkinnedBody
from hoijax.bodies.skinning import build_skin
from hoijax.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from hoijax.programs import program

__all__ = ["MeshFit", "fit_to_mesh", "surface_error", "vertex_normals"]

SAMPLES = 900
"""Vertices of our body, and of the other, that look for their nearest."""
BETA_SIGMA, BONE_SIGMA, TURN_SIGMA = 1.5, 0.1, 0.6
"""Standard deviations of betas, of the logarithm of a bone's length, of a joint's turn from its start."""
SURFACE_SIGMA = 0.01
FIRST_REACH, LAST_REACH = 0.15, 0.03
"""Metres: a pair further apart counts ever less, first and last."""
FACING = 0.3
"""Cosine that two normals must have for their points to be of one side of a limb."""
SHAPE_STEPS, POSE_STEPS = 45, 10


_PARENTS = np.maximum(np.array(JOINT_PARENTS), 0)


def _below() -> Float[ndarray, "55 21"]:
    """1 where a joint hangs on a bone: what moves when it grows."""
    below = np.zeros((len(JOINT_PARENTS), BODY_JOINT_COUNT - 1), np.float32)
    for joint, parent in enumerate(JOINT_PARENTS):
        if parent >= 0:
            below[joint] = below[parent]
            if joint < BODY_JOINT_COUNT:
                below[joint, joint - 1] = 1.0
    return below


_BELOW = _below()


@dataclass(frozen=True)
class MeshFit:
    """A body of ours in one pose. World: that of the mesh; metres."""

    betas: Float[ndarray, " B"]
    rest_joints: Float[ndarray, "55 3"]
    rotations: Float[ndarray, "55 3"]
    translation: Float[ndarray, " 3"]


@flax.struct.dataclass
class _State:
    betas: Float[Array, " B"]
    log_bones: Float[Array, " 21"]
    rotations: Float[Array, "55 3 3"]
    translation: Float[Array, " 3"]


@flax.struct.dataclass
class _Pairs:
    """Correspondences: vertices of our samples, planes of the other body, robust weights."""

    index: Int[Array, " n"]
    points: Float[Array, "n 3"]
    normals: Float[Array, "n 3"]
    weights: Float[Array, " n"]


def fit_to_mesh(
    body: SkinnedBody,
    vertices: Float[ndarray, "V 3"],
    faces: Int[ndarray, "F 3"],
    start: MeshFit,
    *,
    shape: bool = True,
) -> MeshFit:
    """Our body on the surface of another, from a start with roughly its pose. Same axes, metres.

    shape: also betas and bone lengths; else those of the start hold.
    """
    from scipy.spatial import KDTree

    samples, corners = _samples(body)
    normals = vertex_normals(vertices, faces)
    tree, chosen = KDTree(vertices), _spread(vertices)
    state = _start_state(body, start)
    begun = state.rotations
    steps, damping = (SHAPE_STEPS if shape else POSE_STEPS), jnp.asarray(1e-2)
    for step in range(steps):
        reach = FIRST_REACH * (LAST_REACH / FIRST_REACH) ** (step / (steps - 1))
        ours = np.asarray(_vertices(corners, state)).reshape(-1, 3, 3)
        pairs = _pairs(ours, vertices, normals, tree, chosen, reach)
        state, damping = _step(samples, state, pairs, begun, damping, shape)
    return _finished(body, state)


def surface_error(
    body: SkinnedBody, fit: MeshFit, vertices: Float[ndarray, "V 3"]
) -> Float[ndarray, " V"]:
    """Distance of every vertex of the other body from the surface of ours, metres."""
    import igl

    shaped = body.shape(jnp.asarray(fit.betas)).with_rest_joints(jnp.asarray(fit.rest_joints))
    posed = shaped.pose(jnp.asarray(fit.rotations), jnp.asarray(fit.translation))
    surface = np.asarray(posed.vertices_world, np.float64)
    faces = np.asarray(body.faces).astype(np.int64)
    return np.sqrt(igl.point_mesh_squared_distance(vertices.astype(np.float64), surface, faces)[0])


def _spread(vertices: Float[ndarray, "V 3"]) -> Int[ndarray, " n"]:
    """Indices of vertices spread evenly over a mesh."""
    if len(vertices) <= SAMPLES:
        return np.arange(len(vertices))
    return np.asarray(farthest_points(vertices.astype(np.float32), SAMPLES))


def _samples(body: SkinnedBody) -> tuple[SkinnedBody, SkinnedBody]:
    """(our body with vertices spread over it only, one with the three corners of a face at each of them)."""
    faces = np.asarray(body.faces)
    face_of = np.full(len(body.template), -1)
    face_of[faces.reshape(-1)] = np.repeat(np.arange(len(faces)), 3)
    seeds = np.asarray(farthest_points(np.asarray(body.template), SAMPLES))
    seeds = seeds[face_of[seeds] >= 0]
    first = (faces[face_of[seeds]] == seeds[:, None]).argmax(1)
    around = np.take_along_axis(faces[face_of[seeds]], (first[:, None] + np.arange(3)) % 3, axis=1)
    return _subset(body, seeds), _subset(body, around.reshape(-1))


def _subset(body: SkinnedBody, chosen: Int[ndarray, " n"]) -> SkinnedBody:
    """The model with some of its vertices and no faces."""
    indices, weights = np.asarray(body.skin_indices)[chosen], np.asarray(body.skin_weights)[chosen]
    correctives = None if body.pose_correctives is None else body.pose_correctives[chosen]
    small = body.replace(  # pyright: ignore[reportAttributeAccessIssue]
        template=np.asarray(body.template)[chosen],
        shape_directions=np.asarray(body.shape_directions)[chosen],
        pose_correctives=correctives,
        skin_indices=indices,
        skin_weights=weights,
        faces=np.zeros((0, 3), np.int32),
        part_ids=np.asarray(body.part_ids)[chosen],
        skin=build_skin(indices, weights),
    )
    return jax.tree.map(jnp.asarray, small)


def _start_state(body: SkinnedBody, start: MeshFit) -> _State:
    """The unknowns at a start; bone lengths against those of its betas."""
    plain = np.asarray(body.shape(jnp.asarray(start.betas)).joints_rest)
    rest, parents = start.rest_joints, np.array(JOINT_PARENTS[1:BODY_JOINT_COUNT])
    lengths, wanted = (
        np.linalg.norm(r[1:BODY_JOINT_COUNT] - r[parents], axis=-1) for r in (plain, rest)
    )
    count = body.shape_directions.shape[-1]
    betas = np.zeros(count, np.float32)
    betas[: len(start.betas)] = start.betas
    matrices = axis_angle_to_matrix(jnp.asarray(start.rotations, jnp.float32))
    translation = start.rest_joints[0] + start.translation - plain[0]
    return _State(
        jnp.asarray(betas),
        jnp.asarray(np.log(wanted / lengths), jnp.float32),
        matrices,
        jnp.asarray(translation, jnp.float32),
    )


def _shaped(body: SkinnedBody, state: _State) -> ShapedBody:
    """The person: betas, then bones of other lengths in the same directions."""
    shaped = body.shape(state.betas)
    joints = jnp.asarray(shaped.joints_rest)
    bones = (joints - joints[_PARENTS])[1:BODY_JOINT_COUNT]
    longer = (jnp.exp(state.log_bones) - 1.0)[:, None] * bones
    return shaped.with_rest_joints(joints + _BELOW @ longer)


@program
def _vertices(body: SkinnedBody, state: _State) -> Float[Array, "n 3"]:
    posed = _shaped(body, state).pose_matrices(state.rotations, state.translation)
    return jnp.asarray(posed.vertices_world)


def _moved(state: _State, change: Float[Array, " m"], shape: bool) -> _State:
    """Unknowns after a change: turns in the joints' own frames, then place, then shape."""
    turns = axis_angle_to_matrix(change[: 3 * BODY_JOINT_COUNT].reshape(BODY_JOINT_COUNT, 3))
    rotations = state.rotations.at[:BODY_JOINT_COUNT].set(
        state.rotations[:BODY_JOINT_COUNT] @ turns
    )
    start = 3 * BODY_JOINT_COUNT + 3
    moved = state.replace(  # pyright: ignore[reportAttributeAccessIssue]
        rotations=rotations, translation=state.translation + change[start - 3 : start]
    )
    if not shape:
        return moved
    bones = start + BODY_JOINT_COUNT - 1
    return moved.replace(
        log_bones=state.log_bones + change[start:bones], betas=state.betas + change[bones:]
    )


@program(static=("shape",))
def _step(
    body: SkinnedBody,
    state: _State,
    pairs: _Pairs,
    begun: Float[Array, "55 3 3"],
    damping: Float[Array, ""],
    shape: bool,
) -> tuple[_State, Float[Array, ""]]:
    """One Levenberg-Marquardt step; a step that is no better is not taken, and damps the next."""
    count = 3 * BODY_JOINT_COUNT + 3
    count += BODY_JOINT_COUNT - 1 + state.betas.shape[0] if shape else 0

    def residuals(change: Array) -> Array:
        moved = _moved(state, change, shape)
        points = jnp.asarray(
            _shaped(body, moved).pose_matrices(moved.rotations, moved.translation).vertices_world
        )
        off = jnp.sum((points[pairs.index] - pairs.points) * pairs.normals, axis=-1)
        apart = (
            jnp.swapaxes(begun[1:BODY_JOINT_COUNT], -1, -2) @ moved.rotations[1:BODY_JOINT_COUNT]
        )
        turned = (apart - jnp.swapaxes(apart, -1, -2)) / 2.0
        turns = jnp.stack([turned[:, 2, 1], turned[:, 0, 2], turned[:, 1, 0]], axis=-1)
        rows = [pairs.weights * off / SURFACE_SIGMA, turns.reshape(-1) / TURN_SIGMA]
        if shape:
            rows += [moved.log_bones / BONE_SIGMA, moved.betas / BETA_SIGMA]
        return jnp.concatenate(rows)

    still = jnp.zeros(count)
    before, jacobian = residuals(still), jax.jacfwd(residuals)(still)
    normal = jacobian.T @ jacobian
    system = normal + damping * jnp.diag(jnp.diag(normal)) + 1e-6 * jnp.eye(count)
    change = -jnp.linalg.solve(system, jacobian.T @ before)
    better = jnp.sum(residuals(change) ** 2) < jnp.sum(before**2)
    taken = jax.tree.map(
        lambda new, old: jnp.where(better, new, old), _moved(state, change, shape), state
    )
    return taken, jnp.clip(jnp.where(better, damping * 0.5, damping * 4.0), 1e-4, 1e4)


def _pairs(
    ours: Float[ndarray, "n 3 3"],
    vertices: Float[ndarray, "V 3"],
    normals: Float[ndarray, "V 3"],
    tree: Any,
    chosen: Int[ndarray, " m"],
    reach: float,
) -> _Pairs:
    """Nearest of the other body for every sample of ours (corners of a face, the sample first), and the
    other way round."""
    from scipy.spatial import KDTree

    own_normals = _unit(np.cross(ours[:, 1] - ours[:, 0], ours[:, 2] - ours[:, 0]))
    distance, nearest = tree.query(ours[:, 0])
    back, mine = KDTree(ours[:, 0]).query(vertices[chosen])
    index = np.concatenate([np.arange(len(ours)), mine])
    other = np.concatenate([nearest, chosen])
    facing = (own_normals[index] * normals[other]).sum(-1) > FACING
    apart = np.concatenate([distance, back])
    weights = facing * reach**2 / (reach**2 + apart**2)
    weights = weights / np.sqrt(SAMPLES / 100)  # neighbors err alike: they count as a hundred
    as_float = (jnp.asarray(a, jnp.float32) for a in (vertices[other], normals[other], weights))
    return _Pairs(jnp.asarray(index, jnp.int32), *as_float)


def _finished(body: SkinnedBody, state: _State) -> MeshFit:
    shaped = _shaped(jax.tree.map(jnp.asarray, body), state)
    rest = np.asarray(shaped.joints_rest, np.float32)
    return MeshFit(
        np.asarray(state.betas),
        rest,
        np.asarray(matrix_to_axis_angle(state.rotations), np.float32),
        np.asarray(state.translation, np.float32),
    )


def vertex_normals(
    vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]
) -> Float[ndarray, "V 3"]:
    """Unit vertex normals, weighted by area."""
    corners = vertices[faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack(
        [np.bincount(faces.reshape(-1), np.repeat(area[:, i], 3), len(vertices)) for i in range(3)],
        axis=-1,
    )
    return _unit(total)


def _unit(vectors: ndarray) -> ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
