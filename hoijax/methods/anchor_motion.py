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
from jaxtyping import Array, Bool, Float

from hoijax.anchor_config import AnchorSettings, check_body_start
from hoijax.anchor_scene import (
    AnchorNeighbours,
    AnchorPosed,
    AnchorScene,
    AnchorUnknowns,
    local_rotations,
    object_unknowns,
    pose_anchor,
)
from hoijax.anchor_staging import (
    BodyMotions,
    SkinSubset,
    StaticScene,
    object_settings,
    pose_full,
    seen_people,
    stage_anchor,
    without_broken_numbers,
)
from hoijax.bodies import load_body
from hoijax.bodies.motion_terms import nearest_vertices
from hoijax.bodies.pose_prior import BODY_JOINT_COUNT
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle import Bundle
from hoijax.errors import UserError
from hoijax.frames import compose_rigid
from hoijax.losses import contact, fit, penetration, smoothness
from hoijax.losses.body import (
    body_ground,
    body_mask,
    body_points,
    body_smoothness,
    foot_slip,
    object_in_body,
    self_penetration,
)
from hoijax.losses.keypoints import body_keypoints, contact_keypoints
from hoijax.losses.pose_prior import joint_limits, pose_prior
from hoijax.losses.term import LossFunction, LossTerm, default_weights
from hoijax.methods.body_start import start_bodies
from hoijax.methods.contact_pairs import stage_pairs
from hoijax.methods.contact_states import contact_states
from hoijax.methods.point_maps import align
from hoijax.objects.symmetry import find_symmetries
from hoijax.result import Result
from hoijax.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_rotation_6d,
    rotation_6d_to_matrix,
)
from hoijax.scene import Scene
from hoijax.solver.initialise import Starts, search_starts
from hoijax.solver.neighbours import empty_neighbours, refresh_vertices
from hoijax.solver.optimise import Problem, Schedule, Solution, optimise
from hoijax.staging import build_scene, observed_objects, stage_contacts

Log = Callable[[str], None]
ACTIVE_SAMPLES = 48
CANDIDATE_SAMPLES = 384


def _silent(_: str) -> None:
    pass


def of_objects(function: LossFunction) -> LossFunction:
    """A term written for objects among fixed bodies, on bodies that move."""

    def term(posed: AnchorPosed):
        return function(posed.objects)

    term.__name__ = function.__name__
    return term


TERMS = (
    LossTerm.constant("body_keypoints", body_keypoints, 2e3),
    LossTerm.constant("body_points", body_points, 2e2),
    LossTerm.constant("body_mask", body_mask, 5e-3),
    LossTerm.constant("joint_limits", joint_limits, 7.0),
    LossTerm.constant("pose_prior", pose_prior, 1.5e-2),
    LossTerm.constant("body_smoothness", body_smoothness, 2.6e-4),
    LossTerm("foot_slip", foot_slip, 5e2, 5e3),
    LossTerm.constant("body_ground", body_ground, 1.7e2),
    LossTerm.constant("object_points", of_objects(fit.robust_object_points), 1e3),
    LossTerm.constant("part_points", of_objects(fit.robust_part_points), 3e2),
    LossTerm.constant("model_mask", of_objects(fit.model_mask), 2e-2),
    LossTerm.constant("translation_smoothness", of_objects(smoothness.translation_smoothness), 3e3),
    LossTerm.constant("rotation_smoothness", of_objects(smoothness.rotation_smoothness), 1e2),
    LossTerm.constant("ground", of_objects(penetration.ground), 1e2),
    LossTerm.constant("object_penetration", of_objects(penetration.object_penetration), 10.0),
    LossTerm("penetration", of_objects(penetration.penetration), 0.0, 300.0),
    LossTerm("object_in_body", object_in_body, 0.0, 100.0),
    LossTerm("self_penetration", self_penetration, 0.0, 100.0),
    LossTerm.constant("contact_keypoints", contact_keypoints, 15.0),
    LossTerm.constant("contact", of_objects(contact.contact), 8.0),
    LossTerm("contact_drift", of_objects(contact.contact_drift), 1.0, 1e1),
)
CONTACT_TERMS = ("contact_keypoints", "contact", "contact_drift")
PENETRATION_TERMS = ("penetration", "object_in_body", "self_penetration")
BODY_EVIDENCE = ("body_keypoints", "body_points", "body_mask")


