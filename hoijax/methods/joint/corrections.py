"""Bundle to the body pass, and its solution back to a bundle with corrected estimates (host)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.bodies.contact import contact_candidates
from hoijax.bodies.kinematics import JOINT_NAMES
from hoijax.bodies.skinned_body import ShapedBody, SkinnedBody
from hoijax.bundle.observations import Observations
from hoijax.bundle.write import Bundle
from hoijax.geometry.camera_motion import average_static_camera
from hoijax.geometry.rotations import (
    axis_angle_to_matrix,
    geodesic_angle,
    matrix_to_axis_angle,
    slerp_midpoint,
)
from hoijax.geometry.transforms import compose_rigid
from hoijax.methods.joint.body_descent import BodySolution, solve_bodies
from hoijax.methods.joint.body_problem import (
    FACES,
    MOVING_JOINTS,
    BodyProblem,
    ClipChange,
    Deviations,
    FrameChange,
    FrameEvidence,
    camera_of,
    pose_people,
)
from hoijax.methods.joint.held import ContactRows, contact_rows, nothing_held
from hoijax.methods.joint.settings import BodyPassSettings
from hoijax.programs import program
from hoijax.runtime import on_device
from hoijax.scene.build_contacts import stage_contacts

JOINT_DEGREES = (
    # words in the joint's name, frame's change, step from frame to frame, whole clip
    (("wrist",), 6.0, 3.0, 5.0),
    (("shoulder", "elbow", "collar"), 5.0, 2.5, 5.0),
    (("hip", "knee", "ankle", "foot"), 3.0, 2.0, 2.5),
    (("pelvis",), 2.0, 1.0, 4.0),
    (("",), 2.0, 1.0, 2.0),
)
"""Standard deviations of estimated joint rotations, before `BodyPassSettings.pose`."""
OBJECT_SHIFTS = "object_shifts"
FOCAL_FACTOR = "focal length factor"
"""Name of the number that a result needs to be solved again."""
PELVIS_STEP = 0.01
MAP_SCALE_STEP, MAP_SHIFT, MAP_SHIFT_STEP = 0.015, (0.012, 0.012, 0.04), (0.006, 0.006, 0.02)
FRAME_BUCKET = 16
"""Clips are padded to a multiple of so many frames."""
CANDIDATES = 32
"""Vertices of a body part that may touch."""
SWAP_RADIANS = 0.35
"""A frame whose joints turn so far (mean) from both neighbors, while these agree, is a mistake."""


@dataclass(frozen=True)
class Corrections:
    """What the body pass made of a bundle."""

    bundle: Bundle
    """Bodies, camera, intrinsics and points corrected."""
    Ts_world_pointmap: Float[ndarray, "T 4 4"]
    numbers: dict[str, float]
    """What was off, by name: for people to read, and for `run.json`."""
    body_pass: "BodyPass | None" = None
    object_shifts: Float[ndarray, "O T 3"] | None = None
    """By which what was seen of objects was moved in the point map, metres."""

    @property
    def run(self) -> dict[str, Any]:
        """What `run.json` says, and a result is opened again with."""
        moved = self.object_shifts is not None and np.any(self.object_shifts)
        shifts = {OBJECT_SHIFTS: np.round(self.object_shifts, 5).tolist()} if moved else {}
        return {"corrections": self.numbers, **shifts}


@dataclass(frozen=True)
class BodyPass:
    """What the body pass read and found, to go on from."""

    bundle: Bundle
    """As estimated, but for single frames that were mended, ..."""
    repaired: int
    """and how many."""
    problem: BodyProblem
    solution: BodySolution


def correct_bundle(bundle: Bundle, body: SkinnedBody, settings: BodyPassSettings) -> Corrections:
    """Bodies, camera, focal length and point map that agree with each other and with what was seen.

    Where the descent does not lower the energy, the estimates stay as they are given.
    """
    observations, repaired = without_swapped_frames(bundle.observations)
    bundle = dataclasses.replace(bundle, observations=observations)
    problem = body_problem(bundle, body, settings)
    nothing = no_change(problem)
    solution = solve_bodies(problem, nothing, np.int32(settings.rounds))
    if not bool(solution.energy <= solution.first_energy):
        solution = solution.replace(changes=nothing[0], clip=nothing[1])  # pyright: ignore
    return corrected_by(BodyPass(bundle, repaired, problem, solution))


def corrected_by(done: BodyPass) -> Corrections:
    """A bundle with the changes of a body pass applied."""
    corrected, Ts, shifts = _corrected(done.bundle.observations, done.problem, done.solution)
    numbers = _numbers(done.solution.clip, done.repaired)
    whole = dataclasses.replace(done.bundle, observations=corrected, absent=())
    return Corrections(whole, Ts, numbers, done, shifts)


def no_change(problem: BodyProblem) -> tuple[FrameChange, ClipChange]:
    """No change at all."""
    frames = len(problem.frames.real)
    changes = jax.tree.map(
        lambda x: on_device(np.zeros((frames, *x.shape), np.float32)), problem.varying
    )
    return changes, jax.tree.map(lambda x: on_device(np.zeros(x.shape, np.float32)), problem.clip)


def without_swapped_frames(o: Observations) -> tuple[Observations, int]:
    """Single frames in which the pose jumps away and back, taken from their neighbors; how many.

    Recoveries exchange left and right for a frame now and then.
    """
    rotations = np.array(o.body_rotations, np.float32)
    if o.frame_count < 3:
        return o, 0
    matrices = np.asarray(axis_angle_to_matrix(on_device(rotations[:, :, 1:MOVING_JOINTS])))

    def turned(a: ndarray, b: ndarray) -> ndarray:
        return np.asarray(geodesic_angle(on_device(a), on_device(b))).mean(axis=-1)

    before, here, after = matrices[:, :-2], matrices[:, 1:-1], matrices[:, 2:]
    away = np.minimum(turned(before, here), turned(here, after))
    wrong = (away > SWAP_RADIANS) & (turned(before, after) < 0.5 * away)
    for p, t in zip(*np.nonzero(wrong), strict=True):
        middle = slerp_midpoint(jnp.asarray(matrices[p, t]), jnp.asarray(matrices[p, t + 2]))
        rotations[p, t + 1, 1:MOVING_JOINTS] = matrix_to_axis_angle(middle)
    return dataclasses.replace(o, body_rotations=rotations), int(wrong.sum())


def body_problem(bundle: Bundle, body: SkinnedBody, settings: BodyPassSettings) -> BodyProblem:
    """The problem about the estimates of a bundle."""
    o, rows = bundle.observations, rows_of(bundle, body)
    candidates = np.asarray(rows.vertices)
    people = tuple(
        _person(o, p, body, settings.vertices, candidates) for p in range(o.person_count)
    )
    places = FACES + settings.vertices + np.arange(candidates.size).reshape(candidates.shape)
    rows = rows.replace(vertices=places.astype(np.int32))  # pyright: ignore[reportAttributeAccessIssue]
    stride = max(o.person_points.shape[2] // settings.points, 1)
    points = o.person_points[:, :, ::stride][:, :, : settings.points]
    mask = o.person_point_mask[:, :, ::stride][:, :, : settings.points]
    pelvis = o.body_translations + o.body_rest_joints[:, None, 0]
    seen = {
        "rotations": _frames_first(axis_angle_to_matrix(on_device(o.body_rotations))),
        "pelvis": _frames_first(pelvis),
        "keypoints": _frames_first(o.keypoints),
        "intrinsics": o.intrinsics,
        "Ts_world_camera": average_static_camera(o.Ts_world_camera),
        "points": _frames_first(np.where(mask[..., None], points, 0.0)),
        "point_weights": _frames_first(mask / np.maximum(mask.sum(-1, keepdims=True), 1)),
        "real": np.ones(o.frame_count),
    }
    padding = -o.frame_count % FRAME_BUCKET
    whole = {name: padded(array, padding) for name, array in seen.items()}
    for name in ("keypoints", "point_weights", "real"):
        whole[name][o.frame_count :] = 0.0
    held = nothing_held(o.frame_count + padding, len(bundle.assets), len(candidates))
    evidence = FrameEvidence(
        **{name: on_device(x, np.float32) for name, x in whole.items()}, held=held
    )
    varying, steps, clip = _deviations(o.person_count, len(bundle.assets), settings)
    names = (field.name for field in dataclasses.fields(Deviations))
    deviations = Deviations(**{name: _number(getattr(settings, name)) for name in names})
    return BodyProblem(
        evidence, people, rows, _number(bundle.fps), deviations, varying, steps, clip
    )


def padded(leaf: ndarray, count: int) -> ndarray:
    """The last frame again, `count` times."""
    return np.concatenate([leaf, np.repeat(leaf[-1:], count, axis=0)])


def _number(value: float) -> jnp.ndarray:
    return on_device(value, np.float32)


def _frames_first(array) -> ndarray:
    return np.swapaxes(np.asarray(array, np.float32), 0, 1)


def rows_of(bundle: Bundle, body: SkinnedBody) -> ContactRows:
    """The contacts of a bundle's graph; vertices are those of the whole skin."""
    table = stage_contacts(bundle.affordance, bundle.assets)
    return contact_rows(table, lambda part: contact_candidates(body, part, CANDIDATES), CANDIDATES)


