"""The whole fit of one person: start, size, motion. Needs no weights and no extra package.

See `hoijax.bodies.fitting.energy` for what is minimized.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.bodies.fitting.energy import depths_behind_skin, evidence, rest_keypoints
from hoijax.bodies.fitting.fit import fit_motion, known_person, rotations_of, start_unknowns
from hoijax.bodies.fitting.starts import find_start
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.candidates import lowest_loss, taken
from hoijax.errors import UserError
from hoijax.geometry.camera_motion import average_static_camera

FEWEST_FRAMES = 3
"""Of a motion; a shorter clip is fitted with its last frame repeated."""


@dataclass(frozen=True)
class FittedPerson:
    """Motion and shape of one person, as in `Observations`."""

    rotations: Float[ndarray, "T 55 3"]
    translations: Float[ndarray, "T 3"]
    betas: Float[ndarray, " B"]
    rest_joints: Float[ndarray, "55 3"]
    Ts_world_camera: Float[ndarray, "T 4 4"]


def fit_person(
    keypoints: Float[ndarray, "T 18 3"],
    intrinsics: Float[ndarray, "T 3 3"],
    Ts_world_camera: Float[ndarray, "T 4 4"],
    *,
    body: SkinnedBody,
    person_points: Float[ndarray, "T M 3"] | None = None,
    person_point_mask: Bool[ndarray, "T M"] | None = None,
    fps: float,
    betas: Float[ndarray, " B"] | None = None,
    rest_joints: Float[ndarray, "55 3"] | None = None,
    ground_known: bool = True,
    lifts: Float[ndarray, "T 18"] | None = None,
    steps: int = 600,
) -> FittedPerson:
    """The motion of one person whose 2D keypoints (u, v, confidence) were seen.

    person_points: of the point map, in the camera's axes (metres, up to a small shift a frame).
    betas, rest_joints: of a known person; the size is estimated where both are missing.
    ground_known: it is at y = 0 of the world, else nothing is said of feet.
    lifts: metres by which keypoints lie behind the person's middle, by a network; NaN where unknown.
    Frames without keypoints are filled in by smoothness. Raises UserError where no frame has usable
    keypoints.
    """
    frames = len(keypoints)
    index = np.minimum(np.arange(max(frames, FEWEST_FRAMES)), frames - 1)
    keypoints = np.where(np.isfinite(keypoints).all(-1, keepdims=True), keypoints, 0.0)[index]
    cameras = average_static_camera(np.asarray(Ts_world_camera))[index]
    seen = keypoints, np.asarray(intrinsics)[index], cameras
    points, mask = person_points, person_point_mask
    if points is not None and mask is not None:
        points, mask = points[index], (mask & np.isfinite(points).all(-1))[index]
    lifts = None if lifts is None else lifts[index]
    known = betas is not None or rest_joints is not None
    betas = np.zeros(1, np.float32) if betas is None else np.asarray(betas, np.float32)
    if rest_joints is None:
        rest_joints = np.asarray(body.shape(betas).joints_rest)
    person = known_person(body, betas, rest_joints)
    start = find_start(
        *seen,
        rest_keypoints(person),
        points,
        mask,
        scale=1.0 if known else None,
        behind_skin=depths_behind_skin(person),
        lifts=lifts,
    )
    if not known and start.scale != 1.0:
        betas, rest_joints = resized(body, rest_joints, start.scale)
        person = known_person(body, betas, rest_joints)
    data = evidence(
        person, *seen, points, mask, fps, known=known, ground_known=ground_known, lifts=lifts
    )
    fitted, energies = fit_motion(person, data, start_unknowns(start), steps=steps)
    best = taken(fitted, lowest_loss(energies))
    pelvis = np.asarray(best.pelvis)
    if not known:
        betas, rest_joints = resized(body, rest_joints, float(np.exp(best.log_scale)))
    if not np.isfinite(pelvis).all():
        raise UserError("the body fit did not stay finite: check the keypoints and intrinsics.")
    return FittedPerson(
        rotations=np.asarray(rotations_of(best))[:frames],
        translations=(pelvis - rest_joints[0]).astype(np.float32)[:frames],
        betas=betas,
        rest_joints=np.asarray(rest_joints, np.float32),
        Ts_world_camera=np.asarray(cameras, np.float32)[:frames],
    )


def resized(body: SkinnedBody, rest_joints: ndarray, scale: float) -> tuple[ndarray, ndarray]:
    """Shape parameters and rest joints of a person of another size."""
    joints = np.asarray(rest_joints, np.float32) * np.float32(scale)
    return body.fit_betas(joints), joints
