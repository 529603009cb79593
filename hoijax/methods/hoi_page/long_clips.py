"""HOI-PAGE on clips of any length: what must agree is settled over the whole clip, the rest by windows.

Over the whole clip: the camera, the K best paths through all frames, and in which frames edges
touch. By windows, because it costs memory and compilation: alignment, pose search, and the descent,
where each window goes on from the poses of the window before it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

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
from hoijax.initialization.starts import (
    Hypotheses,
    Starts,
    find_starts,
    observed_centers,
    search_object,
    search_starts,
    with_proposed_yaws,
)
from hoijax.losses.term import LossTerm, Weights, default_weights, final_total
from hoijax.methods.hoi_page.method import (
    TERMS,
    Staged,
    descend,
    object_problem,
    posed_bodies_of,
    to_result,
)
from hoijax.methods.hoi_page.windows import (
    Poses,
    Windows,
    join_similarities,
    observations_between,
    scene_between,
    windows_of,
)
from hoijax.objects.symmetry import find_symmetries
from hoijax.progress import Log, Stopwatch, counted, silent
from hoijax.results.result import Result
from hoijax.scene.build_objects import build_scene
from hoijax.scene.scene import Scene
from hoijax.settings import SearchSettings, SolveSettings
from hoijax.solver.per_frame import frame_terms
from hoijax.solver.problem import Solution
from hoijax.solver.resumable import Watch


def solve_long_bundle(
    bundle: Bundle,
    settings: SolveSettings,
    window: int,
    *,
    weights: Mapping[str, float | tuple[float, float]] | None = None,
    terms: Sequence[LossTerm] = (),
    log: Log = silent,
    watch: Callable[[str], Watch | None] = lambda stage: None,
) -> Result:
    """`hoi_page.solve_bundle` by windows of `window` frames; the losses are those of the whole clip.

    watch: what looks at the descent of each window, by its name (`solver.resumable`).
    `run["windows"]` of the result has the spans, and how far apart neighbors were at every seam.
    Raises UserError for a window that is too short, or a preset that windows cannot serve.
    """
    check_windows(settings)
    # A candidate must come through every window: one that stops in the second is no winner.
    settings = dataclasses.replace(settings, halving=False)
    windows = windows_of(bundle.observations.frame_count, window)
    table = (*TERMS[settings.preset], *terms)
    times: dict[str, float] = {}
    clock = Stopwatch(times, log)
    staged = stage_windows(bundle, settings, windows, clock)
    solution, poses = descend_windows(staged, table, settings, windows, weights, clock, watch)
    clock.lap("optimize")
    result = to_result(bundle, staged, solution, table, times)
    run = {
        **result.run,
        "windows": {"spans": [list(s) for s in windows.spans], "seams": poses.seams},
    }
    return dataclasses.replace(result, run=run)


def check_windows(settings: SolveSettings) -> None:
    """Raises UserError where a term looks for the best frame of the whole clip."""
    if not settings.infer_contact:
        raise UserError(
            f"--window: preset '{settings.preset}' lets a contact count in the best frame of the "
            "whole clip, which windows cannot see. Use --preset default, or leave --window out."
        )


def stage_windows(
    bundle: Bundle, settings: SolveSettings, windows: Windows, clock: Stopwatch
) -> Staged:
    """`hoi_page.stage` with everything heavy done window by window."""
    seen = bundle.observations
    if settings.alignment.static_camera:
        seen = dataclasses.replace(
            seen, Ts_world_camera=average_static_camera(seen.Ts_world_camera)
        )
    vertices, maps = [], []
    for i, span in enumerate(windows.spans):
        part = dataclasses.replace(bundle, observations=observations_between(seen, span))
        vertices.append(np.asarray(posed_bodies_of(part)))
        maps.append(align(part.observations, jnp.asarray(vertices[-1]), settings.alignment))
        counted(clock.log, "align", i + 1, len(windows.spans))
    clock.lap("align")
    Ts_world_pointmap = join_similarities(windows, maps)
    bodies = np.concatenate([v[:, a:b] for v, a, b in windows.own(vertices)], axis=1)
    scene = build_scene(
        bundle.affordance,
        bundle.assets,
        seen,
        bundle.body,
        Ts_world_pointmap,
        jnp.asarray(bodies),
        settings,
    )
    clock.lap("scene")
    starts = _starts(scene, bundle, settings, windows)
    clock.lap("starts")
    states = contact_states(scene, starts.unknowns, always_touching(bundle, scene), settings)
    return Staged(scene, starts, states, Ts_world_pointmap)


def _starts(scene: Scene, bundle: Bundle, settings: SolveSettings, windows: Windows) -> Starts:
    """The K best paths through all frames; hypotheses are looked for window by window."""
    if settings.start == "yaw":
        return find_starts(scene, bundle, settings)
    centers = observed_centers(scene)

    def search(scene: Scene, o: int, settings: SearchSettings) -> Hypotheses:
        found = [
            search_object(scene_between(scene, (a, b)), o, settings, centers[o, a:b])
            for a, b in windows.spans
        ]
        r, x, c = zip(
            *(tuple(array[a:b] for array in h) for h, a, b in windows.own(found)), strict=True
        )
        return np.concatenate(r), np.concatenate(x), np.concatenate(c)

    symmetries = [find_symmetries(asset) for asset in bundle.assets]
    found = search_starts(scene, symmetries, settings.inits, settings.search, search=search)
    proposals = [bundle.proposed_yaws.get(asset.name, ()) for asset in bundle.assets]
    return with_proposed_yaws(found, scene, proposals)


def descend_windows(
    staged: Staged,
    table: Sequence[LossTerm],
    settings: SolveSettings,
    windows: Windows,
    weights: Mapping[str, float | tuple[float, float]] | None,
    clock: Stopwatch,
    watch: Callable[[str], Watch | None] = lambda stage: None,
) -> tuple[Solution, Poses]:
    """The descent of every window, each from where the one before it ended, joined to one solution.

    Losses are those of the joined trajectories. Histories are means over windows.
    """
    track = Poses.of(staged.starts.unknowns)
    poses: Poses | None = None
    found: list[Solution] = []
    for i, span in enumerate(windows.spans):
        scene = scene_between(staged.scene, span)
        start = track.between(span) if poses is None else poses.go_on(span, track)
        starts = Starts(start.unknowns, staged.starts.labels)
        states = staged.states[:, :, span[0] : span[1]]
        looking = watch(f"window {i + 1}")
        solution = descend(scene, starts, states, table, settings, weights, looking)
        solution = jax.device_get(solution)
        own = Poses.of(solution.unknowns)
        if poses is None:
            poses = own
        else:
            poses.take(span[0], own)
        found.append(solution)
        counted(clock.log, "optimize", i + 1, len(windows.spans))
    assert poses is not None
    values = default_weights(table, weights)
    reports = joined_reports(staged, table, windows, poses, values)
    means = {
        name: np.mean([getattr(s, name) for s in found], axis=0)
        for name in ("history", "initial_losses")
    }
    solution = Solution(
        unknowns=poses.unknowns,
        losses=final_total(table, jnp.asarray(reports), values),
        reports=jnp.asarray(reports),
        codes=np.max([s.codes for s in found], axis=0),
        **means,
    )
    return solution, poses


def joined_reports(
    staged: Staged,
    table: Sequence[LossTerm],
    windows: Windows,
    poses: Poses,
    weights: Weights | None = None,
) -> Float[ndarray, "K n"]:
    """Unweighted terms of whole trajectories: each frame as the window that owns it sees it."""
    problem, sums = object_problem(table), []
    for span, (a, b) in zip(windows.spans, windows.owned, strict=True):
        scene = scene_between(staged.scene, span)
        states = jnp.asarray(staged.states[:, :, span[0] : span[1]])
        values = frame_terms(problem, scene, poses.between(span).unknowns, states, weights)
        sums.append(np.asarray(values)[:, :, a - span[0] : b - span[0]])
    return np.concatenate(sums, axis=2).mean(axis=2)
