"""Which candidate is to be believed: by what it leaves unexplained, of geometry and of colors (host)."""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.candidates import lowest_loss
from hoijax.methods.color_evidence import ColorMatch, has_colors, match_colors
from hoijax.methods.passes import Prepared
from hoijax.objects.symmetry import find_symmetries
from hoijax.scene.scene import Unknowns
from hoijax.solver.problem import Solution

FITS_ALIKE = 0.1
"""Share of the best loss by which one candidate is worse than another and 1/e as likely."""
COLOR_COUNT = 20.0
"""Independent colors of an object in a clip: what is wrong in one frame is wrong in all of them."""


def unlikelihood(losses: Any, colors: ColorMatch | None) -> Float[ndarray, " K"]:
    """Negative log likelihood of every candidate, up to a constant; infinite where its loss is not finite.

    Errors of colors are taken as Gaussian.
    """
    losses = np.asarray(losses, np.float64)
    losses = np.where(np.isfinite(losses), losses, np.inf)
    best = max(float(np.min(losses, initial=1e12)), 1e-12)
    of_losses = losses / (FITS_ALIKE * best)
    if colors is None:
        return of_losses
    return of_losses + 0.5 * COLOR_COUNT * np.log(colors.unexplained).sum(axis=1)


def colors_of(prepared: Prepared, poses: Unknowns) -> ColorMatch | None:
    """What colors say of candidates; None: there are none, or objects hang on one another."""
    bundle = prepared.bundle
    if bundle.joints or not has_colors(bundle.observations, bundle.assets):
        return None
    symmetries = [find_symmetries(asset) for asset in bundle.assets]
    cameras = prepared.scene.cameras
    match = match_colors(bundle.observations, cameras, bundle.assets, poses, symmetries)
    return match if match.is_known else None


def likeliest(prepared: Prepared, solution: Solution) -> int:
    """The candidate to go on with."""
    return lowest_loss(unlikelihood(solution.losses, colors_of(prepared, solution.unknowns)))


def turned(
    rotations: Float[ndarray, "K O T 3 3"],
    translations: Float[ndarray, "K O T 3"],
    turns: Float[ndarray, "K O 3 3"],
    centers: Float[ndarray, "O 3"],
) -> tuple[Float[ndarray, "K O T 3 3"], Float[ndarray, "K O T 3"]]:
    """Poses turned from the right, about centers in the objects' own frames."""
    after = (rotations @ turns[:, :, None]).astype(rotations.dtype)
    moved = ((rotations - after) @ centers[None, :, None, :, None])[..., 0]
    return after, (translations + moved).astype(translations.dtype)
