"""Stages of HOI-PAGE: point maps aligned, scene built, starts found; what comes out, as a Result.

They own no mathematics of their own.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from hoijax.bundle.write import Bundle
from hoijax.geometry.rotations import rotation_6d_to_matrix
from hoijax.initialization.align_observations import align
from hoijax.initialization.contact_states import (
    always_touching,
    contact_states,
    warn_of_unseen_contacts,
)
from hoijax.initialization.evidence import complete
from hoijax.initialization.joints.hold import hold_joints
from hoijax.initialization.joints.starts import start_joints
from hoijax.initialization.starts import Starts
from hoijax.losses.term import LossTerm
from hoijax.methods import results
from hoijax.methods.hoi_page.screening import MAX_STARTS, chosen_starts, promising
from hoijax.methods.hoi_page.settings import HoiPageSettings
from hoijax.methods.hoi_page.terms import object_problem, object_table
from hoijax.methods.passes import Lap, Pass, Prepared, Rates
from hoijax.methods.results import asset_translations
from hoijax.progress import silent
from hoijax.results.result import Result
from hoijax.scene.build_objects import build_scene, posed_bodies
from hoijax.scene.resizing import along_all_axes, resized_bundle, resized_scene
from hoijax.scene.scene import Scene
from hoijax.solver.adam import Adam
from hoijax.solver.halving import halving_rungs
from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
from hoijax.solver.neighbor_lists import first_neighbors
from hoijax.solver.problem import Solution
from hoijax.solver.resumable import Solver


@dataclass(frozen=True)
class Evidence:
    """What a result records beside the poses."""

    states: Float[np.ndarray, "K E T"]
    """In which frames each edge touches, by candidate."""
    Ts_world_pointmap: Float[np.ndarray, "T 4 4"]
    run: Mapping[str, Any] = field(default_factory=dict)
    """What else `run.json` says."""
    sizes: tuple[float, ...] = ()
    """Of the starts."""


def prepare(
    bundle: Bundle, settings: HoiPageSettings, terms: Sequence[LossTerm] = (), lap: Lap = silent
) -> Prepared:
    """Stages a and b: point maps aligned, scene built, starts found."""
    bundle = complete(bundle)
    vertices = posed_bodies_of(bundle)
    lap("body")
    Ts_world_pointmap = align(bundle.observations, vertices, settings.alignment)
    lap("align")
    return prepare_aligned(bundle, Ts_world_pointmap, vertices, settings, terms, lap)


def prepare_aligned(
    bundle: Bundle,
    Ts_world_pointmap: Float[np.ndarray, "T 4 4"],
    vertices_world: Float[Array, "P T V 3"],
    settings: HoiPageSettings,
    terms: Sequence[LossTerm] = (),
    lap: Lap = silent,
) -> Prepared:
    """Stage b: scene built and starts found, where point maps are aligned; objects have the sizes of the starts."""
    scene = scene_of(bundle, Ts_world_pointmap, vertices_world, settings)
    lap("scene")
    starts = without_joint_values(start_joints(scene, bundle, settings))
    lap("starts")
    if starts.sizes:
        scene = resized_scene(scene, starts.sizes)
        bundle = resized_bundle(bundle, along_all_axes(starts.sizes))
    states = contact_states(scene, starts.unknowns, always_touching(bundle, scene), settings)
    warn_of_unseen_contacts(bundle, states)
    table = table_of(scene, settings, bundle.fps, terms)
    if settings.halving and settings.optimizer != "adam" and len(starts.labels) > MAX_STARTS:
        chosen = promising(scene, starts, states, table, settings.round_steps)
        starts, states = chosen_starts(starts, chosen), states[chosen]
        lap("screening")
    evidence = Evidence(states, Ts_world_pointmap, sizes=starts.sizes)
    return prepared_of(bundle, table, scene, starts, evidence)


def table_of(
    scene: Scene, settings: HoiPageSettings, fps: float, terms: Sequence[LossTerm] = ()
) -> tuple[LossTerm, ...]:
    """The terms of a scene, the user's own last."""
    masks = {"outlines": scene.silhouettes is not None, "lacks_depth": scene.lacks_depth}
    return object_table(settings.preset, **masks, fps=fps, terms=terms)


def scene_of(
    bundle: Bundle,
    Ts_world_pointmap: Float[np.ndarray, "T 4 4"],
    vertices_world: Float[Array, "P T V 3"],
    settings: HoiPageSettings,
    before: Scene | None = None,
) -> Scene:
    """The scene of a bundle whose point maps are aligned. before: another of the same masks."""
    return build_scene(
        bundle,
        Ts_world_pointmap,
        vertices_world,
        settings,
        palm_contact=settings.palm_contact,
        before=before,
    )


def prepared_of(
    bundle: Bundle,
    terms: tuple[LossTerm, ...],
    scene: Scene,
    starts: Starts,
    evidence: Evidence,
) -> Prepared:
    """A scene and its starts, ready for the optimizer."""
    neighbors = first_neighbors(scene, evidence.states)
    return Prepared(bundle, terms, scene, starts.unknowns, neighbors, starts.labels, evidence)


def posed_bodies_of(bundle: Bundle) -> Float[Array, "P T V 3"]:
    """Skin of the bundle's estimated bodies."""
    from hoijax.bodies import load_body

    return posed_bodies(load_body(bundle.body), bundle.observations)


def optimize_pass(settings: HoiPageSettings) -> Pass:
    """Stage c: the joint optimization of all K candidates, by the optimizer that the settings choose."""

    def adam(rates: Rates, count: int) -> Solver:
        return Adam(settings.steps, settings.refresh_every, **rates)

    def newton(rates: Rates, count: int) -> Solver:
        rounds = max(settings.steps // settings.round_steps, 1)
        steps = min(settings.round_steps, settings.steps)
        rungs = halving_rungs(count, rounds) if settings.halving else ()
        return LevenbergMarquardt(rounds, steps, rungs)

    return Pass("optimize", object_problem, adam if settings.optimizer == "adam" else newton)


def without_joint_values(starts: Starts) -> Starts:
    """Every link as an object of its own; the joints are held after the solve."""
    unknowns = dataclasses.replace(starts.unknowns, joint_values=None)
    return dataclasses.replace(starts, unknowns=unknowns)


def to_result(prepared: Prepared, solution: Solution) -> Result:
    """Poses in the assets' own frames, with everything a result folder records.

    Links of articulated objects were free in the solve: they get the nearest poses that their joints allow.
    """
    bundle, o = prepared.bundle, prepared.bundle.observations
    rotations = np.asarray(rotation_6d_to_matrix(solution.unknowns.object_rotation_6d))
    centered = np.asarray(solution.unknowns.object_translation)
    shifted = asset_translations(prepared.scene, rotations, centered).astype(np.float32)
    values = None
    if bundle.joints:
        rotations, shifted, values = hold_joints(bundle.joints, bundle.assets, rotations, shifted)
    return results.to_result(
        prepared,
        solution,
        run=dict(prepared.extra.run),
        body_rotations=o.body_rotations,
        body_translations=o.body_translations,
        object_rotations=rotations,
        object_translations=shifted,
        joint_values=values,
    )
