"""The terms of anchor motion, and what they look up: body, objects, and both together."""

from collections.abc import Sequence

from hoijax.losses import articulation, body, contacts, fit, penetrations, smoothness
from hoijax.losses.body import (
    body_estimate,
    body_ground,
    body_mask,
    body_points,
    body_smoothness,
    foot_clearance,
    foot_lock,
    foot_slip,
    object_in_body,
    self_penetration,
)
from hoijax.losses.keypoints import KEYPOINT_RHO, body_keypoints, contact_keypoints
from hoijax.losses.pose_priors import finger_prior, joint_limits, pose_prior
from hoijax.losses.rendered import DEPTH_RHO, rendered_colors, rendered_depth, rendered_masks
from hoijax.losses.term import LossTerm
from hoijax.methods.hoi_page.terms import EXTENT_TERM
from hoijax.scene.posed import pose_scene
from hoijax.solver.neighbor_lists import refresh_all, refresh_bodies
from hoijax.solver.problem import Problem

TERMS = (
    LossTerm.constant("body_keypoints", body_keypoints, 2e3, scale=KEYPOINT_RHO),
    LossTerm.constant("body_points", body_points, 2e2, scale=body.POINT_RHO),
    LossTerm.constant("body_mask", body_mask, 5e-3, scale=body.MASK_RHO),
    LossTerm.constant("joint_limits", joint_limits, 7.0),
    LossTerm.constant("pose_prior", pose_prior, 1.5e-2),
    LossTerm.constant("body_smoothness", body_smoothness, 2.6e-4),
    LossTerm.constant("foot_slip", foot_slip, 3.47),
    LossTerm("foot_lock", foot_lock, 5e2, 1e5),
    LossTerm.constant("foot_clearance", foot_clearance, 1e3),
    LossTerm.constant("body_ground", body_ground, 1.7e2),
    LossTerm.constant("object_points", fit.robust_object_points, 1e3, scale=fit.POINT_RHO),
    LossTerm.constant("part_points", fit.robust_part_points, 3e2, scale=fit.POINT_RHO),
    LossTerm.constant("model_mask", fit.model_mask, 2e-2, scale=fit.MASK_RHO),
    LossTerm.constant("translation_smoothness", smoothness.translation_smoothness, 3e3),
    LossTerm.constant("rotation_smoothness", smoothness.rotation_smoothness, 1e2),
    LossTerm.constant("ground", penetrations.ground, 1e2),
    LossTerm.constant("object_penetration", penetrations.object_penetration, 10.0),
    LossTerm("penetration", penetrations.penetration, 0.0, 1200.0),
    LossTerm("object_in_body", object_in_body, 0.0, 800.0),
    LossTerm("self_penetration", self_penetration, 0.0, 100.0),
    LossTerm.constant("contact_keypoints", contact_keypoints, 15.0),
    LossTerm.constant("contact", contacts.contact, 8.0),
    LossTerm("contact_drift", contacts.contact_drift, 1.0, 1e1),
)
RENDERED_TERMS = (
    LossTerm.constant("rendered_masks", rendered_masks, 0.5),
    LossTerm.constant("rendered_colors", rendered_colors, 0.5),
    LossTerm.constant("rendered_depth", rendered_depth, 1e2, scale=DEPTH_RHO),
)
"""Added to TERMS where images are rendered."""
JOINT_TERMS = (
    LossTerm.constant("object_joint_limits", articulation.object_joint_limits, 1e3),
    LossTerm.constant("object_joint_smoothness", articulation.object_joint_smoothness, 1e4),
)
"""Added to TERMS where objects hang on joints."""
HAND_TERMS = (LossTerm.constant("finger_prior", finger_prior, 0.3),)
"""Added to TERMS where fingers are unknowns."""
OUTLINE_TERMS = (EXTENT_TERM,)
"""Added to TERMS where an object has no depth."""
ESTIMATE_TERMS = (LossTerm.constant("body_estimate", body_estimate, 4e2, scale=body.ESTIMATE_RHO),)
"""Added to TERMS where bodies start from the bundle's motion: keypoints alone do not overrule it."""
TRACKING_TERMS = ("foot_slip",)
"""Only while tracking: afterwards it is known which frames feet stand in."""
PLANT_TERMS = ("foot_lock", "foot_clearance")
"""Only once that is known."""
PENETRATION_TERMS = ("penetration", "object_in_body", "self_penetration")


def anchor_table(
    *,
    rendered: bool,
    jointed: bool,
    hands: bool,
    outlined: bool = False,
    estimated: bool = False,
    terms: Sequence[LossTerm] = (),
) -> tuple[LossTerm, ...]:
    """The terms of a scene, the user's own last."""
    return (
        *TERMS,
        *(RENDERED_TERMS * rendered),
        *(JOINT_TERMS * jointed),
        *(HAND_TERMS * hands),
        *(OUTLINE_TERMS * outlined),
        *(ESTIMATE_TERMS * estimated),
        *terms,
    )


def anchor_problem(table: Sequence[LossTerm]) -> Problem:
    """Bodies and objects under the given terms, for `optimize`."""
    reads_pixels = any(term.reads_pixel_neighbors for term in table)
    return Problem(tuple(table), pose_scene, refresh_all if reads_pixels else refresh_bodies)
