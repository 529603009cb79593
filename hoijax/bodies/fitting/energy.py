"""How likely a body motion is, given what was seen of a person: the energy of the body fit.

Reprojection, depth and surface of the point map, the pose prior, smoothness, and feet that stand on the
ground. Energies are negative log-likelihoods, so that their weights are the standard deviations named
below.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hoijax.bodies.contact import RELAXED_HAND_POSE
from hoijax.bodies.fitting.residuals import (
    FEET,
    bend,
    ground_energy,
    keypoint_energy,
    normalized_residuals,
    slip_energy,
    standing_energy,
    step,
    surface_energy,
)
from hoijax.bodies.fitting.starts import skin_depths
from hoijax.bodies.keypoints import openpose18_from
from hoijax.bodies.pose_prior import limit_excess, pose_energy, prior_centers
from hoijax.bodies.skinned_body import PosedBody, ShapedBody
from hoijax.geometry.rotations import axis_angle_to_matrix, rotation_6d_to_matrix
from hoijax.geometry.safe_math import geman_mcclure
from hoijax.geometry.transforms import transform_points

KEYPOINT_SIGMA = 0.012  # of the focal length: three pixels at 250
SURFACE_SIGMA, SURFACE_RHO, SURFACE_COUNT = 0.04, 0.15, 20.0
"""Errors of a point map are alike over a person: its points count as this many independent ones."""
DEPTH_SIGMA = 0.05  # metres; of a joint's depth, from the skin seen at its keypoint
DEPTH_RHO = 0.15  # metres; a joint further in front of the skin seen at its keypoint says little
LIFT_SIGMA, LIFT_RHO = 0.10, 0.30
"""Metres along the view by which a network that lifts keypoints errs, one joint against the others."""
BEHIND_SHARE = 0.4
"""Of that scale for joints behind: another part of the body may hide them."""
LIMIT_SIGMA, GROUND_SIGMA, SCALE_SIGMA = 0.05, 0.01, 0.05
SLIP_SIGMA = 0.144  # metres a second
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
UNSEEN_SPEED = 1.0
"""Metres per second of joints in frames without keypoints: smoothness alone lets them go on for ever."""
PRIOR_SHARE = 0.5
FACE_COUNT = 5
POINTS = 192  # seen points of a frame that the fit reads


@flax.struct.dataclass
class FitData:
    """Evidence about one person. Weights and confidences of 0 mean: not seen."""

    keypoints: Float[Array, "T 18 3"]
    intrinsics: Float[Array, "T 3 3"]
    Ts_camera_world: Float[Array, "T 4 4"]
    points_world: Float[Array, "T M 3"]
    point_weights: Float[Array, "T M"]
    """1 / number of points of the frame, or 0."""
    depths: Float[Array, "T 18"]
    """Of the keypoints in the camera's frame, by the point map; 0 where none of its points is near."""
    lifts: Float[Array, "T 18"]
    """Metres by which keypoints lie behind the person's middle, as a network lifted them."""
    lift_weights: Float[Array, "T 18"]
    """Their confidence; 0 where nothing was lifted."""
    references: Float[Array, "T R 22 3"]
    """Centers of the pose prior in every frame."""
    fps: Float[Array, ""]
    scale_sigma: Float[Array, ""]
    """Standard deviation of the logarithm of the size; tiny for a known person."""
    ground: Float[Array, ""]
    """1: the ground is at y = 0; 0: nobody knows how high the camera stands above it."""


@flax.struct.dataclass
class MotionUnknowns:
    """Root rotation, 21 local joint rotations, pelvis in the world, shift of points (camera), size."""

    root_6d: Float[Array, "T 6"]
    joints: Float[Array, "T 21 3"]
    pelvis: Float[Array, "T 3"]
    shift: Float[Array, "T 3"]
    log_scale: Float[Array, ""]


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
    """Mean over frames of the negative log-likelihood. `shaped`: faces first, see `known_person`.

    grip: share of the foot slip term; feet that stick where they started never find their steps.
    """
    posed = pose_motion(shaped, unknowns)
    vertices = jnp.asarray(posed.vertices_world)
    joints = jnp.asarray(posed.joints_world)
    keypoints = jax.vmap(openpose18_from)(joints, vertices[:, :FACE_COUNT])
    in_camera = transform_points(data.Ts_camera_world, keypoints)
    squared = normalized_residuals(in_camera, data.intrinsics, data.keypoints)
    seen = 18.0 * keypoint_energy(squared, data.keypoints[..., 2], rho) / KEYPOINT_SIGMA**2
    deep = in_camera[..., 2] - unknowns.shift[:, 2:]
    depth = 18.0 * depth_energy(deep, data.depths, data.keypoints[..., 2], DEPTH_RHO)
    lifted = 18.0 * lift_energy(in_camera, data.lifts, data.lift_weights)
    points = shifted_points(data, unknowns)
    surface = surface_energy(points, data.point_weights, vertices, nearest, SURFACE_RHO)
    pose = jnp.concatenate([jnp.zeros_like(unknowns.joints[:, :1]), unknowns.joints], axis=1)
    wobble = jnp.sum((bend(joints[:, :22]) / ACCELERATIONS[:, None]) ** 2, axis=(-1, -2))
    unseen = 1.0 / (1.0 + jnp.sum(data.keypoints[..., 2], axis=-1))
    drift = unseen * jnp.sum((step(joints[:, :22]) / UNSEEN_SPEED) ** 2, axis=(-1, -2))
    feet = joints[:, np.array(FEET)]
    on_ground = (
        2.0 * grip * slip_energy(feet, data.fps) / SLIP_SIGMA**2
        + 0.5 * ground_energy(vertices[..., 1]) / GROUND_SIGMA**2
        + 0.5 * standing_energy(vertices[..., 1]) / STANDING_SIGMA**2
    )
    per_frame = (
        0.5 * seen
        + 0.5 * depth / DEPTH_SIGMA**2
        + 0.5 * lifted / LIFT_SIGMA**2
        + 0.5 * SURFACE_COUNT * surface / SURFACE_SIGMA**2
        + 0.5 * jnp.sum((unknowns.shift / jnp.asarray(SHIFT_SIGMA)) ** 2, axis=-1)
        + 0.5 * limit_excess(pose) / LIMIT_SIGMA**2
        + PRIOR_SHARE * pose_energy(pose, data.references)
        + 0.5 * wobble * (2.0 * data.fps**2) ** 2
        + 0.5 * drift * data.fps**2
        + data.ground * on_ground
    )
    return jnp.mean(per_frame) + 0.5 * (unknowns.log_scale / data.scale_sigma) ** 2


