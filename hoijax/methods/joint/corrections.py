"""Bundle to the body pass, and its solution back to a bundle with corrected estimates (host)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.observations import Observations
from hoijax.bundle.write import Bundle
from hoijax.geometry.camera import unproject
from hoijax.geometry.camera_motion import average_static_camera
from hoijax.geometry.cropping import distances_near
from hoijax.geometry.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
)
from hoijax.geometry.transforms import compose_rigid
from hoijax.initialization.evidence import complete
from hoijax.methods.joint.body_descent import BodySolution, solve_bodies
from hoijax.methods.joint.body_problem import (
    MOVING_JOINTS,
    BodyProblem,
    ClipChange,
    FrameChange,
    camera_of,
    pose_people,
)
from hoijax.methods.joint.build_problem import body_problem, scaled
from hoijax.methods.joint.settings import BodyPassSettings
from hoijax.methods.joint.swapped_frames import without_swapped_frames
from hoijax.methods.reopened import with_bodies_of
from hoijax.programs import program
from hoijax.results.observed import FOCAL_FACTOR, focal_factor
from hoijax.results.result import Result
from hoijax.runtime import on_device
from hoijax.scene.build_bodies import without_broken_numbers

OBJECT_SHIFTS, CAMERA_CHANGE = "object_shifts", "camera_change"
"""Keys in `run.json`; the latter is `ClipChange.camera`."""
OFF_PIXEL = 0.1
"""Of the image's width, between a point and its pixel."""
BESIDE_MASK, BESIDE_SHARE = 0.015, 0.2
"""Share of the image's height beyond which a keypoint is not on a mask, and of its confidence then left."""

JUDGED, MIN_DOUBT = 0.5, 0.1
"""Share of the frames in which keypoints and points must judge a body; deviations are not made smaller."""
_unproject = program(unproject)


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
    camera: Float[ndarray, " 6"] | None = None
    """As `ClipChange.camera`."""

    @property
    def run(self) -> dict[str, Any]:
        """What `run.json` says, and a result is opened again with."""
        run: dict[str, Any] = {"corrections": self.numbers}
        if self.camera is not None:
            run[CAMERA_CHANGE] = np.round(self.camera, 6).tolist()
        if self.object_shifts is not None and np.any(self.object_shifts):
            run[OBJECT_SHIFTS] = np.round(self.object_shifts, 5).tolist()
        return run


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
    believed = with_believed_keypoints(on_their_rays(bundle.observations))
    observations, repaired = without_swapped_frames(believed)
    bundle = dataclasses.replace(bundle, observations=observations)
    problem = body_problem(bundle, body, settings)
    solution = _solved(problem, no_change(problem), settings.rounds)
    doubt = doubt_in_estimates(bundle.observations, solution, settings)
    if doubt < 1.0:
        problem = with_smaller_changes(problem, doubt)
        # About where smaller deviations leave it: half the rounds that it takes from nothing.
        found = jax.tree.map(np.asarray, (solution.changes, solution.clip))
        start = jax.tree.map(lambda x: on_device(np.float32(doubt) * x), found)
        solution = _solved(problem, start, settings.rounds)
    return corrected_by(BodyPass(bundle, repaired, problem, solution))


def _solved(
    problem: BodyProblem, start: tuple[FrameChange, ClipChange], rounds: int
) -> BodySolution:
    """The energy's minimum, or the start where the descent does not lower it."""
    solution = solve_bodies(problem, start, np.int32(rounds))
    if float(solution.energy) <= float(solution.first_energy):
        return solution
    return solution.replace(changes=start[0], clip=start[1])  # pyright: ignore[reportAttributeAccessIssue]


def corrected_by(done: BodyPass) -> Corrections:
    """A bundle with the changes of a body pass applied."""
    corrected, Ts, shifts = _corrected(done.bundle.observations, done.problem, done.solution)
    numbers = _numbers(done.solution.clip, done.repaired)
    whole = dataclasses.replace(done.bundle, observations=corrected, absent=())
    return Corrections(whole, Ts, numbers, done, shifts, np.asarray(done.solution.clip.camera))


def corrected_again(bundle: Bundle, result: Result) -> Bundle | None:
    """The bundle as the last descent of a result read it, without another body pass.

    None: the result is of a version that did not record enough.
    """
    run = result.run
    zoom = focal_factor(result)
    if zoom is None:
        return None
    whole = complete(with_bodies_of(without_broken_numbers(bundle), result))
    o = zoomed(with_believed_keypoints(on_their_rays(whole.observations)), zoom)
    if OBJECT_SHIFTS in run:
        o = shifted(o, np.asarray(run[OBJECT_SHIFTS], np.float32))
    if CAMERA_CHANGE in run:
        change = np.asarray(run[CAMERA_CHANGE], np.float32)
        rotation = np.asarray(axis_angle_to_matrix(on_device(change[:3])))
        Ts = average_static_camera(o.Ts_world_camera)
        moved = (Ts @ compose_rigid(rotation, change[3:])).astype(np.float32)
        o = dataclasses.replace(o, Ts_world_camera=moved)
    return dataclasses.replace(whole, observations=o, absent=())


