"""Which curvature belongs to which loss function on object poses (for `solver.levenberg_marquardt`)."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from hoijax.losses import contact, fit, penetration, smoothness
from hoijax.losses.curvature import Curvature
from hoijax.losses.term import LossFunction, LossTerm
from hoijax.scene.posed import PosedScene

CURVATURES: dict[LossFunction, Callable[[PosedScene], Curvature]] = {
    fit.object_points: fit.object_points_curvature,
    fit.object_pixels: fit.object_pixels_curvature,
    fit.part_points: fit.part_points_curvature,
    fit.part_pixels: fit.part_pixels_curvature,
    fit.robust_object_points: fit.robust_object_points_curvature,
    fit.robust_part_points: fit.robust_part_points_curvature,
    fit.model_mask: fit.model_mask_curvature,
    smoothness.translation_smoothness: smoothness.translation_curvature,
    smoothness.rotation_smoothness: smoothness.rotation_curvature,
    penetration.penetration: penetration.penetration_curvature,
    penetration.object_penetration: penetration.object_penetration_curvature,
    penetration.ground: penetration.ground_curvature,
    contact.contact: contact.contact_curvature,
    contact.contact_drift: contact.contact_drift_curvature,
}


def with_curvature(terms: Sequence[LossTerm]) -> tuple[LossTerm, ...]:
    """The same terms, each with the curvature known for its function (terms may bring their own)."""
    return tuple(
        replace(term, curvature=term.curvature or CURVATURES.get(term.function)) for term in terms
    )