def refresh_anchor(
    scene: AnchorScene, unknowns: AnchorUnknowns, neighbours: AnchorNeighbours, rarely: Array
) -> AnchorNeighbours:
    """Nearest skin of seen points always; what may penetrate only when `rarely`."""
    posed = pose_anchor(scene, unknowns, neighbours)
    nearest = jnp.stack(
        [
            nearest_vertices(scene.seen.points_world[p], posed.vertices_world[p])
            for p in range(len(scene.people))
        ]
    )
    neighbours = dataclasses.replace(neighbours, nearest_vertex=nearest)

    def again(n: AnchorNeighbours) -> AnchorNeighbours:
        objects = refresh_vertices(posed.objects.scene, object_unknowns(unknowns), n.objects)
        return dataclasses.replace(n, objects=objects, active_samples=_active_samples(posed))

    return jax.lax.cond(rarely, again, lambda n: n, neighbours)


def _active_samples(posed: AnchorPosed) -> Array:
    """The object samples with the smallest distance to each body. (O, P, T, A)"""
    o, p, t, active = posed.neighbours.active_samples.shape
    index = jnp.broadcast_to(jnp.arange(CANDIDATE_SAMPLES), (o, p, t, CANDIDATE_SAMPLES))
    points = posed.sample_points(index)
    chosen = []
    for person, field in enumerate(posed.scene.fields):
        look_up = jax.vmap(jax.vmap(field.distance), in_axes=(0, None))
        distance = look_up(points[:, person], posed.Ts_world_joint[person])
        chosen.append(jax.lax.top_k(-distance, active)[1].astype(jnp.int32))
    return jnp.stack(chosen, axis=1)


def anchor_problem(terms: Sequence[LossTerm] = ()) -> Problem:
    """Bodies and objects under TERMS and the user's own, for `optimise`."""
    return Problem((*TERMS, *terms), pose_anchor, refresh_anchor)


def check_weights(
    weights: Mapping[str, float | tuple[float, float]] | None, terms: Sequence[LossTerm] = ()
) -> None:
    """Refuse weights of terms that do not exist. Raises UserError naming the known ones."""
    try:
        default_weights((*TERMS, *terms), weights)
    except KeyError as error:
        raise UserError(str(error.args[0])) from error


@dataclass
class _Stage:
    """What both passes of a solve share."""

    bundle: Bundle
    body: SkinnedBody
    settings: AnchorSettings
    weights: Mapping[str, float | tuple[float, float]]
    terms: tuple[LossTerm, ...]
    log: Log
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
    log: Log = _silent,
) -> Result:
    """Body and object motion of one bundle.

    static: the still whose contacts hold (first frame of a composed scene); without one they are read
    off the first pass. terms: further loss terms over AnchorPosed. weights: overrides by term name.
    """
    check_body_start(settings.body_start, static is not None)
    bundle = without_broken_numbers(bundle)
    body = load_body(bundle.body)
    stage = _Stage(
        bundle, body, settings, dict(weights or {}), tuple(terms), log, {}, time.perf_counter()
    )
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
    symmetries = [find_symmetries(asset) for asset in bundle.assets]
    starts = search_starts(objects, symmetries, settings.inits, settings.search)
    stage.lap("object starts")
    table = stage_contacts(bundle.affordance, bundle.assets)
    scene, subset = stage_anchor(bundle, body, objects, table, motions, Ts_world_pointmap, settings)
    always = np.zeros(objects.edges.mask.shape[0], bool)
    always[table.group[table.is_continuous]] = True
    states = contact_states(objects, starts.unknowns, always, object_settings(settings))
    stage.lap("scene")
    initial = _initial(scene, motions, starts, settings)
    tracked = _descend(stage, scene, initial, states, tracking=True)
    stage.lap("track")
    scene, Ts_world_pointmap = _settle(stage, scene, tracked, Ts_world_pointmap)
    states = _states_again(stage, scene, tracked, always)
    scene = _with_pairs(stage, scene, subset, tracked, states, static)
    solution = _descend(stage, scene, tracked.unknowns, states, tracking=False)
    stage.lap("anchor")
    return _to_result(stage, scene, starts, states, solution, Ts_world_pointmap)


