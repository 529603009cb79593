"""A solution as a Result: what every method writes alike."""

from typing import Any

import numpy as np
from jaxtyping import Float

from hoijax.methods.base import Prepared
from hoijax.results.result import Result
from hoijax.scene.scene import Scene
from hoijax.solver.problem import Solution


def asset_translations(
    scene: Scene,
    rotations: Float[np.ndarray, "*k O T 3 3"],
    translations: Float[np.ndarray, "*k O T 3"],
) -> Float[np.ndarray, "*k O T 3"]:
    """Where the assets' own origins are: a solver moves objects about their centers. Metres, world."""
    centers = np.asarray(scene.objects.centers)[:, None, :, None]
    return translations - (rotations @ centers)[..., 0]


def to_result(prepared: Prepared, solution: Solution, **arrays: Any) -> Result:
    """The bundle's and the solution's fields of a Result; `arrays` are those that a method decides."""
    bundle, evidence = prepared.bundle, prepared.extra
    edges = np.flatnonzero(np.asarray(prepared.scene.edges.mask))
    return Result(
        prompt=bundle.prompt,
        fps=bundle.fps,
        affordance=bundle.affordance,
        assets=bundle.assets,
        body_name=bundle.body,
        body_betas=bundle.observations.body_betas,
        body_rest_joints=bundle.observations.body_rest_joints,
        losses=np.asarray(solution.losses),
        initial_losses=np.asarray(solution.initial_losses),
        codes=np.asarray(solution.codes),
        labels=prepared.labels,
        term_names=tuple(term.name for term in prepared.terms),
        reports=np.asarray(solution.reports),
        history=np.asarray(solution.history),
        contact=evidence.states[:, edges] > 0.5,
        Ts_world_pointmap=evidence.Ts_world_pointmap,
        joints=bundle.joints,
        **arrays,
    )