def _person(
    o: Observations, p: int, body: SkinnedBody, count: int, touching: Int[ndarray, "C n"]
) -> ShapedBody:
    """The person about the rest pelvis: keypoints of the face, `count` vertices, and those that may touch."""
    shaped = body.shape(o.body_betas[p])
    shaped = shaped.with_rest_joints(o.body_rest_joints[p])
    spread = np.linspace(0, len(shaped.vertices_rest) - 1, count).astype(np.int32)
    chosen = [np.asarray(body.face_vertices), spread, touching.ravel()]
    part = shaped.subset(np.concatenate(chosen).astype(np.int32))
    root = part.joints_rest[0]
    return part.replace(  # pyright: ignore[reportAttributeAccessIssue]
        vertices_rest=part.vertices_rest - root, joints_rest=part.joints_rest - root
    )


def _deviations(
    people: int, objects: int, settings: BodyPassSettings
) -> tuple[FrameChange, FrameChange, ClipChange]:
    """Of a frame's change, of its steps, and of the clip's numbers."""

    def joints(column: int) -> jnp.ndarray:
        rows = [
            next(row for row in JOINT_DEGREES if any(word in name for word in row[0]))
            for name in JOINT_NAMES[:MOVING_JOINTS]
        ]
        radians = settings.pose * np.radians([row[column] for row in rows])
        shape = people, MOVING_JOINTS, 3
        return on_device(np.broadcast_to(radians[None, :, None], shape), np.float32)

    def frame(column: int, pelvis: float, scale: float, shift: tuple, moved: tuple) -> FrameChange:
        rows = np.full((people, 3), pelvis), [scale, *shift], np.broadcast_to(moved, (objects, 6))
        return FrameChange(joints(column), *(on_device(x, np.float32) for x in rows))

    def moved(turn: float, across: float, along: float) -> tuple[float, ...]:
        return (turn,) * 3 + (across, across, along)

    drift, turn = settings.object_drift, settings.object_turn

    camera = [settings.camera_turn] * 3 + [settings.camera_shift] * 3
    bias = frame(
        3,
        settings.pelvis_bias,
        settings.map_scale,
        (0.4 * settings.map_shift,) * 2 + (settings.map_shift,),
        moved(turn, settings.object_bias, settings.object_bias_depth),
    )
    clip = ClipChange(
        bias,
        on_device(np.full(people, settings.body_size), np.float32),
        _number(settings.focal),
        on_device(camera, np.float32),
    )
    still = moved(0.5 * turn, drift, 2.0 * drift)
    slow = moved(0.3 * turn, 0.5 * drift, drift)
    varying = frame(1, settings.pelvis_drift, settings.map_scale, MAP_SHIFT, still)
    return varying, frame(2, PELVIS_STEP, MAP_SCALE_STEP, MAP_SHIFT_STEP, slow), clip


