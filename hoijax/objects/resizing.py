"""An object of another size than its mesh says (host)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hoijax.objects.appearance import transformed
from hoijax.objects.asset import Asset


def resized(asset: Asset, factors: float | Sequence[float]) -> Asset:
    """The mesh scaled about the center of its box, by one factor or one along each of its axes.

    Poses keep their meaning: the center stays where it is in the asset's frame.
    """
    scale = np.broadcast_to(np.asarray(factors, np.float64), 3)
    if np.all(scale == 1.0):
        return asset
    center = asset.center.astype(np.float64)

    def scaled(points: np.ndarray) -> np.ndarray:
        return (center + (points - center) * scale).astype(np.float32)

    normals = asset.sample_normals / scale
    normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    T = np.diag([*scale, 1.0])
    T[:3, 3] = center * (1.0 - scale)
    return dataclasses.replace(
        asset,
        vertices=scaled(asset.vertices),
        samples=scaled(asset.samples),
        sample_normals=normals.astype(np.float32),
        appearance=transformed(asset.appearance, T),
    )
