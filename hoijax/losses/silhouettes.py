"""Outline of objects without depth: how far the projected mesh reaches along sixteen directions."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.geometry.point_transforms import to_world
from hoijax.geometry.safe_math import Scale, geman_mcclure
from hoijax.losses.curvature import LeastSquares, Residuals, declare_curvature, robust_weight
from hoijax.losses.fit import project_world
from hoijax.scene.posed import PosedScene, present
from hoijax.scene.silhouettes import DIRECTION_COUNT, directions, off_outline

EXTENT_RHO = 8.0  # pixels; an outline further off than this says little
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def model_extent(posed: PosedScene, scale: Scale = EXTENT_RHO) -> tuple[Values, Mask]:
    """The mesh reaches as far as its mask along every direction: robust px^2, mean of directions. (O, T)

    Where an occluder may hide the rest of the object it may reach farther.
    """
    off, weight = _off_extent(posed)
    cost = jnp.mean(weight * geman_mcclure(off**2, scale), axis=-1)
    return cost, posed.scene.observed.detected


def model_extent_residuals(posed: PosedScene, scale: Scale = EXTENT_RHO) -> Residuals:
    """Of `model_extent`: one for every direction."""
    off, weight = _off_extent(posed)
    detected = posed.scene.observed.detected[..., None]
    weight = jnp.where(detected, weight * robust_weight(off**2, scale), 0.0)
    return Residuals(off, weight / DIRECTION_COUNT)


def _off_extent(posed: PosedScene) -> tuple[Float[Array, "O T K"], Float[Array, "O T K"]]:
    """Pixels that the mesh reaches too far (negative: too little), and weights."""
    silhouettes = present(posed.scene.silhouettes, "outlines of objects without depth")
    shape = (*posed.object_translations.shape[:2], *silhouettes.hull.shape[1:])
    hull = jnp.broadcast_to(silhouettes.hull[:, None], shape)
    pixels = project_world(posed, to_world(posed.object_rotations, posed.object_translations, hull))
    return off_outline(jnp.max(pixels @ jnp.asarray(directions()).T, axis=2), silhouettes.outline)


declare_curvature(
    model_extent, LeastSquares(model_extent_residuals, ties_frames=False, by_object=True)
)
