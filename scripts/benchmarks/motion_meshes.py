"""Meshes like those that users bring: one piece each, without part names, y up, metres.

Built here from trimesh's primitives, so that anyone can measure the same motions again.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import trimesh


@dataclass(frozen=True)
class Case:
    """A sentence about one mesh, and what should come true of it."""

    text: str
    name: str
    build: Callable[[], trimesh.Trimesh]
    opening: tuple[float, float, float] | None = None
    """Of a vessel: where lips go, the nearest point of a ring of `ring` around it."""
    ring: float = 0.0
    strings: tuple[float, float, float] | None = None
    """Of an instrument: where the right hand plucks."""
    neck: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    """Of an instrument: the two ends of the neck, on whose fingerboard the left hand is."""
    handle: bool = False
    """Hands should close around it, from at least two sides."""

    @property
    def verb(self) -> str:
        return self.text.split()[2]


def box(size: Sequence[float], at: Sequence[float]) -> trimesh.Trimesh:
    mesh = trimesh.creation.box(size)
    mesh.apply_translation(at)
    return mesh


def rod(start: Sequence[float], end: Sequence[float], radius: float) -> trimesh.Trimesh:
    return trimesh.creation.cylinder(radius, segment=[start, end], sections=20)


def ball(radius: float, at: Sequence[float]) -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    mesh.apply_translation(at)
    return mesh


def lathe(profile: Sequence[tuple[float, float]]) -> trimesh.Trimesh:
    """Turned about y: (radius, height) pairs, from the axis to the axis."""
    mesh = trimesh.creation.revolve(np.array(profile, float), sections=32)
    mesh.apply_transform(trimesh.transformations.rotation_matrix(-0.5 * np.pi, [1, 0, 0]))
    return mesh


def loop(
    radius: float, thick: float, at: Sequence[float], normal: Sequence[float]
) -> trimesh.Trimesh:
    """A ring."""
    mesh = trimesh.creation.torus(radius, thick, major_sections=24, minor_sections=12)
    mesh.apply_transform(trimesh.geometry.align_vectors([0, 0, 1], normal))
    mesh.apply_translation(at)
    return mesh


def cup(radius: float, height: float, wall: float = 0.004) -> trimesh.Trimesh:
    inner = radius - wall
    return lathe([(0, 0), (radius, 0), (radius, height), (inner, height), (inner, wall), (0, wall)])


def joined(*pieces: trimesh.Trimesh) -> trimesh.Trimesh:
    mesh = trimesh.util.concatenate(list(pieces))
    assert isinstance(mesh, trimesh.Trimesh)
    return mesh


def drill() -> trimesh.Trimesh:
    body = rod((-0.09, 0.19, 0), (0.10, 0.19, 0), 0.032)
    chuck, bit = (
        rod((0.10, 0.19, 0), (0.15, 0.19, 0), 0.018),
        rod((0.15, 0.19, 0), (0.21, 0.19, 0), 0.004),
    )
    return joined(body, chuck, bit, box((0.036, 0.14, 0.034), (-0.04, 0.10, 0)),
                  box((0.10, 0.05, 0.07), (-0.03, 0.025, 0)))  # fmt: skip


def kettle() -> trimesh.Trimesh:
    body = lathe([(0, 0), (0.09, 0), (0.10, 0.05), (0.07, 0.16), (0.03, 0.18), (0, 0.18)])
    handle = [rod((-0.07, 0.15, 0), (-0.06, 0.25, 0), 0.009), rod((-0.06, 0.25, 0), (0.06, 0.25, 0), 0.011),
              rod((0.06, 0.25, 0), (0.07, 0.15, 0), 0.009)]  # fmt: skip
    return joined(body, *handle, rod((0.07, 0.09, 0), (0.15, 0.16, 0), 0.014))


def dumbbell() -> trimesh.Trimesh:
    ends = [rod((s * 0.07, 0.06, 0), (s * 0.15, 0.06, 0), 0.06) for s in (-1, 1)]
    return joined(rod((-0.07, 0.06, 0), (0.07, 0.06, 0), 0.014), *ends)


def toolbox() -> trimesh.Trimesh:
    posts = [rod((s * 0.08, 0.20, 0), (s * 0.08, 0.27, 0), 0.008) for s in (-1, 1)]
    return joined(
        box((0.42, 0.20, 0.20), (0, 0.10, 0)), *posts, rod((-0.08, 0.27, 0), (0.08, 0.27, 0), 0.012)
    )


def bucket() -> trimesh.Trimesh:
    shell = lathe([(0, 0), (0.10, 0), (0.14, 0.26), (0.135, 0.26), (0.096, 0.01), (0, 0.01)])
    angles = np.linspace(0.0, np.pi, 9)
    arc = np.stack([0.14 * np.cos(angles), 0.25 + 0.14 * np.sin(angles), 0 * angles], axis=1)
    return joined(shell, *(rod(a, b, 0.006) for a, b in itertools.pairwise(arc)))


def crate(x: float = 0.4, y: float = 0.3, z: float = 0.3) -> trimesh.Trimesh:
    return box((x, y, z), (0, 0.5 * y, 0))


def mug() -> trimesh.Trimesh:
    return joined(cup(0.042, 0.10), loop(0.028, 0.007, (0.055, 0.052, 0), (0, 0, 1)))


def bottle() -> trimesh.Trimesh:
    return lathe([(0, 0), (0.035, 0), (0.035, 0.15), (0.014, 0.19), (0.014, 0.24), (0.010, 0.24),
                  (0.010, 0.19), (0.03, 0.15), (0.03, 0.01), (0, 0.01)])  # fmt: skip


def glass() -> trimesh.Trimesh:
    return cup(0.036, 0.14, 0.003)


def guitar(scale: float = 1.0) -> trimesh.Trimesh:
    """Standing on its lower end, strings to +z."""
    lower = trimesh.creation.cylinder(0.19, 0.10, sections=40)
    upper = trimesh.creation.cylinder(0.14, 0.10, sections=40)
    lower.apply_translation((0, 0.19, 0))
    upper.apply_translation((0, 0.40, 0))
    neck, head = (
        box((0.05, 0.46, 0.025), (0, 0.72, 0.05)),
        box((0.075, 0.16, 0.02), (0, 1.02, 0.045)),
    )
    strings = [
        rod((x, 0.15, 0.072), (x, 0.95, 0.072), 0.0008) for x in np.linspace(-0.015, 0.015, 6)
    ]
    mesh = joined(lower, upper, neck, head, box((0.12, 0.02, 0.02), (0, 0.15, 0.06)), *strings)
    mesh.apply_scale(scale)
    return mesh


def banjo() -> trimesh.Trimesh:
    drum = trimesh.creation.cylinder(0.15, 0.08, sections=40)
    drum.apply_translation((0, 0.15, 0))
    strings = [rod((x, 0.10, 0.06), (x, 0.80, 0.06), 0.0008) for x in np.linspace(-0.012, 0.012, 5)]
    return joined(drum, box((0.045, 0.55, 0.025), (0, 0.56, 0.035)), box((0.07, 0.14, 0.02), (0, 0.90, 0.03)),
                  *strings)  # fmt: skip


def stool() -> trimesh.Trimesh:
    legs = [
        rod((x * 0.18, 0, z * 0.18), (x * 0.12, 0.44, z * 0.12), 0.015)
        for x in (-1, 1)
        for z in (-1, 1)
    ]
    return joined(rod((0, 0.44, 0), (0, 0.47, 0), 0.19), *legs)


def chair() -> trimesh.Trimesh:
    legs = [
        rod((x * 0.19, 0, z * 0.19), (x * 0.19, 0.44, z * 0.19), 0.02)
        for x in (-1, 1)
        for z in (-1, 1)
    ]
    return joined(
        box((0.44, 0.04, 0.44), (0, 0.45, 0)), box((0.44, 0.45, 0.03), (0, 0.70, -0.205)), *legs
    )


def bench() -> trimesh.Trimesh:
    sides = [box((0.05, 0.43, 0.36), (x * 0.5, 0.215, 0)) for x in (-1, 1)]
    return joined(box((1.2, 0.04, 0.38), (0, 0.45, 0)), *sides)


def cart() -> trimesh.Trimesh:
    wheels = [
        rod((x, 0.06, z), (x + 0.03, 0.06, z), 0.06) for x in (-0.24, 0.21) for z in (-0.3, 0.3)
    ]
    posts = [rod((x, 0.14, -0.36), (x, 0.98, -0.40), 0.014) for x in (-0.2, 0.2)]
    return joined(
        box((0.5, 0.04, 0.8), (0, 0.14, 0)),
        *wheels,
        *posts,
        rod((-0.2, 0.98, -0.4), (0.2, 0.98, -0.4), 0.015),
    )


def trolley() -> trimesh.Trimesh:
    wheels = [rod((x, 0.03, -0.1), (x + 0.02, 0.03, -0.1), 0.03) for x in (-0.15, 0.13)]
    posts = [rod((x, 0.6, -0.1), (x, 1.0, -0.1), 0.008) for x in (-0.09, 0.09)]
    return joined(
        box((0.38, 0.55, 0.24), (0, 0.32, 0)),
        *wheels,
        *posts,
        rod((-0.09, 1.0, -0.1), (0.09, 1.0, -0.1), 0.012),
    )


def broom() -> trimesh.Trimesh:
    return joined(rod((0, 0.14, 0), (0, 1.40, 0), 0.012), box((0.34, 0.14, 0.06), (0, 0.07, 0)))


def mop() -> trimesh.Trimesh:
    return joined(rod((0, 0.05, 0), (0, 1.30, 0), 0.012), box((0.40, 0.04, 0.12), (0, 0.02, 0)))


def rake() -> trimesh.Trimesh:
    teeth = [box((0.01, 0.08, 0.01), (x, 0.04, 0.03)) for x in np.linspace(-0.2, 0.2, 11)]
    return joined(
        rod((0, 0.08, 0), (0, 1.5, 0), 0.014), box((0.42, 0.02, 0.08), (0, 0.085, 0)), *teeth
    )


def bat() -> trimesh.Trimesh:
    return lathe(
        [(0, 0), (0.02, 0), (0.012, 0.03), (0.014, 0.3), (0.033, 0.6), (0.033, 0.84), (0, 0.86)]
    )


def racket() -> trimesh.Trimesh:
    head = loop(0.13, 0.010, (0, 0.55, 0), (0, 0, 1))
    head.apply_transform(np.diag([1.0, 1.25, 1.0, 1.0]))
    head.apply_translation((0, -0.14, 0))
    strings = [rod((-0.12, y, 0), (0.12, y, 0), 0.001) for y in np.linspace(0.45, 0.65, 9)]
    return joined(
        rod((0, 0, 0), (0, 0.22, 0), 0.016), rod((0, 0.22, 0), (0, 0.40, 0), 0.010), head, *strings
    )


def hammer() -> trimesh.Trimesh:
    return joined(rod((0, 0, 0), (0, 0.31, 0), 0.013), box((0.12, 0.03, 0.03), (0, 0.32, 0)))


def umbrella() -> trimesh.Trimesh:
    canopy = lathe([(0, 0.86), (0.48, 0.66), (0.485, 0.65), (0.47, 0.655), (0, 0.85)])
    return joined(
        canopy, rod((0, 0.02, 0), (0, 0.88, 0), 0.006), rod((0, 0, 0), (0, 0.12, 0), 0.013)
    )


def book() -> trimesh.Trimesh:
    return box((0.17, 0.035, 0.24), (0, 0.0175, 0))


def lamp() -> trimesh.Trimesh:
    shade = lathe([(0.08, 0.5), (0.15, 0.3), (0.147, 0.3), (0.077, 0.5), (0.08, 0.5)])
    return joined(rod((0, 0, 0), (0, 0.02, 0), 0.09), rod((0, 0.02, 0), (0, 0.42, 0), 0.012), shade)


def skateboard() -> trimesh.Trimesh:
    wheels = [
        rod((x - 0.015, 0.03, z), (x + 0.015, 0.03, z), 0.03)
        for x in (-0.07, 0.07)
        for z in (-0.25, 0.25)
    ]
    return joined(box((0.21, 0.012, 0.8), (0, 0.085, 0)), *wheels)


def frisbee() -> trimesh.Trimesh:
    return lathe(
        [(0, 0.025), (0.10, 0.025), (0.135, 0.012), (0.135, 0), (0.13, 0), (0.10, 0.02), (0, 0.02)]
    )


def step_stool() -> trimesh.Trimesh:
    return joined(
        box((0.4, 0.03, 0.3), (0, 0.235, 0)),
        *(box((0.03, 0.22, 0.3), (x, 0.11, 0)) for x in (-0.18, 0.18)),
    )


def sack() -> trimesh.Trimesh:
    mesh = ball(1.0, (0, 0, 0))
    mesh.apply_transform(np.diag([0.22, 0.32, 0.18, 1.0]))
    mesh.apply_translation((0, 0.32, 0))
    return mesh


CASES = (
    Case("a person lifts a drill with one hand", "drill", drill, handle=True),
    Case("a person lifts a kettle with one hand", "kettle", kettle, handle=True),
    Case("a person lifts a dumbbell with one hand", "dumbbell", dumbbell, handle=True),
    Case("a person carries a toolbox with one hand", "toolbox", toolbox, handle=True),
    Case("a person carries a bucket", "bucket", bucket, handle=True),
    Case("a person carries a crate", "crate", crate),
    Case("a person drinks from a mug", "mug", mug, opening=(0, 0.10, 0), ring=0.040, handle=True),
    Case("a person drinks from a bottle", "bottle", bottle, opening=(0, 0.24, 0), ring=0.012),
    Case("a person drinks from a glass", "glass", glass, opening=(0, 0.14, 0), ring=0.034),
    Case("a person plays a guitar", "guitar", guitar, strings=(0, 0.24, 0.072),
         neck=((0, 0.55, 0.063), (0, 0.93, 0.063))),
    Case("a person plays a banjo", "banjo", banjo, strings=(0, 0.16, 0.06),
         neck=((0, 0.35, 0.048), (0, 0.8, 0.048))),
    Case("a person plays a ukulele", "ukulele", lambda: guitar(0.6), strings=(0, 0.144, 0.043),
         neck=((0, 0.33, 0.038), (0, 0.56, 0.038))),
    Case("a person sits on a stool", "stool", stool),
    Case("a person sits on a chair", "chair", chair),
    Case("a person sits on a bench", "bench", bench),
    Case("a person pushes a cart", "cart", cart, handle=True),
    Case("a person pushes a crate", "crate", lambda: crate(0.5, 0.6, 0.5)),
    Case("a person pushes a chair", "chair", chair),
    Case("a person pulls a trolley with one hand", "trolley", trolley, handle=True),
    Case("a person pulls a cart", "cart", cart, handle=True),
    Case("a person pulls a crate", "crate", lambda: crate(0.5, 0.6, 0.5)),
    Case("a person sweeps the floor with a broom", "broom", broom, handle=True),
    Case("a person mops the floor with a mop", "mop", mop, handle=True),
    Case("a person rakes the lawn with a rake", "rake", rake, handle=True),
    Case("a person swings a bat", "bat", bat, handle=True),
    Case("a person swings a racket with one hand", "racket", racket, handle=True),
    Case("a person swings a hammer with one hand", "hammer", hammer, handle=True),
    Case("a person throws a ball", "ball", lambda: ball(0.11, (0, 0.11, 0))),
    Case("a person throws a brick", "brick", lambda: crate(0.21, 0.065, 0.10)),
    Case("a person throws a frisbee with one hand", "frisbee", frisbee),
    Case("a person kicks a ball", "ball", lambda: ball(0.11, (0, 0.11, 0))),
    Case("a person kicks a can", "can", lambda: rod((0, 0, 0), (0, 0.12, 0), 0.033)),
    Case("a person kicks a crate", "crate", lambda: crate(0.3, 0.2, 0.3)),
    Case("a person holds an umbrella", "umbrella", umbrella, handle=True),
    Case("a person holds a book", "book", book),
    Case("a person holds a lamp", "lamp", lamp, handle=True),
    Case("a person rides a skateboard", "skateboard", skateboard),
    Case("a person rides a longboard", "longboard", lambda: skateboard().apply_scale(1.2)),
    Case("a person rides a board", "board", lambda: box((0.25, 0.04, 1.0), (0, 0.02, 0))),
    Case("a person steps on a stool", "stool", step_stool),
    Case("a person steps on a crate", "crate", lambda: crate(0.5, 0.25, 0.4)),
    Case("a person steps on a bench", "bench", lambda: bench().apply_transform(np.diag([1, 0.7, 1, 1.0]))),
    Case("a person drags a sack", "sack", sack),
    Case("a person drags a crate", "crate", lambda: crate(0.5, 0.4, 0.5)),
    Case("a person drags a chair", "chair", chair),
)  # fmt: skip
"""Fifteen verbs, three meshes each."""
