"""AnchorHOI motion synthesis: body and object follow anchor keypoints (AAAI 2026, section 4).

Two passes of one problem. The first tracks what was seen: reprojected joints, point maps, masks. From
its result (or from a static scene given by the user) the contact keypoints are read off, the point
maps are aligned again with the better bodies, and the second pass pulls contacts together and pushes
surfaces apart.
"""

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from hoijax.bodies import load_body
from hoijax.bodies.fitting.residuals import FEET
from hoijax.bodies.pose_prior import BODY_JOINT_COUNT
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.write import Bundle
from hoijax.geometry.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from hoijax.initialization.align_observations import align
from hoijax.initialization.contact_states import always_touching, contact_states
from hoijax.initialization.joints.starts import start_joints
from hoijax.losses.term import LossTerm
from hoijax.methods.anchor_motion.body_start import start_bodies
from hoijax.methods.anchor_motion.contact_pairs import stage_pairs
from hoijax.methods.anchor_motion.foot_plants import foot_plants
from hoijax.methods.anchor_motion.results import (
    candidate,
    motions_of,
    to_result,
    tracked_stills,
    winner_of,
)
from hoijax.methods.anchor_motion.terms import (
    PENETRATION_TERMS,
    PLANT_TERMS,
    TRACKING_TERMS,
    anchor_problem,
    anchor_table,
    check_weights,
    weights_of,
)
from hoijax.progress import Log, silent
from hoijax.results.result import Result
from hoijax.scene.build_bodies import (
    BodyMotions,
    SkinSubset,
    StaticScene,
    object_settings,
    pose_full,
    with_moving_bodies,
    without_broken_numbers,
)
from hoijax.scene.build_images import with_colors, with_depth
from hoijax.scene.build_objects import build_scene, observed_objects, stage_contacts
from hoijax.scene.build_people import observed_people
from hoijax.scene.posed import pose_scene, present
from hoijax.scene.scene import Scene, Unknowns
from hoijax.settings import AnchorSettings, check_body_start
from hoijax.solver.adam import Adam
from hoijax.solver.neighbor_lists import empty_neighbors, first_neighbors
from hoijax.solver.problem import Solution, SolverInputs
from hoijax.solver.resumable import Watch, optimize_in_segments

__all__ = ["check_weights", "first_unknowns", "solve_bundle"]


@dataclass
class _Stage:
    """What both passes of a solve share."""

    bundle: Bundle
    body: SkinnedBody
    settings: AnchorSettings
    weights: Mapping[str, float | tuple[float, float]]
    terms: tuple[LossTerm, ...]
    video: UInt8[np.ndarray, "T H W 3"] | None
    log: Log
    watch: Callable[[str], Watch | None]
    times: dict[str, float]
    begun: float

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.times[name] = round(now - self.begun, 3)
        self.begun = now
        self.log(f"{name}: {self.times[name]:.1f} s")


def solve_bundle(
    bundle: Bundle,
    settings: AnchorSettings,
    *,
    static: StaticScene | None = None,
    weights: Mapping[str, float | tuple[float, float]] | None = None,
    terms: Sequence[LossTerm] = (),
    video: UInt8[np.ndarray, "T H W 3"] | None = None,
    log: Log = silent,
    watch: Callable[[str], Watch | None] = lambda stage: None,
) -> Result:
    """Body and object motion of one bundle.

    static: the still whose contacts hold (first frame of a composed scene); without one they are read
    off the first pass. terms: further loss terms. weights: overrides by term name.
    video: the clip, whose colors count where images are rendered (settings.render_width).
    watch: what looks at the passes "track" and "anchor" between their segments (`solver.resumable`).
    """
    check_body_start(settings.body_start, static is not None)
    bundle = without_broken_numbers(bundle)
    body = load_body(bundle.body)
    given = dict(weights or {}), tuple(terms), video, log, watch
    stage = _Stage(bundle, body, settings, *given, {}, time.perf_counter())
    motions = start_bodies(bundle, body, settings.body_start, static)
    stage.lap("body start")
    full = pose_full(body, bundle.observations, motions)
    Ts_world_pointmap = align(bundle.observations, full, settings.alignment)
    stage.lap("align")
    objects = build_scene(
        bundle.affordance,
        bundle.assets,
        bundle.observations,
        bundle.body,
        Ts_world_pointmap,
        full,
        object_settings(settings),
    )
    starts = start_joints(objects, bundle, object_settings(settings))
    stage.lap("object starts")
    table = stage_contacts(bundle.affordance, bundle.assets)
    scene, subset = with_moving_bodies(
        objects, bundle, body, table, motions, Ts_world_pointmap, settings
    )
    always = always_touching(bundle, objects)
    states = contact_states(objects, starts.unknowns, always, object_settings(settings))
    stage.lap("scene")
    initial = first_unknowns(motions, starts.unknowns, settings)
    tracked = _descend(stage, scene, initial, states, tracking=True)
    stage.lap("track")
    scene, Ts_world_pointmap = _settle(stage, scene, tracked, Ts_world_pointmap)
    states = contact_states(scene, tracked.unknowns, always, object_settings(settings))
    scene = _with_pairs(stage, scene, subset, tracked, states, static)
    scene = _with_video(stage, scene, tracked)
    solution = _descend(stage, scene, tracked.unknowns, states, tracking=False)
    stage.lap("anchor")
    result = to_result(bundle, scene, solution, states, Ts_world_pointmap)
    names = tuple(term.name for term in _table(stage, scene))
    return dataclasses.replace(
        result, labels=starts.labels, term_names=names, run={"seconds": stage.times}
    )


