"""Masks that show a part of their object: too small for what touches it (host).

Where a person hides most of an object and the mask is worn besides, what is left looks like the whole object
far away. A mesh is never seen smaller than across its narrowest view, and what a hand may touch is not far
behind the hand: a mask smaller than that shows a part, and tells nothing of how far the object reaches.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.geometry.rotations import super_fibonacci_rotations
from hoijax.runtime import on_device
from hoijax.scene.objects import Cameras, ContactEdges
from hoijax.scene.silhouettes import DIRECTION_COUNT, Outline, directions

VIEWS = 128
SMALLER = 0.7
"""Size of an object against its mesh that is still thought of."""


def narrowest(hull: Float[ndarray, "H 3"]) -> float:
    """Metres across a mesh from the side from which it looks smallest; across: along its longest direction."""
    seen = hull @ np.swapaxes(super_fibonacci_rotations(VIEWS), 1, 2)
    along = seen[..., :2] @ directions()[: DIRECTION_COUNT // 2].T
    return float(np.ptp(along, axis=1).max(axis=1).min())


def view_depths(cameras: Cameras, points_world: Float[ndarray, "*n T 3"]) -> Float[ndarray, "*n T"]:
    """Metres of points from the camera of their frame, along the view."""
    T = np.asarray(cameras.Ts_pointmap_world)
    scale = np.cbrt(np.linalg.det(T[:, :3, :3]))
    return (np.einsum("ti,...ti->...t", T[:, 2, :3], points_world) + T[:, 2, 3]) / scale


def touch_depths(
    edges: ContactEdges,
    cameras: Cameras,
    possible: Bool[ndarray, "E 2 T"],
    o: int,
    object_count: int,
) -> Float[ndarray, " T"]:
    """Metres from the camera, along the view, to the farthest body part that may touch an object; -inf: none may."""
    own = np.asarray(edges.mask) & (np.asarray(edges.source) == object_count)
    own &= np.asarray(edges.target) == o
    there = (own[:, None] & np.asarray(edges.slot_mask))[..., None] & possible
    depth = view_depths(cameras, np.asarray(edges.points).mean(axis=3))
    return np.where(there, depth, -np.inf).max(axis=(0, 1), initial=-np.inf)


def show_parts(
    outline: Outline,
    hulls: Float[ndarray, "O H 3"],
    edges: ContactEdges,
    cameras: Cameras,
    possible: Bool[ndarray, "E 2 T"],
) -> Bool[ndarray, "O T"]:
    """Which masks of objects without depth are smaller than any turn of the mesh within reach."""
    extents, focal = np.asarray(outline.extents), np.asarray(cameras.intrinsics)[:, 0, 0]
    across = (extents + np.roll(extents, DIRECTION_COUNT // 2, axis=-1)).max(axis=-1)
    parts = np.zeros(across.shape, bool)
    for o, hull in enumerate(hulls):
        behind = np.ptp(hull, axis=0).max() / 2.0
        reach = touch_depths(edges, cameras, possible, o, len(hulls)) + behind
        smallest = SMALLER * narrowest(hull) * focal / np.where(reach > 0.0, reach, np.inf)
        parts[o] = across[o] < smallest
    return parts & (np.asarray(outline.alone) > 0.0)


def without_reach(outline: Outline, parts: Bool[ndarray, "O T"]) -> Outline:
    """Outlines beyond which objects may reach as far as they like in the frames that show a part of them."""
    beyond = np.where(parts[..., None], 0.0, np.asarray(outline.goes_beyond)).astype(np.float32)
    return outline.replace(goes_beyond=on_device(beyond))  # pyright: ignore[reportAttributeAccessIssue]


def tell_size(outline: Outline) -> Bool[ndarray, "O T"]:
    """Where the outline of an object without depth tells how large it looks."""
    bounded = (np.asarray(outline.goes_beyond) > 0.0).any(axis=-1)
    return (np.asarray(outline.alone) > 0.0) & bounded
