"""How large objects are: a mesh is never quite the object in the video (host).

After the first descent the two best candidates are fitted again with every object somewhat smaller or
larger, each size from the poses of the one before. The loss over the logarithm of the size, together with
a prior around the mesh's own, has its minimum where outlines, point map, contact and ground agree best.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bundle.write import Bundle
from hoijax.candidates import ranking, taken
from hoijax.errors import UserError
from hoijax.initialization.outline_sizes import DEVIATION, SIZES
from hoijax.methods.joint.settings import JointSettings
from hoijax.methods.passes import Numbers, Pass, Prepared
from hoijax.runtime import on_all_cores, on_device
from hoijax.scene.resizing import resized_bundle, resized_scene
from hoijax.scene.scene import Scene
from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
from hoijax.solver.problem import Solution
from hoijax.solver.resumable import optimize_in_segments

OBJECT_SCALE = "object_scale"
"""Key in `run.json`: factors by name of the object."""
STEP = 0.1
"""Between sizes that are tried, of their logarithm."""
AXIS_STEP = 0.08
PRIOR = 0.05
"""What a deviation costs, in units of the loss (twice that)."""
SMALLEST, LARGEST = 0.6, 1.7
NEGLIGIBLE = 0.01
"""Of the logarithm: a size so near to the mesh's is the mesh's."""
PATH_TERM = "translation_smoothness"
ROUNDS, STEPS = 4, 3
MOVED = 2
"""Candidates that are fitted: one alone costs almost as much."""


@dataclass(frozen=True)
class ScaleRange:
    """Which sizes objects may have."""

    lowest: float = 1.0
    highest: float = 1.0
    by_axis: bool = False

    @property
    def is_known(self) -> bool:
        return self.lowest == self.highest


FIXED = ScaleRange()


def scale_range(text: str) -> ScaleRange:
    """Of "fixed", "solve", "xyz", a factor, or a range such as "0.8-1.2". Raises UserError otherwise."""
    named = {
        "fixed": FIXED,
        "solve": ScaleRange(SMALLEST, LARGEST),
        "xyz": ScaleRange(SMALLEST, LARGEST, by_axis=True),
    }
    if text in named:
        return named[text]
    match = re.fullmatch(r"(\d*\.?\d+)(?:-(\d*\.?\d+))?", text)
    bounds = [float(x) for x in match.groups() if x] if match else []
    if not bounds or not 0.1 <= min(bounds) <= max(bounds) <= 10.0 or bounds != sorted(bounds):
        raise UserError(
            f"--object-scale {text}: give 'fixed', 'solve', 'xyz', a factor such as 0.9, or a range such "
            "as 0.8-1.2 (between 0.1 and 10)."
        )
    return ScaleRange(bounds[0], bounds[-1])


def known_scales(bundle: Bundle, text: str) -> Float[ndarray, "O 3"]:
    """Factors before anything is solved: one that is given, else 1. Raises UserError for objects on joints."""
    allowed = scale_range(text)
    if bundle.joints and allowed.is_known and allowed != FIXED:
        raise UserError(
            f"--object-scale {text}: objects on joints keep the size of their meshes. Scale the URDF where it "
            "is loaded: --objects FILE,scale=..."
        )
    return np.full((len(bundle.assets), 3), allowed.lowest if allowed.is_known else 1.0)


def with_start_sizes(settings: JointSettings, *, has_joints: bool) -> JointSettings:
    """Settings whose search of starts tries sizes that are allowed. Objects on joints keep theirs."""
    allowed = scale_range(settings.object_scale)
    if allowed.is_known or has_joints:
        return settings
    sizes = np.unique(np.clip(SIZES, allowed.lowest, allowed.highest)).tolist()
    search = dataclasses.replace(settings.search, sizes=tuple(sizes))
    return dataclasses.replace(settings, search=search)


def recorded_scales(bundle: Bundle, run: dict) -> Float[ndarray, "O 3"]:
    """The factors that a result's `run.json` has, by object of its bundle."""
    rows = run.get(OBJECT_SCALE, {})
    return np.array([np.broadcast_to(rows.get(a.name, 1.0), 3) for a in bundle.assets], float)


def with_scales(
    run: Mapping[str, Any], bundle: Bundle, factors: Float[ndarray, "O 3"]
) -> dict[str, Any]:
    """What `run.json` says about sizes: for people under "corrections", and exactly."""
    rows, words = {}, {}
    for asset, factor in zip(bundle.assets, np.round(factors, 5).tolist(), strict=True):
        rows[asset.name] = factor[0] if len(set(factor)) == 1 else factor
        if factor != [1.0] * 3:
            words |= {f"size of {asset.name}": float(np.prod(factor) ** (1.0 / 3.0))}
    return {**run, "corrections": {**run.get("corrections", {}), **words}, OBJECT_SCALE: rows}


