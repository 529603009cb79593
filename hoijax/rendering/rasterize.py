"""First hits of a camera's pixels by projecting triangles: as `cast`, where no other rays are needed.

Rays need a tree over all triangles, which is built anew for every frame and, by embree's wrapper, under
Python's lock. Most triangles of a body are smaller than a pixel: what each may cover is soon gone through.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.geometry.camera import PinholeCamera
from hoijax.rendering.raycast import CastImage, RayHits, RayScene, cast

NEAR = 1e-3
"""Metres in front of the camera that all vertices must be, else rays are cast."""


def rasterize(
    scene: RayScene,
    camera: PinholeCamera,
    T_world_camera: Float[ndarray, "4 4"],
    blocks: Bool[ndarray, "h w"] | None = None,
) -> CastImage:
    """What every pixel center sees: hits as those of `cast`, but for rounding.

    blocks: of two by two pixels, those that are wanted; by default all pixels.
    """
    T_world_camera = np.asarray(T_world_camera, np.float32)
    points = (scene.vertices - T_world_camera[:3, 3]) @ T_world_camera[:3, :3]
    if not len(scene.faces) or points[:, 2].min() < NEAR:
        pixels = None
        if blocks is not None:
            pixels = np.sort(pixels_of_blocks(np.flatnonzero(blocks), camera), axis=None)
        return cast(scene, camera, T_world_camera, pixels)
    nearness = 1 / np.ascontiguousarray(points[:, 2])
    size = 1 if blocks is None else 2
    u = points[:, 0] * nearness * np.float32(camera.fx / size) + np.float32(camera.cx / size - 0.5)
    v = points[:, 1] * nearness * np.float32(camera.fy / size) + np.float32(camera.cy / size - 0.5)
    corners = np.ascontiguousarray(scene.faces.T)
    covered = _covered(u, v, corners, camera, blocks)
    first, second, third = (nearness.take(corner.take(covered.faces)) for corner in corners)
    # what is linear in the image is the inverse of depth, and weights times it
    second, third = covered.second * second, covered.third * third
    inverse = (1 - covered.second - covered.third) * first + second + third
    nearest = _nearest(covered.pixels, inverse, camera.width * camera.height)
    inverse, faces = inverse[nearest], covered.faces[nearest]
    weights = np.stack([second[nearest], third[nearest]], axis=-1) / inverse[:, None]
    hits = RayHits(faces.astype(np.int32), 1 / inverse, weights)
    return CastImage(covered.pixels[nearest], hits, camera, T_world_camera, scene)


@dataclass(frozen=True)
class _Covered:
    """Pairs of a pixel and a triangle around its center."""

    pixels: Int[ndarray, "n"]
    faces: Int[ndarray, "n"]
    second: Float[ndarray, "n"]
    """Weights of the triangle's second and third corner, in the image."""
    third: Float[ndarray, "n"]


def _covered(
    u: Float[ndarray, "V"],
    v: Float[ndarray, "V"],
    corners: Int[ndarray, "3 F"],
    camera: PinholeCamera,
    blocks: Bool[ndarray, "h w"] | None,
) -> _Covered:
    """u, v: of vertices in pixels, or in blocks, whole numbers at centers."""
    margin = 0.0 if blocks is None else 0.25
    shape = (camera.height, camera.width) if blocks is None else blocks.shape
    us, vs = [u.take(corner) for corner in corners], [v.take(corner) for corner in corners]
    left, right = _ends(us, margin, shape[1])
    top, bottom = _ends(vs, margin, shape[0])
    area = (us[1] - us[0]) * (vs[2] - vs[0]) - (us[2] - us[0]) * (vs[1] - vs[0])
    some = np.flatnonzero((right >= left) & (bottom >= top) & (area != 0))
    left, right, top, bottom = left[some], right[some], top[some], bottom[some]
    us, vs, scale = [x[some] for x in us], [x[some] for x in vs], 1 / area[some]
    box, row, column = _within(bottom - top + 1, right - left + 1)
    pixels = (top.take(box) + row) * np.int32(shape[1]) + left.take(box) + column
    if blocks is not None:
        asked = np.flatnonzero(blocks.reshape(-1).take(pixels))
        box, row, column, pixels = (x.take(asked) for x in (box, row, column, pixels))
    steps = (  # of a weight, from a column and from a row to the next
        ((vs[2] - vs[0]) * scale, (us[0] - us[2]) * scale),
        ((vs[0] - vs[1]) * scale, (us[1] - us[0]) * scale),
    )
    row, column = row.astype(np.float32), column.astype(np.float32)
    to_left, to_top = left.astype(np.float32) - us[0], top.astype(np.float32) - vs[0]
    weights = [
        (along * to_left + down * to_top).take(box)
        + (along.take(box) * column + down.take(box) * row)
        for along, down in steps
    ]
    if blocks is not None:
        pixels = pixels_of_blocks(pixels, camera).ravel()
        off = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32) * np.float32(margin)
        weights = [
            (weight + off[:, :1] * along.take(box) + off[:, 1:] * down.take(box)).ravel()
            for weight, (along, down) in zip(weights, steps, strict=True)
        ]
        box = np.tile(box, 4)
    second, third = weights
    inside = np.flatnonzero((second >= 0) & (third >= 0) & (second + third <= 1))
    return _Covered(pixels[inside], some[box[inside]], second[inside], third[inside])


def _ends(places: list[Float[ndarray, "F"]], margin: float, count: int) -> tuple[ndarray, ndarray]:
    """The first and the last of `count` centers that triangles reach along an axis."""
    a, b, c = places
    first = np.ceil(np.minimum(np.minimum(a, b), c) - margin)
    last = np.floor(np.maximum(np.maximum(a, b), c) + margin)
    first, last = np.maximum(first, 0), np.minimum(last, count - 1)
    return np.minimum(first, count).astype(np.int32), np.maximum(last, -1).astype(np.int32)


def _within(
    rows: Int[ndarray, "b"], columns: Int[ndarray, "b"]
) -> tuple[ndarray, ndarray, ndarray]:
    """(box, row, column) of every place in boxes of so many rows and columns."""
    count = rows * columns
    box = np.repeat(np.arange(len(rows), dtype=np.int32), count)
    begins = np.cumsum(count, dtype=np.int32) - count
    place = np.arange(len(box), dtype=np.int32) - begins.take(box)
    row = place // columns.take(box)
    return box, row, place - row * columns.take(box)


def pixels_of_blocks(blocks: Int[ndarray, "n"], camera: PinholeCamera) -> Int[ndarray, "4 n"]:
    """Flat indices of the pixels of two by two, row by row, of flat indices of blocks."""
    rows, columns = np.divmod(blocks, camera.width // 2)
    first = 2 * (rows * camera.width + columns)
    return first + np.array([[0], [1], [camera.width], [camera.width + 1]])


def _nearest(
    pixels: Int[ndarray, "n"], inverse: Float[ndarray, "n"], count: int
) -> Int[ndarray, "m"]:
    """Of every pixel the index of the largest inverse depth; by rising pixels."""
    best = np.zeros(count, np.float32)
    np.maximum.at(best, pixels, inverse)
    seen = np.flatnonzero(inverse == best.take(pixels))
    chosen = np.full(count, -1)
    chosen[pixels[seen]] = seen
    return chosen[chosen >= 0]
