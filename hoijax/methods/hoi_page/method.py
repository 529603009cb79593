"""HOI-PAGE (ICML 2026): align point maps, find starts, fit objects under the graph's losses.

A method is stages, unknowns and a table of loss terms; it owns no mathematics of its own.
Published table: spec/hoi-page.md section 4. Our table adds the model-to-mask term, the ground and
object-object penetration, and drops the 2D chamfer that the mask term makes redundant.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.geometry.rotations import rotation_6d_to_matrix
from hoijax.initialization.align_observations import align
from hoijax.initialization.contact_states import always_touching, contact_states
from hoijax.initialization.starts import (
    Starts,
    find_starts,
)
from hoijax.losses.contact import contact, contact_drift
from hoijax.losses.fit import (
    MASK_RHO,
    POINT_RHO,
    ROBUST_RHO,
    model_mask,
    object_pixels,
    object_points,
    part_pixels,
    part_points,
    robust_object_points,
    robust_part_points,
)
from hoijax.losses.penetration import ground, object_penetration, penetration
from hoijax.losses.smoothness import rotation_smoothness, translation_smoothness
from hoijax.losses.term import LossTerm, Weights, default_weights
from hoijax.methods.hoi_page.object_curvature import with_curvature
from hoijax.progress import Log, Stopwatch, silent
from hoijax.results.result import Result
from hoijax.scene.build_objects import build_scene, posed_bodies
from hoijax.scene.posed import pose_scene
from hoijax.scene.scene import Neighbors, Scene, Unknowns
from hoijax.settings import SolveSettings
from hoijax.solver.adam import Adam
from hoijax.solver.halving import halving_rungs
from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
from hoijax.solver.neighbor_lists import first_neighbors, refresh_all, refresh_bodies
from hoijax.solver.problem import Problem, Solution, SolverInputs
from hoijax.solver.resumable import Solver, Watch, optimize, optimize_in_segments

PUBLISHED_TERMS = (
    LossTerm.constant("object_points", object_points, 1e3, scale=ROBUST_RHO),
    LossTerm.constant("object_pixels", object_pixels, 1e-4, reads_pixel_neighbors=True),
    LossTerm.constant("part_points", part_points, 1e2, scale=ROBUST_RHO),
    LossTerm.constant("part_pixels", part_pixels, 1e-4, reads_pixel_neighbors=True),
    LossTerm.constant("translation_smoothness", translation_smoothness, 1e3),
    LossTerm.constant("rotation_smoothness", rotation_smoothness, 1e3),
    LossTerm("penetration", penetration, 0.0, 10.0),
    LossTerm.constant("contact", contact, 1e3),
    LossTerm("contact_drift", contact_drift, 10.0, 1e3),
)

DEFAULT_TERMS = (
    LossTerm.constant("object_points", robust_object_points, 1e3, scale=POINT_RHO),
    LossTerm.constant("part_points", robust_part_points, 3e2, scale=POINT_RHO),
    LossTerm.constant("model_mask", model_mask, 2e-2, scale=MASK_RHO),
    LossTerm.constant("translation_smoothness", translation_smoothness, 3e3),
    LossTerm.constant("rotation_smoothness", rotation_smoothness, 1e2),
    LossTerm("penetration", penetration, 0.0, 3.0),
    LossTerm.constant("object_penetration", object_penetration, 10.0),
    LossTerm.constant("ground", ground, 1e2),
    LossTerm.constant("contact", contact, 1e1),
    LossTerm("contact_drift", contact_drift, 1.0, 1e1),
)

TERMS = {"default": DEFAULT_TERMS, "hoi-page": PUBLISHED_TERMS}


def check_weights(
    settings: SolveSettings,
    weights: Mapping[str, float | tuple[float, float]] | None,
    terms: Sequence[LossTerm],
) -> None:
    """Refuse weights of terms that do not exist. Raises UserError naming the known ones."""
    try:
        default_weights((*TERMS[settings.preset], *terms), weights)
    except KeyError as error:
        raise UserError(str(error.args[0])) from error


def solve_bundle(
    bundle: Bundle,
    settings: SolveSettings,
    *,
    weights: Mapping[str, float | tuple[float, float]] | None = None,
    terms: Sequence[LossTerm] = (),
    log: Log = silent,
    watch: Watch | None = None,
) -> Result:
    """All three stages of HOI-PAGE on one bundle.

    terms: further loss terms, added to the preset's table. weights: overrides by term name.
    watch: looks at the descent between its segments (`solver.resumable`).
    """
    table = (*TERMS[settings.preset], *terms)
    times: dict[str, float] = {}
    clock = Stopwatch(times, log)
    staged = stage(bundle, settings, clock.lap)
    solution = descend(staged.scene, staged.starts, staged.states, table, settings, weights, watch)
    clock.lap("optimize")
    return to_result(bundle, staged, solution, table, times)


@dataclass(frozen=True)
class Staged:
    """A bundle ready for the descent."""

    scene: Scene
    starts: Starts
    states: Float[np.ndarray, "K E T"]
    """In which frames each edge touches, by candidate."""
    Ts_world_pointmap: Float[np.ndarray, "T 4 4"]


def stage(bundle: Bundle, settings: SolveSettings, done: Callable[[str], None] = silent) -> Staged:
    """Stages a and b: point maps aligned, scene built, starts found. `done` hears each part end."""
    vertices = posed_bodies_of(bundle)
    done("body")
    Ts_world_pointmap = align(bundle.observations, vertices, settings.alignment)
    done("align")
    scene = build_scene(
        bundle.affordance,
        bundle.assets,
        bundle.observations,
        bundle.body,
        Ts_world_pointmap,
        vertices,
        settings,
    )
    done("scene")
    starts = find_starts(scene, bundle, settings)
    done("starts")
    states = contact_states(scene, starts.unknowns, always_touching(bundle, scene), settings)
    return Staged(scene, starts, states, Ts_world_pointmap)


def posed_bodies_of(bundle: Bundle) -> Float[Array, "P T V 3"]:
    """Skin of the bundle's estimated bodies."""
    from hoijax.bodies import load_body

    return posed_bodies(load_body(bundle.body), bundle.observations)


