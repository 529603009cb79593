"""Everyday objects made by code, each from closed surfaces with named parts.

Metres, y up, resting on y = 0, +z is the front (where a person using the object faces). Sizes are those
of common real objects. Every surface is a loft: a stack of closed outlines joined band by band.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from hoijax.errors import UserError

Piece = tuple[str, Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]
"""Part name, vertices and faces of one surface or of one labelled stretch of it."""


def make_procedural(
    name: str,
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"], Int[np.ndarray, "F"], tuple[str, ...]]:
    """Vertices, faces, part of every face and part names. Raises UserError for unknown names."""
    if name not in PROCEDURAL_OBJECTS:
        raise UserError(
            f"unknown procedural object '{name}'. Known: {', '.join(PROCEDURAL_OBJECTS)}."
        )
    pieces = PROCEDURAL_OBJECTS[name]()
    part_names = tuple(dict.fromkeys(label for label, _, _ in pieces))
    starts = np.cumsum([0] + [len(v) for _, v, _ in pieces])
    vertices = np.concatenate([v for _, v, _ in pieces])
    faces = np.concatenate([f + start for (_, _, f), start in zip(pieces, starts, strict=False)])
    face_parts = np.repeat(
        [part_names.index(label) for label, _, _ in pieces], [len(f) for _, _, f in pieces]
    )
    vertices, faces = _weld(vertices, faces)
    vertices = vertices - np.array([0.0, vertices[:, 1].min(), 0.0])
    return vertices, faces, face_parts, part_names


def _weld(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join vertices that coincide, so that neighbouring stretches of one surface share theirs."""
    _, first, inverse = np.unique(
        np.round(vertices, 7), axis=0, return_index=True, return_inverse=True
    )
    return vertices[first], inverse.reshape(-1)[faces]


# -- building blocks ---------------------------------------------------------------------------------


def _loft(outlines: Float[np.ndarray, "R N 3"], labels: str | Sequence[str]) -> list[Piece]:
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


def _rounded_rectangle(width: float, depth: float, corner: float, steps: int = 3) -> np.ndarray:
    """Outline (N, 2) of a width x depth rectangle around the origin, corners rounded."""
    angles = np.linspace(0.0, np.pi / 2, steps + 1)
    quarter = corner * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    quarter += [width / 2 - corner, depth / 2 - corner]
    mirrored = quarter[::-1] * [-1, 1]
    return np.concatenate([quarter, mirrored, quarter * [-1, -1], mirrored * [-1, -1]])


