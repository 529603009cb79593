"""Stages of anchor motion: how its two passes are prepared, on the host.

The first pass tracks what was seen: reprojected joints, point maps, masks. From its result (or from a
static scene given by the user) the contact keypoints are read off, the point maps are aligned again
with the better bodies, and the second pass pulls contacts together and pushes surfaces apart.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from hoijax.bodies import load_body
from hoijax.bodies.fitting.foot_plants import foot_plants
from hoijax.bodies.fitting.residuals import FEET
from hoijax.bodies.pose_prior import BODY_JOINT_COUNT
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.geometry.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from hoijax.initialization.align_observations import align
from hoijax.initialization.contact_states import (
    always_touching,
    contact_states,
    warn_of_unseen_contacts,
)
from hoijax.initialization.evidence import complete
from hoijax.initialization.joints.starts import start_joints
from hoijax.io.video import read_video
from hoijax.losses.term import LossTerm
from hoijax.methods.anchor_motion.body_start import start_bodies
from hoijax.methods.anchor_motion.contact_pairs import stage_pairs
from hoijax.methods.anchor_motion.results import motions_of, tracked_stills
from hoijax.methods.anchor_motion.static_scene import load_static
from hoijax.methods.anchor_motion.terms import (
    PENETRATION_TERMS,
    PLANT_TERMS,
    TRACKING_TERMS,
    anchor_problem,
    anchor_table,
)
from hoijax.methods.joint.corrections import correct_bundle, corrected_again
from hoijax.methods.joint.settings import BodyPassSettings
from hoijax.methods.passes import Lap, Numbers, Pass, Prepared, Rates
from hoijax.methods.reopened import completed_with, contact_states_of
from hoijax.methods.results import centered_poses
from hoijax.programs import program
from hoijax.progress import Log, silent
from hoijax.results.result import Result
from hoijax.runtime import on_device
from hoijax.scene.build_bodies import (
    BodyMotions,
    SkinSubset,
    StaticScene,
    pose_full,
    with_moving_bodies,
    without_broken_numbers,
)
from hoijax.scene.build_images import with_colors, with_depth
from hoijax.scene.build_objects import build_scene, observed_objects
from hoijax.scene.build_people import observed_people
from hoijax.scene.posed import pose_scene, present
from hoijax.scene.scene import Scene, Unknowns
from hoijax.settings import ESTIMATE_STARTS, AnchorSettings
from hoijax.solver.adam import Adam
from hoijax.solver.neighbor_lists import empty_neighbors, first_neighbors
from hoijax.solver.problem import Solution
from hoijax.solver.resumable import Solver

CORRECTED = "corrected"
"""The body start after which bodies, camera and point maps agree already."""


@dataclass(frozen=True)
class Evidence:
    """What the host reads between the passes, and what a result records."""

    settings: AnchorSettings
    body: SkinnedBody
    subset: SkinSubset
    always: Bool[np.ndarray, " E"]
    """Edges that the graph says touch throughout."""
    states: Float[np.ndarray, "K E T"]
    """In which frames each edge touches, by candidate."""
    Ts_world_pointmap: Float[np.ndarray, "T 4 4"]
    static: StaticScene | None
    """Whose contacts hold; None: those of the first pass."""
    video: UInt8[np.ndarray, "T H W 3"] | None
    """The clip, whose colors count where images are rendered."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """What else `run.json` says."""


def prepare(
    bundle: Bundle, settings: AnchorSettings, terms: Sequence[LossTerm] = (), lap: Lap = silent
) -> Prepared:
    """Bodies and objects where they start, and everything that the first pass reads."""
    static, video = given_files(bundle, settings)
    bundle = complete(without_broken_numbers(bundle))
    body, run = load_body(bundle.body), {}
    if settings.body_start == CORRECTED:
        corrected = correct_bundle(bundle, body, BodyPassSettings())
        bundle, run = corrected.bundle, corrected.run
        motions = start_bodies(bundle, body, "estimate", static)
        lap("body start")
        full = pose_full(body, bundle.observations, motions)
        Ts_world_pointmap = corrected.Ts_world_pointmap
    else:
        motions = start_bodies(bundle, body, settings.body_start, static)
        lap("body start")
        full = pose_full(body, bundle.observations, motions)
        Ts_world_pointmap = align(bundle.observations, full, settings.alignment)
        lap("align")
    objects = build_scene(bundle, Ts_world_pointmap, full, settings)
    starts = start_joints(objects, bundle, settings)
    lap("object starts")
    scene, subset = with_moving_bodies(objects, bundle, body, motions, Ts_world_pointmap, settings)
    always = always_touching(bundle, objects)
    states = contact_states(objects, starts.unknowns, always, settings)
    warn_of_unseen_contacts(bundle, states)
    lap("scene")
    return Prepared(
        bundle,
        table_of(scene, settings, terms),
        scene,
        first_unknowns(motions, starts.unknowns, settings),
        first_neighbors(scene, states),
        starts.labels,
        Evidence(settings, body, subset, always, states, Ts_world_pointmap, static, video, run),
    )


def reopen(bundle: Bundle, result: Result, settings: AnchorSettings) -> Prepared:
    """What the second pass reads, with the first one's place taken by a result of both."""
    static, video = given_files(bundle, settings)
    again = corrected_again(bundle, result) if settings.body_start == CORRECTED else None
    bundle = again or completed_with(without_broken_numbers(bundle), result)
    body, Ts_world_pointmap = load_body(bundle.body), result.Ts_world_pointmap
    motions = BodyMotions(result.body_rotations, result.body_translations)
    full = pose_full(body, bundle.observations, motions)
    objects = build_scene(bundle, Ts_world_pointmap, full, settings)
    scene, subset = with_moving_bodies(objects, bundle, body, motions, Ts_world_pointmap, settings)
    always = always_touching(bundle, objects)
    states = contact_states_of(result, scene.edges.mask.shape[0])
    evidence = Evidence(settings, body, subset, always, states, Ts_world_pointmap, static, video)
    initial, neighbors = unknowns_of(result, settings), first_neighbors(scene, states)
    terms = table_of(scene, settings, ())
    prepared = Prepared(bundle, terms, scene, initial, neighbors, tuple(result.labels), evidence)
    outcome = (result.losses, result.initial_losses, result.reports, result.codes, result.history)
    tracked = Solution(initial, *map(jnp.asarray, outcome))
    scene = _with_video(evidence, _with_pairs(prepared, tracked, silent), tracked)
    return ready_to_anchor(dataclasses.replace(prepared, scene=scene))