def doubt_in_estimates(
    o: Observations, solution: BodySolution, settings: BodyPassSettings
) -> float:
    """How far estimates may be off, as a share of what is usual: by how much changing them helps.

    Where the body motion, keypoints and point map of a clip agree as they are, none of the three is far
    off, as they err apart from each other; an outline and some contact that fit better elsewhere are then
    no reason to move the body. Without point maps of people only two are left, one perhaps fitted to the
    other, and nothing is said: 1.
    """
    seen = o.person_point_mask.any(axis=-1) & (o.keypoints[..., 2] > 0.0).any(axis=-1)
    if np.mean(seen) < JUDGED:
        return 1.0
    gain = (float(solution.first_energy) - float(solution.energy)) / max(int(seen.sum()), 1)
    return float(np.clip(gain / settings.usual_gain, MIN_DOUBT, 1.0))


def with_smaller_changes(problem: BodyProblem, factor: float) -> BodyProblem:
    """With all standard deviations of changes multiplied by a factor."""
    names = "varying", "steps", "clip"
    changes = {name: scaled(getattr(problem, name), factor) for name in names}
    return dataclasses.replace(problem, **changes)


def no_change(problem: BodyProblem) -> tuple[FrameChange, ClipChange]:
    """No change at all."""
    frames = len(problem.frames.real)
    changes = jax.tree.map(
        lambda x: on_device(np.zeros((frames, *x.shape), np.float32)), problem.varying
    )
    return changes, jax.tree.map(lambda x: on_device(np.zeros(x.shape, np.float32)), problem.clip)


def on_their_rays(o: Observations) -> Observations:
    """Points of the point map at their depth on the rays of their pixels.

    A prior shifts or bends its map, or has a focal length of its own; which pixel shows a point is not in
    doubt. A point that lies so far from its pixel that the two can hardly belong together stays.
    """
    width = o.image_size[1]
    focal = o.intrinsics[:, None, [0, 1], [0, 1]]
    changed = {}
    for kind in ("person", "object"):
        points = np.asarray(getattr(o, f"{kind}_points"), np.float32)
        pixels = np.asarray(getattr(o, f"{kind}_pixels"), np.float32)
        K = np.broadcast_to(o.intrinsics, (*points.shape[:2], 3, 3))
        moved = np.asarray(_unproject(*map(on_device, (pixels, points[..., 2], K))))
        away = np.linalg.norm((moved - points)[..., :2] * focal, axis=-1)
        near = away < OFF_PIXEL * width * np.maximum(points[..., 2], 0.0)
        changed[f"{kind}_points"] = np.where(near[..., None], moved, points)
    return dataclasses.replace(o, **changed)


def with_believed_keypoints(o: Observations) -> Observations:
    """Keypoints with less confidence where they are not on the person's own mask: a joint that something
    hides is invented, as confidently as any other.
    """
    keypoints = np.array(o.keypoints, np.float32)
    height, width = o.image_size
    for p, t in np.ndindex(keypoints.shape[:2]):
        mask = o.instance_ids[t] == p + 1
        if not mask.any():
            continue
        column, row = np.nan_to_num(keypoints[p, t, :, :2]).astype(int).T
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        pixels = np.stack([np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)], axis=1)
        reach = BESIDE_MASK * height
        beside = inside & (distances_near(mask, pixels, reach) > reach)
        keypoints[p, t, beside, 2] *= BESIDE_SHARE
    return dataclasses.replace(o, keypoints=keypoints)


@program
def posed_frames(problem: BodyProblem, changes: FrameChange, clip: ClipChange):
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
    both = posed_frames(problem, solution.changes, clip), solution.changes
    (posed, (R, t, _)), changes = jax.tree.map(lambda leaf: np.asarray(leaf)[: o.frame_count], both)
    rotations = np.array(o.body_rotations, np.float32)
    turns = np.asarray(matrix_to_axis_angle(on_device(posed.rotations)))
    rotations[:, :, :MOVING_JOINTS] = np.swapaxes(turns, 0, 1)
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
    clip = jax.tree.map(np.asarray, clip)

    def longest(vectors) -> float:
        return float(np.linalg.norm(vectors, axis=-1).max(initial=0.0))

    numbers = {
        FOCAL_FACTOR: float(np.exp(clip.focal)),
        "body lean deg": np.degrees(longest(clip.bias.joints[:, 0])),
        "body shift cm": 100.0 * longest(clip.bias.pelvis),
        "body size factor": float(np.exp(max(clip.body_size, key=abs, default=0.0))),
        "camera turn deg": np.degrees(longest(clip.camera[:3])),
        "camera shift cm": 100.0 * longest(clip.camera[3:]),
        "frames of the body mended": repaired,
    }
    return {name: round(float(value), 6) for name, value in numbers.items()}
