"""Fit a body motion to 2D keypoints and a point map: a whole clip at once, several starts at once.

Adam on the joint rotations of every frame under reprojection, seen surface points, the pose prior,
smoothness, and feet that stand on the ground. Energies are negative log-likelihoods, so that their
weights are the standard deviations named below.
"""

from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from hoijax.bodies.contact import RELAXED_HAND_POSE
from hoijax.bodies.keypoints import openpose18_from
from hoijax.bodies.motion_start import MotionStart
from hoijax.bodies.motion_terms import (
    FEET,
    bend,
    ground_energy,
    keypoint_energy,
    nearest_vertices,
    normalised_residuals,
    slip_energy,
    standing_energy,
    surface_energy,
)
from hoijax.bodies.pose_prior import REFERENCE_POSES, limit_excess, pose_energy
from hoijax.bodies.skinned_body import PosedBody, ShapedBody, SkinnedBody
from hoijax.frames import transform_points
from hoijax.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_rotation_6d,
    rotation_6d_to_matrix,
)

KEYPOINT_SIGMA = 0.012  # of the focal length: three pixels at 250
SURFACE_SIGMA, SURFACE_RHO, SURFACE_COUNT = 0.04, 0.15, 20.0
"""Errors of a point map are alike over a person: its points count as this many independent ones."""
LIMIT_SIGMA, SLIP_SIGMA, GROUND_SIGMA, SCALE_SIGMA = 0.05, 0.012, 0.01, 0.05
STANDING_SIGMA = 0.015  # metres the lowest skin vertex hangs above the ground
SHIFT_SIGMA = (0.015, 0.015, 0.08)
"""Metres a frame's point map is off, across and along the view: monocular depth errs along it."""
_QUICK, _ENDS = 12.0, 18.0
ACCELERATIONS = np.array(
    [
        6,
        6,
        6,
        6,
        _QUICK,
        _QUICK,
        6,
        _ENDS,
        _ENDS,
        6,
        _ENDS,
        _ENDS,
        6,
        6,
        6,
        6,
        6,
        6,
        8,
        8,
        _QUICK,
        _QUICK,
    ],
    np.float32,
)
"""Metres per second squared of the 22 joints: a walking foot is quick, a trunk is not."""
PRIOR_SHARE = 0.5
FIRST_RHO, LAST_RHO = 0.3, 0.05  # of the focal length: Geman-McClure scale of the keypoints
FIRST_RATE, LAST_RATE = 0.03, 0.001
SKIN_VERTICES = 480
FACE_COUNT = 5
POINTS = 192  # seen points of a frame that the fit reads
START_POSES = (0, 2, 3)
"""Reference poses that the fit starts from: standing, seated, crouched."""
START_TURNS = (0.0, 1.0, -1.0)
"""Radians added to the heading found from the keypoints, where no point map settles it."""
_FEET = np.array(FEET)


@flax.struct.dataclass
class FitData:
    """Evidence about one person. Weights and confidences of 0 mean: not seen."""

    keypoints: Float[Array, "T 18 3"]
    intrinsics: Float[Array, "T 3 3"]
    Ts_camera_world: Float[Array, "T 4 4"]
    points_world: Float[Array, "T M 3"]
    point_weights: Float[Array, "T M"]
    """1 / number of points of the frame, or 0."""
    fps: Float[Array, ""]
    scale_sigma: Float[Array, ""]
    """Standard deviation of the logarithm of the size; tiny for a known person."""


@flax.struct.dataclass
class MotionUnknowns:
    """Root rotation, 21 local joint rotations, pelvis in the world, shift of points (camera), size."""

    root_6d: Float[Array, "T 6"]
    joints: Float[Array, "T 21 3"]
    pelvis: Float[Array, "T 3"]
    shift: Float[Array, "T 3"]
    log_scale: Float[Array, ""]


