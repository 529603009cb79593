"""Stages of anchor motion: how its two passes are prepared, on the host.

The first pass tracks what was seen: reprojected joints, point maps, masks. From its result (or from a
static scene given by the user) the contact keypoints are read off, the point maps are aligned again
with the better bodies, and the second pass pulls contacts together and pushes surfaces apart.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from hoijax.bodies import load_body
from hoijax.bodies.kinematics import BODY_JOINT_COUNT
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
from hoijax.methods.anchor_motion.anchoring import (
    CORRECTED,
    Evidence,
    after_tracking,
    ready_to_anchor,
    with_pairs,
    with_video,
)
from hoijax.methods.anchor_motion.body_start import start_bodies
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
from hoijax.methods.passes import Lap, Pass, Prepared, Rates
from hoijax.methods.reopened import completed_with, contact_states_of
from hoijax.methods.results import centered_poses
from hoijax.progress import silent
from hoijax.results.result import Result
from hoijax.runtime import on_device
from hoijax.scene.build_bodies import (
    BodyMotions,
    StaticScene,
    pose_full,
    with_moving_bodies,
    without_broken_numbers,
)
from hoijax.scene.build_objects import build_scene
from hoijax.scene.scene import Scene, Unknowns
from hoijax.settings import ESTIMATE_STARTS, AnchorSettings
from hoijax.solver.adam import Adam
from hoijax.solver.neighbor_lists import first_neighbors
from hoijax.solver.problem import Solution
from hoijax.solver.resumable import Solver


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
    scene = with_video(evidence, with_pairs(prepared, tracked, silent), tracked)
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
        outlined=scene.lacks_depth,
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


def first_unknowns(motions: BodyMotions, objects: Unknowns, settings: AnchorSettings) -> Unknowns:
    """K starts: the same bodies, the objects' different trajectories."""
    count = objects.object_translation.shape[0]
    joints = unknown_joints(settings)
    local = axis_angle_to_matrix(on_device(motions.rotations[:, :, :joints], jnp.float32))
    six = matrix_to_rotation_6d(local)
    translation = on_device(motions.translations, jnp.float32)
    return dataclasses.replace(
        objects,
        body_rotation_6d=jnp.broadcast_to(six, (count, *six.shape)),
        body_translation=jnp.broadcast_to(translation, (count, *translation.shape)),
    )
