"""Body fit to the anchor (AnchorHOI, eq. 2): joints of a body against 2D skeletons in several views."""

from dataclasses import dataclass
from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from hoijax.bodies.fitting.energy import FACE_COUNT, MotionUnknowns, pose_motion, rest_keypoints
from hoijax.bodies.fitting.fit import rotations_of
from hoijax.bodies.fitting.residuals import keypoint_energy, normalized_residuals
from hoijax.bodies.keypoints import OPENPOSE_18, openpose18_from
from hoijax.bodies.pose_prior import REFERENCE_POSES, limit_excess, pose_energy
from hoijax.bodies.skinned_body import ShapedBody
from hoijax.candidates import lowest_loss, taken
from hoijax.composition.fields.guidance import ViewCameras
from hoijax.errors import UserError
from hoijax.geometry.descent import cosine_rate, descend
from hoijax.geometry.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from hoijax.geometry.transforms import transform_points

__all__ = ["BodyFit", "Skeletons", "fit_body", "skeletons_of", "triangulate"]

SIGMA, LIMIT_SIGMA, SCALE_SIGMA = 0.006, 0.05, 0.15
"""Of the focal length; radians; of the logarithm of the size, which several views settle."""
PRIOR_SHARE = 0.25
FIRST_RHO, LAST_RHO = 0.2, 0.02
FIRST_RATE, LAST_RATE = 0.04, 0.002
TURNS = (0.0, 0.5 * np.pi, np.pi, 1.5 * np.pi)
SEEN = 0.15
FEWEST_JOINTS = 6
_INDEX = {name: i for i, name in enumerate(OPENPOSE_18)}
_BONES = (
    ("neck", "right_hip"), ("neck", "left_hip"), ("right_shoulder", "left_shoulder"),
    ("right_hip", "right_knee"), ("left_hip", "left_knee"), ("right_knee", "right_ankle"),
    ("left_knee", "left_ankle"), ("right_shoulder", "right_elbow"), ("left_shoulder", "left_elbow"),
)  # fmt: skip


@flax.struct.dataclass
class Skeletons:
    """OpenPose keypoints in V views."""

    keypoints: Float[Array, "V 18 3"]
    """Pixels and confidence; 0: not detected."""
    intrinsics: Float[Array, "V 3 3"]
    Ts_camera_world: Float[Array, "V 4 4"]


@dataclass(frozen=True)
class BodyFit:
    """The winner of a fit, in SMPL-X terms."""

    rotations: Float[np.ndarray, "55 3"]
    """Axis-angle; fingers relaxed."""
    translation: Float[np.ndarray, " 3"]
    """On rest joints that are multiplied by `scale`."""
    scale: float
    joints_world: Float[np.ndarray, "55 3"]
    energies: Float[np.ndarray, " K"]
    label: str


def skeletons_of(keypoints: Float[np.ndarray, "V 18 3"], cameras: ViewCameras) -> Skeletons:
    """Detections and their cameras; what is not finite counts as not detected."""
    finite = np.isfinite(keypoints).all(-1, keepdims=True)
    return Skeletons(
        keypoints=jnp.asarray(np.where(finite, keypoints, 0.0), jnp.float32),
        intrinsics=jnp.asarray(cameras.intrinsics, jnp.float32),
        Ts_camera_world=jnp.asarray(np.linalg.inv(cameras.Ts_world_camera), jnp.float32),
    )


def triangulate(seen: Skeletons) -> Float[np.ndarray, "18 3"]:
    """Keypoints in the world by linear triangulation (DLT), weighted by confidence; NaN under two views."""
    keypoints = np.asarray(seen.keypoints, np.float64)
    projections = np.asarray(seen.intrinsics) @ np.asarray(seen.Ts_camera_world)[:, :3]
    points = np.full((18, 3), np.nan)
    for j in range(18):
        views = np.flatnonzero(keypoints[:, j, 2] > SEEN)
        if len(views) < 2:
            continue
        P, uvc = projections[views].astype(np.float64), keypoints[views, j]
        rows = np.concatenate([uvc[:, i : i + 1] * P[:, 2] - P[:, i] for i in (0, 1)]) * np.tile(
            uvc[:, 2:], (2, 1)
        )
        solution = np.linalg.svd(rows)[2][-1]
        if abs(solution[3]) > 1e-9:
            points[j] = solution[:3] / solution[3]
    return points


def fit_body(
    person: ShapedBody, seen: Skeletons, *, steps: int = 300, known_scale: bool = False
) -> BodyFit:
    """The pose, place and scale {s, r, t, theta} whose joints project onto the skeletons.

    person: a `motion_fit.known_person` (five face vertices first). Starts: every reference pose at four
    headings, all at once. UserError where too few joints are seen from two sides.
    """
    points = triangulate(seen)
    located = np.isfinite(points).all(axis=1)
    if located.sum() < FEWEST_JOINTS:
        raise UserError(
            f"the body cannot be fitted: {int(located.sum())} of 18 keypoints are seen in two views of the "
            f"anchor field, {FEWEST_JOINTS} are needed. Distil the coarse field for longer, or render "
            "larger images."
        )
    starts = _starts(person, points)
    unknowns, energies = _fit(person, seen, starts, steps=steps, known_scale=known_scale)
    energies = np.asarray(energies)
    if not np.isfinite(energies).any():
        raise UserError("the body fit is not finite from any start; detect the skeletons again.")
    best = lowest_loss(energies)
    winner = taken(unknowns, best)
    scale = float(jnp.exp(winner.log_scale))
    joints = np.asarray(pose_motion(person, winner).joints_world)[0]
    pose, yaw = divmod(best, len(TURNS))
    names = ("standing", "reaching", "sitting", "crouching")
    return BodyFit(
        rotations=np.asarray(rotations_of(winner))[0],
        translation=np.asarray(winner.pelvis)[0] - scale * np.asarray(person.joints_rest)[0],
        scale=scale,
        joints_world=joints,
        energies=energies,
        label=f"{names[pose]}, {round(np.degrees(TURNS[yaw]))} degrees",
    )


