"""A scene whose objects have another size: what a search for it evaluates, without measuring meshes again."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray

from hoijax.bundle.write import Bundle
from hoijax.objects.distance_grid import DistanceGrids, scaled_corners
from hoijax.objects.resizing import resized
from hoijax.runtime import on_device
from hoijax.scene.scene import Scene


def resized_scene(scene: Scene, factors: Sequence[float]) -> Scene:
    """The scene with every object scaled by one factor (host arrays, exact).

    In the scene about its center, which is what the unknowns place: where an asset has its origin does not
    matter here.

    Objects must be free: joints between them are not moved along.
    """
    assert scene.joints is None
    assert scene.observed_images is None
    factor = np.asarray(factors, np.float32)
    objects, edges, outlines = scene.objects, scene.edges, scene.silhouettes
    of_source = np.append(factor, np.float32(1.0))[np.asarray(edges.source)]  # bodies: the world
    if outlines is not None:
        hull = np.asarray(outlines.hull) * factor[:, None, None]
        outlines = dataclasses.replace(outlines, hull=on_device(hull))
    samples = np.asarray(objects.samples) * factor[:, None, None]
    points = np.asarray(edges.points) * of_source[:, None, None, None, None]
    return dataclasses.replace(
        scene,
        grids=_resized_grids(scene, factor),
        objects=dataclasses.replace(objects, samples=on_device(samples)),
        edges=dataclasses.replace(edges, points=on_device(points)),
        silhouettes=outlines,
    )


def _resized_grids(scene: Scene, factor: Float32[ndarray, " O"]) -> DistanceGrids:
    grids, centers = scene.grids, np.asarray(scene.objects.centers)
    corners = np.array(grids.corners)
    first = np.asarray(scene.objects.first_grid).tolist()
    for begin, end, scale in zip(first, [*first[1:], len(corners)], factor, strict=True):
        corners[begin:end] = scaled_corners(corners[begin:end], float(scale))
    lower = centers + (np.asarray(grids.lower) - centers) * factor[:, None]
    spacing = np.asarray(grids.spacing) * factor[:, None]
    return DistanceGrids(on_device(corners), on_device(lower), on_device(spacing))


def along_all_axes(sizes: Sequence[float]) -> Float[ndarray, "O 3"]:
    """One factor of every object, along each of its axes."""
    return np.repeat(np.asarray(sizes, float)[:, None], 3, axis=1)


def resized_bundle(bundle: Bundle, factors: Float[ndarray, "O 3"]) -> Bundle:
    """The bundle with meshes of these sizes."""
    assets = tuple(resized(a, f) for a, f in zip(bundle.assets, factors.tolist(), strict=True))
    return dataclasses.replace(bundle, assets=assets)