def object_problem(terms: Sequence[LossTerm]) -> Problem:
    """Object poses under the given terms, for `optimize`."""
    reads_pixels = any(term.reads_pixel_neighbors for term in terms)
    refresh = refresh_all if reads_pixels else refresh_bodies
    return Problem(with_curvature(terms), pose_scene, refresh)


def descend(
    scene: Scene,
    starts: Starts,
    states: Float[np.ndarray, "K E T"],
    table: Sequence[LossTerm],
    settings: SolveSettings,
    weights: Mapping[str, float | tuple[float, float]] | None = None,
    watch: Watch | None = None,
) -> Solution:
    """Stage c: the joint optimization of all K candidates, one compiled program run by segments."""
    problem, neighbors = object_problem(table), first_neighbors(scene, states)
    numbers = default_weights(table, weights)
    inputs = SolverInputs(problem, scene, starts.unknowns, neighbors, numbers)
    return optimize_in_segments(solver_of(settings, len(states)), inputs, watch).trimmed()


def descent(
    table: Sequence[LossTerm], settings: SolveSettings
) -> Callable[[Scene, Unknowns, Neighbors, Weights], Solution]:
    """The optimizer that the settings choose, whole, for one scene's candidates under given weights."""

    def solve(scene: Scene, initial: Unknowns, neighbors: Neighbors, weights: Weights) -> Solution:
        inputs = SolverInputs(object_problem(table), scene, initial, neighbors, weights)
        return optimize(solver_of(settings, inputs.candidate_count), inputs)

    return solve


def solver_of(settings: SolveSettings, count: int) -> Solver:
    """The solver that the settings choose for `count` candidates."""
    if settings.optimizer == "adam":
        rates = settings.learning_rate, settings.final_learning_rate
        return Adam(settings.steps, settings.refresh_every, *rates)
    rounds = max(settings.steps // settings.round_steps, 1)
    steps = min(settings.round_steps, settings.steps)
    rungs = halving_rungs(count, rounds) if settings.halving else ()
    return LevenbergMarquardt(rounds, steps, rungs)


def to_result(
    bundle: Bundle,
    staged: Staged,
    solution: Solution,
    table: Sequence[LossTerm],
    times: dict[str, float],
) -> Result:
    """Poses in the assets' own frames, with everything a result folder records."""
    scene = staged.scene
    rotations = np.asarray(rotation_6d_to_matrix(solution.unknowns.object_rotation_6d))
    centers = np.asarray(scene.objects.centers)[None, :, None, :, None]
    shifted = np.asarray(solution.unknowns.object_translation) - (rotations @ centers)[..., 0]
    edges = np.flatnonzero(np.asarray(scene.edges.mask))
    o = bundle.observations
    return Result(
        prompt=bundle.prompt,
        fps=bundle.fps,
        affordance=bundle.affordance,
        assets=bundle.assets,
        body_name=bundle.body,
        body_rotations=o.body_rotations,
        body_translations=o.body_translations,
        body_betas=o.body_betas,
        body_rest_joints=o.body_rest_joints,
        object_rotations=rotations,
        object_translations=shifted.astype(np.float32),
        losses=np.asarray(solution.losses),
        initial_losses=np.asarray(solution.initial_losses),
        codes=np.asarray(solution.codes),
        labels=staged.starts.labels,
        term_names=tuple(term.name for term in table),
        reports=np.asarray(solution.reports),
        history=np.asarray(solution.history),
        contact=staged.states[:, edges] > 0.5,
        Ts_world_pointmap=staged.Ts_world_pointmap,
        run={"seconds": times},
    )
