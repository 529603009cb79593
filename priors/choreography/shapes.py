"""What a part of a mesh is for, found from its name or its shape: openings, instruments. Mesh frame, metres.

Meshes of users are one piece more often than not. y is up.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.objects.asset import Asset
from hoijax.objects.content_cache import remember
from priors.choreography.exact_distance import signed_distance

OPENING_WORDS = ("rim", "mouth", "lip", "spout", "opening", "neck")
STRING_WORDS = ("string", "fretboard", "fingerboard", "neck")
PLUCKED = 0.46  # of the body's length, from its lower end
CANOPY_RADIUS, STEM_RADIUS, HANDLE_SHARE = 0.22, 0.06, 0.08

LATTICE, SHELL = 22, 0.004
"""Points along a side of the box; metres of wall where a mesh encloses nothing."""


@remember(16)
def center_of_mass(asset: Asset) -> Float[ndarray, "3"]:
    """Of what the mesh encloses and a thin wall on its surface, at one density, in the mesh frame.

    A pot outweighs its stems and a seat its legs, closed or not.
    """
    low, high = asset.vertices.min(axis=0).astype(float), asset.vertices.max(axis=0).astype(float)
    middles = (np.arange(LATTICE) + 0.5) / LATTICE
    lattice = np.stack(np.meshgrid(middles, middles, middles, indexing="ij"), axis=-1)
    points = low + lattice.reshape(-1, 3) * (high - low)
    inside = points[signed_distance(asset, points) < 0.0]
    enclosed = float(np.prod(high - low)) * len(inside) / len(points)
    a, b, c = np.moveaxis(asset.vertices[asset.faces].astype(float), 1, 0)
    wall = SHELL * 0.5 * float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum())
    surface = asset.samples.mean(axis=0, dtype=float)
    middle = inside.mean(axis=0) if len(inside) else surface
    return (enclosed * middle + wall * surface) / (enclosed + wall)


@dataclass(frozen=True)
class Opening:
    """The ring that one drinks from or pours out of."""

    center: Float[ndarray, "3"]
    radius: float


def part_with(asset: Asset, words: tuple[str, ...]) -> int | None:
    """Index of the first part whose name holds one of the words, the first word first."""
    for word in words:
        for index, name in enumerate(asset.part_names):
            if word in name.lower():
                return index
    return None


def opening_of(asset: Asset) -> Opening:
    """By a part's name, else the highest twentieth of the mesh."""
    part = part_with(asset, OPENING_WORDS)
    vertices = asset.vertices.astype(float)
    if part is not None:
        vertices = vertices[np.unique(asset.faces[asset.face_parts == part])]
    top = float(vertices[:, 1].max())
    ring = vertices[vertices[:, 1] > top - 0.05 * float(np.ptp(vertices[:, 1])) - 1e-6]
    middle = 0.5 * (ring.min(axis=0) + ring.max(axis=0))
    radius = float(np.quantile(np.hypot(*(ring - middle)[:, [0, 2]].T), 0.9))
    return Opening(np.array([middle[0], top, middle[2]]), radius)


@dataclass(frozen=True)
class Instrument:
    """Something with a body that strings cross and a neck that they run along."""

    along: Float[ndarray, "3"]
    """From the body to the end of the neck."""
    front: Float[ndarray, "3"]
    """Out of the side where the strings are."""
    strings: Float[ndarray, "3"]
    """Where they are plucked, on the outside."""
    neck: Float[ndarray, "3"]
    """The middle of the neck, on its axis."""
    neck_radius: float
    neck_length: float


def instrument_of(asset: Asset) -> Instrument:
    """The body is the wide end of the longest side; the strings' side is where the neck stands out."""
    points = asset.samples.astype(float) - asset.center
    order = np.argsort(-asset.extents)
    along, across, front = np.eye(3)[order]
    height, width = points @ along, points @ across
    edges = np.linspace(height.min(), height.max(), 25)
    bins = np.clip(np.digitize(height, edges) - 1, 0, 23)
    spread = np.array(
        [np.ptp(width[bins == b]) if (bins == b).sum() > 3 else 0.0 for b in range(24)]
    )
    wide = np.flatnonzero(spread > 0.6 * spread.max())
    if edges[wide].mean() > 0.0:  # the body is at the far end
        along, height, wide, edges = -along, -height, 23 - wide[::-1], -edges[::-1]
    low, top = edges[wide[0]], edges[wide[-1] + 1]
    is_neck = (height > top + 0.02) & (height < top + 0.75 * (height.max() - top))
    depth = points @ front
    out = float(np.median(depth[is_neck]) - 0.5 * (depth.min() + depth.max()))
    strings = part_with(asset, STRING_WORDS)
    if strings is not None and (asset.sample_parts == strings).any():
        out = float(np.mean(depth[asset.sample_parts == strings]) - np.mean(depth))
    if out < 0.0:
        front, depth = -front, -depth
    middle = float(np.median(width[is_neck]))
    plucked = low + PLUCKED * (top - low)
    near = (np.abs(height - plucked) < 0.04) & (np.abs(width - middle) < 0.03)
    surface = float(depth[near].max()) if near.any() else float(depth.max())
    held = is_neck & (np.abs(height - np.median(height[is_neck])) < 0.05)
    sides = np.ptp(depth[held]), np.ptp(width[held])
    neck_depth = 0.5 * float(depth[held].min() + depth[held].max())

    def point(h: float, d: float) -> Float[ndarray, "3"]:
        return asset.center + h * along + middle * across + d * front

    return Instrument(
        along,
        front,
        point(plucked, surface),
        point(float(np.median(height[is_neck])), neck_depth),
        0.25 * float(sum(sides)),
        float(np.ptp(height[is_neck])),
    )


@dataclass(frozen=True)
class Canopy:
    """An umbrella: a stem that is upright in the mesh, with something wide on top."""

    handle: Float[ndarray, "3"]
    """On the stem's axis, where a hand closes."""
    radius: float
    """Of the stem there."""
    rim: float
    """Height of the lowest point of the canopy."""


def canopy_of(asset: Asset) -> Canopy | None:
    """None where the mesh is not a slim stem below and a wide top."""
    points = asset.samples.astype(float)
    low, high = points[:, 1].min(), points[:, 1].max()
    level = (points[:, 1] - low) / (high - low)
    stem = points[level < 0.5]
    if len(stem) < 8:
        return None
    axis = np.median(stem[:, [0, 2]], axis=0)
    aside = np.linalg.norm(points[:, [0, 2]] - axis, axis=1)
    wide = aside > CANOPY_RADIUS
    if aside[level < 0.5].max() > STEM_RADIUS or not wide.any():
        return None
    handle = np.array([axis[0], low + HANDLE_SHARE * (high - low), axis[1]])
    beside = np.abs(points[:, 1] - handle[1]) < 0.04
    radius = float(np.median(aside[beside])) if beside.any() else 0.01
    return Canopy(handle, radius, float(points[wide, 1].min()))
