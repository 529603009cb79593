"""Between the two descents: objects get the size that fits, hands and objects that touch move together (host)."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy import ndarray

from hoijax.bodies.fitting.foot_plants import foot_plants
from hoijax.bodies.fitting.residuals import FEET
from hoijax.bundle.write import Bundle
from hoijax.candidates import taken
from hoijax.geometry.rotations import matrix_to_rotation_6d, rotation_6d_to_matrix
from hoijax.initialization.contact_states import always_touching, contact_states
from hoijax.initialization.flights import drops
from hoijax.initialization.starts import Starts
from hoijax.losses.contacts import edge_distances, side_shares
from hoijax.methods.choice import likeliest
from hoijax.methods.hoi_page.stages import Evidence, posed_bodies_of, prepared_of, scene_of
from hoijax.methods.joint.body_descent import BodySolution, solve_bodies
from hoijax.methods.joint.body_problem import (
    BodyProblem,
    FrameEvidence,
    camera_of,
    held_in_camera,
    pose_people,
)
from hoijax.methods.joint.build_problem import padded
from hoijax.methods.joint.corrections import BodyPass, Corrections, corrected_by, posed_frames
from hoijax.methods.joint.held import (
    HeldFrame,
    in_object,
    pose_held,
    touching_planes,
    where_it_touches,
)
from hoijax.methods.joint.settings import JointSettings
from hoijax.methods.joint.sizes import (
    SizeSearch,
    find_scales,
    recorded_scales,
    scale_range,
    with_scales,
)
from hoijax.methods.passes import Numbers, Pass, Prepared
from hoijax.programs import program
from hoijax.progress import Log, silent
from hoijax.runtime import on_device
from hoijax.scene.posed import pose_scene
from hoijax.scene.resizing import resized_bundle
from hoijax.scene.scene import Scene, Unknowns
from hoijax.solver.neighbor_lists import empty_neighbors
from hoijax.solver.problem import Solution

CONTACT_TERM = "contact"
"""Without its weight, contacts move nothing here either."""
LOOKS = 2
"""Times that contacts are looked up."""


@dataclass(frozen=True)
class JointEvidence(Evidence):
    """Where the second optimization starts."""

    corrections: Corrections | None = None


def settle(
    settings: JointSettings,
    descent: Pass,
    prepared: Prepared,
    solution: Solution,
    numbers: Numbers,
    log: Log = silent,
) -> Prepared:
    """What the second descent reads: objects of the size that fits, then bodies, point maps and the
    winner's objects after one more body pass, in which what touches moves together. Other candidates
    move as the winner does.
    """
    winner = likeliest(prepared, solution)
    prepared, solution, winner = _with_sizes(
        settings, descent, prepared, solution, winner, numbers, log
    )
    rounds = settings.body_pass.contact_rounds
    if not rounds or not np.any(np.asarray(numbers.weights.get(CONTACT_TERM, 1.0)) > 0.0):
        return prepared
    evidence = prepared.extra
    done = evidence.corrections.body_pass
    best = taken(solution.unknowns, winner)
    rotations = np.asarray(rotation_6d_to_matrix(best.object_rotation_6d))
    objects = rotations, np.asarray(best.object_translation)
    shares = np.asarray(_side_shares(prepared.scene, best))
    touch = where_it_touches(prepared.scene, done.problem.rows, shares, evidence.states[winner])
    settled = _settled(done, prepared.scene, objects, touch, rounds)
    corrections = corrected_by(settled)
    moved = _moved(solution.unknowns, objects, _object_poses(settled))
    numbers_before = evidence.run.get("corrections", {})  # sizes among them
    run = {**evidence.run, **corrections.run}
    run["corrections"] = {**numbers_before, **corrections.numbers}
    bundle = dataclasses.replace(corrections.bundle, assets=prepared.bundle.assets)
    corrections = dataclasses.replace(corrections, bundle=bundle)
    Ts, skins = corrections.Ts_world_pointmap, posed_bodies_of(bundle)
    scene = scene_of(bundle, Ts, skins, settings, prepared.scene)
    starts = Starts(moved, prepared.labels)
    return _prepared_again(settings, prepared, corrections, scene, starts, winner, run)


def _prepared_again(
    settings: JointSettings,
    prepared: Prepared,
    corrections: Corrections,
    scene: Scene,
    starts: Starts,
    winner: int,
    run: Mapping[str, Any],
) -> Prepared:
    """Another scene of the same clip, with candidates where they start; what flies is told by the winner."""
    bundle = corrections.bundle
    states = contact_states(scene, starts.unknowns, always_touching(bundle, scene), settings)
    scene = with_flights(scene, starts.unknowns, states, winner, bundle.fps)
    evidence = JointEvidence(states, corrections.Ts_world_pointmap, run, corrections=corrections)
    return prepared_of(bundle, prepared.terms, scene, starts, evidence)


def _with_sizes(
    settings: JointSettings,
    descent: Pass,
    prepared: Prepared,
    solution: Solution,
    winner: int,
    numbers: Numbers,
    log: Log,
) -> tuple[Prepared, Solution, int]:
    """With meshes of the size that fits best, candidates fitted to them, and the likeliest of these."""
    allowed = scale_range(settings.object_scale)
    bundle, evidence = prepared.bundle, prepared.extra
    if allowed.is_known:
        return prepared, solution, winner
    if bundle.joints:
        log("objects on joints keep the size of their meshes")
        return prepared, solution, winner
    Ts, skins = evidence.Ts_world_pointmap, prepared.scene.body_vertices_world
    # What flies is not shrunk for the sake of a smoother path: gravity bends it.
    flying = with_flights(prepared.scene, solution.unknowns, evidence.states, winner, bundle.fps)

    def rebuilt(bundle: Bundle) -> Scene:
        scene = scene_of(bundle, Ts, skins, settings, prepared.scene)
        return scene.replace(drops=flying.drops)  # pyright: ignore[reportAttributeAccessIssue]

    search = SizeSearch(
        descent, dataclasses.replace(prepared, scene=flying), solution, numbers, rebuilt
    )
    already = recorded_scales(bundle, evidence.run)
    factors = find_scales(search, allowed, already)
    if np.all(factors == 1.0):
        return prepared, solution, winner
    solution = search.fitted(factors)
    corrections = evidence.corrections
    resized = resized_bundle(corrections.bundle, factors)
    corrections = dataclasses.replace(corrections, bundle=resized)
    run = with_scales(evidence.run, resized, already * factors)
    starts, scene = Starts(solution.unknowns, prepared.labels), rebuilt(resized)
    winner = likeliest(dataclasses.replace(prepared, bundle=resized), solution)
    again = _prepared_again(settings, prepared, corrections, scene, starts, winner, run)
    return again, solution, winner


def with_flights(
    scene: Scene, unknowns: Unknowns, states: Float[ndarray, "K E T"], winner: int, fps: float
) -> Scene:
    """A scene that knows in which frames the objects of a candidate fly.

    Those on joints do not, nor those that an edge of the graph holds in these frames.
    """
    edges, heights = scene.edges, np.asarray(unknowns.object_translation)[winner, ..., 1]
    ends = np.stack([np.asarray(edges.source), np.asarray(edges.target)])
    of_object = (ends[..., None] == np.arange(len(heights))).any(axis=0) & np.asarray(edges.mask)[
        :, None
    ]
    touched = np.einsum("eo,et->ot", of_object, states[winner]) > 0.0
    if scene.joints is not None:
        touched[np.asarray(scene.joints.children)] = True
    return scene.replace(drops=on_device(drops(heights, touched, fps)))  # pyright: ignore[reportAttributeAccessIssue]


@program
def _side_shares(scene: Scene, unknowns: Unknowns) -> Float[Array, "E 2"]:
    posed = pose_scene(scene, unknowns, empty_neighbors(scene))
    return side_shares(posed, edge_distances(posed))


def _settled(
    done: BodyPass,
    scene: Scene,
    objects: tuple[Float[ndarray, "O T 3 3"], Float[ndarray, "O T 3"]],
    touch: tuple[ndarray, ndarray],
    rounds: int,
) -> BodyPass:
    """The body pass gone on with, objects held."""
    padding = len(done.problem.frames.real) - len(touch[0])
    world = [padded(np.swapaxes(x, 0, 1), padding) for x in objects]
    touches, sticks = (np.pad(x, ((0, padding), (0, 0))) for x in touch)
    problem, solution = done.problem, done.solution
    outlined = np.broadcast_to(
        ~np.asarray(scene.observed.point_mask).any((1, 2)), world[0].shape[:2]
    )
    outlined = on_device(outlined, np.float32)
    rotations, centers = _in_map(problem, solution, *world, outlined)
    seen = {"rotations": rotations, "centers": centers, "outlined": outlined}
    held = dataclasses.replace(problem.frames.held, **seen, touch=touches, sticks=sticks)
    plants = _known_plants(problem, solution)
    for _ in range(LOOKS):
        vertices, planes = _contacts(problem, solution, held, scene)
        held = dataclasses.replace(held, vertices=vertices, planes=planes)
        frames = dataclasses.replace(problem.frames, held=held, plants=plants)
        problem = dataclasses.replace(problem, frames=frames)
        solution = solve_bodies(problem, (solution.changes, solution.clip), np.int32(rounds))
    return dataclasses.replace(done, problem=problem, solution=solution)


def _known_plants(problem: BodyProblem, solution: BodySolution) -> Float[ndarray, "T P 4"]:
    """Where a point of a foot stands as in the frame before, by the paths of the first body pass."""
    posed, _ = posed_frames(problem, solution.changes, solution.clip)
    feet = np.asarray(posed.joints)[:, :, list(FEET)]
    numbers = np.stack([foot_plants(feet[:, p]) for p in range(feet.shape[1])], axis=1)
    stands = np.zeros(numbers.shape, np.float32)
    stands[1:] = (numbers[1:] == numbers[:-1]) & (numbers[1:] >= 0)
    return stands


@program
def _in_map(
    problem: BodyProblem,
    solution: BodySolution,
    rotations: Float[Array, "T O 3 3"],
    centers: Float[Array, "T O 3"],
    outlined: Float[Array, "T O"],
) -> tuple[Float[Array, "T O 3 3"], Float[Array, "T O 3"]]:
    """Objects of the world in the raw point map: the inverse of `pose_held` without a change."""
    clip = solution.clip

    def one(change, frame, rotation, center, outlined):
        R, t, _ = camera_of(clip, frame)
        point_map = change.point_map + clip.bias.point_map
        camera = (center - t) @ R * jnp.exp(-outlined * clip.focal)[:, None]
        camera = (camera - point_map[1:]) * jnp.exp(-point_map[0])
        zoom = jnp.exp(clip.focal)
        return R.T @ rotation, camera * jnp.stack([zoom, zoom, jnp.ones_like(zoom)])

    return jax.vmap(one)(solution.changes, problem.frames, rotations, centers, outlined)


def _posed_frame(problem: BodyProblem, solution: BodySolution, held: HeldFrame):
    """Of all frames: (objects in the world, candidates of the rows in the centerd frame of their object)."""
    rows, clip = problem.rows, solution.clip
    flat = rows.vertices.ravel()
    chosen = jnp.broadcast_to(flat, (len(problem.people), len(flat)))

    def one(change, frame: FrameEvidence, held: HeldFrame):
        change = jax.tree.map(jnp.add, change, clip.bias)
        R, t, _ = camera_of(clip, frame)
        centers = held_in_camera(held, change.point_map, clip)
        objects = pose_held(held, change.objects, centers, R, t)
        skin = pose_people(change, clip.body_size, frame, problem.people, chosen).skin
        skin = skin.reshape(len(problem.people), *rows.vertices.shape, 3)
        return objects, in_object(skin, rows, *objects)

    return jax.vmap(one)(solution.changes, problem.frames, held)


@program
def _contacts(problem: BodyProblem, solution: BodySolution, held: HeldFrame, scene: Scene):
    """(vertices that touch, indices into the skin of the body pass; their planes)."""
    _, points = _posed_frame(problem, solution, held)
    nearest, planes = touching_planes(scene, problem.rows, points)
    return jnp.take_along_axis(problem.rows.vertices[None], nearest, axis=2), planes


@program
def _posed_objects(problem: BodyProblem, solution: BodySolution):
    return _posed_frame(problem, solution, problem.frames.held)[0]


def _object_poses(settled: BodyPass) -> tuple[Float[ndarray, "O T 3 3"], Float[ndarray, "O T 3"]]:
    frames = settled.bundle.frame_count
    poses = _posed_objects(settled.problem, settled.solution)
    rotations, centers = (np.swapaxes(np.asarray(x)[:frames], 0, 1) for x in poses)
    return rotations, centers


def _moved(unknowns: Unknowns, before: tuple, after: tuple) -> Unknowns:
    """All candidates, moved as the winner was."""
    rotation = after[0] @ np.swapaxes(before[0], -1, -2)
    rotations = rotation @ np.asarray(rotation_6d_to_matrix(unknowns.object_rotation_6d))
    return dataclasses.replace(
        unknowns,
        object_rotation_6d=matrix_to_rotation_6d(on_device(rotations, np.float32)),
        object_translation=on_device(
            np.asarray(unknowns.object_translation) + (after[1] - before[1]), np.float32
        ),
    )


def settle_pass(settings: JointSettings, descent: Pass) -> Pass:
    """The second descent, after sizes and contacts are settled."""
    before = partial(settle, settings, descent)
    return dataclasses.replace(descent, name="settle", like=descent.name, before=before)
