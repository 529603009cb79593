"""Rendered frames against observed ones (AnchorHOI L_reg): who is where, in which color, how far away.

All read `PosedScene.rendered_image`, which is rendered once a step; T are its observed. Where nothing is
rendered they cost nothing.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.geometry.safe_math import Scale, geman_mcclure
from hoijax.scene.posed import PosedScene

DEPTH_RHO = 0.10  # metres; a pixel further off than this says little
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def rendered_masks(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared difference of rendered and observed instances, summed over pixels and divided by those seen. (N, T)

    Both sides count: what is rendered beside the mask, and what of the mask is left open.
    """
    observed, image = posed.scene.observed_images, posed.rendered_image
    if observed is None or image is None:
        return _nothing(posed)
    count = posed.scene.person_count + posed.scene.object_count
    target = observed.target[..., :count]
    away = image.coverage[..., None] * image.features[..., :count] - target
    values = jnp.sum(away**2, axis=(1, 2)) / jnp.maximum(jnp.sum(target, axis=(1, 2)), 1.0)
    weights = observed.channel_weights[:, :count]
    return jnp.swapaxes(weights * values, 0, 1), jnp.swapaxes(weights > 0.0, 0, 1)


def rendered_colors(posed: PosedScene) -> tuple[Values, Mask]:
    """Squared difference of rendered and observed colors, mean over the rendered pixels, sum of channels. (3, T)

    Colors are those of the meshes; what is behind them in the video is not known and not compared.
    """
    observed, image = posed.scene.observed_images, posed.rendered_image
    count = posed.scene.person_count + posed.scene.object_count
    if observed is None or image is None or observed.target.shape[-1] == count:
        return _nothing(posed)
    away = image.features[..., count:] - observed.target[..., count:]
    total = jnp.sum(image.coverage, axis=(1, 2))[:, None]
    values = jnp.sum(image.coverage[..., None] * away**2, axis=(1, 2)) / jnp.maximum(total, 1.0)
    weights = observed.channel_weights[:, count:]
    return jnp.swapaxes(weights * values, 0, 1), jnp.swapaxes(weights > 0.0, 0, 1)


def rendered_depth(posed: PosedScene, scale: Scale = DEPTH_RHO) -> tuple[Values, Mask]:
    """Rendered depth against that of the observed points, robust by pixel, mean by coverage. (1, T)"""
    observed, image = posed.scene.observed_images, posed.rendered_image
    if observed is None or image is None:
        return _nothing(posed)
    weight = jnp.where(observed.depth_mask, image.coverage, 0.0)
    away = jnp.where(observed.depth_mask, image.depth - observed.depth, 0.0)
    total = jnp.sum(weight, axis=(1, 2))
    values = jnp.sum(weight * geman_mcclure(away**2, scale), axis=(1, 2))
    return (values / jnp.maximum(total, 1.0))[None], (total > 0.0)[None]


def _nothing(posed: PosedScene) -> tuple[Values, Mask]:
    zero = jnp.zeros((1, posed.scene.frame_count))
    return zero, zero > 0.0
