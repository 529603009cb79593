"""HOI-PAGE (ICML 2026): align point maps, find starts, fit objects under the graph's losses.

A method is stages, unknowns and a table of loss terms; it owns no mathematics of its own.
Published table: spec/hoi-page.md section 4. Our table adds the model-to-mask term, the ground and
object-object penetration, and drops the 2D chamfer that the mask term makes redundant.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.spatial.transform import Rotation

from hoijax.bundle import Bundle
from hoijax.config import AlignmentSettings, SolveSettings
from hoijax.errors import UserError
from hoijax.frames import compose_rigid
from hoijax.losses.contact import contact, contact_drift, edge_distances
from hoijax.losses.fit import (
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
from hoijax.losses.term import LossTerm, default_weights
from hoijax.objects.symmetry import find_symmetries
from hoijax.observations import Observations
from hoijax.result import Result
from hoijax.rotations import rotation_6d_to_matrix
from hoijax.scene import Neighbours, Scene, Unknowns, pose_scene
from hoijax.solver.align import AlignmentData, AlignmentWeights, align_point_maps
from hoijax.solver.initialise import Starts, search_starts, yaw_starts
from hoijax.solver.neighbours import empty_neighbours
from hoijax.solver.optimise import Schedule, Solution, optimise
from hoijax.staging import build_scene, posed_bodies

PUBLISHED_TERMS = (
    LossTerm.constant("object_points", object_points, 1e3),
    LossTerm.constant("object_pixels", object_pixels, 1e-4),
    LossTerm.constant("part_points", part_points, 1e2),
    LossTerm.constant("part_pixels", part_pixels, 1e-4),
    LossTerm.constant("translation_smoothness", translation_smoothness, 1e3),
    LossTerm.constant("rotation_smoothness", rotation_smoothness, 1e3),
    LossTerm("penetration", penetration, 0.0, 10.0),
    LossTerm.constant("contact", contact, 1e3),
    LossTerm("contact_drift", contact_drift, 10.0, 1e3),
)

DEFAULT_TERMS = (
    LossTerm.constant("object_points", robust_object_points, 1e3),
    LossTerm.constant("part_points", robust_part_points, 3e2),
    LossTerm.constant("model_mask", model_mask, 2e-2),
    LossTerm.constant("translation_smoothness", translation_smoothness, 3e3),
    LossTerm.constant("rotation_smoothness", rotation_smoothness, 1e2),
    LossTerm("penetration", penetration, 0.0, 10.0),
    LossTerm.constant("object_penetration", object_penetration, 10.0),
    LossTerm.constant("ground", ground, 1e2),
    LossTerm.constant("contact", contact, 1e1),
    LossTerm("contact_drift", contact_drift, 1.0, 1e1),
)

TERMS = {"default": DEFAULT_TERMS, "hoi-page": PUBLISHED_TERMS}

SETTLED_METRES, SETTLED_RADIANS = 0.05, 0.03
Log = Callable[[str], None]


def _silent(_: str) -> None:
    pass


def alignment_data(
    observations: Observations, vertices_world: Float[Array, "P T V 3"], settings: AlignmentSettings
) -> AlignmentData:
    """Points of all people (and of every entity) of each frame, as stage a reads them."""
    per_person = max(settings.points // observations.person_count, 1)
    frames = observations.frame_count

    def gather(array: np.ndarray, count: int) -> np.ndarray:
        chosen = np.moveaxis(array[:, :, :count], 0, 1)
        return chosen.reshape(frames, -1, *array.shape[3:])

    def both(person: np.ndarray, thing: np.ndarray) -> np.ndarray:
        return np.concatenate([gather(person, per_person), gather(thing, per_person)], axis=1)

    rng = np.random.default_rng(0)
    cameras = observations.Ts_world_camera
    if settings.static_camera:
        cameras = settle_camera(cameras)
    chosen = np.sort(rng.permutation(vertices_world.shape[2])[: settings.vertices])
    subset = np.moveaxis(np.asarray(vertices_world)[:, :, chosen], 0, 1).reshape(frames, -1, 3)
    o = observations
    return AlignmentData(
        points=jnp.asarray(gather(o.person_points, per_person)),
        pixels=jnp.asarray(gather(o.person_pixels, per_person)),
        mask=jnp.asarray(gather(o.person_point_mask, per_person)),
        all_points=jnp.asarray(both(o.person_points, o.object_points)),
        all_pixels=jnp.asarray(both(o.person_pixels, o.object_pixels)),
        all_mask=jnp.asarray(both(o.person_point_mask, o.object_point_mask)),
        vertices_world=jnp.asarray(subset),
        Ts_world_camera=jnp.asarray(cameras),
        intrinsics=jnp.asarray(o.intrinsics),
    )


def settle_camera(Ts_world_camera: Float[np.ndarray, "T 4 4"]) -> Float[np.ndarray, "T 4 4"]:
    """The mean pose in every frame where the estimates differ by noise only, else the estimates.

    The prompts of the video prior ask for a fixed camera; a camera that really moves goes further
    than SETTLED_METRES or SETTLED_RADIANS from its mean and is left alone.
    """
    rotations = Rotation.from_matrix(Ts_world_camera[:, :3, :3])
    mean, centre = rotations.mean(), Ts_world_camera[:, :3, 3].mean(axis=0)
    away = np.linalg.norm(Ts_world_camera[:, :3, 3] - centre, axis=-1).max()
    if (mean.inv() * rotations).magnitude().max() > SETTLED_RADIANS or away > SETTLED_METRES:
        return Ts_world_camera
    pose = compose_rigid(mean.as_matrix(), centre)
    return np.broadcast_to(pose, Ts_world_camera.shape)


def align(
    observations: Observations, vertices_world: Float[Array, "P T V 3"], settings: AlignmentSettings
) -> Float[np.ndarray, "T 4 4"]:
    """Stage a: T_world_pointmap of every frame (similarities)."""
    weights = AlignmentWeights(
        points=jnp.asarray(settings.point_weight),
        pixels=jnp.asarray(settings.pixel_weight),
        rays=jnp.asarray(settings.ray_weight),
        smoothness=jnp.asarray(settings.smoothness_weight),
    )
    data = alignment_data(observations, vertices_world, settings)
    similarity = align_point_maps(
        data,
        weights,
        jnp.asarray(settings.learning_rate),
        steps=settings.steps,
        use_pixels=settings.pixel_weight != 0.0,
    )
    return np.asarray(similarity.matrices())


def find_starts(scene: Scene, bundle: Bundle, settings: SolveSettings) -> Starts:
    """Stage b: K starting trajectories."""
    if settings.start == "yaw":
        return yaw_starts(scene, settings.inits, settings.seed)
    symmetries = [find_symmetries(asset) for asset in bundle.assets]
    return search_starts(scene, symmetries, settings.inits, settings.search)


@jax.jit
def _start_distances(scene: Scene, starts: Unknowns) -> Float[Array, "K E T"]:
    neighbours = empty_neighbours(scene)

    def one(unknowns: Unknowns) -> Array:
        distances = edge_distances(pose_scene(scene, unknowns, neighbours))
        far = jnp.where(scene.edges.slot_mask[:, :, None], distances, jnp.inf)
        return jnp.min(far, axis=1)

    return jax.vmap(one)(starts)


def contact_states(
    scene: Scene,
    starts: Unknowns,
    always: Bool[np.ndarray, " E"],
    settings: SolveSettings,
) -> Float[np.ndarray, "K E T"]:
    """In which frames each edge touches: where its distance at the start is within reach.

    always: edges whose graph says "in contact throughout" (a_c): they keep every frame. An edge
    that never comes within reach counts in its closest frame.
    """
    distances = np.asarray(_start_distances(scene, starts))
    if not settings.infer_contact:
        return np.ones_like(distances)
    near = distances < settings.contact_reach
    # Majority over five frames: single frames flicker with the noise of the start.
    padded = np.pad(near, ((0, 0), (0, 0), (2, 2)), mode="edge").astype(np.int32)
    votes = sum(padded[..., i : i + near.shape[-1]] for i in range(5))
    state = votes >= 3
    closest = distances == distances.min(axis=-1, keepdims=True)
    state = np.where(state.any(axis=-1, keepdims=True), state, closest)
    return (state | always[None, :, None]).astype(np.float32)


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
    log: Log = _silent,
) -> Result:
    """All three stages of HOI-PAGE on one bundle.

    terms: further loss terms, added to the preset's table. weights: overrides by term name.
    """
    table = (*TERMS[settings.preset], *terms)
    times: dict[str, float] = {}
    clock = _Stopwatch(times, log)
    vertices = posed_bodies_of(bundle)
    clock.lap("body")
    Ts_world_pointmap = align(bundle.observations, vertices, settings.alignment)
    clock.lap("align")
    scene = build_scene(
        bundle.affordance,
        bundle.assets,
        bundle.observations,
        bundle.body,
        Ts_world_pointmap,
        vertices,
        settings,
    )
    clock.lap("scene")
    starts = find_starts(scene, bundle, settings)
    clock.lap("starts")
    states = contact_states(scene, starts.unknowns, _always(bundle, scene), settings)
    solution = descend(scene, starts, states, table, settings, weights)
    clock.lap("optimise")
    return _to_result(bundle, scene, starts, states, solution, Ts_world_pointmap, table, times)


def posed_bodies_of(bundle: Bundle) -> Float[Array, "P T V 3"]:
    """Skin of the bundle's estimated bodies."""
    from hoijax.bodies import load_body

    return posed_bodies(load_body(bundle.body), bundle.observations)