def _table(stage: _Stage, scene: Scene) -> tuple[LossTerm, ...]:
    rendered, jointed = scene.observed_images is not None, scene.joints is not None
    hands = stage.settings.optimize_hands
    return anchor_table(rendered=rendered, jointed=jointed, hands=hands, terms=stage.terms)


def first_unknowns(motions: BodyMotions, objects: Unknowns, settings: AnchorSettings) -> Unknowns:
    """K starts: the same bodies, the objects' different trajectories."""
    count = objects.object_translation.shape[0]
    joints = 55 if settings.optimize_hands else BODY_JOINT_COUNT
    local = axis_angle_to_matrix(jnp.asarray(motions.rotations[:, :, :joints], jnp.float32))
    six = matrix_to_rotation_6d(local)
    place = jnp.asarray(motions.translations, jnp.float32)
    return dataclasses.replace(
        objects,
        body_rotation_6d=jnp.broadcast_to(six, (count, *six.shape)),
        body_translation=jnp.broadcast_to(place, (count, *place.shape)),
    )


def _descend(
    stage: _Stage,
    scene: Scene,
    initial: Unknowns,
    states: np.ndarray,
    *,
    tracking: bool,
) -> Solution:
    """One pass over all candidates; while tracking, penetration waits and contact is gentle."""
    settings, table = stage.settings, _table(stage, scene)
    weights = weights_of(table, stage.weights)
    for name in (*PENETRATION_TERMS, *PLANT_TERMS) if tracking else TRACKING_TERMS:
        weights[name] = jnp.zeros(2)
    neighbors = first_neighbors(scene, states)
    if not tracking:
        neighbors = dataclasses.replace(neighbors, plants=_plants(scene, initial))
    rate = settings.learning_rate * (2.0 if tracking else 1.0)
    steps = settings.track_steps if tracking else settings.steps
    solver = Adam(steps, settings.refresh_every, rate, settings.final_learning_rate)
    inputs = SolverInputs(anchor_problem(table), scene, initial, neighbors, weights)
    watch = stage.watch("track" if tracking else "anchor")
    return optimize_in_segments(solver, inputs, watch).trimmed()


def _plants(scene: Scene, tracked: Unknowns) -> Int[Array, "K P T 4"]:
    """In which frames the tracked feet of every candidate stand."""
    feet = np.asarray(_all_joints(scene, tracked))[:, :, :, list(FEET)]
    found = np.array([[foot_plants(person) for person in one] for one in feet])
    return jnp.asarray(found, jnp.int32)


@jax.jit
def _all_joints(scene: Scene, unknowns: Unknowns) -> Float[Array, "K P T 55 3"]:
    def joints_of(one: Unknowns) -> Array:
        posed = pose_scene(scene, one, empty_neighbors(scene))
        return present(posed.joints_world, "joints of moving bodies")

    return jax.vmap(joints_of)(unknowns)


def _settle(
    stage: _Stage, scene: Scene, tracked: Solution, before: np.ndarray
) -> tuple[Scene, np.ndarray]:
    """Align the point maps again, to the tracked bodies; bodies that broke leave them as they were."""
    motions = motions_of(scene, candidate(tracked, winner_of(tracked)))
    if not np.isfinite(motions.translations).all():
        return scene, before
    o, settings = stage.bundle.observations, stage.settings
    full = pose_full(stage.body, o, motions)
    Ts_world_pointmap = align(o, full, settings.alignment)
    observed = observed_objects(
        o, stage.bundle.assets, scene.objects, Ts_world_pointmap, settings.points
    )
    cameras = dataclasses.replace(
        scene.cameras, Ts_pointmap_world=jnp.asarray(np.linalg.inv(Ts_world_pointmap), jnp.float32)
    )
    images = scene.observed_images
    scene = dataclasses.replace(
        scene,
        observed=observed,
        cameras=cameras,
        observed_people=observed_people(o, Ts_world_pointmap, settings.points),
        observed_images=None if images is None else with_depth(images, o, Ts_world_pointmap),
    )
    return scene, Ts_world_pointmap


def _with_video(stage: _Stage, scene: Scene, tracked: Solution) -> Scene:
    """Meshes painted from the clip, as they were tracked."""
    if scene.observed_images is None or stage.video is None:
        return scene
    unknowns = candidate(tracked, winner_of(tracked))
    posed = jax.jit(pose_scene)(scene, unknowns, empty_neighbors(scene))
    images = with_colors(scene.observed_images, posed, stage.video)
    return dataclasses.replace(scene, observed_images=images)


def _with_pairs(
    stage: _Stage,
    scene: Scene,
    subset: SkinSubset,
    tracked: Solution,
    states: np.ndarray,
    static: StaticScene | None,
) -> Scene:
    """Contact keypoints of the static scene, or of a tracked frame: the more contact, the earlier tried."""
    table = stage_contacts(stage.bundle.affordance, stage.bundle.assets)
    stills = tracked_stills(scene, tracked, states) if static is None else (static,)
    pairs, count = scene.pairs, 0
    for still in stills:
        pairs, count = stage_pairs(
            still, stage.bundle, stage.body, table, subset, stage.settings.pairs
        )
        if count:
            break
    stage.log(f"contact keypoints: {count} pairs")
    if count == 0:
        warnings.warn(
            "no contact keypoints: in the static scene no body region of the affordance graph "
            "faces its object part within reach. The solve goes on without them.",
            stacklevel=2,
        )
    return dataclasses.replace(scene, pairs=pairs)