def moved(prepared: Prepared, result: Result) -> Prepared:
    """The same scene with its candidates where another result of it has them."""
    evidence = prepared.extra
    states = contact_states_of(result, prepared.scene.edges.mask.shape[0])
    evidence, initial = (
        dataclasses.replace(evidence, states=states),
        unknowns_of(result, evidence.settings),
    )
    return ready_to_anchor(dataclasses.replace(prepared, initial=initial, extra=evidence))


def unknowns_of(result: Result, settings: AnchorSettings) -> Unknowns:
    """Bodies, objects and joint values of all candidates of a result."""
    bodies = [result.bodies_of(k) for k in range(len(result.losses))]
    rotations = np.stack([r for r, _ in bodies])[:, :, :, : unknown_joints(settings)]
    values = result.joint_values
    return dataclasses.replace(
        centered_poses(result),
        body_rotation_6d=matrix_to_rotation_6d(
            axis_angle_to_matrix(on_device(rotations, jnp.float32))
        ),
        body_translation=on_device(np.stack([x for _, x in bodies]), jnp.float32),
        joint_values=None if values is None else on_device(values, jnp.float32),
    )


def unknown_joints(settings: AnchorSettings) -> int:
    """The first joints of a body, whose rotations are unknowns."""
    return 55 if settings.hands else BODY_JOINT_COUNT


def given_files(
    bundle: Bundle, settings: AnchorSettings
) -> tuple[StaticScene | None, UInt8[np.ndarray, "T H W 3"] | None]:
    """The static scene and the clip that the settings name."""
    static = None
    if settings.static is not None:
        static = load_static(settings.static, bundle, settings.static_frame)
    video = None if settings.video is None else _clip(Path(settings.video), bundle.frame_count)
    return static, video


def _clip(path: Path, frames: int) -> UInt8[np.ndarray, "T H W 3"]:
    """Frames of the clip. Raises UserError where it cannot be read or is too short."""
    video = read_video(path, frames).frames
    if len(video) < frames:
        raise UserError(f"--video '{path}' has {len(video)} frames, the bundle {frames}.")
    return video


def table_of(
    scene: Scene, settings: AnchorSettings, terms: Sequence[LossTerm]
) -> tuple[LossTerm, ...]:
    """The terms of a scene, the user's own last."""
    rendered, jointed = scene.observed_images is not None, scene.joints is not None
    return anchor_table(
        rendered=rendered,
        jointed=jointed,
        hands=settings.hands,
        outlined=scene.silhouettes is not None,
        estimated=settings.body_start in ESTIMATE_STARTS,
        terms=terms,
    )


def passes(settings: AnchorSettings) -> tuple[Pass, ...]:
    """Tracking, in which penetration waits and contact is gentle; then with the contact keypoints."""

    def track(rates: Rates, count: int) -> Solver:
        doubled = 2.0 * rates["learning_rate"]
        last = rates["final_learning_rate"]
        return Adam(settings.track_steps, settings.refresh_every, doubled, last)

    def anchor(rates: Rates, count: int) -> Solver:
        return Adam(settings.steps, settings.refresh_every, **rates)

    return (
        Pass("track", anchor_problem, track, without=(*PENETRATION_TERMS, *PLANT_TERMS)),
        Pass("anchor", anchor_problem, anchor, without=TRACKING_TERMS, before=after_tracking),
    )


