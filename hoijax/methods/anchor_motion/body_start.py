"""Where bodies start: fitted to keypoints and point map, as the bundle estimates them, or a static scene."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np

from hoijax.bodies.fitting.energy import depths_behind_skin, evidence, rest_keypoints
from hoijax.bodies.fitting.fit import (
    fit_motion,
    known_person,
    posed_starts,
    rotations_of,
    start_unknowns,
)
from hoijax.bodies.fitting.starts import find_start
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.write import Bundle
from hoijax.candidates import lowest_loss, taken
from hoijax.errors import UserError
from hoijax.geometry.camera_motion import average_static_camera
from hoijax.scene.build_bodies import BodyMotions, StaticScene

SLIP_SHARE = 0.3
"""Of the fit's foot slip term. All of it holds small steps fast, which then count as standing; a tenth
lets a hidden leg wander. Which frames feet stand in is decided later (see `foot_plants`)."""


def start_bodies(
    bundle: Bundle, body: SkinnedBody, kind: str, static: StaticScene | None
) -> BodyMotions:
    """Motions of all people; `kind` is one of BODY_STARTS.

    A person without any usable keypoint starts from the bundle's estimate.
    """
    o = bundle.observations
    if kind == "estimate":
        return BodyMotions(np.asarray(o.body_rotations), np.asarray(o.body_translations))
    if kind == "static":
        if static is None:
            raise UserError("the body start 'static' needs a static scene: give --static RESULT.")
        return repeated(static, o.frame_count)
    fitted = [
        _fitted(bundle, body, person, with_estimate=kind == "fit")
        for person in range(o.person_count)
    ]
    return BodyMotions(
        np.stack([rotations for rotations, _ in fitted]),
        np.stack([translations for _, translations in fitted]),
    )


def repeated(static: StaticScene, frames: int) -> BodyMotions:
    """The still in every frame."""
    return BodyMotions(
        np.repeat(static.rotations[:, None], frames, axis=1).astype(np.float32),
        np.repeat(static.translations[:, None], frames, axis=1).astype(np.float32),
    )


def _fitted(
    bundle: Bundle, body: SkinnedBody, person: int, *, with_estimate: bool
) -> tuple[np.ndarray, np.ndarray]:
    o = bundle.observations
    estimate = np.asarray(o.body_rotations[person]), np.asarray(o.body_translations[person])
    keypoints = np.asarray(o.keypoints[person])
    keypoints = np.where(np.isfinite(keypoints).all(-1, keepdims=True), keypoints, 0.0)
    cameras = average_static_camera(np.asarray(o.Ts_world_camera))
    known = known_person(body, o.body_betas[person], o.body_rest_joints[person])
    seen = keypoints, o.intrinsics, cameras
    points = o.person_points[person], o.person_point_mask[person]
    try:
        start = find_start(
            *seen,
            rest_keypoints(known),
            *points,
            scale=1.0,
            behind_skin=depths_behind_skin(known),
        )
    except UserError as error:
        warnings.warn(
            f"person {person + 1}: {error} The bundle's body motion is taken instead.",
            stacklevel=2,
        )
        return estimate
    starts, center = start_unknowns(start), None
    rest_pelvis = np.asarray(o.body_rest_joints[person][0])
    if with_estimate:
        center = estimate[0][:, :22]
        ours = starts, posed_starts(center[None], estimate[1] + rest_pelvis)
        starts = jax.tree.map(lambda *x: jnp.concatenate(x), *ours)
    data = evidence(known, *seen, *points, bundle.fps, known=True, estimate=center)
    motions, energies = fit_motion(known, data, starts, slip_share=SLIP_SHARE)
    best = taken(motions, lowest_loss(energies))
    rotations = np.array(rotations_of(best))
    # Fingers and face are no keypoints: the estimate knows more about them than a resting hand.
    rotations[:, 22:] = estimate[0][:, 22:]
    return rotations, (np.asarray(best.pelvis) - rest_pelvis).astype(np.float32)
