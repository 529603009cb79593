"""How real priors err, family by family: each with one strength, 1 being what is seen of real priors.

`observation_noise` draws errors that are independent of each other and mostly average out over a clip.
Real priors are wrong the same way for a whole clip: a body that leans, a depth that is flat, a focal
length that is off. A family is one such way to be wrong. Any number of them, each at its own strength,
make the observations of one scene; every family has its own random stream, so that switching one on or
off leaves the others' draws as they were.
"""

from collections.abc import Mapping

import numpy as np

from hoijax.errors import UserError
from priors.synthetic import body_errors, image_errors
from priors.synthetic.error_draft import Draft

__all__ = ["FAMILIES", "apply_errors", "check_families", "tuned_families"]


FAMILIES = {
    function.__name__: function
    for function in (
        body_errors.body_lean,
        body_errors.body_depth,
        body_errors.body_shape,
        body_errors.body_drift,
        body_errors.body_feet,
        body_errors.body_hands,
        body_errors.body_swaps,
        image_errors.depth_drift,
        image_errors.depth_smooth,
        image_errors.depth_flat,
        image_errors.depth_edges,
        image_errors.intrinsics,
        image_errors.masks_thick,
        image_errors.masks_hands,
        image_errors.masks_lost,
        image_errors.keypoints_tails,
        image_errors.keypoints_confident,
        image_errors.mesh_scale,
        image_errors.mesh_stretch,
        image_errors.camera_moves,
    )
}
"""In the order in which they err: geometry first, then what is read off images."""


def tuned_families() -> tuple[str, ...]:
    """Every second family: only these may be looked at to choose a weight. The others report."""
    return tuple(FAMILIES)[::2]


def check_families(strengths: Mapping[str, float]) -> None:
    """Raises UserError for a family that does not exist or a strength below zero."""
    unknown = sorted(set(strengths) - set(FAMILIES))
    if unknown:
        raise UserError(f"no error family {unknown}. Known families: {', '.join(FAMILIES)}.")
    wrong = {name: value for name, value in strengths.items() if not 0.0 <= value <= 4.0}
    if wrong:
        raise UserError(f"strengths of error families lie between 0 and 4, got {wrong}.")


def apply_errors(draft: Draft, strengths: Mapping[str, float], seed: int) -> None:
    """Let every family err in place, at its strength. Raises UserError for unknown families."""
    check_families(strengths)
    streams = np.random.default_rng(seed).spawn(len(FAMILIES))
    for (name, family), stream in zip(FAMILIES.items(), streams, strict=True):
        if strengths.get(name, 0.0) > 0.0:
            family(draft, strengths[name], stream)