def skin_subset(body: SkinnedBody, count: int = SKIN_VERTICES) -> np.ndarray:
    """The five face vertices, then `count` vertices spread evenly by area over the skin (host)."""
    from hoijax.bodies.parts import farthest_points

    spread = farthest_points(np.asarray(body.template), count)
    return np.concatenate([np.asarray(body.face_vertices), spread]).astype(np.int32)


def start_unknowns(start: MotionStart) -> MotionUnknowns:
    """One start for every pair of START_POSES and START_TURNS, on a leading axis."""
    frames = len(start.yaw)
    headings = START_TURNS[:1] if start.has_depth else START_TURNS
    turns = np.repeat(np.asarray(headings, np.float32), len(START_POSES))
    poses = np.tile(REFERENCE_POSES[list(START_POSES)], (len(headings), 1, 1))[:, 1:]
    count = len(turns)
    yaw = start.yaw[None] + turns[:, None]
    axis_angle = yaw[..., None] * np.array([0.0, 1.0, 0.0], np.float32)
    root = matrix_to_rotation_6d(axis_angle_to_matrix(jnp.asarray(axis_angle, jnp.float32)))
    shape = (count, frames)
    return MotionUnknowns(
        root_6d=root,
        joints=jnp.asarray(np.broadcast_to(poses[:, None], (*shape, 21, 3))),
        pelvis=jnp.asarray(np.broadcast_to(start.pelvis_world, (*shape, 3))),
        shift=jnp.zeros((*shape, 3)),
        log_scale=jnp.zeros(count),
    )


def scaled(shaped: ShapedBody, scale: Array) -> ShapedBody:
    """The same person in another size, about the origin of the rest pose."""
    return shaped.replace(  # pyright: ignore[reportAttributeAccessIssue]
        vertices_rest=shaped.vertices_rest * scale, joints_rest=shaped.joints_rest * scale
    )


def pose_motion(shaped: ShapedBody, unknowns: MotionUnknowns) -> PosedBody:
    """The posed subset in every frame; jaw and eyes at rest, fingers relaxed."""
    frames = unknowns.pelvis.shape[0]
    person = scaled(shaped, jnp.exp(unknowns.log_scale))
    root = rotation_6d_to_matrix(unknowns.root_6d)[:, None]
    local = axis_angle_to_matrix(unknowns.joints)
    rest = axis_angle_to_matrix(jnp.asarray(np.concatenate([np.zeros((3, 3)), RELAXED_HAND_POSE])))
    fixed = jnp.broadcast_to(rest.astype(jnp.float32), (frames, 33, 3, 3))
    rotations = jnp.concatenate([root, local, fixed], axis=1)
    translation = unknowns.pelvis - person.joints_rest[0]
    return jax.vmap(person.pose_matrices)(rotations, translation)


def shifted_points(data: FitData, unknowns: MotionUnknowns) -> Float[Array, "T M 3"]:
    """Seen points after the frame's shift, which is in the camera's axes."""
    to_camera = data.Ts_camera_world[:, :3, :3]
    return data.points_world + jnp.einsum("tji,tj->ti", to_camera, unknowns.shift)[:, None]