def depth_energy(
    depth: Float[Array, "*batch n"],
    observed: Float[Array, "*batch n"],
    confidence: Float[Array, "*batch n"],
    rho: float | Float[Array, ""],
) -> Float[Array, "*batch"]:
    """Squared error of the keypoints' camera depths, robust, weighted by confidence; mean over them.

    observed: by the skin seen at a keypoint; 0: not known. The nearest skin of a seen point does not
    tell arms from trunks, nor a limb that points at the camera from one that points away: this does.
    """
    away = jnp.where(observed > 0.0, depth - observed, 0.0)
    hidden = geman_mcclure(away**2, BEHIND_SHARE * rho)
    cost = jnp.where(away > 0.0, hidden, geman_mcclure(away**2, rho))
    return jnp.mean(confidence * cost, axis=-1)


def lift_energy(
    in_camera: Float[Array, "*batch n 3"],
    lifts: Float[Array, "*batch n"],
    weights: Float[Array, "*batch n"],
) -> Float[Array, "*batch"]:
    """Squared error of how far keypoints lie behind each other along the view; robust, mean over them.

    Pixels do not tell a limb that points at the camera from one that points away: this does. The view is
    the ray to the person, where the network looked; how far away the whole person is, it does not know.
    """
    middle = jax.lax.stop_gradient(in_camera.mean(axis=-2))
    ray = middle / jnp.maximum(jnp.linalg.norm(middle, axis=-1, keepdims=True), 1e-6)
    apart = jnp.einsum("...nk,...k->...n", in_camera, ray) - lifts
    share = weights / jnp.maximum(weights.sum(axis=-1, keepdims=True), 1e-6)
    apart = apart - jnp.sum(share * apart, axis=-1, keepdims=True)
    return jnp.mean(weights * geman_mcclure(apart**2, LIFT_RHO), axis=-1)


def rest_keypoints(person: ShapedBody) -> Float[np.ndarray, "18 3"]:
    """Keypoints of the rest pose of a person, faces first (see `known_person`): for bone lengths."""
    return np.asarray(openpose18_from(person.joints_rest, person.vertices_rest[:FACE_COUNT]))


def depths_behind_skin(person: ShapedBody) -> Float[np.ndarray, " 18"]:
    """Metres from each keypoint to the nearest skin of the resting body; 0 in the face."""
    away = rest_keypoints(person)[:, None] - np.asarray(person.vertices_rest)
    return np.linalg.norm(away, axis=-1).min(axis=1)


def evidence(
    person: ShapedBody,
    keypoints: Float[np.ndarray, "T 18 3"],
    intrinsics: Float[np.ndarray, "T 3 3"],
    Ts_world_camera: Float[np.ndarray, "T 4 4"],
    points: Float[np.ndarray, "T M 3"] | None,
    mask: Bool[np.ndarray, "T M"] | None,
    fps: float,
    *,
    known: bool,
    estimate: Float[np.ndarray, "T 22 3"] | None = None,
    ground_known: bool = True,
    lifts: Float[np.ndarray, "T 18"] | None = None,
) -> FitData:
    """What the fit reads; points in the camera's axes.

    person: faces first, see `known_person`. known: its size is. estimate: local rotations that somebody
    else found, a further center of the pose prior. ground_known: it is at y = 0. lifts: metres by which a
    network saw keypoints behind the person's middle, NaN where it did not.
    """
    frames = len(keypoints)
    lifts = np.full((frames, 18), np.nan) if lifts is None else lifts
    depths = skin_depths(keypoints, intrinsics, points, mask) + depths_behind_skin(person)
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
        depths=array(np.nan_to_num(depths)),
        lifts=array(np.nan_to_num(lifts)),
        lift_weights=array(np.where(np.isfinite(lifts), keypoints[..., 2], 0.0)),
        references=array(prior_centers(frames, estimate)),
        fps=array(fps),
        scale_sigma=array(1e-4 if known else SCALE_SIGMA),
        ground=array(float(ground_known)),
    )
