"""The terms of anchor motion, and what they look up: body, objects, and both together."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.bodies.fitting.residuals import nearest_vertices
from hoijax.losses import articulation, body, contact, fit, penetration, smoothness
from hoijax.losses.body import (
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
from hoijax.losses.pose_prior import finger_prior, joint_limits, pose_prior
from hoijax.losses.rendered import DEPTH_RHO, rendered_colors, rendered_depth, rendered_masks
from hoijax.losses.term import LossFunction, LossTerm
from hoijax.objects.articulated.model import PosedArticulation
from hoijax.scene.interaction import (
    AnchorNeighbors,
    AnchorPosed,
    AnchorScene,
    AnchorUnknowns,
    object_unknowns,
    pose_anchor,
)
from hoijax.solver.neighbor_lists import refresh_vertices
from hoijax.solver.problem import Problem

ACTIVE_SAMPLES = 48
CANDIDATE_SAMPLES = 384


def of_objects(function: LossFunction) -> LossFunction:
    """A term written for objects among fixed bodies, on bodies that move."""

    def term(posed: AnchorPosed, *scale: Float[Array, ""]):
        return function(posed.objects, *scale)

    term.__name__ = function.__name__
    return term


def of_joints(function: LossFunction) -> LossFunction:
    """A term written for one articulated object, on the joints between objects."""

    def term(posed: AnchorPosed):
        joints, values = posed.scene.joints, posed.joint_values
        assert joints is not None
        assert values is not None
        shifts = posed.objects.translations[..., None]
        links = jnp.concatenate([posed.objects.rotations, shifts], axis=-1)
        last = jnp.broadcast_to(jnp.asarray([0.0, 0.0, 0.0, 1.0]), (*links.shape[:2], 1, 4))
        links = jnp.swapaxes(jnp.concatenate([links, last], axis=-2), 0, 1)
        return function(
            PosedArticulation(
                jnp.swapaxes(values, 0, 1), links, joints.lower, joints.upper, joints.levers
            )
        )

    term.__name__ = f"object_{function.__name__}"
    return term


def of_free_objects(function: LossFunction) -> LossFunction:
    """As `of_objects`, of objects that have a pose of their own: none that hangs on a joint."""

    def term(posed: AnchorPosed):
        values, mask = function(posed.objects)
        joints = posed.scene.joints
        if joints is not None:
            mask = mask.at[np.asarray(joints.children)].set(False)
        return values, mask

    term.__name__ = function.__name__
    return term


def object_penetration(posed: AnchorPosed):
    """As among free objects, but what hangs on a joint may reach into what holds it. (O, O, T)"""
    values, mask = penetration.object_penetration(posed.objects)
    if posed.scene.joints is not None:
        for a, b in zip(posed.scene.joints.parents, posed.scene.joints.children, strict=True):
            mask = mask.at[a, b].set(False).at[b, a].set(False)
    return values, mask


TERMS = (
    LossTerm.constant("body_keypoints", body_keypoints, 2e3, scale=KEYPOINT_RHO),
    LossTerm.constant("body_points", body_points, 2e2, scale=body.POINT_RHO),
    LossTerm.constant("body_mask", body_mask, 5e-3, scale=body.MASK_RHO),
    LossTerm.constant("joint_limits", joint_limits, 7.0),
    LossTerm.constant("pose_prior", pose_prior, 1.5e-2),
    LossTerm.constant("body_smoothness", body_smoothness, 2.6e-4),
    LossTerm.constant("foot_slip", foot_slip, 5e2),
    LossTerm("foot_lock", foot_lock, 5e2, 1e5),
    LossTerm.constant("foot_clearance", foot_clearance, 1e3),
    LossTerm.constant("body_ground", body_ground, 1.7e2),
    LossTerm.constant(
        "object_points", of_objects(fit.robust_object_points), 1e3, scale=fit.POINT_RHO
    ),
    LossTerm.constant("part_points", of_objects(fit.robust_part_points), 3e2, scale=fit.POINT_RHO),
    LossTerm.constant("model_mask", of_objects(fit.model_mask), 2e-2, scale=fit.MASK_RHO),
    LossTerm.constant(
        "translation_smoothness", of_free_objects(smoothness.translation_smoothness), 3e3
    ),
    LossTerm.constant("rotation_smoothness", of_free_objects(smoothness.rotation_smoothness), 1e2),
    LossTerm.constant("ground", of_objects(penetration.ground), 1e2),
    LossTerm.constant("object_penetration", object_penetration, 10.0),
    LossTerm("penetration", of_objects(penetration.penetration), 0.0, 1200.0),
    LossTerm("object_in_body", object_in_body, 0.0, 800.0),
    LossTerm("self_penetration", self_penetration, 0.0, 100.0),
    LossTerm.constant("contact_keypoints", contact_keypoints, 15.0),
    LossTerm.constant("contact", of_objects(contact.contact), 8.0),
    LossTerm("contact_drift", of_objects(contact.contact_drift), 1.0, 1e1),
)
RENDERED_TERMS = (
    LossTerm.constant("rendered_masks", rendered_masks, 0.5),
    LossTerm.constant("rendered_colors", rendered_colors, 0.5),
    LossTerm.constant("rendered_depth", rendered_depth, 1e2, scale=DEPTH_RHO),
)
"""Added to TERMS where pictures are drawn."""
JOINT_TERMS = (
    LossTerm.constant("object_joint_limits", of_joints(articulation.joint_limits), 1e3),
    LossTerm.constant("object_joint_smoothness", of_joints(articulation.joint_smoothness), 1e4),
)
"""Added to TERMS where objects hang on joints."""
HAND_TERMS = (LossTerm.constant("finger_prior", finger_prior, 0.3),)
"""Added to TERMS where fingers are unknowns."""
CONTACT_TERMS = ("contact_keypoints", "contact", "contact_drift")
TRACKING_TERMS = ("foot_slip",)
"""Only while tracking: afterwards it is known which frames feet stand in."""
PLANT_TERMS = ("foot_lock", "foot_clearance")
"""Only once that is known."""
PENETRATION_TERMS = ("penetration", "object_in_body", "self_penetration")
BODY_EVIDENCE = ("body_keypoints", "body_points", "body_mask")


def refresh_anchor(
    scene: AnchorScene, unknowns: AnchorUnknowns, neighbors: AnchorNeighbors, rarely: Array
) -> AnchorNeighbors:
    """Nearest skin of seen points always; what may penetrate only when `rarely`."""
    posed = pose_anchor(scene, unknowns, neighbors)
    nearest = jnp.stack(
        [
            nearest_vertices(scene.seen.points_world[p], posed.vertices_world[p])
            for p in range(len(scene.people))
        ]
    )
    neighbors = dataclasses.replace(neighbors, nearest_vertex=nearest)

    def again(n: AnchorNeighbors) -> AnchorNeighbors:
        objects = refresh_vertices(posed.objects.scene, object_unknowns(scene, unknowns), n.objects)
        return dataclasses.replace(n, objects=objects, active_samples=_active_samples(posed))

    return jax.lax.cond(rarely, again, lambda n: n, neighbors)


def _active_samples(posed: AnchorPosed) -> Array:
    """The object samples with the smallest distance to each body. (O, P, T, A)"""
    o, p, t, active = posed.neighbors.active_samples.shape
    index = jnp.broadcast_to(jnp.arange(CANDIDATE_SAMPLES), (o, p, t, CANDIDATE_SAMPLES))
    points = posed.sample_points(index)
    chosen = []
    for person, field in enumerate(posed.scene.fields):
        look_up = jax.vmap(jax.vmap(field.distance), in_axes=(0, None))
        distance = look_up(points[:, person], posed.Ts_world_joint[person])
        chosen.append(jax.lax.top_k(-distance, active)[1].astype(jnp.int32))
    return jnp.stack(chosen, axis=1)


def anchor_table(
    *, drawn: bool, jointed: bool, hands: bool, terms: Sequence[LossTerm] = ()
) -> tuple[LossTerm, ...]:
    """The terms of a scene, the user's own last."""
    return (
        *TERMS,
        *(RENDERED_TERMS * drawn),
        *(JOINT_TERMS * jointed),
        *(HAND_TERMS * hands),
        *terms,
    )


def anchor_problem(table: Sequence[LossTerm]) -> Problem:
    """Bodies and objects under the given terms, for `optimize`."""
    return Problem(tuple(table), pose_anchor, refresh_anchor)
