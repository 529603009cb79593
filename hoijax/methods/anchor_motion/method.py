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
from jaxtyping import Array, Bool, Float, Int, UInt8

from hoijax.bodies import load_body
from hoijax.bodies.fitting.residuals import FEET
from hoijax.bodies.pose_prior import BODY_JOINT_COUNT
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.write import Bundle
from hoijax.geometry.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from hoijax.initialization.align_observations import align
from hoijax.initialization.contact_states import always_touching, contact_states
from hoijax.initialization.joints.starts import start_joints
from hoijax.initialization.starts import Starts
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
    ACTIVE_SAMPLES,
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
from hoijax.scene.build_images import with_colors, with_depth
from hoijax.scene.build_interaction import (
    BodyMotions,
    SkinSubset,
    StaticScene,
    object_settings,
    pose_full,
    stage_anchor,
    without_broken_numbers,
)
from hoijax.scene.build_objects import build_scene, observed_objects, stage_contacts
from hoijax.scene.build_people import seen_people
from hoijax.scene.interaction import (
    AnchorNeighbors,
    AnchorPosed,
    AnchorScene,
    AnchorUnknowns,
    object_unknowns,
    pose_anchor,
)
from hoijax.scene.objects import Scene
from hoijax.settings import AnchorSettings, check_body_start
from hoijax.solver.adam import Adam
from hoijax.solver.neighbor_lists import empty_neighbors
from hoijax.solver.problem import Solution, SolverInputs
from hoijax.solver.resumable import Watch, optimize_in_segments

__all__ = ["check_weights", "first_neighbors", "first_unknowns", "solve_bundle"]


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
    off the first pass. terms: further loss terms over AnchorPosed. weights: overrides by term name.
    video: the clip, whose colors count where pictures are drawn (settings.picture_width).
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
    starts, values = start_joints(objects, bundle, object_settings(settings))
    stage.lap("object starts")
    table = stage_contacts(bundle.affordance, bundle.assets)
    scene, subset = stage_anchor(bundle, body, objects, table, motions, Ts_world_pointmap, settings)
    always = always_touching(bundle, objects)
    states = contact_states(objects, starts.unknowns, always, object_settings(settings))
    stage.lap("scene")
    initial = first_unknowns(motions, starts, values, settings)
    tracked = _descend(stage, scene, initial, states, tracking=True)
    stage.lap("track")
    scene, Ts_world_pointmap = _settle(stage, scene, tracked, Ts_world_pointmap)
    states = _states_again(stage, scene, tracked, always)
    scene = _with_pairs(stage, scene, subset, tracked, states, static)
    scene = _with_video(stage, scene, tracked)
    solution = _descend(stage, scene, tracked.unknowns, states, tracking=False)
    stage.lap("anchor")
    result = to_result(bundle, scene, solution, states, Ts_world_pointmap)
    names = tuple(term.name for term in _table(stage, scene))
    return dataclasses.replace(
        result, labels=starts.labels, term_names=names, run={"seconds": stage.times}
    )


def _table(stage: _Stage, scene: AnchorScene) -> tuple[LossTerm, ...]:
    drawn, jointed = scene.frames is not None, scene.joints is not None
    hands = stage.settings.optimize_hands
    return anchor_table(drawn=drawn, jointed=jointed, hands=hands, terms=stage.terms)


def first_unknowns(
    motions: BodyMotions,
    starts: Starts,
    values: Float[np.ndarray, "K D T"] | None,
    settings: AnchorSettings,
) -> AnchorUnknowns:
    """K starts: the same bodies, the objects' different trajectories."""
    count = len(starts.labels)
    joints = 55 if settings.optimize_hands else BODY_JOINT_COUNT
    local = axis_angle_to_matrix(jnp.asarray(motions.rotations[:, :, :joints], jnp.float32))
    six = matrix_to_rotation_6d(local)
    place = jnp.asarray(motions.translations, jnp.float32)
    return AnchorUnknowns(
        jnp.broadcast_to(six, (count, *six.shape)),
        jnp.broadcast_to(place, (count, *place.shape)),
        starts.unknowns.rotation_6d,
        starts.unknowns.translation,
        None if values is None else jnp.asarray(values, jnp.float32),
    )


