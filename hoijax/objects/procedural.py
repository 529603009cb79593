"""Everyday objects made by code, each from closed surfaces with named parts.

Metres, y up, resting on y = 0, +z is the front (where a person using the object faces). Sizes are those
of common real objects. Every surface is a loft: a stack of closed outlines joined band by band.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from hoijax.errors import UserError, nearest_hint
from hoijax.objects.lofting import (
    Piece,
    along,
    beam,
    circle,
    lathe_x,
    loft,
    rounded_rectangle,
    slab,
    stack,
    tube,
    wheel,
)


def make_procedural(
    name: str,
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"], Int[np.ndarray, "F"], tuple[str, ...]]:
    """Vertices, faces, part of every face and part names. Raises UserError for unknown names."""
    if name not in PROCEDURAL_OBJECTS:
        raise UserError(
            f"unknown procedural object '{name}'.{nearest_hint(name, PROCEDURAL_OBJECTS)} Known: {', '.join(PROCEDURAL_OBJECTS)}."
        )
    vertices, faces, face_parts, part_names = join_pieces(PROCEDURAL_OBJECTS[name]())
    vertices = vertices - np.array([0.0, vertices[:, 1].min(), 0.0])
    return vertices, faces, face_parts, part_names


def join_pieces(
    pieces: list,
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"], Int[np.ndarray, "F"], tuple[str, ...]]:
    """One mesh of several `Piece`s: vertices, faces, part of every face and part names."""
    part_names = tuple(dict.fromkeys(label for label, _, _ in pieces))
    starts = np.cumsum([0] + [len(v) for _, v, _ in pieces])
    vertices = np.concatenate([v for _, v, _ in pieces])
    faces = np.concatenate([f + start for (_, _, f), start in zip(pieces, starts, strict=False)])
    face_parts = np.repeat(
        [part_names.index(label) for label, _, _ in pieces], [len(f) for _, _, f in pieces]
    )
    vertices, faces = _weld(vertices, faces)
    return vertices, faces, face_parts, part_names


def _weld(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join vertices that coincide, so that neighboring stretches of one surface share theirs."""
    _, first, inverse = np.unique(
        np.round(vertices, 7), axis=0, return_index=True, return_inverse=True
    )
    return vertices[first], inverse.reshape(-1)[faces]


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
    return lathe_x(profile, labels, count=32)


def box() -> list[Piece]:
    """Cardboard box, 45 x 32 x 36 cm."""
    outline = rounded_rectangle(0.45, 0.36, 0.008, steps=2)
    heights = [0.0, 0.006, 0.314, 0.32]
    labels = ["bottom", "bottom", "sides", "top", "top"]
    return stack(outline, heights, [0.975, 1.0, 1.0, 0.975], labels)