def after_tracking(
    prepared: Prepared, tracked: Solution, numbers: Numbers, log: Log = silent
) -> Prepared:
    """What the second pass reads, from where the tracked bodies and objects are."""
    tracked = jax.tree.map(jnp.asarray, tracked)
    scene, evidence = _settle(prepared, tracked)
    states = contact_states(scene, tracked.unknowns, evidence.always, evidence.settings)
    evidence = dataclasses.replace(evidence, states=states)
    prepared = dataclasses.replace(prepared, scene=scene, initial=tracked.unknowns, extra=evidence)
    scene = _with_pairs(prepared, tracked, log)
    scene = _with_video(evidence, scene, tracked)
    return ready_to_anchor(dataclasses.replace(prepared, scene=scene))


def ready_to_anchor(prepared: Prepared) -> Prepared:
    """With the neighbors of the second pass: it is known in which frames feet stand."""
    neighbors = first_neighbors(prepared.scene, prepared.extra.states)
    plants = _plants(prepared.scene, prepared.initial)
    return dataclasses.replace(prepared, neighbors=dataclasses.replace(neighbors, plants=plants))


def first_unknowns(motions: BodyMotions, objects: Unknowns, settings: AnchorSettings) -> Unknowns:
    """K starts: the same bodies, the objects' different trajectories."""
    count = objects.object_translation.shape[0]
    joints = unknown_joints(settings)
    local = axis_angle_to_matrix(on_device(motions.rotations[:, :, :joints], jnp.float32))
    six = matrix_to_rotation_6d(local)
    place = on_device(motions.translations, jnp.float32)
    return dataclasses.replace(
        objects,
        body_rotation_6d=jnp.broadcast_to(six, (count, *six.shape)),
        body_translation=jnp.broadcast_to(place, (count, *place.shape)),
    )


def _plants(scene: Scene, tracked: Unknowns) -> Int[Array, "K P T 4"]:
    """In which frames the tracked feet of every candidate stand."""
    feet = np.asarray(_all_joints(scene, tracked))[:, :, :, list(FEET)]
    plants = np.array([[foot_plants(person) for person in one] for one in feet])
    return on_device(plants, jnp.int32)


@program
def _all_joints(scene: Scene, unknowns: Unknowns) -> Float[Array, "K P T 55 3"]:
    def joints_of(one: Unknowns) -> Array:
        posed = pose_scene(scene, one, empty_neighbors(scene))
        return present(posed.joints_world, "joints of moving bodies")

    return jax.vmap(joints_of)(unknowns)


def _settle(prepared: Prepared, tracked: Solution) -> tuple[Scene, Evidence]:
    """Align the point maps again, to the tracked bodies; bodies that broke leave them as they were, and so
    do those that the body pass settled together with them."""
    scene, evidence = prepared.scene, prepared.extra
    if evidence.settings.body_start == CORRECTED:
        return scene, evidence
    motions = motions_of(scene, tracked.best)
    if not np.isfinite(motions.translations).all():
        return scene, evidence
    bundle, settings = prepared.bundle, evidence.settings
    o = bundle.observations
    full = pose_full(evidence.body, o, motions)
    Ts_world_pointmap = align(o, full, settings.alignment)
    observed = observed_objects(o, bundle.assets, scene.objects, Ts_world_pointmap, settings.points)
    cameras = dataclasses.replace(
        scene.cameras, Ts_pointmap_world=on_device(np.linalg.inv(Ts_world_pointmap), jnp.float32)
    )
    images = scene.observed_images
    scene = dataclasses.replace(
        scene,
        observed=observed,
        cameras=cameras,
        observed_people=observed_people(o, Ts_world_pointmap, settings.points),
        observed_images=None if images is None else with_depth(images, o, Ts_world_pointmap),
    )
    return scene, dataclasses.replace(evidence, Ts_world_pointmap=Ts_world_pointmap)


def _with_video(evidence: Evidence, scene: Scene, tracked: Solution) -> Scene:
    """Meshes painted from the clip, as they were tracked."""
    if scene.observed_images is None or evidence.video is None:
        return scene
    unknowns = tracked.best
    posed = jax.jit(pose_scene)(scene, unknowns, empty_neighbors(scene))
    images = with_colors(scene.observed_images, posed, evidence.video)
    return dataclasses.replace(scene, observed_images=images)


def _with_pairs(prepared: Prepared, tracked: Solution, log: Log) -> Scene:
    """Contact keypoints of the static scene, or of a tracked frame: the more contact, the earlier tried."""
    scene, bundle, evidence = prepared.scene, prepared.bundle, prepared.extra
    static = evidence.static
    stills = tracked_stills(scene, tracked, evidence.states) if static is None else (static,)
    pairs, count = scene.pairs, 0
    for still in stills:
        pairs, count = stage_pairs(
            still, bundle, evidence.body, evidence.subset, evidence.settings.pairs
        )
        if count:
            break
    log(f"contact keypoints: {count} pairs")
    if count == 0:
        warnings.warn(
            "no contact keypoints: in the static scene no body region of the affordance graph "
            "faces its object part within reach. The solve goes on without them.",
            stacklevel=2,
        )
    return dataclasses.replace(scene, pairs=pairs)