def _initial(
    scene: AnchorScene, motions: BodyMotions, starts: Starts, settings: AnchorSettings
) -> AnchorUnknowns:
    """K starts: the same bodies, the objects' different trajectories."""
    count = len(starts.labels)
    joints = 55 if settings.optimise_hands else BODY_JOINT_COUNT
    local = axis_angle_to_matrix(jnp.asarray(motions.rotations[:, :, :joints], jnp.float32))
    six = matrix_to_rotation_6d(local)
    place = jnp.asarray(motions.translations, jnp.float32)
    return AnchorUnknowns(
        jnp.broadcast_to(six, (count, *six.shape)),
        jnp.broadcast_to(place, (count, *place.shape)),
        starts.unknowns.rotation_6d,
        starts.unknowns.translation,
    )


def _neighbours(scene: AnchorScene, states: Float[np.ndarray, "K E T"]) -> AnchorNeighbours:
    p, t, m, _ = scene.seen.points_world.shape
    o, count = scene.objects.object_count, len(states)
    active = min(ACTIVE_SAMPLES, scene.objects.objects.samples.shape[1])
    empty = AnchorNeighbours(
        empty_neighbours(scene.objects),
        jnp.zeros((p, t, m), jnp.int32),
        jnp.zeros((o, p, t, active), jnp.int32),
    )
    batched = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), empty)
    objects = dataclasses.replace(batched.objects, contact_state=jnp.asarray(states))
    return dataclasses.replace(batched, objects=objects)


def _descend(
    stage: _Stage,
    scene: AnchorScene,
    initial: AnchorUnknowns,
    states: np.ndarray,
    *,
    tracking: bool,
) -> Solution:
    """One pass over all candidates; while tracking, penetration waits and contact is gentle."""
    settings = stage.settings
    weights = default_weights((*TERMS, *stage.terms), stage.weights)
    if tracking:
        for name in PENETRATION_TERMS:
            weights[name] = jnp.zeros(2)
    rate = settings.learning_rate * (2.0 if tracking else 1.0)
    solution = optimise(
        anchor_problem(stage.terms),
        scene,
        initial,
        _neighbours(scene, states),
        weights,
        Schedule(jnp.asarray(rate), jnp.asarray(settings.final_learning_rate)),
        steps=settings.track_steps if tracking else settings.steps,
        refresh_every=settings.refresh_every,
    )
    return jax.block_until_ready(solution)


def _winner(solution: Solution) -> int:
    losses = np.asarray(solution.losses)
    return int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))


def _motions(scene: AnchorScene, unknowns: AnchorUnknowns) -> BodyMotions:
    local = matrix_to_axis_angle(local_rotations(scene, unknowns))
    return BodyMotions(np.asarray(local), np.asarray(unknowns.body_translation))


def _of(solution: Solution, index: int) -> AnchorUnknowns:
    return jax.tree.map(lambda x: x[index], solution.unknowns)


def _settle(
    stage: _Stage, scene: AnchorScene, tracked: Solution, before: np.ndarray
) -> tuple[AnchorScene, np.ndarray]:
    """Align the point maps again, to the tracked bodies; bodies that broke leave them as they were."""
    motions = _motions(scene, _of(tracked, _winner(tracked)))
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
    return dataclasses.replace(scene, objects=objects, seen=people), Ts_world_pointmap