def _starts(person: ShapedBody, points: Float[np.ndarray, "18 3"]) -> MotionUnknowns:
    """Reference poses x headings, at the triangulated hips, in the size that the bones say."""
    rest = rest_keypoints(person)
    ratios = [
        np.linalg.norm(points[_INDEX[a]] - points[_INDEX[b]])
        / np.linalg.norm(rest[_INDEX[a]] - rest[_INDEX[b]])
        for a, b in _BONES
    ]
    scale = float(np.nanmedian(ratios)) if np.isfinite(ratios).any() else 1.0
    scale = float(np.clip(scale, 0.2, 5.0))
    hips = points[[_INDEX["left_hip"], _INDEX["right_hip"]]]
    middle = np.nanmean(hips if np.isfinite(hips).any() else points, axis=0)
    heading = _heading(points)
    turns = np.tile(np.asarray(TURNS) + heading, len(REFERENCE_POSES)).astype(np.float32)
    count = len(turns)
    poses = np.repeat(REFERENCE_POSES[:, 1:], len(TURNS), axis=0)
    axis_angle = turns[:, None] * np.array([0.0, 1.0, 0.0], np.float32)
    root = matrix_to_rotation_6d(axis_angle_to_matrix(jnp.asarray(axis_angle, jnp.float32)))
    pelvis = middle + np.array([0.0, 0.1 * scale, 0.0])
    return MotionUnknowns(
        root_6d=root[:, None],
        joints=jnp.asarray(poses[:, None], jnp.float32),
        pelvis=jnp.asarray(np.tile(pelvis, (count, 1, 1)), jnp.float32),
        shift=jnp.zeros((count, 1, 3)),
        log_scale=jnp.full(count, np.log(scale), jnp.float32),
    )


def _heading(points: Float[np.ndarray, "18 3"]) -> float:
    """Yaw of a person by the line across shoulders and hips; 0 where they were not seen."""
    across = [
        points[_INDEX[f"left_{name}"]] - points[_INDEX[f"right_{name}"]]
        for name in ("shoulder", "hip")
    ]
    across = [a for a in across if np.isfinite(a).all()]
    if not across:
        return 0.0
    x, _, z = np.mean(across, axis=0)
    return float(np.arctan2(-z, x))


@partial(jax.jit, static_argnames=("steps", "known_scale"))
def _fit(
    person: ShapedBody, seen: Skeletons, starts: MotionUnknowns, *, steps: int, known_scale: bool
) -> tuple[MotionUnknowns, Float[Array, " K"]]:
    def one(start: MotionUnknowns):
        def cost(unknowns: MotionUnknowns, rho: Array) -> Array:
            return _energy(unknowns, start.log_scale, person, seen, rho, known_scale)

        def cost_at(unknowns: MotionUnknowns, _: None, index: Array) -> Array:
            progress = index / steps
            rho = FIRST_RHO * (LAST_RHO / FIRST_RHO) ** jnp.minimum(1.5 * progress, 1.0)
            return cost(unknowns, rho)

        adam = optax.adam(cosine_rate(FIRST_RATE, LAST_RATE, steps))
        unknowns, _ = descend(cost_at, start, adam, steps)
        return unknowns, cost(unknowns, jnp.asarray(LAST_RHO))

    return jax.vmap(one)(starts)


def _energy(unknowns, log_scale, person, seen, rho, known_scale) -> Float[Array, ""]:
    """Negative log-likelihood of one pose: eq. 2, joint limits, pose prior, size."""
    posed = pose_motion(person, unknowns)
    keypoints = openpose18_from(posed.joints_world[0], posed.vertices_world[0, :FACE_COUNT])  # pyright: ignore
    everywhere = jnp.broadcast_to(keypoints, (seen.keypoints.shape[0], *keypoints.shape))
    in_camera = transform_points(seen.Ts_camera_world, everywhere)
    squared = normalized_residuals(in_camera, seen.intrinsics, seen.keypoints)
    views = 18.0 * keypoint_energy(squared, seen.keypoints[..., 2], rho) / SIGMA**2
    pose = jnp.concatenate([jnp.zeros((1, 3)), unknowns.joints[0]])
    spread = 1e-4 if known_scale else SCALE_SIGMA
    center = 0.0 if known_scale else log_scale
    return (
        0.5 * jnp.sum(views)
        + 0.5 * limit_excess(pose) / LIMIT_SIGMA**2
        + PRIOR_SHARE * pose_energy(pose)
        + 0.5 * ((unknowns.log_scale - center) / spread) ** 2
    )
