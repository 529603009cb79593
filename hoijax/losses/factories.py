"""Loss terms by name, the weight as their argument: `hoijax.losses.object_points(1e3)`."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from hoijax.losses import body, contacts, fit, keypoints, penetrations, pose_priors, rendered
from hoijax.losses import smoothness as smooth
from hoijax.losses.articulation import object_joint_limits as _object_joint_limits
from hoijax.losses.articulation import object_joint_smoothness as _object_joint_smoothness
from hoijax.losses.supports import support as _support
from hoijax.losses.term import LossFunction, LossTerm

Weight = float | tuple[float, float]
"""A number, or (start, end) of a schedule."""


@runtime_checkable
class Factory(Protocol):
    """Makes a term of a weight."""

    def __call__(self, weight: Weight = 1.0) -> LossTerm: ...


@runtime_checkable
class RobustFactory(Protocol):
    """Makes a term of a weight and the scale of its robust kernel, in the residual's unit."""

    def __call__(self, weight: Weight = 1.0, *, scale: float = ...) -> LossTerm: ...


def _ramp(weight: Weight) -> tuple[float, float]:
    return weight if isinstance(weight, tuple) else (weight, weight)


def _plain(function: LossFunction) -> Factory:
    def make(weight: Weight = 1.0) -> LossTerm:
        return LossTerm(make.__name__, function, *_ramp(weight))

    return _named(make, function)


def _robust(function: LossFunction, name: str, default: float) -> RobustFactory:
    def make(weight: Weight = 1.0, *, scale: float = default) -> LossTerm:
        return LossTerm(make.__name__, function, *_ramp(weight), scale=scale)

    return _named(make, function, name)


def _named(make: Callable, function: LossFunction, name: str | None = None) -> Callable:
    make.__name__ = make.__qualname__ = name or function.__name__
    make.__doc__ = function.__doc__
    return make


object_points = _robust(fit.robust_object_points, "object_points", fit.POINT_RHO)
part_points = _robust(fit.robust_part_points, "part_points", fit.POINT_RHO)
model_mask = _robust(fit.model_mask, "model_mask", fit.MASK_RHO)
translation_smoothness = _plain(smooth.translation_smoothness)
rotation_smoothness = _plain(smooth.rotation_smoothness)
penetration = _plain(penetrations.penetration)
support = _plain(_support)
object_penetration = _plain(penetrations.object_penetration)
ground = _plain(penetrations.ground)
contact = _plain(contacts.contact)
contact_drift = _plain(contacts.contact_drift)
object_joint_limits = _plain(_object_joint_limits)
object_joint_smoothness = _plain(_object_joint_smoothness)
body_keypoints = _robust(keypoints.body_keypoints, "body_keypoints", keypoints.KEYPOINT_RHO)
contact_keypoints = _plain(keypoints.contact_keypoints)
body_points = _robust(body.body_points, "body_points", body.POINT_RHO)
body_mask = _robust(body.body_mask, "body_mask", body.MASK_RHO)
joint_limits = _plain(pose_priors.joint_limits)
pose_prior = _plain(pose_priors.pose_prior)
finger_prior = _plain(pose_priors.finger_prior)
body_smoothness = _plain(body.body_smoothness)
body_estimate = _robust(body.body_estimate, "body_estimate", body.ESTIMATE_RHO)
foot_slip = _plain(body.foot_slip)
foot_lock = _plain(body.foot_lock)
foot_clearance = _plain(body.foot_clearance)
body_ground = _plain(body.body_ground)
object_in_body = _plain(body.object_in_body)
self_penetration = _plain(body.self_penetration)
rendered_masks = _plain(rendered.rendered_masks)
rendered_colors = _plain(rendered.rendered_colors)
rendered_depth = _robust(rendered.rendered_depth, "rendered_depth", rendered.DEPTH_RHO)
