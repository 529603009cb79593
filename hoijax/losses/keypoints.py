"""Anchor keypoints: reprojected body joints (AnchorHOI eq. 5) and contact pairs (eq. 6)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.bodies.fitting.residuals import keypoint_energy, normalized_residuals
from hoijax.geometry.safe_math import Scale
from hoijax.scene.posed import PosedScene, present

KEYPOINT_RHO = 0.05  # of the focal length: a keypoint further off than this says little
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def body_keypoints(posed: PosedScene, scale: Scale = KEYPOINT_RHO) -> tuple[Values, Mask]:
    """Confidence-weighted Geman-McClure of reprojected joints, mean over 18 keypoints. (P, T)

    Residuals are in units of the focal length, so that weights do not depend on the resolution.
    """
    observed = present(posed.scene.observed_people, "keypoints of people")
    in_camera = posed.in_camera(present(posed.keypoints_world, "keypoints of moving bodies"))
    shape = (*in_camera.shape[:2], 3, 3)
    intrinsics = jnp.broadcast_to(posed.scene.cameras.intrinsics[None], shape)
    squared = normalized_residuals(in_camera, intrinsics, observed.keypoints)
    confidence = observed.keypoints[..., 2]
    values = keypoint_energy(squared, confidence, jnp.asarray(scale))
    return values, jnp.any(confidence > 0.0, axis=-1)


def contact_keypoints(posed: PosedScene) -> tuple[Values, Mask]:
    """Mean squared distance of the pairs of each contact edge, where the edge touches. (E, T)"""
    pairs = present(posed.scene.pairs, "contact pairs")
    body, on_object = posed.pair_points()
    squared = jnp.sum((body - on_object) ** 2, axis=-1) * pairs.share[:, None]
    state = posed.neighbors.contact_state
    total = jax.ops.segment_sum(squared, pairs.edge, num_segments=state.shape[0])
    filled = jax.ops.segment_sum(pairs.share, pairs.edge, num_segments=state.shape[0]) > 0.0
    return total * state, jnp.broadcast_to(filled[:, None], state.shape)
