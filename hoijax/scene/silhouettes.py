"""How far objects reach in the image: their masks' extent along sixteen directions.

The extent of a mask along a direction is that of its farthest pixel, and the extent of a mesh that of
its farthest hull vertex: exact to a fraction of a pixel, where samples of a surface fall short of its
outline. Together they tell an object's size in the image, hence its depth, and much of how it is turned. Of an
object with points they tell what these leave open: that a mesh also covers what was seen.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray
from scipy import ndimage

from hoijax.bundle.observations import Observations
from hoijax.errors import UserError
from hoijax.geometry.cropping import window_around
from hoijax.objects.asset import Asset
from hoijax.runtime import on_device

DIRECTION_COUNT, HULL_POINTS = 16, 192
MIN_PIXELS = 24
"""Of a mask whose extent says something."""
SPECK = 0.1
"""Connected pieces below this fraction of a mask's largest one are leaks."""
COMMON = 1.0 / 3.0
"""Of an error that is the same along all directions, what counts: masks are fat or thin."""
FINE = 50.0
"""Pixels across a mask below which one pixel is the unit of errors: of larger masks a mesh's own errors are
larger than a pixel, in proportion."""
HIDDEN = 0.25
"""Weight of reaching farther behind an occluder: it may, but seldom by much."""
BESIDE_POINTS = 1.0 / 6.0
"""Weight of an outline where an object has points, which know how far it reaches behind an occluder."""
REACH = (1.5, 3.0, 4.5)
"""Pixels beyond the farthest pixel at which an occluder or the image's edge may hide more."""


@flax.struct.dataclass
class Outline:
    """What masks say (leading axes O T); all weights are 0 where an object has no mask."""

    extents: Float[Array, "*frames K"]
    """Pixels from the image's corner along each of `directions`."""
    falls_short: Float[Array, "*frames K"]
    """1: a projected object that reaches less far is wrong. `BESIDE_POINTS` where the object has points."""
    goes_beyond: Float[Array, "*frames K"]
    """The same for one that reaches farther; `HIDDEN` where an occluder may hide the rest, 0 at the image's
    edge, and beside an occluder if the object has points."""
    unit: Float[Array, "*frames"]
    """Pixels that an error is counted in."""
    alone: Float[Array, "*frames"]
    """1: the object has this outline and no points."""


@flax.struct.dataclass
class Silhouettes:
    """Outlines of objects, and what of a mesh reaches farthest."""

    hull: Float[Array, "O H 3"]
    """Farthest vertices, centerd frame."""
    outline: Outline
    contact_possible: Float[Array, "E 2 T"] | None
    """0 where the image shows the two sides of a contact apart (`scene.image_contact`); None: every object has
    points wherever it was seen."""


def off_outline(
    reach: Float[Array, "*frames K"], outline: Outline
) -> tuple[Float[Array, "*frames K"], Float[Array, "*frames K"]]:
    """(units that a mesh reaches too far along every direction, negative: too little; weights).

    Of what all directions have in common a third is left: masks are a pixel or three too fat or too thin
    all around.
    """
    off = (reach - outline.extents) / outline.unit[..., None]
    weight = jnp.where(off < 0.0, outline.falls_short, outline.goes_beyond)
    total = jnp.maximum(jnp.sum(weight, axis=-1, keepdims=True), 1.0)
    mean = jnp.sum(weight * off, axis=-1, keepdims=True) / total
    return off - (1.0 - COMMON) * mean, weight


def directions() -> Float[ndarray, "K 2"]:
    """Unit vectors (u, v), evenly around."""
    angle = 2.0 * np.pi * np.arange(DIRECTION_COUNT) / DIRECTION_COUNT
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)


