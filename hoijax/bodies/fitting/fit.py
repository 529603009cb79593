"""Fit a body motion to 2D keypoints and a point map: a whole clip at once, several starts at once.

Adam on the joint rotations of every frame under the energy of `motion_energy`, in a basis in which slow
errors are single coordinates.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from hoijax.bodies.contact import RELAXED_HAND_POSE
from hoijax.bodies.fitting.energy import (
    FitData,
    MotionUnknowns,
    energy,
    pose_motion,
    shifted_points,
)
from hoijax.bodies.fitting.residuals import nearest_vertices
from hoijax.bodies.fitting.starts import MotionStart
from hoijax.bodies.pose_prior import REFERENCE_POSES
from hoijax.bodies.skinned_body import ShapedBody, SkinnedBody
from hoijax.geometry.descent import cosine_rate, descend
from hoijax.geometry.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_rotation_6d,
    rotation_6d_to_matrix,
)
from hoijax.programs import program

FIRST_RHO, LAST_RHO = 0.3, 0.05  # of the focal length: Geman-McClure scale of the keypoints
FIRST_RATE, LAST_RATE = 0.03, 0.001
SKIN_VERTICES = 480
START_POSES = (0, 2, 3)
"""Reference poses that the fit starts from: standing, seated, crouched."""
START_TURNS = (0.0, 1.0, -1.0)
"""Radians added to the heading found from the keypoints, where no point map settles it."""


def skin_subset(body: SkinnedBody, count: int = SKIN_VERTICES) -> np.ndarray:
    """The five face vertices, then `count` vertices spread evenly by area over the skin (host)."""
    from hoijax.bodies.parts import farthest_points

    spread = farthest_points(np.asarray(body.template), count)
    return np.concatenate([np.asarray(body.face_vertices), spread]).astype(np.int32)


def start_unknowns(start: MotionStart) -> MotionUnknowns:
    """One start for every pair of START_POSES and START_TURNS, then the lifted pose; a leading axis."""
    frames = len(start.yaw)
    headings = START_TURNS[:1] if start.has_depth else START_TURNS
    poses = REFERENCE_POSES[list(START_POSES)]
    starts = []
    for heading in headings:
        for pose in poses:
            still = np.repeat(pose[None], frames, axis=0)
            still[:, 0] = (start.yaw + heading)[:, None] * np.array([0.0, 1.0, 0.0])
            starts.append(still)
    if start.pose is not None:
        starts.append(start.pose)
    return posed_starts(np.stack(starts), start.pelvis_world)


def posed_starts(
    poses: Float[np.ndarray, "H T 22 3"], pelvis: Float[np.ndarray, "T 3"]
) -> MotionUnknowns:
    """Starts from axis-angles, root first, and the place of the pelvis joint in the world."""
    count, frames = poses.shape[:2]
    turns = jnp.asarray(poses, jnp.float32)
    translation = jnp.broadcast_to(jnp.asarray(pelvis, jnp.float32), (count, frames, 3))
    root = matrix_to_rotation_6d(axis_angle_to_matrix(turns[:, :, 0]))
    return MotionUnknowns(
        root, turns[:, :, 1:], translation, jnp.zeros_like(translation), jnp.zeros(count)
    )


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


def moved(start: MotionUnknowns, change: MotionUnknowns, basis: Array) -> MotionUnknowns:
    """Unknowns after changes in the coordinates of `time_basis`."""

    def along_time(x: Array, z: Array) -> Array:
        return x + jnp.tensordot(basis, z, axes=1) if x.ndim else x + z

    return jax.tree.map(along_time, start, change)


@program(static=("steps", "refresh_every"))
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
    total = -(-steps // refresh_every) * refresh_every
    basis = jnp.asarray(time_basis(data.keypoints.shape[0]))

    def one(start: MotionUnknowns) -> tuple[MotionUnknowns, Array]:
        def nearest_of(change: MotionUnknowns) -> Array:
            unknowns = moved(start, change, basis)
            vertices = jnp.asarray(pose_motion(shaped, unknowns).vertices_world)
            return nearest_vertices(shifted_points(data, unknowns), vertices)

        def cost(change: MotionUnknowns, nearest: Array, rho: Array, grip: Array) -> Array:
            return energy(moved(start, change, basis), shaped, data, nearest, rho, grip)

        def cost_at(change: MotionUnknowns, nearest: Array, index: Array) -> Array:
            progress = index / total
            rho = FIRST_RHO * (LAST_RHO / FIRST_RHO) ** jnp.minimum(2.0 * progress, 1.0)
            grip = slip_share * jnp.clip(2.0 * progress - 0.8, 0.0, 1.0)
            return cost(change, nearest, rho, grip)

        still = jax.tree.map(
            lambda x: jnp.zeros((basis.shape[1], *x.shape[1:])) if x.ndim else x * 0.0, start
        )
        change, _ = descend(
            cost_at,
            still,
            optax.adam(cosine_rate(FIRST_RATE, LAST_RATE, total)),
            total,
            refresh=nearest_of,
            refresh_every=refresh_every,
        )
        last = jnp.asarray(LAST_RHO)
        return moved(start, change, basis), cost(
            change, nearest_of(change), last, jnp.asarray(slip_share)
        )

    return jax.vmap(one)(starts)


def rotations_of(unknowns: MotionUnknowns) -> Float[Array, "T 55 3"]:
    """Axis-angle of all 55 joints, as in `Observations`."""
    frames = unknowns.pelvis.shape[0]
    root = matrix_to_axis_angle(rotation_6d_to_matrix(unknowns.root_6d))[:, None]
    rest = jnp.asarray(np.concatenate([np.zeros((3, 3)), RELAXED_HAND_POSE]), jnp.float32)
    return jnp.concatenate([root, unknowns.joints, jnp.broadcast_to(rest, (frames, 33, 3))], axis=1)


def known_person(
    body: SkinnedBody, betas: Float[np.ndarray, " B"], rest_joints: Float[np.ndarray, "55 3"]
) -> ShapedBody:
    """The subset of a known person that the fit poses."""
    shaped = body.shape(jnp.asarray(betas)).with_rest_joints(jnp.asarray(rest_joints))
    return shaped.subset(skin_subset(body))
