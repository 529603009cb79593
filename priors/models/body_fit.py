"""Body motion from keypoints and point maps: our own fit, for users without a recovery model.

Needs no weights and no extra package. See hoijax.bodies.fitting.energy for what is minimised.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.bodies.fitting.energy import depths_behind_skin, evidence, rest_keypoints
from hoijax.bodies.fitting.fit import choose, fit_motion, known_person, rotations_of, start_unknowns
from hoijax.bodies.fitting.starts import find_start
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.errors import UserError
from hoijax.geometry.camera_motion import average_static_camera
from priors.protocols import BodyMotion, ModelId

MODEL_ID = ModelId("hoijax-body-fit", "1")


def fit_body(
    keypoints: Float[ndarray, "T 18 3"],
    intrinsics: Float[ndarray, "_ 3 3"],
    Ts_world_camera: Float[ndarray, "_ 4 4"],
    *,
    body: SkinnedBody,
    person_points: Float[ndarray, "_ M 3"] | None = None,
    person_point_mask: Bool[ndarray, "_ M"] | None = None,
    fps: float,
    betas: Float[ndarray, " B"] | None = None,
    rest_joints: Float[ndarray, "55 3"] | None = None,
    steps: int = 600,
) -> BodyMotion:
    """The motion of one person whose 2D keypoints (u, v, confidence) were seen.

    person_points: of the point map, in the camera's axes (metres, up to a small shift a frame).
    betas, rest_joints: of a known person; the size is estimated where both are missing.
    Frames without keypoints are filled in by smoothness. Raises UserError where no frame has usable
    keypoints, or where arrays disagree.
    """
    frames = len(keypoints)
    _check(frames, intrinsics, Ts_world_camera, person_points, person_point_mask)
    Ts_world_camera = average_static_camera(np.asarray(Ts_world_camera))
    keypoints = np.where(np.isfinite(keypoints).all(-1, keepdims=True), keypoints, 0.0)
    known = betas is not None or rest_joints is not None
    betas = np.zeros(1, np.float32) if betas is None else np.asarray(betas, np.float32)
    if rest_joints is None:
        rest_joints = np.asarray(body.shape(betas).joints_rest)
    mask = _finite_mask(person_points, person_point_mask)
    person = known_person(body, betas, rest_joints)
    start = find_start(
        keypoints,
        intrinsics,
        Ts_world_camera,
        rest_keypoints(person),
        person_points,
        mask,
        scale=1.0 if known else None,
        behind_skin=depths_behind_skin(person),
    )
    if not known and start.scale != 1.0:
        betas, rest_joints = resized(body, rest_joints, start.scale)
        person = known_person(body, betas, rest_joints)
    data = evidence(
        person, keypoints, intrinsics, Ts_world_camera, person_points, mask, fps, known=known
    )
    fitted, energies = fit_motion(person, data, start_unknowns(start), steps=steps)
    energies = np.asarray(energies)
    best = choose(fitted, int(np.argmin(np.where(np.isfinite(energies), energies, np.inf))))
    pelvis = np.asarray(best.pelvis)
    if not known:
        betas, rest_joints = resized(body, rest_joints, float(np.exp(best.log_scale)))
    if not np.isfinite(pelvis).all():
        raise UserError("the body fit did not stay finite: check the keypoints and intrinsics.")
    return BodyMotion(
        rotations=np.asarray(rotations_of(best)),
        translations=(pelvis - rest_joints[0]).astype(np.float32),
        betas=betas,
        rest_joints=np.asarray(rest_joints, np.float32),
        Ts_world_camera=np.asarray(Ts_world_camera, np.float32),
    )


def _check(frames, intrinsics, Ts_world_camera, points, mask) -> None:
    sizes = {"intrinsics": intrinsics, "Ts_world_camera": Ts_world_camera, "person_points": points}
    for name, array in sizes.items():
        if array is not None and len(array) != frames:
            raise UserError(f"{name} has {len(array)} frames, but the keypoints have {frames}.")
    if (points is None) != (mask is None):
        raise UserError("person_points and person_point_mask go together: give both or neither.")
    if frames < 3:
        raise UserError(f"a body motion needs at least 3 frames, got {frames}.")


def _finite_mask(points: ndarray | None, mask: ndarray | None) -> ndarray | None:
    if points is None or mask is None:
        return None
    return mask & np.isfinite(points).all(-1)


def resized(body: SkinnedBody, rest_joints: ndarray, scale: float) -> tuple[ndarray, ndarray]:
    """Shape parameters and rest joints of a person of another size."""
    joints = np.asarray(rest_joints, np.float32) * np.float32(scale)
    return body.fit_betas(joints), joints
