"""Fit our body to the surface of any other body: pose, bone lengths and betas by ICP, point to plane.

Source: Rusinkiewicz and Levoy, "Efficient Variants of the ICP Algorithm" (3DIM 2001), in both
directions and with robust weights; one Levenberg-Marquardt step for each set of correspondences.
"""

from dataclasses import dataclass
from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy import ndarray

from hoijax.bodies.kinematics import JOINT_PARENTS
from hoijax.bodies.parts import farthest_points
from hoijax.bodies.skinned_body import ShapedBody, SkinnedBody
from hoijax.bodies.skinning import build_skin
from hoijax.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle

__all__ = ["MeshFit", "fit_to_mesh", "surface_error"]

SAMPLES = 1200
"""Vertices of our body, and of the other, that look for their nearest."""
BODY_JOINTS = 22
BETA_SIGMA, BONE_SIGMA, TURN_SIGMA = 1.5, 0.1, 0.6
"""Standard deviations of betas, of the logarithm of a bone's length, of a joint's turn from its start."""
SURFACE_SIGMA = 0.01
FIRST_REACH, LAST_REACH = 0.15, 0.03
"""Metres: a pair further apart counts ever less, first and last."""
FACING = 0.3
"""Cosine that two normals must have for their points to be of one side of a limb."""
SHAPE_STEPS, POSE_STEPS = 60, 25


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

    sampled = _sampled(body)
    normals = _normals(vertices, faces)
    tree, chosen = KDTree(vertices), farthest_or_all(vertices)
    state = _start_state(body, start)
    begun = state.rotations
    steps, damping = (SHAPE_STEPS if shape else POSE_STEPS), jnp.asarray(1e-2)
    for step in range(steps):
        reach = FIRST_REACH * (LAST_REACH / FIRST_REACH) ** (step / (steps - 1))
        ours = np.asarray(_vertices(sampled.body, state))
        pairs = _pairs(ours, sampled.faces, vertices, normals, tree, chosen, reach)
        state, damping = _step(sampled.body, state, pairs, begun, damping, shape)
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


def farthest_or_all(vertices: Float[ndarray, "V 3"]) -> Int[ndarray, " n"]:
    """Indices of vertices spread evenly over a mesh."""
    if len(vertices) <= SAMPLES:
        return np.arange(len(vertices))
    return np.asarray(farthest_points(vertices.astype(np.float32), SAMPLES))


@dataclass(frozen=True)
class _Sampled:
    body: SkinnedBody
    faces: Int[ndarray, "n 3"]
    """Not faces: the sample and its two nearest on the surface, for a normal."""


def _sampled(body: SkinnedBody) -> _Sampled:
    """Our body with a few vertices only, each with a small triangle of neighbors that turns as it does."""
    faces = np.asarray(body.faces)
    seeds = np.asarray(farthest_points(np.asarray(body.template), SAMPLES))
    first = np.full(len(body.template), -1)
    first[faces.reshape(-1)] = np.repeat(np.arange(len(faces)), 3)
    seeds = seeds[first[seeds] >= 0]
    corners = faces[first[seeds]]
    used, renumbered = np.unique(corners, return_inverse=True)
    indices, weights = np.asarray(body.skin_indices)[used], np.asarray(body.skin_weights)[used]
    correctives = None if body.pose_correctives is None else body.pose_correctives[used]
    small = body.replace(  # pyright: ignore[reportAttributeAccessIssue]
        template=np.asarray(body.template)[used],
        shape_directions=np.asarray(body.shape_directions)[used],
        pose_correctives=correctives,
        skin_indices=indices,
        skin_weights=weights,
        faces=renumbered.reshape(-1, 3).astype(np.int32),
        part_ids=np.asarray(body.part_ids)[used],
        skin=build_skin(indices, weights),
    )
    return _Sampled(jax.tree.map(jnp.asarray, small), renumbered.reshape(-1, 3))


def _start_state(body: SkinnedBody, start: MeshFit) -> _State:
    """The unknowns at a start; bone lengths against those of its betas."""
    plain = np.asarray(body.shape(jnp.asarray(start.betas)).joints_rest)
    rest, parents = start.rest_joints, np.array(JOINT_PARENTS[1:BODY_JOINTS])
    own, wanted = (np.linalg.norm(r[1:BODY_JOINTS] - r[parents], axis=-1) for r in (plain, rest))
    count = body.shape_directions.shape[-1]
    betas = np.zeros(count, np.float32)
    betas[: len(start.betas)] = start.betas
    matrices = axis_angle_to_matrix(jnp.asarray(start.rotations, jnp.float32))
    place = start.rest_joints[0] + start.translation - plain[0]
    return _State(
        jnp.asarray(betas),
        jnp.asarray(np.log(wanted / own), jnp.float32),
        matrices,
        jnp.asarray(place, jnp.float32),
    )