@program
def _posed(problem: BodyProblem, changes: FrameChange, clip: ClipChange):
    """People and camera (`camera_of`) of every frame."""

    def one(change, frame):
        biased = jax.tree.map(jnp.add, change, clip.bias)
        none = jnp.zeros((len(problem.people), 1), jnp.int32)
        posed = pose_people(biased, clip.body_size, frame, problem.people, none)
        return posed, camera_of(clip, frame)

    return jax.vmap(one)(changes, problem.frames)


def _corrected(
    o: Observations, problem: BodyProblem, solution: BodySolution
) -> tuple[Observations, Float[ndarray, "T 4 4"], Float[ndarray, "O T 3"]]:
    """(bodies, camera and points corrected, T_world_pointmap, shifts of objects in the point map)."""
    clip = solution.clip
    both = _posed(problem, solution.changes, clip), solution.changes
    (posed, (R, t, _)), changes = jax.tree.map(lambda leaf: np.asarray(leaf)[: o.frame_count], both)
    rotations = np.array(o.body_rotations, np.float32)
    rotations[:, :, :MOVING_JOINTS] = np.swapaxes(
        matrix_to_axis_angle(on_device(posed.rotations)), 0, 1
    )
    rest = o.body_rest_joints * np.exp(clip.body_size)[:, None, None]
    translations = np.swapaxes(posed.joints[:, :, 0], 0, 1) - rest[:, None, 0]
    camera = compose_rigid(R, t)
    point_map = changes.point_map + np.asarray(clip.bias.point_map)
    Ts_camera_map = np.tile(np.eye(4), (o.frame_count, 1, 1))
    Ts_camera_map[:, :3, :3] *= np.exp(point_map[:, 0])[:, None, None]
    Ts_camera_map[:, :3, 3] = point_map[:, 1:]
    changed = {
        "body_rotations": rotations,
        "body_translations": translations,
        "body_rest_joints": rest,
        "Ts_world_camera": camera,
    }
    changed = {name: np.asarray(value, np.float32) for name, value in changed.items()}
    Ts = (camera @ Ts_camera_map).astype(np.float32)
    objects = changes.objects + np.asarray(clip.bias.objects)
    shifts = objects[..., 3:] * np.exp(-point_map[:, 0])[:, None, None]  # before the map is scaled
    shifts = np.swapaxes(shifts, 0, 1).astype(np.float32)
    o = shifted(zoomed(o, float(np.exp(clip.focal))), shifts)
    return dataclasses.replace(o, **changed), Ts, shifts


