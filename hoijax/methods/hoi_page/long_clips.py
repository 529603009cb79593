"""HOI-PAGE on clips of any length: what must agree is settled over the whole clip, the rest by windows.

Over the whole clip: the camera, the K best paths through all frames, and in which frames edges
touch. By windows, because it costs memory and compilation: alignment, pose search, and the descent,
where each window starts from the poses of the window before it.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.geometry.camera_motion import average_static_camera
from hoijax.initialization.align_observations import align
from hoijax.initialization.contact_states import always_touching, contact_states
from hoijax.initialization.evidence import complete
from hoijax.initialization.starts import (
    Hypotheses,
    Starts,
    find_starts,
    observed_centers,
    refine_object,
    search_object,
    search_starts,
    with_proposed_yaws,
)
from hoijax.losses.term import LossTerm, default_weights, final_total
from hoijax.methods.base import RATES
from hoijax.methods.hoi_page.settings import HoiPageSettings
from hoijax.methods.hoi_page.stages import (
    Evidence,
    optimize_pass,
    posed_bodies_of,
    prepared_of,
    scene_of,
    table_of,
    to_result,
)
from hoijax.methods.hoi_page.terms import object_problem
from hoijax.methods.hoi_page.windows import (
    Poses,
    Span,
    Windows,
    join_similarities,
    observations_between,
    scene_between,
    windows_of,
)
from hoijax.methods.passes import Numbers, Overrides, Prepared
from hoijax.methods.running import run_pass
from hoijax.objects.symmetry import find_symmetries
from hoijax.progress import Log, Stopwatch, counted, silent
from hoijax.results.result import Result
from hoijax.scene.scene import Scene
from hoijax.settings import SearchSettings
from hoijax.solver.neighbor_lists import first_neighbors
from hoijax.solver.per_frame import frame_terms
from hoijax.solver.problem import Solution
from hoijax.solver.resumable import Watch


def solve_long_bundle(
    bundle: Bundle,
    settings: HoiPageSettings,
    window: int,
    *,
    weights: Overrides | None = None,
    terms: Sequence[LossTerm] = (),
    log: Log = silent,
    watch: Callable[[str], Watch | None] = lambda stage: None,
    Ts_world_pointmap: Float[ndarray, "T 4 4"] | None = None,
) -> Result:
    """A bundle solved by windows of `window` frames; the losses are those of the whole clip.

    watch: what looks at the descent of each window, by its name (`solver.resumable`).
    Ts_world_pointmap: of point maps that are aligned already.
    `run["windows"]` of the result has the spans, and how far apart neighbors were at every seam.
    Raises UserError for a window that is too short, or a preset that windows cannot serve.
    """
    check_windows(settings)
    # A candidate must come through every window: one that stops in the second is no winner.
    settings = dataclasses.replace(settings, halving=False)
    windows = windows_of(bundle.observations.frame_count, window)
    times: dict[str, float] = {}
    clock = Stopwatch(times, log)
    prepared = prepare_windows(bundle, settings, windows, terms, clock, Ts_world_pointmap)
    solution, poses = descend_windows(prepared, settings, windows, weights, clock, watch)
    clock.lap("optimize")
    result = to_result(prepared, solution)
    seams = {"spans": [list(s) for s in windows.spans], "seams": poses.seams}
    return dataclasses.replace(result, run={"seconds": times, "windows": seams})


def check_windows(settings: HoiPageSettings) -> None:
    """Raises UserError where a term looks for the best frame of the whole clip."""
    if not settings.infer_contact:
        raise UserError(
            f"--window: preset '{settings.preset}' lets a contact count in the best frame of the "
            "whole clip, which windows cannot see. Use --preset default, or leave --window out."
        )


def prepare_windows(
    bundle: Bundle,
    settings: HoiPageSettings,
    windows: Windows,
    terms: Sequence[LossTerm],
    clock: Stopwatch,
    Ts_world_pointmap: Float[ndarray, "T 4 4"] | None = None,
) -> Prepared:
    """`stages.prepare` with everything heavy done window by window."""
    bundle = complete(bundle)
    seen = bundle.observations
    if settings.alignment.static_camera:
        seen = dataclasses.replace(
            seen, Ts_world_camera=average_static_camera(seen.Ts_world_camera)
        )
    vertices, maps = [], []
    for i, span in enumerate(windows.spans):
        part = dataclasses.replace(bundle, observations=observations_between(seen, span))
        vertices.append(np.asarray(posed_bodies_of(part)))
        if Ts_world_pointmap is None:
            maps.append(align(part.observations, jnp.asarray(vertices[-1]), settings.alignment))
        counted(clock.log, "align", i + 1, len(windows.spans))
    clock.lap("align")
    if Ts_world_pointmap is None:
        Ts_world_pointmap = join_similarities(windows, maps)
    bodies = np.concatenate([v[:, a:b] for v, a, b in windows.own(vertices)], axis=1)
    averaged = dataclasses.replace(bundle, observations=seen)
    scene = scene_of(averaged, Ts_world_pointmap, jnp.asarray(bodies), settings)
    clock.lap("scene")
    starts = _starts(scene, bundle, settings, windows)
    clock.lap("starts")
    states = contact_states(scene, starts.unknowns, always_touching(bundle, scene), settings)
    evidence = Evidence(states, Ts_world_pointmap)
    return prepared_of(
        bundle, table_of(scene, settings, bundle.fps, terms), scene, starts, evidence
    )


def _starts(scene: Scene, bundle: Bundle, settings: HoiPageSettings, windows: Windows) -> Starts:
    """The K best paths through all frames; hypotheses are looked for window by window."""
    if settings.start == "yaw":
        return find_starts(scene, bundle, settings)
    centers = observed_centers(scene)

    def joined(hypotheses: list[Hypotheses]) -> Hypotheses:
        r, x, c = zip(
            *(tuple(array[a:b] for array in h) for h, a, b in windows.own(hypotheses)), strict=True
        )
        return np.concatenate(r), np.concatenate(x), np.concatenate(c)

    def search(scene: Scene, o: int, settings: SearchSettings, symmetries: ndarray) -> Hypotheses:
        return joined(
            [
                search_object(
                    scene_between(scene, (a, b)), o, settings, symmetries, centers[o, a:b]
                )
                for a, b in windows.spans
            ]
        )

    def refine(scene: Scene, o: int, settings: SearchSettings, R: ndarray, x: ndarray):
        return joined(
            [
                refine_object(scene_between(scene, (a, b)), o, settings, R[a:b], x[a:b])
                for a, b in windows.spans
            ]
        )

    symmetries = [find_symmetries(asset) for asset in bundle.assets]
    starts = search_starts(
        scene, symmetries, settings.inits, settings.search, search=search, refine=refine
    )
    proposals = [bundle.proposed_yaws.get(asset.name, ()) for asset in bundle.assets]
    return with_proposed_yaws(starts, scene, proposals)


def descend_windows(
    prepared: Prepared,
    settings: HoiPageSettings,
    windows: Windows,
    weights: Overrides | None,
    clock: Stopwatch,
    watch: Callable[[str], Watch | None] = lambda name: None,
) -> tuple[Solution, Poses]:
    """The optimization of every window, each from where the one before it ended, joined to one solution.

    Losses are those of the joined trajectories. Histories are means over windows.
    """
    step, table = optimize_pass(settings), prepared.terms
    rates = {name: getattr(settings, name) for name in RATES}
    numbers = Numbers(default_weights(table, weights), rates)
    track = Poses.of(prepared.initial)
    poses: Poses | None = None
    solutions: list[Solution] = []
    for i, span in enumerate(windows.spans):
        scene, states = window_of(prepared, span)
        start = track.between(span) if poses is None else poses.go_on(span, track)
        window = dataclasses.replace(
            prepared,
            scene=scene,
            initial=start.unknowns,
            neighbors=first_neighbors(scene, states),
        )
        _, solution = run_pass(step, window, None, numbers, watch=watch(f"window {i + 1}"))
        solution = jax.device_get(solution)
        solved = Poses.of(solution.unknowns)
        if poses is None:
            poses = solved
        else:
            poses.take(span[0], solved)
        solutions.append(solution)
        counted(clock.log, "optimize", i + 1, len(windows.spans))
    assert poses is not None
    reports = joined_reports(prepared, windows, poses, numbers)
    means = {
        name: np.mean([getattr(s, name) for s in solutions], axis=0)
        for name in ("history", "initial_losses")
    }
    solution = Solution(
        unknowns=poses.unknowns,
        losses=final_total(table, jnp.asarray(reports), numbers.weights),
        reports=jnp.asarray(reports),
        codes=np.max([s.codes for s in solutions], axis=0),
        **means,
    )
    return solution, poses


def window_of(prepared: Prepared, span: Span) -> tuple[Scene, Float[ndarray, "K E t"]]:
    """Scene and contact states in the frames of a window."""
    states = prepared.extra.states[:, :, span[0] : span[1]]
    return scene_between(prepared.scene, span), states


def joined_reports(
    prepared: Prepared, windows: Windows, poses: Poses, numbers: Numbers
) -> Float[ndarray, "K n"]:
    """Unweighted terms of whole trajectories: each frame as the window that owns it sees it."""
    problem, sums = object_problem(prepared.terms), []
    for span, (a, b) in zip(windows.spans, windows.owned, strict=True):
        scene, states = window_of(prepared, span)
        unknowns, neighbors = poses.between(span).unknowns, first_neighbors(scene, states)
        values = frame_terms(problem, scene, unknowns, neighbors, numbers.weights)
        sums.append(np.asarray(values)[:, :, a - span[0] : b - span[0]])
    return np.concatenate(sums, axis=2).mean(axis=2)