def _always(bundle: Bundle, scene: Scene) -> Bool[np.ndarray, " E"]:
    from hoijax.staging import stage_contacts

    table = stage_contacts(bundle.affordance, bundle.assets)
    always = np.zeros(scene.edges.mask.shape[0], bool)
    always[table.group[table.is_continuous]] = True
    return always


def descend(
    scene: Scene,
    starts: Starts,
    states: Float[np.ndarray, "K E T"],
    table: Sequence[LossTerm],
    settings: SolveSettings,
    weights: Mapping[str, float | tuple[float, float]] | None = None,
) -> Solution:
    """Stage c: the joint optimisation of all K candidates, one compiled program."""
    count = len(starts.labels)
    empty = empty_neighbours(scene)
    batched: Neighbours = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), empty)
    batched = batched.replace(contact_state=jnp.asarray(states))
    schedule = Schedule(
        jnp.asarray(settings.learning_rate), jnp.asarray(settings.final_learning_rate)
    )
    solution = optimise(
        tuple(table),
        scene,
        starts.unknowns,
        batched,
        default_weights(table, weights),
        schedule,
        steps=settings.steps,
        refresh_every=settings.refresh_every,
    )
    return jax.block_until_ready(solution)


class _Stopwatch:
    """Wall time of each stage, logged as it ends."""

    def __init__(self, times: dict[str, float], log: Log):
        self.times, self.log, self.start = times, log, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.times[name] = round(now - self.start, 3)
        self.start = now
        self.log(f"{name}: {self.times[name]:.1f} s")


def _to_result(
    bundle: Bundle,
    scene: Scene,
    starts: Starts,
    states: np.ndarray,
    solution: Solution,
    Ts_world_pointmap: np.ndarray,
    table: Sequence[LossTerm],
    times: dict[str, float],
) -> Result:
    rotations = np.asarray(rotation_6d_to_matrix(solution.unknowns.rotation_6d))
    centres = np.asarray(scene.objects.centres)[None, :, None, :, None]
    shifted = np.asarray(solution.unknowns.translation) - (rotations @ centres)[..., 0]
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
        labels=starts.labels,
        term_names=tuple(term.name for term in table),
        reports=np.asarray(solution.reports),
        history=np.asarray(solution.history),
        contact=states[:, edges] > 0.5,
        Ts_world_pointmap=Ts_world_pointmap,
        run={"seconds": times},
    )
