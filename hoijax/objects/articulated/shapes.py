"""Articulated objects made by code: scissors, laptop, drawer, door, chest. Metres, y up, resting on y = 0."""

from collections.abc import Callable

import numpy as np

from hoijax.objects.articulated.joints import PRISMATIC, REVOLUTE
from hoijax.objects.articulated.model import ArticulatedAsset, assemble
from hoijax.objects.asset import Asset, asset_from_arrays
from hoijax.objects.lofting import beam, slab, tube
from hoijax.objects.procedural import join_pieces


def _link(name: str, pieces: list, samples: int) -> Asset:
    return asset_from_arrays(name, *join_pieces(pieces), samples=samples)


def _at(x: float, y: float, z: float) -> np.ndarray:
    T = np.eye(4)
    T[:3, 3] = x, y, z
    return T


def laptop(samples: int) -> ArticulatedAsset:
    """A 33 x 23 cm laptop; the lid lies on the keyboard at 0 and stands upright at 90 degrees."""
    base = slab((0.33, 0.016, 0.23), (0.0, 0.008, 0.0), 0.008, "keyboard")
    lid = slab((0.33, 0.008, 0.226), (0.0, 0.005, 0.114), 0.008, "screen")
    hinge = _at(0.0, 0.016, -0.114)
    links = {"base": _link("base", base, samples), "lid": _link("lid", lid, samples)}
    opens = ("hinge", REVOLUTE, "base", "lid", hinge, np.array([-1.0, 0.0, 0.0]), (0.0, 2.4))
    return assemble("laptop", links, [opens])


def scissors(samples: int) -> ArticulatedAsset:
    """Scissors 21 cm long, flat on the ground; each blade turns against the other about the pivot."""

    def half(side: float, y: float) -> list:
        pieces = slab((0.012, 0.003, 0.11), (side * 0.003, y, 0.055), 0.001, "blade")
        pieces += beam((side * 0.0, y, 0.01), (side * -0.022, y, -0.06), 0.008, 0.005, "handle")
        angles = np.linspace(0.0, 2.0 * np.pi, 17)
        ring = [(side * (-0.026 + 0.016 * np.sin(a)), y, -0.075 - 0.02 * np.cos(a)) for a in angles]
        pieces += tube(ring[:-1], 0.004, "handle", sideways=(0.0, 1.0, 0.0), count=8)
        return pieces

    links = {
        "left": _link("left", half(1.0, 0.004), samples),
        "right": _link("right", half(-1.0, 0.0), samples),
    }
    axis = np.array([0.0, 1.0, 0.0])
    return assemble(
        "scissors",
        links,
        [("pivot", REVOLUTE, "left", "right", _at(0.0, 0.008, 0.0), -axis, (0.0, 1.2))],
    )


def drawer(samples: int) -> ArticulatedAsset:
    """A cabinet, 45 x 50 x 40 cm, whose drawer slides out towards +z by up to 30 cm."""
    cabinet = []
    for size, center in (
        ((0.45, 0.02, 0.40), (0.0, 0.01, 0.0)),
        ((0.45, 0.02, 0.40), (0.0, 0.49, 0.0)),
        ((0.02, 0.456, 0.40), (-0.215, 0.25, 0.0)),
        ((0.02, 0.456, 0.40), (0.215, 0.25, 0.0)),
        ((0.405, 0.456, 0.02), (0.0, 0.25, -0.19)),
        ((0.405, 0.02, 0.375), (0.0, 0.25, 0.01)),
    ):
        cabinet += slab(size, center, 0.003, "cabinet")
    box = []
    for size, center in (
        ((0.38, 0.012, 0.34), (0.0, 0.0, -0.18)),
        ((0.012, 0.14, 0.34), (-0.184, 0.07, -0.18)),
        ((0.012, 0.14, 0.34), (0.184, 0.07, -0.18)),
        ((0.36, 0.14, 0.012), (0.0, 0.07, -0.345)),
        ((0.40, 0.20, 0.018), (0.0, 0.09, 0.0)),
    ):
        box += slab(size, center, 0.003, "drawer")
    grip = [(-0.06, 0.09, 0.01), (-0.06, 0.09, 0.045), (0.06, 0.09, 0.045), (0.06, 0.09, 0.01)]
    box += tube(grip, 0.006, "handle", sideways=(0.0, 1.0, 0.0), count=8)
    links = {"cabinet": _link("cabinet", cabinet, samples), "drawer": _link("drawer", box, samples)}
    slide = (
        "slide",
        PRISMATIC,
        "cabinet",
        "drawer",
        _at(0.0, 0.28, 0.19),
        np.array([0.0, 0.0, 1.0]),
        (0.0, 0.3),
    )
    return assemble("drawer", links, [slide])


def door(samples: int) -> ArticulatedAsset:
    """A door leaf of 80 x 198 cm in its frame; hinged on the left, it opens towards +z."""
    frame = []
    for x in (-0.44, 0.44):
        frame += slab((0.06, 2.06, 0.10), (x, 1.03, 0.0), 0.004, "frame")
    frame += slab((0.82, 0.06, 0.10), (0.0, 2.03, 0.0), 0.004, "frame")
    leaf = slab((0.80, 1.98, 0.04), (0.40, 0.995, 0.0), 0.004, "leaf")
    for z in (-0.06, 0.06):
        leaf += tube([(0.74, 1.02, 0.0), (0.74, 1.02, z)], 0.009, "handle", count=8)
        leaf += tube(
            [(0.75, 1.02, z), (0.62, 1.02, z)], 0.009, "handle", sideways=(0.0, 1.0, 0.0), count=8
        )
    links = {"frame": _link("frame", frame, samples), "leaf": _link("leaf", leaf, samples)}
    swing = (
        "hinge",
        REVOLUTE,
        "frame",
        "leaf",
        _at(-0.40, 0.0, 0.0),
        np.array([0.0, -1.0, 0.0]),
        (0.0, 1.9),
    )
    return assemble("door", links, [swing])


def chest(samples: int) -> ArticulatedAsset:
    """A chest of 44 x 26 x 32 cm; its lid lies flat at 0 and stands upright at 90 degrees."""
    box = []
    for size, center in (
        ((0.44, 0.015, 0.32), (0.0, 0.0075, 0.0)),
        ((0.015, 0.225, 0.32), (-0.2125, 0.1275, 0.0)),
        ((0.015, 0.225, 0.32), (0.2125, 0.1275, 0.0)),
        ((0.41, 0.225, 0.015), (0.0, 0.1275, -0.1525)),
        ((0.41, 0.225, 0.015), (0.0, 0.1275, 0.1525)),
    ):
        box += slab(size, center, 0.003, "sides")
    top = slab((0.44, 0.02, 0.32), (0.0, 0.01, 0.16), 0.004, "lid")
    top += slab((0.06, 0.03, 0.015), (0.0, 0.0, 0.3275), 0.003, "latch")
    links = {"box": _link("box", box, samples), "lid": _link("lid", top, samples)}
    hinge = _at(0.0, 0.24, -0.16)
    opens = ("hinge", REVOLUTE, "box", "lid", hinge, np.array([-1.0, 0.0, 0.0]), (0.0, 1.9))
    return assemble("chest", links, [opens])


ARTICULATED_OBJECTS: dict[str, Callable[[int], ArticulatedAsset]] = {
    make.__name__: make for make in (scissors, laptop, drawer, door, chest)
}