class SizeSearch:
    """Loss of the two best candidates as a function of the objects' sizes."""

    def __init__(
        self,
        descent: Pass,
        prepared: Prepared,
        solution: Solution,
        numbers: Numbers,
        rebuilt: Callable[[Bundle], Scene],
    ) -> None:
        """rebuilt: the scene of a bundle with meshes of other proportions."""
        self.order = ranking(solution.losses)
        self.descent, self.rebuilt = descent, rebuilt
        self.numbers = numbers
        neighbors = taken(prepared.neighbors, self.order)
        self.prepared = dataclasses.replace(prepared, neighbors=neighbors)
        self.solver = LevenbergMarquardt(ROUNDS, STEPS, ((0, min(MOVED, len(self.order))),))
        self.fits = {(1.0,) * (3 * prepared.scene.object_count): taken(solution, self.order)}

    def loss(self, factors: Float[ndarray, "O 3"]) -> float:
        """Of the better candidate; sizes may be tried in several threads."""
        losses = np.asarray(self._fit(factors).losses)  # of who was not moved: infinite
        return float(np.min(np.where(np.isfinite(losses), losses, np.inf)))

    def fitted(self, factors: Float[ndarray, "O 3"]) -> Solution:
        """The fit at a size, in the candidates' own order; who was not moved has an infinite loss."""
        return taken(self._fit(factors), np.argsort(self.order))

    def _fit(self, factors: Float[ndarray, "O 3"]) -> Solution:
        """From where the fit of the most similar size left both candidates."""
        size = tuple(np.ravel(factors).tolist())
        off = {near: np.linalg.norm(np.log(np.divide(size, near))) for near in tuple(self.fits)}
        initial = self.fits[min(off, key=lambda near: (off[near], near))].unknowns
        prepared = dataclasses.replace(self.prepared, scene=self.scene(factors), initial=initial)
        _, inputs = self.descent.inputs_of(prepared, self.numbers_at(factors))
        solution = optimize_in_segments(self.solver, inputs)
        if np.isfinite(np.asarray(solution.losses)).any():
            self.fits[size] = solution
        return solution

    def numbers_at(self, factors: Float[ndarray, "O 3"]) -> Numbers:
        """Weights by which sizes are compared.

        Where outlines alone tell how far away an object is, its path errs in the image: in proportion to its
        size. In metres the smallest would be the smoothest.
        """
        weights = dict(self.numbers.weights)
        if self.prepared.scene.lacks_depth and PATH_TERM in weights:
            share = np.float32(np.exp(2 * np.log(factors).mean()))
            weights[PATH_TERM] = on_device(np.asarray(weights[PATH_TERM]) / share)
        return dataclasses.replace(self.numbers, weights=weights)

    def scene(self, factors: Float[ndarray, "O 3"]) -> Scene:
        if np.ptp(factors, axis=1).max() == 0.0:
            return resized_scene(self.prepared.scene, factors[:, 0].tolist())
        return self.rebuilt(resized_bundle(self.prepared.bundle, factors))


def find_scales(
    search: SizeSearch, allowed: ScaleRange, already: Float[ndarray, "O 3"]
) -> Float[ndarray, "O 3"]:
    """Factors of every object's mesh: one after the other, then along each of its axes if asked.

    already: those that the meshes have had; the prior and the bounds are about all of it.
    """
    factors, before = np.ones_like(already), np.log(already).mean(axis=1)

    def search_along(o: int, axes: slice | int, step: float) -> None:
        first = before[o] if isinstance(axes, slice) else 0.0
        bounds = np.log(allowed.lowest) - first, np.log(allowed.highest) - first

        def at(x: float) -> Float[ndarray, "O 3"]:
            changed = factors.copy()
            changed[o, axes] *= np.exp(x)
            return changed

        def energy(x: float) -> float:
            tried = at(x)
            off = before[o] + np.log(tried[o]).mean() if isinstance(axes, slice) else x
            return search.loss(tried) + PRIOR * (off / DEVIATION) ** 2

        x = lowest_point(energy, step, bounds)
        if abs(x) > NEGLIGIBLE:
            factors[:] = at(x)

    for o in range(len(factors)):
        search_along(o, slice(None), STEP)
        if allowed.by_axis:
            for axis in range(3):
                search_along(o, axis, AXIS_STEP)
    return factors


def lowest_point(
    energy: Callable[[float], float], step: float, bounds: tuple[float, float]
) -> float:
    """Where a function is lowest near 0: downhill in equal steps, then the vertex of a parabola.

    Both directions are tried at once, in threads.
    """
    values: dict[float, float] = {}

    def place(i: int) -> float:
        return float(np.clip(i * step, *bounds))

    def at(i: int) -> float:
        x = place(i)
        if x not in values:
            values[x] = energy(x)
        return values[x]

    at(0)
    on_all_cores(at, (1, -1))
    best = min((0, 1, -1), key=at)
    direction = int(np.sign(best))
    while direction and at(best + direction) < at(best):
        best += direction
    x, y = ([f(best + i) for i in (-1, 0, 1)] for f in (place, at))
    if x[0] == x[1] or x[1] == x[2] or not np.isfinite(y).all():
        return x[1]  # at a bound, or beside sizes that nothing fits
    bend, slope, _ = np.polyfit(np.array(x) - x[1], y, 2)
    if not bend > 0.0:
        return x[1]
    return float(np.clip(x[1] - slope / (2.0 * bend), x[0], x[2]))
