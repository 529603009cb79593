"""What a part of a mesh is for, found from its name or its shape: openings, instruments. Mesh frame, metres.

Meshes of users are one piece more often than not. y is up.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.objects.asset import Asset

OPENING_WORDS = ("rim", "mouth", "lip", "spout", "opening", "neck")


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