def energy(
    unknowns: MotionUnknowns,
    shaped: ShapedBody,
    data: FitData,
    nearest: Array,
    rho: Float[Array, ""],
    grip: Float[Array, ""] | float = 1.0,
) -> Float[Array, ""]:
    """Mean over frames of the negative log-likelihood. `shaped`: faces first, see `skin_subset`.

    grip: share of the foot slip term; feet that stick where they started never find their steps.
    """
    posed = pose_motion(shaped, unknowns)
    vertices = jnp.asarray(posed.vertices_world)
    joints = jnp.asarray(posed.joints_world)
    keypoints = jax.vmap(openpose18_from)(joints, vertices[:, :FACE_COUNT])
    squared = normalised_residuals(
        transform_points(data.Ts_camera_world, keypoints), data.intrinsics, data.keypoints
    )
    seen = 18.0 * keypoint_energy(squared, data.keypoints[..., 2], rho) / KEYPOINT_SIGMA**2
    points = shifted_points(data, unknowns)
    surface = surface_energy(points, data.point_weights, vertices, nearest, SURFACE_RHO)
    pose = jnp.concatenate([jnp.zeros_like(unknowns.joints[:, :1]), unknowns.joints], axis=1)
    wobble = jnp.sum((bend(joints[:, :22]) / ACCELERATIONS[:, None]) ** 2, axis=(-1, -2))
    feet = joints[:, _FEET]
    per_frame = (
        0.5 * seen
        + 0.5 * SURFACE_COUNT * surface / SURFACE_SIGMA**2
        + 0.5 * jnp.sum((unknowns.shift / jnp.asarray(SHIFT_SIGMA)) ** 2, axis=-1)
        + 0.5 * limit_excess(pose) / LIMIT_SIGMA**2
        + PRIOR_SHARE * pose_energy(pose)
        + 0.5 * wobble * (2.0 * data.fps**2) ** 2
        + 2.0 * grip * slip_energy(feet) / SLIP_SIGMA**2
        + 0.5 * ground_energy(vertices[..., 1]) / GROUND_SIGMA**2
        + 0.5 * standing_energy(vertices[..., 1]) / STANDING_SIGMA**2
    )
    return jnp.mean(per_frame) + 0.5 * (unknowns.log_scale / data.scale_sigma) ** 2


def time_basis(frames: int) -> Float[np.ndarray, "T B"]:
    """Every frame alone, hats over 4 and 16 frames, and the whole clip: columns of a basis of motions.

    Smoothness ties frames together, so that descent on single frames moves slow errors, such as a
    body that is too near for a second, hardly at all. In this basis they are single coordinates.
    """
    position = np.arange(frames, dtype=np.float32)[:, None]
    columns = [np.eye(frames, dtype=np.float32), np.ones((frames, 1), np.float32)]
    for width in (4, 16):
        knots = np.arange(0, frames + width, width, dtype=np.float32)[None]
        columns.append(np.maximum(1.0 - np.abs(position - knots) / width, 0.0))
    return np.concatenate(columns, axis=1)


def _moved(start: MotionUnknowns, change: MotionUnknowns, basis: Array) -> MotionUnknowns:
    """Unknowns after changes in the coordinates of `time_basis`."""

    def along_time(x: Array, z: Array) -> Array:
        return x + jnp.tensordot(basis, z, axes=1) if x.ndim else x + z

    return jax.tree.map(along_time, start, change)


