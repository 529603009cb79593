"""Outlines of people's masks in the body pass: where a body is seen against the background it ends there.

A contour is a sample of the border between people or objects and the background, with its outward normal in
the image. Every round it is matched with one vertex of the skin: of the vertices that it is nearest to, the
one that reaches farthest along its normal; where it is nearest to none, the vertex nearest to it. That
vertex lies on the line through the contour (point to line, as in ICP). At the border of what may hide a
person only skin that sticks out is wrong.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer
from numpy import ndarray
from scipy import ndimage

from hoijax.geometry.cropping import distances_near, window_around
from hoijax.geometry.nearest import nearest_indices
from hoijax.geometry.rows import dot
from hoijax.geometry.thinning import thinned
from hoijax.runtime import on_all_cores, on_device

CLOSED = 0.01
"""Of the image's height: cracks in a mask up to so wide are closed. Holes in it are filled."""
SMOOTH = 1.5
"""Pixels over which normals are measured; ..."""
BLURRED = 8
"""no farther than so many."""
NEAR = 0.06
"""Of the image's height: borders of other things so near to a person matter."""
EDGE = 2
"""Pixels from the image's edge in which nothing is known of borders."""
MIN_PIXELS = 100
"""Of a mask that says something."""


@flax.struct.dataclass
class Contours:
    """Of one frame; with a leading axis T of all."""

    places: Float[Array, "*T P N 2"]
    """Pixels."""
    normals: Float[Array, "*T P N 2"]
    """Out of the mask."""
    is_own: Float[Array, "*T P N"]
    """1: the person's own border; 0: that of something which may hide the person."""
    weights: Float[Array, "*T P N"]
    """1 / number of contours, or 0."""


def contours_of(
    instance_ids: Integer[ndarray, "T H W"], people: int, objects: int, count: int
) -> Contours:
    """`count` contours of each person in every frame (host). instance_ids: people, then objects, from 1.

    Frames in which some object has no mask have none: it may be what hides a person.
    """
    shape = (len(instance_ids), people, count)
    places, normals = np.zeros((*shape, 2), np.float32), np.zeros((*shape, 2), np.float32)
    is_own, weights = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def of_frame(t: int) -> None:
        ids = instance_ids[t]
        if not ids.any() or not np.isin(people + 1 + np.arange(objects), ids).all():
            return
        rows, outward = _border(ids > 0)
        for p in range(people):
            chosen, belongs = _around(ids, p + 1, rows, count)
            if not len(chosen):
                continue
            n = len(chosen)
            places[t, p, :n] = rows[chosen, ::-1] + 0.5 + 0.5 * outward[chosen]
            normals[t, p, :n], is_own[t, p, :n] = outward[chosen], belongs
            weights[t, p, :n] = 1.0 / n

    on_all_cores(of_frame, range(len(instance_ids) if count else 0))
    return Contours(*(on_device(x) for x in (places, normals, is_own, weights)))


def _without_holes(mask: Bool[ndarray, "H W"], reach: int) -> Bool[ndarray, "H W"]:
    """With cracks up to twice `reach` closed, and holes filled."""
    framed = np.pad(mask, reach + 1)
    closed = ndimage.binary_closing(framed, iterations=reach)
    inner = (slice(reach + 1, -reach - 1),) * 2
    return np.asarray(ndimage.binary_fill_holes(closed), bool)[inner] | mask


def _border(mask: Bool[ndarray, "H W"]) -> tuple[Int[ndarray, "n 2"], Float[ndarray, "n 2"]]:
    """(pixels (row, column) of the solid mask that touch the background, their outward normals (x, y))."""
    height, width = mask.shape
    reach = max(round(0.5 * CLOSED * height), 1)
    window = window_around(mask, reach + BLURRED)
    solid = _without_holes(mask[window], reach)
    inside = np.asarray(ndimage.binary_erosion(solid, border_value=1), bool)
    rows, columns = np.nonzero(solid & ~inside)
    soft = ndimage.gaussian_filter(solid.astype(np.float32), SMOOTH)
    slope = -np.stack([ndimage.sobel(soft, axis=1), ndimage.sobel(soft, axis=0)], axis=-1)
    normals = slope[rows, columns]
    length = np.linalg.norm(normals, axis=-1)
    corner = np.array([window[0].start, window[1].start])
    pixels = np.stack([rows, columns], axis=-1) + corner
    known = (pixels >= EDGE).all(axis=1) & (pixels < [height - EDGE, width - EDGE]).all(axis=1)
    known &= length > 1e-3
    return pixels[known], normals[known] / length[known, None]


def _around(
    ids: Integer[ndarray, "H W"], number: int, pixels: Int[ndarray, "n 2"], count: int
) -> tuple[Int[ndarray, " m"], Bool[ndarray, " m"]]:
    """(which border pixels speak of a person, at most `count` spread evenly; whether they are its own)."""
    mask = ids == number
    if mask.sum() < MIN_PIXELS or not len(pixels):
        return np.zeros(0, int), np.zeros(0, bool)
    away = distances_near(mask, pixels, reach=NEAR * len(ids))
    label = ids[pixels[:, 0], pixels[:, 1]]
    is_own = (label == number) | ((label == 0) & (away <= CLOSED * len(ids)))
    near = np.flatnonzero(is_own | (away < NEAR * len(ids)))
    chosen = thinned(near, count)
    return chosen, is_own[chosen]


def contour_skin(pixels: Float[Array, "P v 2"], contours: Contours) -> Int[Array, "P N"]:
    """The vertex that each contour of one frame is matched with."""

    def of_person(pixels, places, normals, weights):
        far = jnp.where(weights[:, None] > 0.0, places, 1e6)
        owner = nearest_indices(pixels[None], far[None])[0]
        along = jnp.sum((pixels - places[owner]) * normals[owner], axis=-1)
        reach = jax.ops.segment_max(along, owner, len(places))
        index = jnp.arange(len(pixels))
        first = jnp.where(along >= reach[owner], index, len(pixels))
        farthest = jax.ops.segment_min(first, owner, len(places))
        nearest = nearest_indices(places[None], pixels[None])[0]
        return jnp.where(farthest < len(pixels), farthest, nearest)

    return jax.vmap(of_person)(pixels, contours.places, contours.normals, contours.weights)


def off_contours(pixels: Float[Array, "P N 2"], contours: Contours) -> Float[Array, "P N"]:
    """Pixels by which matched skin is beyond each contour, negative: by which it falls short."""
    off = dot(pixels - contours.places, contours.normals)
    return jnp.where(contours.is_own > 0.0, off, jnp.maximum(off, 0.0))