def first_neighbors(scene: AnchorScene, states: Float[np.ndarray, "K E T"]) -> AnchorNeighbors:
    """Neighbors of all K candidates before anything was chosen, with their contact states."""
    nothing = _nothing_chosen(scene)
    batched = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(states), *x.shape)), nothing)
    objects = dataclasses.replace(batched.objects, contact_state=jnp.asarray(states))
    return dataclasses.replace(batched, objects=objects)


def _nothing_chosen(scene: AnchorScene) -> AnchorNeighbors:
    p, t, m, _ = scene.seen.points_world.shape
    active = min(ACTIVE_SAMPLES, scene.objects.objects.samples.shape[1])
    return AnchorNeighbors(
        empty_neighbors(scene.objects),
        jnp.zeros((p, t, m), jnp.int32),
        jnp.zeros((scene.objects.object_count, p, t, active), jnp.int32),
        jnp.full((p, t, len(FEET)), -1, jnp.int32),
    )


def _descend(
    stage: _Stage,
    scene: AnchorScene,
    initial: AnchorUnknowns,
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


def _plants(scene: AnchorScene, tracked: AnchorUnknowns) -> Int[Array, "K P T 4"]:
    """In which frames the tracked feet of every candidate stand."""
    feet = np.asarray(_all_joints(scene, tracked))[:, :, :, list(FEET)]
    found = np.array([[foot_plants(person) for person in one] for one in feet])
    return jnp.asarray(found, jnp.int32)


@jax.jit
def _all_joints(scene: AnchorScene, unknowns: AnchorUnknowns) -> Float[Array, "K P T 55 3"]:
    return jax.vmap(lambda one: _posed(scene, one).joints_world)(unknowns)


def _settle(
    stage: _Stage, scene: AnchorScene, tracked: Solution, before: np.ndarray
) -> tuple[AnchorScene, np.ndarray]:
    """Align the point maps again, to the tracked bodies; bodies that broke leave them as they were."""
    motions = motions_of(scene, candidate(tracked, winner_of(tracked)))
    if not np.isfinite(motions.translations).all():
        return scene, before
    o, settings = stage.bundle.observations, stage.settings
    full = pose_full(stage.body, o, motions)
    Ts_world_pointmap = align(o, full, settings.alignment)
    seen = observed_objects(
        o, stage.bundle.assets, scene.objects.objects, Ts_world_pointmap, settings.points
    )
    cameras = dataclasses.replace(
        scene.objects.cameras,
        Ts_pointmap_world=jnp.asarray(np.linalg.inv(Ts_world_pointmap), jnp.float32),
    )
    objects = dataclasses.replace(scene.objects, observed=seen, cameras=cameras)
    people = seen_people(o, Ts_world_pointmap, settings.points)
    frames = scene.frames
    if frames is not None:
        frames = with_depth(frames, o, Ts_world_pointmap)
    scene = dataclasses.replace(scene, objects=objects, seen=people, frames=frames)
    return scene, Ts_world_pointmap


def _states_again(
    stage: _Stage, scene: AnchorScene, tracked: Solution, always: Bool[np.ndarray, " E"]
) -> Float[np.ndarray, "K E T"]:
    """Contact states from where the tracked bodies and objects are."""
    out = []
    for k in range(len(tracked.losses)):
        unknowns = candidate(tracked, k)
        here = _posed_scene(scene, unknowns)
        one = jax.tree.map(lambda x: x[None], object_unknowns(scene, unknowns))
        out.append(contact_states(here, one, always, object_settings(stage.settings))[0])
    return np.stack(out)


@jax.jit
def _posed_scene(scene: AnchorScene, unknowns: AnchorUnknowns) -> Scene:
    return _posed(scene, unknowns).objects.scene


def _posed(scene: AnchorScene, unknowns: AnchorUnknowns) -> AnchorPosed:
    return pose_anchor(scene, unknowns, _nothing_chosen(scene))


def _with_video(stage: _Stage, scene: AnchorScene, tracked: Solution) -> AnchorScene:
    """Meshes painted from the clip, as they were tracked."""
    if scene.frames is None or stage.video is None:
        return scene
    posed = jax.jit(_posed)(scene, candidate(tracked, winner_of(tracked)))
    return dataclasses.replace(scene, frames=with_colors(scene.frames, posed, stage.video))


def _with_pairs(
    stage: _Stage,
    scene: AnchorScene,
    subset: SkinSubset,
    tracked: Solution,
    states: np.ndarray,
    static: StaticScene | None,
) -> AnchorScene:
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
