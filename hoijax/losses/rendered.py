"""Drawn frames against seen ones (AnchorHOI L_reg): who is where, in which color, how far away.

All read `AnchorPosed.picture`, which is drawn once a step; T are its frames. Without pictures they cost
nothing.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.geometry.safe_math import Scale, geman_mcclure
from hoijax.scene.interaction import AnchorPosed

DEPTH_RHO = 0.10  # metres; a pixel further off than this says little
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def rendered_masks(posed: AnchorPosed) -> tuple[Values, Mask]:
    """Squared difference of drawn and seen instances, summed over pixels and divided by those seen. (N, T)

    Both sides count: what is drawn beside the mask, and what of the mask is left open.
    """
    frames, image = posed.scene.frames, posed.image
    if frames is None or image is None:
        return _nothing(posed)
    count = len(posed.scene.people) + posed.scene.objects.object_count
    target = frames.target[..., :count]
    away = image.coverage[..., None] * image.features[..., :count] - target
    values = jnp.sum(away**2, axis=(1, 2)) / jnp.maximum(jnp.sum(target, axis=(1, 2)), 1.0)
    weights = frames.channel_weights[:, :count]
    return jnp.swapaxes(weights * values, 0, 1), jnp.swapaxes(weights > 0.0, 0, 1)


def rendered_colors(posed: AnchorPosed) -> tuple[Values, Mask]:
    """Squared difference of drawn and seen colors, mean over the drawn pixels, sum of channels. (3, T)

    Colors are those of the meshes; what is behind them in the video is not known and not compared.
    """
    frames, image = posed.scene.frames, posed.image
    count = len(posed.scene.people) + posed.scene.objects.object_count
    if frames is None or image is None or frames.target.shape[-1] == count:
        return _nothing(posed)
    away = image.features[..., count:] - frames.target[..., count:]
    total = jnp.sum(image.coverage, axis=(1, 2))[:, None]
    values = jnp.sum(image.coverage[..., None] * away**2, axis=(1, 2)) / jnp.maximum(total, 1.0)
    weights = frames.channel_weights[:, count:]
    return jnp.swapaxes(weights * values, 0, 1), jnp.swapaxes(weights > 0.0, 0, 1)


def rendered_depth(posed: AnchorPosed, scale: Scale = DEPTH_RHO) -> tuple[Values, Mask]:
    """Drawn depth against that of the seen points, robust by pixel, mean by coverage. (1, T)"""
    frames, image = posed.scene.frames, posed.image
    if frames is None or image is None:
        return _nothing(posed)
    share = jnp.where(frames.depth_mask, image.coverage, 0.0)
    away = jnp.where(frames.depth_mask, image.depth - frames.depth, 0.0)
    total = jnp.sum(share, axis=(1, 2))
    values = jnp.sum(share * geman_mcclure(away**2, scale), axis=(1, 2))
    return (values / jnp.maximum(total, 1.0))[None], (total > 0.0)[None]


def _nothing(posed: AnchorPosed) -> tuple[Values, Mask]:
    zero = jnp.zeros((1, posed.scene.objects.frame_count))
    return zero, zero > 0.0
