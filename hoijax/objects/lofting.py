"""Lofted surfaces: a stack of closed outlines joined band by band, the bricks of procedural objects."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

Piece = tuple[str, Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]
"""Part name, vertices and faces of one surface or of one labeled stretch of it."""


def loft(outlines: Float[np.ndarray, "R N 3"], labels: str | Sequence[str]) -> list[Piece]:
    """Closed surface through R outlines of N points; labels for the caps and bands: R + 1 of them."""
    count, size = outlines.shape[:2]
    names = [labels] * (count + 1) if isinstance(labels, str) else list(labels)
    assert len(names) == count + 1
    i = np.arange(size)
    j = np.roll(i, -1)
    band = np.concatenate(
        [np.stack([i, j, j + size], axis=-1), np.stack([i, j + size, i + size], axis=-1)]
    )
    fan = np.stack([np.full(size, size), j, i], axis=-1)

    def cap(outline: np.ndarray, label: str, faces: np.ndarray) -> Piece:
        return label, np.concatenate([outline, outline.mean(axis=0, keepdims=True)]), faces

    pieces = [cap(outlines[0], names[0], fan)]
    for below, above, label in zip(outlines[:-1], outlines[1:], names[1:-1], strict=True):
        pieces.append((label, np.concatenate([below, above]), band))
    pieces.append(cap(outlines[-1], names[-1], fan[:, ::-1]))
    volume = sum(
        np.einsum("fi,fi->", v[f[:, 0]], np.cross(v[f[:, 1]], v[f[:, 2]])) for _, v, f in pieces
    )
    if volume < 0.0:
        pieces = [(label, v, f[:, ::-1]) for label, v, f in pieces]
    return pieces


def rounded_rectangle(width: float, depth: float, corner: float, steps: int = 3) -> np.ndarray:
    """Outline (N, 2) of a width x depth rectangle around the origin, corners rounded."""
    angles = np.linspace(0.0, np.pi / 2, steps + 1)
    quarter = corner * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    quarter += [width / 2 - corner, depth / 2 - corner]
    mirrored = quarter[::-1] * [-1, 1]
    return np.concatenate([quarter, mirrored, quarter * [-1, -1], mirrored * [-1, -1]])


def stack(
    outline: Float[np.ndarray, "N 2"],
    heights: Sequence[float],
    scales: Sequence[float],
    labels: str | Sequence[str],
) -> list[Piece]:
    """Loft of one xz outline over heights y, scaled at every height."""
    rings = [
        np.stack([s * outline[:, 0], np.full(len(outline), y), s * outline[:, 1]], axis=-1)
        for y, s in zip(heights, scales, strict=True)
    ]
    return loft(np.stack(rings), labels)


def slab(size: Sequence[float], center: Sequence[float], corner: float, label: str) -> list[Piece]:
    """Upright slab (x, y, z sizes) with rounded upright edges and a small bevel above and below."""
    width, height, depth = size
    bevel = min(0.25 * height, 0.004)
    wide = rounded_rectangle(width, depth, corner)
    narrow = rounded_rectangle(width - 2 * bevel, depth - 2 * bevel, max(corner - bevel, 1e-3))
    rings = []
    for outline, y in (
        (narrow, 0.0),
        (wide, bevel),
        (wide, height - bevel),
        (narrow, height),
    ):
        ring = np.stack([outline[:, 0], np.full(len(outline), y), outline[:, 1]], axis=-1)
        rings.append(ring + np.asarray(center) - [0.0, height / 2, 0.0])
    return loft(np.stack(rings), label)


def along(
    points: Sequence[Sequence[float]],
    outlines: Sequence[Float[np.ndarray, "N 2"]],
    label: str,
    sideways: Sequence[float] = (1.0, 0.0, 0.0),
) -> list[Piece]:
    """Loft of outlines placed at points of a path; outline x runs along `sideways`."""
    path = np.asarray(points, np.float64)
    tangents = np.gradient(path, axis=0)
    rings = []
    for point, tangent, outline in zip(path, tangents, outlines, strict=True):
        tangent = tangent / np.linalg.norm(tangent)
        side = np.asarray(sideways) - np.dot(sideways, tangent) * tangent
        side /= np.linalg.norm(side)
        rings.append(point + outline[:, :1] * side + outline[:, 1:] * np.cross(side, tangent))
    return loft(np.stack(rings), label)


def circle(radius: float, count: int = 12) -> np.ndarray:
    angles = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def tube(
    points: Sequence[Sequence[float]],
    radius: float,
    label: str,
    sideways: Sequence[float] = (1.0, 0.0, 0.0),
    count: int = 12,
) -> list[Piece]:
    """Round tube along a path."""
    return along(points, [circle(radius, count)] * len(points), label, sideways)


def beam(
    start: Sequence[float], end: Sequence[float], width: float, depth: float, label: str
) -> list[Piece]:
    """Straight beam of rounded rectangular section; width is measured along x."""
    outline = rounded_rectangle(width, depth, 0.2 * min(width, depth), steps=1)
    return along([start, end], [outline, outline], label)


def wheel(
    center: Sequence[float], radius: float, width: float, label: str, count: int = 16
) -> list[Piece]:
    """Wheel with an axle along x and bevelled rims."""
    rim = min(0.2 * width, 0.3 * radius)
    profile = [
        (-width / 2, radius - rim),
        (-width / 2 + rim, radius),
        (width / 2 - rim, radius),
        (width / 2, radius - rim),
    ]
    return lathe_x(profile, [label] * 5, count, center)


def lathe_x(
    profile: Sequence[tuple[float, float]],
    labels: Sequence[str],
    count: int,
    center: Sequence[float] = (0.0, 0.0, 0.0),
) -> list[Piece]:
    """Surface of revolution about an axis along x through `center`; profile rows are (x, radius)."""
    rings = []
    for x, radius in profile:
        ring = circle(radius, count)
        rings.append(np.stack([np.full(count, x), ring[:, 0], ring[:, 1]], axis=-1) + center)
    return loft(np.stack(rings), labels)