def _shaped(body: SkinnedBody, state: _State) -> ShapedBody:
    """The person: betas, then bones of other lengths in the same directions."""
    shaped = body.shape(state.betas)
    joints = jnp.asarray(shaped.joints_rest)
    lengths = jnp.concatenate([jnp.zeros(1), state.log_bones, jnp.zeros(55 - BODY_JOINTS)])
    places = [joints[0]]
    for joint in range(1, 55):
        bone = joints[joint] - joints[JOINT_PARENTS[joint]]
        places.append(places[JOINT_PARENTS[joint]] + jnp.exp(lengths[joint]) * bone)
    return shaped.with_rest_joints(jnp.stack(places))


@jax.jit
def _vertices(body: SkinnedBody, state: _State) -> Float[Array, "n 3"]:
    posed = _shaped(body, state).pose_matrices(state.rotations, state.translation)
    return jnp.asarray(posed.vertices_world)


def _moved(state: _State, change: Float[Array, " m"], shape: bool) -> _State:
    """Unknowns after a change: turns in the joints' own frames, then place, then shape."""
    turns = axis_angle_to_matrix(change[: 3 * BODY_JOINTS].reshape(BODY_JOINTS, 3))
    rotations = state.rotations.at[:BODY_JOINTS].set(state.rotations[:BODY_JOINTS] @ turns)
    start = 3 * BODY_JOINTS + 3
    moved = state.replace(  # pyright: ignore[reportAttributeAccessIssue]
        rotations=rotations, translation=state.translation + change[start - 3 : start]
    )
    if not shape:
        return moved
    bones = start + BODY_JOINTS - 1
    return moved.replace(
        log_bones=state.log_bones + change[start:bones], betas=state.betas + change[bones:]
    )


@partial(jax.jit, static_argnames=("shape",))
def _step(
    body: SkinnedBody,
    state: _State,
    pairs: _Pairs,
    begun: Float[Array, "55 3 3"],
    damping: Float[Array, ""],
    shape: bool,
) -> tuple[_State, Float[Array, ""]]:
    """One Levenberg-Marquardt step; a step that is no better is not taken, and damps the next."""
    count = 3 * BODY_JOINTS + 3
    count += BODY_JOINTS - 1 + state.betas.shape[0] if shape else 0

    def residuals(change: Array) -> Array:
        moved = _moved(state, change, shape)
        points = jnp.asarray(
            _shaped(body, moved).pose_matrices(moved.rotations, moved.translation).vertices_world
        )
        off = jnp.sum((points[pairs.index] - pairs.points) * pairs.normals, axis=-1)
        apart = jnp.swapaxes(begun[1:BODY_JOINTS], -1, -2) @ moved.rotations[1:BODY_JOINTS]
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
    ours: Float[ndarray, "n 3"],
    triangles: Int[ndarray, "s 3"],
    vertices: Float[ndarray, "V 3"],
    normals: Float[ndarray, "V 3"],
    tree,
    chosen: Int[ndarray, " m"],
    reach: float,
) -> _Pairs:
    """Nearest of the other body for every sample of ours, and the other way round."""
    from scipy.spatial import KDTree

    corners = ours[triangles]
    own_normals = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    samples, index = corners[:, 0], triangles[:, 0]
    distance, nearest = tree.query(samples)
    back, mine = KDTree(samples).query(vertices[chosen])
    index = np.concatenate([index, index[mine]])
    other = np.concatenate([nearest, chosen])
    facing = (np.concatenate([own_normals, own_normals[mine]]) * normals[other]).sum(-1) > FACING
    apart = np.concatenate([distance, back])
    weights = facing * reach**2 / (reach**2 + apart**2)
    weights = weights / np.sqrt(SAMPLES / 100)  # neighbors err alike: they count as a hundred
    arrays = (index.astype(np.int32), vertices[other], normals[other], weights)
    return _Pairs(
        *(jnp.asarray(a if a.dtype == np.int32 else a.astype(np.float32)) for a in arrays)
    )


def _finished(body: SkinnedBody, state: _State) -> MeshFit:
    shaped = _shaped(jax.tree.map(jnp.asarray, body), state)
    rest = np.asarray(shaped.joints_rest, np.float32)
    return MeshFit(
        np.asarray(state.betas),
        rest,
        np.asarray(matrix_to_axis_angle(state.rotations), np.float32),
        np.asarray(state.translation, np.float32),
    )


def _normals(vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]) -> Float[ndarray, "V 3"]:
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