@partial(jax.jit, static_argnames=("steps", "refresh_every"))
def fit_motion(
    shaped: ShapedBody,
    data: FitData,
    starts: MotionUnknowns,
    *,
    steps: int = 400,
    refresh_every: int = 20,
    slip_share: Float[Array, ""] | float = 1.0,
) -> tuple[MotionUnknowns, Float[Array, " H"]]:
    """The fitted motion from each of H starts, and its energy (lower is better).

    slip_share: of the foot slip term; less where somebody still wants to see small steps in it.
    """
    adam = optax.scale_by_adam()
    rounds = -(-steps // refresh_every)
    total = rounds * refresh_every

    basis = jnp.asarray(time_basis(data.keypoints.shape[0]))

    def one(start: MotionUnknowns) -> tuple[MotionUnknowns, Array]:
        def nearest_of(change: MotionUnknowns) -> Array:
            unknowns = _moved(start, change, basis)
            vertices = jnp.asarray(pose_motion(shaped, unknowns).vertices_world)
            return nearest_vertices(shifted_points(data, unknowns), vertices)

        def cost(change: MotionUnknowns, nearest: Array, rho: Array, grip: Array) -> Array:
            return energy(_moved(start, change, basis), shaped, data, nearest, rho, grip)

        def descend(nearest: Array, carry, index: Array):
            change, moments = carry
            progress = index / total
            rho = FIRST_RHO * (LAST_RHO / FIRST_RHO) ** jnp.minimum(2.0 * progress, 1.0)
            grip = slip_share * jnp.clip(2.0 * progress - 0.8, 0.0, 1.0)
            gradient = jax.grad(cost)(change, nearest, rho, grip)
            with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer
                updates, moments = adam.update(gradient, moments)
            rate = LAST_RATE + (FIRST_RATE - LAST_RATE) * 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
            return (jax.tree.map(lambda x, u: x - rate * u, change, updates), moments), None

        def round_of(carry, first: Array):
            nearest = nearest_of(carry[0])
            carry, _ = jax.lax.scan(
                partial(descend, nearest), carry, first + jnp.arange(refresh_every)
            )
            return carry, None

        still = jax.tree.map(
            lambda x: jnp.zeros((basis.shape[1], *x.shape[1:])) if x.ndim else x * 0.0, start
        )
        carry = (still, adam.init(still))  # pyright: ignore[reportArgumentType]
        (change, _), _ = jax.lax.scan(round_of, carry, jnp.arange(rounds) * refresh_every)
        last = jnp.asarray(LAST_RHO)
        return _moved(start, change, basis), cost(
            change, nearest_of(change), last, jnp.asarray(slip_share)
        )

    return jax.vmap(one)(starts)


def rotations_of(unknowns: MotionUnknowns) -> Float[Array, "T 55 3"]:
    """Axis-angle of all 55 joints, as in `Observations`."""
    frames = unknowns.pelvis.shape[0]
    root = matrix_to_axis_angle(rotation_6d_to_matrix(unknowns.root_6d))[:, None]
    rest = jnp.asarray(np.concatenate([np.zeros((3, 3)), RELAXED_HAND_POSE]), jnp.float32)
    return jnp.concatenate([root, unknowns.joints, jnp.broadcast_to(rest, (frames, 33, 3))], axis=1)


def choose(unknowns: MotionUnknowns, index: int) -> MotionUnknowns:
    """One of the fitted motions."""
    return jax.tree.map(lambda x: x[index], unknowns)


def known_person(
    body: SkinnedBody, betas: Float[np.ndarray, " B"], rest_joints: Float[np.ndarray, "55 3"]
) -> ShapedBody:
    """The subset of a known person that the fit poses."""
    shaped = body.shape(jnp.asarray(betas)).with_rest_joints(jnp.asarray(rest_joints))
    return shaped.subset(skin_subset(body))


def rest_keypoints(person: ShapedBody) -> Float[np.ndarray, "18 3"]:
    """Keypoints of the rest pose of a `known_person`, for its bone lengths."""
    return np.asarray(openpose18_from(person.joints_rest, person.vertices_rest[:FACE_COUNT]))


def evidence(
    keypoints: Float[np.ndarray, "T 18 3"],
    intrinsics: Float[np.ndarray, "T 3 3"],
    Ts_world_camera: Float[np.ndarray, "T 4 4"],
    points: Float[np.ndarray, "T M 3"] | None,
    mask: Bool[np.ndarray, "T M"] | None,
    fps: float,
    *,
    known: bool,
) -> FitData:
    """What the fit reads; points in the camera's axes. known: the size of the person is."""
    frames = len(keypoints)
    if points is None or mask is None:
        points, mask = np.zeros((frames, 1, 3), np.float32), np.zeros((frames, 1), bool)
    chosen = slice(None, None, max(points.shape[1] // POINTS, 1))
    points, mask = np.where(mask[..., None], points, 0.0)[:, chosen], mask[:, chosen]
    world = points @ np.swapaxes(Ts_world_camera[:, :3, :3], 1, 2) + Ts_world_camera[:, None, :3, 3]
    weights = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)

    def array(x) -> Array:
        return jnp.asarray(x, jnp.float32)

    return FitData(
        keypoints=array(keypoints),
        intrinsics=array(intrinsics),
        Ts_camera_world=array(np.linalg.inv(Ts_world_camera)),
        points_world=array(world),
        point_weights=array(weights),
        fps=array(fps),
        scale_sigma=array(1e-4 if known else SCALE_SIGMA),
    )