def farthest_along(points: Float[Array, "*n H 2"]) -> Int[Array, "*n K"]:
    """Which point is farthest in each of `directions()`, to 2^-23 of its coordinate times their number.

    The index takes the place of a coordinate's last bits, so that one plain maximum finds it: a fifth
    of the time of `argmax` on CPU. Opposite directions share their products.
    """
    count = points.shape[-2]
    last = (1 << (count - 1).bit_length()) - 1
    u, v = jnp.asarray(directions()[: DIRECTION_COUNT // 2]).T[..., None]
    along = u * points[..., None, :, 0] + v * points[..., None, :, 1]
    bits = jax.lax.bitcast_convert_type(along, jnp.int32)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # negative floats count backwards
    keys = (ordered & ~last) | jnp.arange(count, dtype=jnp.int32)
    return jnp.concatenate([jnp.max(keys, axis=-1), jnp.min(keys, axis=-1)], axis=-1) & last


def hull_points(asset: Asset) -> Float[ndarray, "H 3"]:
    """Vertices of a mesh that are farthest along some direction, centerd; repeated up to `HULL_POINTS`."""
    index = np.arange(HULL_POINTS) + 0.5
    polar, turn = np.arccos(1.0 - 2.0 * index / HULL_POINTS), np.pi * (1.0 + 5.0**0.5) * index
    rays = np.stack(
        [np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=-1
    )
    vertices = asset.vertices[np.unique(asset.faces)] - asset.center
    farthest = np.unique(np.argmax(vertices @ rays.T, axis=0))
    return vertices[np.resize(farthest, HULL_POINTS)].astype(np.float32)


def build_outlines(o: Observations, assets: tuple[Asset, ...]) -> Outline | None:
    """Of all objects in the frames where they have a mask; None: there are none.

    Raises UserError for an object that no frame shows.
    """
    has_points = np.any(o.object_point_mask, axis=-1)
    detected = np.asarray(o.object_detected)
    shape = (*detected.shape, DIRECTION_COUNT)
    extents, short, beyond = (np.zeros(shape, np.float32) for _ in range(3))
    unit = np.ones(detected.shape, np.float32)
    for i, t in np.argwhere(detected):
        in_frame = mask_extents(np.asarray(o.instance_ids[t]), o.person_count + 1 + int(i))
        if in_frame is not None:
            extents[i, t], beyond[i, t] = in_frame
            short[i, t] = 1.0
            across = extents[i, t] + np.roll(extents[i, t], DIRECTION_COUNT // 2)
            unit[i, t] = max(1.0, across.max() / FINE)
    alone = short.any(axis=-1) & ~has_points
    short[has_points] *= BESIDE_POINTS
    beyond[has_points] = BESIDE_POINTS * (beyond[has_points] == 1.0)
    seen = (alone | (has_points & detected)).any(axis=1)
    if unseen := [asset.name for asset, is_seen in zip(assets, seen, strict=True) if not is_seen]:
        raise UserError(
            f"no frame shows {', '.join(unseen)} larger than {MIN_PIXELS} pixels: nothing to solve "
            "for. Film from nearer, or omit it."
        )
    if not short.any():
        return None
    return Outline(
        *(on_device(x) for x in (extents, short, beyond, unit, alone.astype(np.float32)))
    )


def with_own_borders(outline: Outline, in_front: Bool[ndarray, "O T"]) -> Outline:
    """Outlines of which those of objects in front hide nothing: what looks like an occluder is behind."""
    beyond = np.asarray(outline.goes_beyond)
    distance = np.where(in_front[..., None] & (beyond > 0.0), 1.0, beyond).astype(np.float32)
    return outline.replace(goes_beyond=on_device(distance))  # pyright: ignore[reportAttributeAccessIssue]


def mask_extents(
    ids: ndarray, number: int
) -> tuple[Float[ndarray, " K"], Float[ndarray, " K"]] | None:
    """(extent along every direction, `Outline.goes_beyond`) of one instance; None: too small."""
    mask = without_specks(ids == number)
    if mask.sum() < MIN_PIXELS:
        return None
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    v, u = np.concatenate([rows, rows]) + 0.5, np.concatenate([first, last]) + 0.5
    d = directions()
    along = np.stack([u, v], axis=-1) @ d.T
    extents = along.max(axis=0) + 0.5 * np.abs(d).max(axis=1)
    beyond = np.ones(len(d), np.float32)
    height, width = ids.shape
    for k, direction in enumerate(d):
        edge = along[:, k] > along[:, k].max() - 1.0
        for reach in REACH:
            x, y = u[edge] + reach * direction[0], v[edge] + reach * direction[1]
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            labels = ids[y[inside].astype(int), x[inside].astype(int)]
            if ((labels != 0) & (labels != number)).any():
                beyond[k] = min(beyond[k], HIDDEN)
            if not inside.all():
                beyond[k] = 0.0
    return extents.astype(np.float32), beyond


def without_specks(mask: Bool[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
    """A mask less the connected pieces that are leaks."""
    window = window_around(mask, 0)
    labels, count = ndimage.label(mask[window])  # pyright: ignore[reportGeneralTypeIssues]
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())[1:]
    whole = np.zeros_like(mask)
    whole[window] = np.isin(labels, 1 + np.flatnonzero(sizes >= SPECK * sizes.max()))
    return whole
