"""What the image says of contact and of who is in front, about objects without depth (host).

A graph says what touches, at best, not when; and what pulls an object without depth to a hand that is not
there yet wins against its outline. In the image the two are apart where background lies between a body
part and the object's mask. Where a mask ends at an occluder or at the image's border, the object may go on,
but no farther than it is large.
"""

import numpy as np
from jaxtyping import Array, Bool, Float
from numpy import ndarray
from scipy import ndimage

from hoijax.bundle.observations import Observations
from hoijax.geometry.camera import NEAR
from hoijax.geometry.cropping import window_around
from hoijax.objects.asset import Asset
from hoijax.scene.objects import Cameras, ContactEdges
from hoijax.scene.silhouettes import REACH, Outline, without_specks

__all__ = ["contacts_possible", "in_front_of_people"]

GAP = 0.12
"""Metres between a body part and a mask from which on they do not touch: as far as bodies err."""
CELLS = 90
"""Rows of the small image in which bodies are drawn."""
COVERED = 0.15
"""Of an object's mask, by the bodies as they are posed, from which on it is in front of them."""


def in_front_of_people(
    o: Observations, vertices_world: Float[Array | ndarray, "P T V 3"], cameras: Cameras
) -> Bool[ndarray, "O T"]:
    """Whether each object hides people: its mask shows where a body would be seen if it were in front."""
    height = o.instance_ids.shape[1]
    cell = max(height // CELLS, 1)
    front = np.zeros((o.object_count, o.frame_count), bool)
    vertices, intrinsics = np.asarray(vertices_world), np.asarray(cameras.intrinsics)
    Ts = np.asarray(cameras.Ts_pointmap_world)
    for t in range(o.frame_count):
        ids = o.instance_ids[t, ::cell, ::cell]
        body = np.zeros(ids.shape, bool)
        points = vertices[:, t].reshape(-1, 3) @ Ts[t, :3, :3].T + Ts[t, :3, 3]
        u, v = np.floor(_pixels(points, intrinsics[t]) / cell).astype(int).T
        seen = (points[:, 2] > NEAR) & (u >= 0) & (u < ids.shape[1]) & (v >= 0) & (v < ids.shape[0])
        body[v[seen], u[seen]] = True
        body = ndimage.binary_erosion(ndimage.binary_closing(body))
        for i in range(o.object_count):
            mask = ids == o.person_count + 1 + i
            front[i, t] = (mask & body).sum() > COVERED * max(mask.sum(), 1)
    return front


def contacts_possible(
    o: Observations,
    assets: tuple[Asset, ...],
    edges: ContactEdges,
    cameras: Cameras,
    outline: Outline,
) -> Bool[ndarray, "E 2 T"]:
    """False where the image shows a body part apart from an object that has an outline.

    edges: as built, with points of body parts in the world.
    """
    possible = np.ones(np.shape(edges.points)[:3], bool)
    points, slots = np.asarray(edges.points), np.asarray(edges.slot_mask)
    of_body = np.asarray(edges.mask) & (np.asarray(edges.source) == o.object_count)
    outlined = np.asarray(outline.alone) > 0.0
    targets, T_camera_world = np.asarray(edges.target), np.asarray(cameras.Ts_pointmap_world)
    intrinsics = np.asarray(cameras.intrinsics)
    scale = np.cbrt(np.linalg.det(T_camera_world[:, :3, :3]))
    for i in np.unique(targets[of_body]):
        number = o.person_count + 1 + int(i)
        size = 2.0 * assets[i].radius
        rows = of_body & (targets == i)
        for t in np.flatnonzero(outlined[i]):
            ids, rim = _rim(o.instance_ids[t], number)
            for e, side in np.argwhere(rows[:, None] & slots):
                camera = points[e, side, t] @ T_camera_world[t, :3, :3].T + T_camera_world[t, :3, 3]
                apart = _apart(camera / scale[t], intrinsics[t], ids, rim, number, size)
                possible[e, side, t] = (apart < GAP).any()
    return possible


def _rim(ids: ndarray, number: int) -> tuple[ndarray, Float[ndarray, "n 2"]]:
    """(labels without specks of the instance, (u, v) of the pixels at its border)."""
    mask = without_specks(ids == number)
    window = window_around(mask, 1)
    inner = np.asarray(ndimage.binary_erosion(mask[window]), bool)
    v, u = np.nonzero(mask[window] & ~inner)
    cleaned = np.where((ids == number) & ~mask, 0, ids)
    return cleaned, np.stack([u + window[1].start, v + window[0].start], axis=-1) + 0.5


def _apart(
    points: Float[ndarray, "c 3"],
    K: Float[ndarray, "3 3"],
    ids: ndarray,
    rim: Float[ndarray, "n 2"],
    number: int,
    size: float,
) -> Float[ndarray, " c"]:
    """Metres between points (camera axes) and an object, as far as the image tells, at the points' depth."""
    pixels = _pixels(points, K)
    metres = np.maximum(points[:, 2], NEAR) / K[0, 0]
    away = np.linalg.norm(pixels[:, None] - rim, axis=-1)
    nearest = rim[away.argmin(axis=1)]
    distance = np.maximum(away.min(axis=1), 1e-6)
    ends_here = np.ones(len(points), bool)
    for reach in REACH:
        step = np.minimum(reach, distance)[:, None]
        beyond = nearest + step * (pixels - nearest) / distance[:, None]
        ends_here &= np.isin(_labels(ids, beyond), (0, number))
    visible = np.linalg.norm(np.ptp(rim, axis=0)) * metres
    hidden = np.where(ends_here, 0.0, np.maximum(size - visible, 0.0))
    apart = np.maximum(distance * metres - hidden, 0.0)
    return np.where(_labels(ids, pixels) == number, 0.0, apart)


def _pixels(points: Float[ndarray, "c 3"], K: Float[ndarray, "3 3"]) -> Float[ndarray, "c 2"]:
    depth = np.maximum(points[:, 2:], NEAR)
    return points[:, :2] / depth * K[[0, 1], [0, 1]] + K[:2, 2]


def _labels(ids: ndarray, pixels: Float[ndarray, "c 2"]) -> ndarray:
    """Labels at pixels; -1 outside the image."""
    height, width = ids.shape
    u, v = np.floor(pixels).astype(int).T
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    labels = ids[np.clip(v, 0, height - 1), np.clip(u, 0, width - 1)].astype(int)
    return np.where(inside, labels, -1)