def chair() -> list[Piece]:
    """Wooden chair: seat at 45 cm, leaning backrest with a top rail and three slats."""
    pieces = slab((0.44, 0.036, 0.43), (0.0, 0.442, 0.0), 0.03, "seat")
    for x in (-0.185, 0.185):
        pieces += beam((x, 0.0, 0.185), (x, 0.424, 0.180), 0.036, 0.036, "legs")
        pieces += beam((x, 0.0, -0.215), (x, 0.424, -0.185), 0.036, 0.036, "legs")
        pieces += beam((x, 0.20, -0.185), (x, 0.20, 0.166), 0.018, 0.028, "legs")
        pieces += beam((x, 0.46, -0.190), (x, 0.90, -0.262), 0.034, 0.030, "backrest")
    for height, tall in ((0.860, 0.075), (0.735, 0.045), (0.640, 0.045), (0.545, 0.045)):
        z = -0.190 - (height - 0.46) * 0.1636
        pieces += beam(
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
    outlines = [circle(r) for r in (0.0125, 0.0125, 0.0125, 0.010, 0.005)]
    pieces = along(tip, outlines, "handle")
    pieces += slab((0.30, 0.040, 0.055), (0.0, 0.125, 0.0), 0.015, "head")
    pieces += stack(circle(1.0), [0.145, 0.155, 0.195], [0.026, 0.024, 0.017], "head")
    for x in np.linspace(-0.132, 0.132, 11):
        for z in (-0.0165, 0.0, 0.0165):
            top, foot = (x, 0.106, z), (1.22 * x, 0.0, 1.9 * z)
            pieces += along([foot, top], [circle(0.0125, 6), circle(0.0085, 6)], "head")
    return pieces


def suitcase() -> list[Piece]:
    """Cabin suitcase, 38 x 55 x 23 cm body on four wheels, telescopic handle pulled out, ribbed shell."""
    outline = _ribbed_outline(0.38, 0.23)
    heights = [0.050, 0.056, 0.075, 0.575, 0.594, 0.600]
    pieces = stack(outline, heights, [0.88, 0.95, 1.0, 1.0, 0.95, 0.88], "body")
    for x in (-0.09, 0.09):
        pieces += tube([(x, 0.601, -0.065), (x, 0.940, -0.065)], 0.009, "handle")
    pieces += _beam_x(-0.115, 0.115, 0.955, -0.065, 0.032, 0.026, "handle")
    arch = [(-0.075, 0.601), (-0.070, 0.632), (-0.045, 0.642), (0.0, 0.645)]
    arch += [(-x, y) for x, y in arch[-2::-1]]
    pieces += tube([(x, y, 0.02) for x, y in arch], 0.009, "handle", sideways=(0.0, 0.0, 1.0))
    for x in (-0.145, 0.145):
        for z in (-0.075, 0.075):
            pieces += wheel((x, 0.025, z), 0.025, 0.022, "wheels")
            pieces += slab((0.036, 0.014, 0.040), (x, 0.0425, z), 0.006, "wheels")
    return pieces


def _ribbed_outline(width: float, depth: float) -> np.ndarray:
    """Rounded rectangle whose long sides carry shallow vertical ribs."""
    base = rounded_rectangle(width, depth, 0.035, steps=4)
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
    section = circle(0.5) * [depth, height]
    shrink = [0.6, 1.0, 1.0, 0.6]
    xs = [start, start + 0.008, end - 0.008, end]
    return along([(x, y, z) for x in xs], [s * section for s in shrink], label, (0.0, 0.0, 1.0))


def skateboard() -> list[Piece]:
    """Skateboard, 80 x 20 cm, long along z, nose and tail bent up, two trucks, four wheels."""
    nose = np.concatenate([[0.24, 0.27], 0.40 - 0.10 * np.linspace(1.0, 0.0, 10) ** 2])
    stations = np.concatenate([-nose[::-1], np.linspace(-0.16, 0.16, 5), nose])
    across = np.linspace(-1.0, 1.0, 9)
    rings = []
    for z in stations:
        beyond = max(abs(z) - 0.30, 0.0) / 0.10
        half_width = 0.10 * np.sqrt(max(1.0 - beyond**2, 0.008))
        bend = max(abs(z) - 0.25, 0.0)
        x = half_width * across
        y = 0.092 + 0.050 * min(bend / 0.15, 1.0) ** 1.3 + 0.6 * x**2
        top = np.stack([x, y + 0.011, np.full(9, z)], axis=-1)
        bottom = np.stack([x, y, np.full(9, z)], axis=-1)
        rings.append(np.concatenate([top, bottom[::-1]]))
    pieces = loft(np.stack(rings), "deck")
    for z in (-0.205, 0.205):
        pieces += slab((0.055, 0.012, 0.085), (0.0, 0.085, z), 0.01, "trucks")
        pieces += beam((0.0, 0.034, z), (0.0, 0.079, z), 0.050, 0.030, "trucks")
        pieces += tube([(-0.102, 0.027, z), (0.102, 0.027, z)], 0.008, "trucks", (0.0, 0.0, 1.0))
        for x in (-0.085, 0.085):
            pieces += wheel((x, 0.027, z), 0.027, 0.033, "wheels")
    return pieces


def table() -> list[Piece]:
    """Four-legged table, 100 x 60 cm, 73 cm high."""
    pieces = slab((1.00, 0.030, 0.60), (0.0, 0.715, 0.0), 0.03, "top")
    for x in (-0.44, 0.44):
        for z in (-0.24, 0.24):
            leg = [rounded_rectangle(s, s, 0.2 * s, steps=1) for s in (0.034, 0.050)]
            pieces += along([(x, 0.0, z), (x, 0.70, z)], leg, "legs")
    for z in (-0.24, 0.24):
        pieces += slab((0.829, 0.070, 0.020), (0.0, 0.665, z), 0.003, "legs")
    for x in (-0.44, 0.44):
        pieces += slab((0.020, 0.070, 0.429), (x, 0.665, 0.0), 0.003, "legs")
    return pieces


def ball() -> list[Piece]:
    """Football, 22 cm."""
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=3, radius=0.11)
    return [("surface", np.asarray(sphere.vertices), np.asarray(sphere.faces))]


PROCEDURAL_OBJECTS: dict[str, Callable[[], list[Piece]]] = {
    make.__name__: make for make in (barbell, box, chair, broom, suitcase, skateboard, table, ball)
}
