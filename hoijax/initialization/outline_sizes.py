"""How large an object is whose outlines alone are known, before its candidates are chosen (host).

Scaled about the camera, a mesh and its path keep all outlines: nothing in the image tells a small object from
a large one farther away. Contact, the ground and what a body reaches do. At a wrong size they also choose the
wrong turn, so the quarter turns of the best tracks are refined at several sizes, and the size at which the best
of them costs least goes on, with the same prior as the size search between the descents (`methods.joint.sizes`).
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.initialization.box_turns import Hypotheses, with_box_turns
from hoijax.initialization.held_together import held_together
from hoijax.initialization.outline_seeds import camera_centers
from hoijax.initialization.tracks import Track
from hoijax.initialization.trajectory_paths import PathCosts
from hoijax.scene.objects import Cameras
from hoijax.scene.resizing import resized_scene
from hoijax.scene.scene import Scene
from hoijax.settings import SearchSettings

SIZES = tuple(np.exp(0.12 * np.arange(-3, 4)).tolist())
"""Factors that are tried."""
DEVIATION = 0.15
"""Of the logarithm of a size."""
PRIOR = 0.05
"""Share of the cost that one deviation adds."""

Refine = Callable[
    [Scene, int, SearchSettings, Float[ndarray, "T H 3 3"], Float[ndarray, "T H 3"]], Hypotheses
]
"""Moves poses of an object nearer to what every frame shows."""
Fit = tuple[list[Track], float]
"""(tracks, best first; cost of the best one)."""


def fitted_at_best_size(sizes: Sequence[float], fit: Callable[[float], Fit]) -> tuple[float, Fit]:
    """The size whose best track costs least, and its tracks: downhill from the size nearest to 1.

    sizes: ascending. fit: tracks of an object of a size.
    """
    fits: dict[int, Fit] = {}

    def cost(i: int) -> float:
        if not 0 <= i < len(sizes):
            return np.inf
        if i not in fits:
            fits[i] = fit(sizes[i])
        return fits[i][1] * (1.0 + PRIOR * (np.log(sizes[i]) / DEVIATION) ** 2)

    start = int(np.abs(np.log(sizes)).argmin())
    best = min((start, start + 1, start - 1), key=cost)
    step = best - start
    while step and cost(best + step) < cost(best):
        best += step
    return sizes[best], fits[best]


def seen_alike(tracks: Sequence[Track], factor: float, cameras: Cameras) -> list[Track]:
    """Tracks of an object of another size that look the same: positions scaled about the camera's."""
    eyes = camera_centers(cameras)
    return [(rotations, eyes + factor * (positions - eyes)) for rotations, positions in tracks]


def turned_at_size(
    scene: Scene,
    o: int,
    tracks: list[Track],
    seen: Bool[ndarray, " T"],
    symmetries: Float[ndarray, "S 3 3"],
    refine: Refine,
    settings: SearchSettings,
    costs: PathCosts,
    size: float,
) -> Fit:
    """Tracks of object `o` and their quarter turns, if it had another size; paths err in proportion to it.

    tracks: of the mesh as it is. refine: moves poses of the object in a scene.
    """
    if size != 1.0:
        factors = [size if i == o else 1.0 for i in range(scene.object_count)]
        tracks = seen_alike(tracks, size, scene.cameras)
        scene = resized_scene(scene, factors)
        costs = dataclasses.replace(costs, translation=costs.translation / size**2)
    assert scene.silhouettes is not None
    hull, by_frame = np.asarray(scene.silhouettes.hull[o]), partial(refine, scene, o, settings)
    tracks = with_box_turns(hull, tracks, seen, symmetries, by_frame, costs)
    return held_together(tracks, seen, symmetries, by_frame, costs)