def shifted(o: Observations, shifts: Float[ndarray, "O T 3"]) -> Observations:
    """With what was seen of objects moved in the point map's axes."""
    return dataclasses.replace(o, object_points=o.object_points + shifts[:, :, None])


def zoomed(o: Observations, factor: float) -> Observations:
    """With another focal length: pixels stay, points of the point map come nearer to the axis."""
    nearer = np.array([1.0 / factor, 1.0 / factor, 1.0], np.float32)
    intrinsics = np.array(o.intrinsics, np.float32)
    intrinsics[:, [0, 1], [0, 1]] *= factor
    return dataclasses.replace(
        o,
        intrinsics=intrinsics,
        person_points=o.person_points * nearer,
        object_points=o.object_points * nearer,
    )


def _numbers(clip: ClipChange, repaired: int) -> dict[str, float]:
    def longest(vectors) -> float:
        return float(np.linalg.norm(np.asarray(vectors), axis=-1).max(initial=0.0))

    numbers = {
        FOCAL_FACTOR: float(np.exp(clip.focal)),
        "body lean deg": np.degrees(longest(clip.bias.joints[:, 0])),
        "body shift cm": 100.0 * longest(clip.bias.pelvis),
        "body size factor": float(np.exp(max(np.asarray(clip.body_size), key=abs, default=0.0))),
        "camera turn deg": np.degrees(longest(clip.camera[:3])),
        "camera shift cm": 100.0 * longest(clip.camera[3:]),
        "frames of the body mended": repaired,
    }
    return {name: round(float(value), 6) for name, value in numbers.items()}