def _stack(
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
    return _loft(np.stack(rings), labels)


def _slab(size: Sequence[float], centre: Sequence[float], corner: float, label: str) -> list[Piece]:
    """Upright slab (x, y, z sizes) with rounded upright edges and a small bevel above and below."""
    width, height, depth = size
    bevel = min(0.25 * height, 0.004)
    wide = _rounded_rectangle(width, depth, corner)
    narrow = _rounded_rectangle(width - 2 * bevel, depth - 2 * bevel, max(corner - bevel, 1e-3))
    rings = []
    for outline, y in (
        (narrow, 0.0),
        (wide, bevel),
        (wide, height - bevel),
        (narrow, height),
    ):
        ring = np.stack([outline[:, 0], np.full(len(outline), y), outline[:, 1]], axis=-1)
        rings.append(ring + np.asarray(centre) - [0.0, height / 2, 0.0])
    return _loft(np.stack(rings), label)


def _along(
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
    return _loft(np.stack(rings), label)


def _circle(radius: float, count: int = 12) -> np.ndarray:
    angles = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _tube(
    points: Sequence[Sequence[float]],
    radius: float,
    label: str,
    sideways: Sequence[float] = (1.0, 0.0, 0.0),
    count: int = 12,
) -> list[Piece]:
    """Round tube along a path."""
    return _along(points, [_circle(radius, count)] * len(points), label, sideways)


def _beam(
    start: Sequence[float], end: Sequence[float], width: float, depth: float, label: str
) -> list[Piece]:
    """Straight beam of rounded rectangular section; width is measured along x."""
    outline = _rounded_rectangle(width, depth, 0.2 * min(width, depth), steps=1)
    return _along([start, end], [outline, outline], label)


def _wheel(
    centre: Sequence[float], radius: float, width: float, label: str, count: int = 16
) -> list[Piece]:
    """Wheel with an axle along x and bevelled rims."""
    rim = min(0.2 * width, 0.3 * radius)
    profile = [
        (-width / 2, radius - rim),
        (-width / 2 + rim, radius),
        (width / 2 - rim, radius),
        (width / 2, radius - rim),
    ]
    return _lathe_x(profile, [label] * 5, count, centre)


def _lathe_x(
    profile: Sequence[tuple[float, float]],
    labels: Sequence[str],
    count: int,
    centre: Sequence[float] = (0.0, 0.0, 0.0),
) -> list[Piece]:
    """Surface of revolution about an axis along x through `centre`; profile rows are (x, radius)."""
    rings = []
    for x, radius in profile:
        circle = _circle(radius, count)
        rings.append(np.stack([np.full(count, x), circle[:, 0], circle[:, 1]], axis=-1) + centre)
    return _loft(np.stack(rings), labels)


# -- objects -----------------------------------------------------------------------------------------


def barbell() -> list[Piece]:
    """Straight bar of 1.6 m with two pairs of round weights; the bar lies along x, 22 cm up."""
    half = [
        (0.000, 0.014, "bar"),
        (0.555, 0.014, "bar"),
        (0.556, 0.036, "bar"),
        (0.580, 0.036, "bar"),
        (0.581, 0.217, "weights"),
        (0.589, 0.225, "weights"),
        (0.627, 0.225, "weights"),
        (0.635, 0.217, "weights"),
        (0.636, 0.160, "weights"),
        (0.668, 0.160, "weights"),
        (0.674, 0.154, "weights"),
        (0.675, 0.025, "weights"),
        (0.790, 0.025, "bar"),
        (0.796, 0.019, "bar"),
    ]
    profile = [(-x, r) for x, r, _ in half[:0:-1]] + [(x, r) for x, r, _ in half]
    bands = [label for _, _, label in half[1:]]
    labels = ["bar", *bands[::-1], *bands, "bar"]
    return _lathe_x(profile, labels, count=32)


def box() -> list[Piece]:
    """Cardboard box, 45 x 32 x 36 cm."""
    outline = _rounded_rectangle(0.45, 0.36, 0.008, steps=2)
    heights = [0.0, 0.006, 0.314, 0.32]
    labels = ["bottom", "bottom", "sides", "top", "top"]
    return _stack(outline, heights, [0.975, 1.0, 1.0, 0.975], labels)


def chair() -> list[Piece]:
    """Wooden chair: seat at 45 cm, leaning backrest with a top rail and three slats."""
    pieces = _slab((0.44, 0.036, 0.43), (0.0, 0.442, 0.0), 0.03, "seat")
    for x in (-0.185, 0.185):
        pieces += _beam((x, 0.0, 0.185), (x, 0.424, 0.180), 0.036, 0.036, "legs")
        pieces += _beam((x, 0.0, -0.215), (x, 0.424, -0.185), 0.036, 0.036, "legs")
        pieces += _beam((x, 0.20, -0.185), (x, 0.20, 0.166), 0.018, 0.028, "legs")
        pieces += _beam((x, 0.46, -0.190), (x, 0.90, -0.262), 0.034, 0.030, "backrest")
    for height, tall in ((0.860, 0.075), (0.735, 0.045), (0.640, 0.045), (0.545, 0.045)):
        z = -0.190 - (height - 0.46) * 0.1636
        pieces += _beam(
            (0.0, height - tall / 2, z + tall * 0.08),
            (0.0, height + tall / 2, z - tall * 0.08),
            0.340,
            0.018,
            "backrest",
        )
    return pieces


def broom() -> list[Piece]:
    """Broom standing on its bristles: 1.35 m, round handle, head 30 cm wide along x."""
    tip = [(0.0, y, 0.0) for y in (0.165, 0.185, 1.330, 1.345, 1.350)]
    outlines = [_circle(r) for r in (0.0125, 0.0125, 0.0125, 0.010, 0.005)]
    pieces = _along(tip, outlines, "handle")
    pieces += _slab((0.30, 0.040, 0.055), (0.0, 0.125, 0.0), 0.015, "head")
    pieces += _stack(_circle(1.0), [0.145, 0.155, 0.195], [0.026, 0.024, 0.017], "head")
    for x in np.linspace(-0.132, 0.132, 11):
        for z in (-0.0165, 0.0, 0.0165):
            top, foot = (x, 0.106, z), (1.22 * x, 0.0, 1.9 * z)
            pieces += _along([foot, top], [_circle(0.0125, 6), _circle(0.0085, 6)], "head")
    return pieces


def suitcase() -> list[Piece]:
    """Cabin suitcase, 38 x 55 x 23 cm body on four wheels, telescopic handle pulled out, ribbed shell."""
    outline = _ribbed_outline(0.38, 0.23)
    heights = [0.050, 0.056, 0.075, 0.575, 0.594, 0.600]
    pieces = _stack(outline, heights, [0.88, 0.95, 1.0, 1.0, 0.95, 0.88], "body")
    for x in (-0.09, 0.09):
        pieces += _tube([(x, 0.601, -0.065), (x, 0.940, -0.065)], 0.009, "handle")
    pieces += _beam_x(-0.115, 0.115, 0.955, -0.065, 0.032, 0.026, "handle")
    arch = [(-0.075, 0.601), (-0.070, 0.632), (-0.045, 0.642), (0.0, 0.645)]
    arch += [(-x, y) for x, y in arch[-2::-1]]
    pieces += _tube([(x, y, 0.02) for x, y in arch], 0.009, "handle", sideways=(0.0, 0.0, 1.0))
    for x in (-0.145, 0.145):
        for z in (-0.075, 0.075):
            pieces += _wheel((x, 0.025, z), 0.025, 0.022, "wheels")
            pieces += _slab((0.036, 0.014, 0.040), (x, 0.0425, z), 0.006, "wheels")
    return pieces


def _ribbed_outline(width: float, depth: float) -> np.ndarray:
    """Rounded rectangle whose long sides carry shallow vertical ribs."""
    base = _rounded_rectangle(width, depth, 0.035, steps=4)
    xs = np.linspace(width / 2 - 0.055, -width / 2 + 0.055, 17)
    ridge = np.where(np.arange(17) % 4 < 2, 0.0, 0.006)
    front = np.stack([xs, depth / 2 + ridge], axis=-1)
    quarter = len(base) // 4
    return np.concatenate(
        [base[:quarter], front, base[quarter : 3 * quarter], -front, base[3 * quarter :]]
    )


def _beam_x(
    start: float, end: float, y: float, z: float, height: float, depth: float, label: str
) -> list[Piece]:
    """Horizontal grip along x with an oval section and rounded ends."""
    section = _circle(0.5) * [depth, height]
    shrink = [0.6, 1.0, 1.0, 0.6]
    xs = [start, start + 0.008, end - 0.008, end]
    return _along([(x, y, z) for x in xs], [s * section for s in shrink], label, (0.0, 0.0, 1.0))


def skateboard() -> list[Piece]:
    """Skateboard, 80 x 20 cm, long along z, nose and tail bent up, two trucks, four wheels."""
    nose = np.concatenate([[0.24, 0.27], 0.40 - 0.10 * np.linspace(1.0, 0.0, 10) ** 2])
    along = np.concatenate([-nose[::-1], np.linspace(-0.16, 0.16, 5), nose])
    across = np.linspace(-1.0, 1.0, 9)
    rings = []
    for z in along:
        beyond = max(abs(z) - 0.30, 0.0) / 0.10
        half_width = 0.10 * np.sqrt(max(1.0 - beyond**2, 0.008))
        bend = max(abs(z) - 0.25, 0.0)
        x = half_width * across
        y = 0.092 + 0.050 * min(bend / 0.15, 1.0) ** 1.3 + 0.6 * x**2
        top = np.stack([x, y + 0.011, np.full(9, z)], axis=-1)
        bottom = np.stack([x, y, np.full(9, z)], axis=-1)
        rings.append(np.concatenate([top, bottom[::-1]]))
    pieces = _loft(np.stack(rings), "deck")
    for z in (-0.205, 0.205):
        pieces += _slab((0.055, 0.012, 0.085), (0.0, 0.085, z), 0.01, "trucks")
        pieces += _beam((0.0, 0.034, z), (0.0, 0.079, z), 0.050, 0.030, "trucks")
        pieces += _tube([(-0.102, 0.027, z), (0.102, 0.027, z)], 0.008, "trucks", (0.0, 0.0, 1.0))
        for x in (-0.085, 0.085):
            pieces += _wheel((x, 0.027, z), 0.027, 0.033, "wheels")
    return pieces


def table() -> list[Piece]:
    """Four-legged table, 100 x 60 cm, 73 cm high."""
    pieces = _slab((1.00, 0.030, 0.60), (0.0, 0.715, 0.0), 0.03, "top")
    for x in (-0.44, 0.44):
        for z in (-0.24, 0.24):
            leg = [_rounded_rectangle(s, s, 0.2 * s, steps=1) for s in (0.034, 0.050)]
            pieces += _along([(x, 0.0, z), (x, 0.70, z)], leg, "legs")
    for z in (-0.24, 0.24):
        pieces += _slab((0.829, 0.070, 0.020), (0.0, 0.665, z), 0.003, "legs")
    for x in (-0.44, 0.44):
        pieces += _slab((0.020, 0.070, 0.429), (x, 0.665, 0.0), 0.003, "legs")
    return pieces


def ball() -> list[Piece]:
    """Football, 22 cm."""
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=3, radius=0.11)
    return [("surface", np.asarray(sphere.vertices), np.asarray(sphere.faces))]


PROCEDURAL_OBJECTS: dict[str, Callable[[], list[Piece]]] = {
    make.__name__: make for make in (barbell, box, chair, broom, suitcase, skateboard, table, ball)
}
