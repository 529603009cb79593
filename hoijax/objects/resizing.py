"""An object of another size than its mesh says (host)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hoijax.objects.appearance import transformed
from hoijax.objects.asset import Asset
from hoijax.objects.content_cache import remember_resized


def resized(asset: Asset, factors: float | Sequence[float]) -> Asset:
    """The mesh scaled about its origin, by one factor or one along each of its axes.

    As a tool scales an object: a pose and a factor are one similarity transform of the mesh as it was given.
    """
    scale = np.broadcast_to(np.asarray(factors, np.float64), 3)
    if np.all(scale == 1.0):
        return asset

    def scaled(points: np.ndarray) -> np.ndarray:
        return (points * scale).astype(np.float32)

    normals = asset.sample_normals / scale
    normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    larger = dataclasses.replace(
        asset,
        vertices=scaled(asset.vertices),
        samples=scaled(asset.samples),
        sample_normals=normals.astype(np.float32),
        appearance=transformed(asset.appearance, np.diag([*scale, 1.0])),
    )
    if np.ptp(scale) == 0.0:
        remember_resized(asset, larger, float(scale[0]))
    return larger