def _states_again(
    stage: _Stage, scene: AnchorScene, tracked: Solution, always: Bool[np.ndarray, " E"]
) -> Float[np.ndarray, "K E T"]:
    """Contact states from where the tracked bodies and objects are."""
    out = []
    for k in range(len(tracked.losses)):
        unknowns = _of(tracked, k)
        here = _posed_scene(scene, unknowns)
        one = jax.tree.map(lambda x: x[None], object_unknowns(unknowns))
        out.append(contact_states(here, one, always, object_settings(stage.settings))[0])
    return np.stack(out)


@jax.jit
def _posed_scene(scene: AnchorScene, unknowns: AnchorUnknowns) -> Scene:
    zero = empty_neighbours(scene.objects)
    nothing = jnp.zeros((scene.objects.object_count, len(scene.people), 1, 1), jnp.int32)
    posed = pose_anchor(scene, unknowns, AnchorNeighbours(zero, nothing[0], nothing))
    return posed.objects.scene


def _with_pairs(
    stage: _Stage,
    scene: AnchorScene,
    subset: SkinSubset,
    tracked: Solution,
    states: np.ndarray,
    static: StaticScene | None,
) -> AnchorScene:
    """Contact keypoints of the static scene, or of the tracked frame with most contact."""
    k = _winner(tracked)
    if static is None:
        unknowns = _of(tracked, k)
        motions = _motions(scene, unknowns)
        frame = int(np.argmax(states[k][np.asarray(scene.objects.edges.mask)].sum(axis=0)))
        static = StaticScene(
            motions.rotations[:, frame],
            motions.translations[:, frame],
            _asset_poses(scene, unknowns)[:, frame],
        )
    table = stage_contacts(stage.bundle.affordance, stage.bundle.assets)
    pairs, count = stage_pairs(
        static, stage.bundle, stage.body, table, subset, stage.settings.pairs
    )
    stage.log(f"contact keypoints: {count} pairs")
    if count == 0:
        warnings.warn(
            "no contact keypoints: in the static scene no body region of the affordance graph "
            "faces its object part within reach. The solve goes on without them.",
            stacklevel=2,
        )
    return dataclasses.replace(scene, pairs=pairs)


def _asset_poses(scene: AnchorScene, unknowns: AnchorUnknowns) -> Float[np.ndarray, "O T 4 4"]:
    """T_world_asset of every object."""
    rotations = np.asarray(rotation_6d_to_matrix(unknowns.object_rotation_6d))
    centres = np.asarray(scene.objects.objects.centres)[:, None, :, None]
    shifted = np.asarray(unknowns.object_translation) - (rotations @ centres)[..., 0]
    return compose_rigid(rotations, shifted)


def _to_result(
    stage: _Stage,
    scene: AnchorScene,
    starts: Starts,
    states: np.ndarray,
    solution: Solution,
    Ts_world_pointmap: np.ndarray,
) -> Result:
    count = len(solution.losses)
    poses = np.stack([_asset_poses(scene, _of(solution, k)) for k in range(count)])
    bodies = [_motions(scene, _of(solution, k)) for k in range(count)]
    best, o, bundle = bodies[_winner(solution)], stage.bundle.observations, stage.bundle
    edges = np.flatnonzero(np.asarray(scene.objects.edges.mask))
    return Result(
        prompt=bundle.prompt,
        fps=bundle.fps,
        affordance=bundle.affordance,
        assets=bundle.assets,
        body_name=bundle.body,
        body_rotations=best.rotations,
        body_translations=best.translations,
        body_betas=o.body_betas,
        body_rest_joints=o.body_rest_joints,
        object_rotations=poses[..., :3, :3],
        object_translations=poses[..., :3, 3],
        losses=np.asarray(solution.losses),
        initial_losses=np.asarray(solution.initial_losses),
        codes=np.asarray(solution.codes),
        labels=starts.labels,
        term_names=tuple(term.name for term in (*TERMS, *stage.terms)),
        reports=np.asarray(solution.reports),
        history=np.asarray(solution.history),
        contact=states[:, edges] > 0.5,
        Ts_world_pointmap=Ts_world_pointmap,
        run={"seconds": stage.times},
        candidate_body_rotations=np.stack([b.rotations for b in bodies]),
        candidate_body_translations=np.stack([b.translations for b in bodies]),
    )
