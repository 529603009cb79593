"""A solution as a Result, what every method writes alike, and its poses back."""

from typing import Any

import numpy as np
from jaxtyping import Float

from hoijax.geometry.rotations import matrix_to_rotation_6d
from hoijax.methods.passes import Prepared
from hoijax.results.result import Result
from hoijax.runtime import on_device
from hoijax.scene.scene import Scene, Unknowns
from hoijax.solver.problem import Solution


def asset_translations(
    scene: Scene,
    rotations: Float[np.ndarray, "*k O T 3 3"],
    translations: Float[np.ndarray, "*k O T 3"],
) -> Float[np.ndarray, "*k O T 3"]:
    """Where the assets' own origins are: a solver moves objects about their centers. Metres, world."""
    centers = np.asarray(scene.objects.centers)[:, None, :, None]
    return translations - (rotations @ centers)[..., 0]


def centered_poses(result: Result) -> Unknowns:
    """Poses of all candidates' objects, (K, O, T, ...), in the frames about centers that a solver moves: the inverse of
    `asset_translations`."""
    centers = np.stack([asset.center for asset in result.assets])
    rotations = np.asarray(result.object_rotations, np.float32)
    offsets = (rotations @ centers[None, :, None, :, None])[..., 0]
    translations = (result.object_translations + offsets).astype(np.float32)
    return Unknowns(matrix_to_rotation_6d(on_device(rotations)), on_device(translations))


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
