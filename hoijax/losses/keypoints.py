"""Anchor keypoints: reprojected body joints (AnchorHOI eq. 5) and contact pairs (eq. 6)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.bodies.fitting.residuals import keypoint_energy, normalized_residuals
from hoijax.geometry.safe_math import Scale
from hoijax.scene.interaction import AnchorPosed

KEYPOINT_RHO = 0.05  # of the focal length: a keypoint further off than this says little
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def body_keypoints(posed: AnchorPosed, scale: Scale = KEYPOINT_RHO) -> tuple[Values, Mask]:
    """Confidence-weighted Geman-McClure of reprojected joints, mean over 18 keypoints. (P, T)

    Residuals are in units of the focal length, so that weights do not depend on the resolution.
    """
    seen = posed.scene.seen
    in_camera = posed.in_camera(posed.keypoints_world)
    shape = (*in_camera.shape[:2], 3, 3)
    intrinsics = jnp.broadcast_to(posed.scene.objects.cameras.intrinsics[None], shape)
    squared = normalized_residuals(in_camera, intrinsics, seen.keypoints)
    confidence = seen.keypoints[..., 2]
    values = keypoint_energy(squared, confidence, jnp.asarray(scale))
    return values, jnp.any(confidence > 0.0, axis=-1)


def contact_keypoints(posed: AnchorPosed) -> tuple[Values, Mask]:
    """Mean squared distance of the pairs of each contact edge, where the edge touches. (E, T)"""
    pairs = posed.scene.pairs
    body, thing = posed.pair_points()
    squared = jnp.sum((body - thing) ** 2, axis=-1) * pairs.share[:, None]
    state = posed.neighbors.objects.contact_state
    total = jax.ops.segment_sum(squared, pairs.edge, num_segments=state.shape[0])
    filled = jax.ops.segment_sum(pairs.share, pairs.edge, num_segments=state.shape[0]) > 0.0
    return total * state, jnp.broadcast_to(filled[:, None], state.shape)
