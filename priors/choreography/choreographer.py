"""The no-weights prior: a script and object meshes become an animated, physically plausible scene.

A motion plans object trajectories, footsteps and holds; inverse kinematics of all frames at once
makes the body follow; fingers close until they touch. Everything is seeded and deterministic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.bodies.posed_person import pose_joints
from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import look_at
from hoijax.objects.asset import Asset
from hoijax.objects.distance_grid import DistanceGrids
from priors.choreography import touching
from priors.choreography.bowing import MAX_ROUNDS, bow_out
from priors.choreography.dispatch import MOTIONS, perform
from priors.choreography.fingers import close_fingers
from priors.choreography.inverse_kinematics import Solution, solve_poses, start_of
from priors.choreography.keyframes import forward_of
from priors.choreography.person import Person, make_person
from priors.choreography.plan import Performance
from priors.choreography.pose_targets import FPS, WRISTS, PoseTargets
from priors.choreography.skin_collisions import solid_seats, stacked_grids
from priors.choreography.tracks import pose_targets
from priors.language.script import Script

IMAGE_WIDTH, IMAGE_HEIGHT, FIELD_OF_VIEW = 320, 240, 42.0
SHAPE_SPREAD = 0.4  # standard deviation of the seeded body shape, in betas
MINIMUM_FRAMES = 12


@dataclass(frozen=True)
class Choreography:
    """A synthetic scene: P people, O objects, E graph edges, T frames. World: metres, y up."""

    joint_rotations: Float[ndarray, "P T 55 3"]
    """Axis-angle, SMPL-X order, local to the parent."""
    translation: Float[ndarray, "P T 3"]
    """SMPL-X translation: the pelvis is at rest_joints[0] + this."""
    betas: Float[ndarray, "P 10"]
    rest_joints: Float[ndarray, "P 55 3"]
    Ts_world_object: Float[ndarray, "O T 4 4"]
    """Poses of the assets' mesh frames."""
    contact: Bool[ndarray, "E T"]
    """Per edge of the graph: the two ends touch."""
    camera: PinholeCamera
    T_world_camera: Float[ndarray, "4 4"]
    fps: float


def choreograph(
    script: Script,
    assets: Sequence[Asset],
    *,
    frames: int = 49,
    seed: int = 0,
    plan: Callable[[Performance], None] = perform,
) -> Choreography:
    """Animate a script. The same script, assets, frames and seed give the same scene bit for bit.

    plan: fills the performance; by default with the motion of every action.

    Raises UserError for too few frames, assets that are not the script's, or a verb without a motion.
    """
    _check(script, assets, frames)
    rng = np.random.default_rng([seed, 7])
    people = [
        make_person((SHAPE_SPREAD * rng.normal(size=10)).clip(-1, 1).astype(np.float32))
        for _ in script.graph.people
    ]
    performance = Performance(script, tuple(assets), people, frames, FPS, rng)
    plan(performance)
    grids = stacked_grids(assets)
    poses = [_solve_person(performance, index, grids) for index in range(len(people))]
    rotations = np.stack([pose[0] for pose in poses])
    translation = np.stack([pose[1] for pose in poses])
    transforms = np.stack([track.transforms() for track in performance.objects])
    camera, T_world_camera = _place_camera(performance, people, rotations, translation)
    return Choreography(
        joint_rotations=rotations,
        translation=translation,
        betas=np.stack([person.betas for person in people]),
        rest_joints=np.stack([person.rest_joints for person in people]),
        Ts_world_object=transforms.astype(np.float32),
        contact=performance.contact,
        camera=camera,
        T_world_camera=T_world_camera,
        fps=FPS,
    )


def _check(script: Script, assets: Sequence[Asset], frames: int) -> None:
    if frames < MINIMUM_FRAMES:
        raise UserError(f"a synthetic scene needs at least {MINIMUM_FRAMES} frames, got {frames}.")
    names = [node.name for node in script.graph.objects]
    if [asset.name for asset in assets] != names:
        given = ", ".join(asset.name for asset in assets)
        raise UserError(
            f"the script is about {', '.join(names)}, but the assets are {given}; give the same "
            "objects in the same order."
        )
    for action in script.actions:
        if action.verb not in MOTIONS:
            raise UserError(
                f"no motion for the verb {action.verb!r}; known: {', '.join(sorted(MOTIONS))}."
            )


def _solve_person(
    performance: Performance, index: int, grids: DistanceGrids
) -> tuple[Float[ndarray, "T 55 3"], Float[ndarray, "T 3"]]:
    """Joint rotations and translation of one person."""
    track = performance.tracks[index]
    skeleton, grids = track.person.skeleton, solid_seats(grids, track.seats)
    for attempt in range(MAX_ROUNDS + 1):
        targets = pose_targets(track, performance.objects, performance.fps)
        solution = solve_poses(start_of(targets, skeleton), targets, skeleton, grids)
        if attempt == MAX_ROUNDS or not bow_out(
            performance, index, solution.unknowns, targets, grids
        ):
            break
    rotations, translation = _with_hands(performance, index, solution, targets)
    for _ in range(touching.MAX_ROUNDS):
        finer = touching.missed(track, performance.objects, grids, rotations, translation, skeleton)
        if finer is None:
            break
        skeleton = finer
        targets = pose_targets(track, performance.objects, performance.fps)
        solution = solve_poses(
            solution.unknowns,
            targets,
            skeleton,
            grids,
            max_steps=touching.MAX_STEPS,
            is_reached=True,
        )
        rotations, translation = _with_hands(performance, index, solution, targets)
    return rotations, translation


def _with_hands(
    performance: Performance, index: int, solution: Solution, targets: PoseTargets
) -> tuple[Float[ndarray, "T 55 3"], Float[ndarray, "T 3"]]:
    """SMPL-X rotations and translation with the fingers closed."""
    track = performance.tracks[index]
    rotations, translation = to_smplx(solution.unknowns, targets, track.person)
    wrists = joint_transforms(track.person, rotations, translation)[:, list(WRISTS)]
    rotations[:, 25:] = close_fingers(track.person, track.holds, performance.objects, wrists)
    return rotations, translation


def to_smplx(
    solution: Float[ndarray, "T 69"], targets: PoseTargets, person: Person
) -> tuple[Float[ndarray, "T 55 3"], Float[ndarray, "T 3"]]:
    """Unknowns of the inverse kinematics as SMPL-X rotations (heading folded into the root)."""
    from scipy.spatial.transform import Rotation

    frames = len(solution)
    rotations = np.zeros((frames, 55, 3), np.float32)
    rotations[:, :22] = solution[:, 3:].reshape(frames, 22, 3)
    heading = Rotation.from_matrix(targets.heading)
    rotations[:, 0] = (heading * Rotation.from_rotvec(solution[:, 3:6])).as_rotvec()
    return rotations, (solution[:, :3] - person.rest_joints[0]).astype(np.float32)


def joint_transforms(
    person: Person, rotations: Float[ndarray, "T 55 3"], translation: Float[ndarray, "T 3"]
) -> Float[ndarray, "T 55 4 4"]:
    """Ts_world_joint of every frame."""
    return np.asarray(pose_joints(person.shaped, rotations, translation))


def _place_camera(
    performance: Performance,
    people: list[Person],
    rotations: Float[ndarray, "P T 55 3"],
    translation: Float[ndarray, "P T 3"],
) -> tuple[PinholeCamera, Float[ndarray, "4 4"]]:
    """A fixed camera at shoulder height, three-quarter from the front, with everything in view."""
    points = [
        track.transforms()[:, :3, :3] @ _corners(track.asset).T + track.transforms()[:, :3, 3:]
        for track in performance.objects
    ]
    cloud = [p.transpose(0, 2, 1).reshape(-1, 3) for p in points]
    for person, r, t in zip(people, rotations, translation, strict=True):
        joints = joint_transforms(person, r, t)[:, :, :3, 3].reshape(-1, 3)
        cloud.append(np.concatenate([joints + 0.12, joints - 0.12]))
    everything = np.concatenate(cloud)
    camera = PinholeCamera.from_field_of_view(FIELD_OF_VIEW, IMAGE_WIDTH, IMAGE_HEIGHT)
    direction = forward_of(_camera_bearing(performance))
    half = 0.45 * np.array([IMAGE_WIDTH, IMAGE_HEIGHT]) / camera.fx
    return camera, _framing_view(everything, direction, people[0].shoulder_height, half)


def _framing_view(
    points: Float[ndarray, "N 3"],
    direction: Float[ndarray, "3"],
    height: float,
    half: Float[ndarray, "2"],
) -> Float[ndarray, "4 4"]:
    """T_world_camera at a height, towards `direction` from the points, with all of them in the image.

    half: tangents of the half angles that the points may fill. Where nothing at that height sees all (of
    things several metres tall), the camera looks level and rises.
    """
    target = 0.5 * (points.min(0) + points.max(0))
    distance, reach = 2.0, 4.0 * float(np.linalg.norm(np.ptp(points, axis=0))) / float(half.min())
    for _ in range(200):
        eye = target + distance * direction
        eye[1] = height
        T_world_camera = look_at(eye, target)
        seen = (points - T_world_camera[:3, 3]) @ T_world_camera[:3, :3]
        tangents = seen[:, :2] / np.maximum(seen[:, 2:], 0.3)
        low, high = tangents.min(0), tangents.max(0)
        offset = T_world_camera[:3, :2] @ (0.5 * (low + high))
        target = target + 0.5 * distance * offset
        if (high - low < 2 * half).all() and np.abs(0.5 * (low + high)).max() < 0.01:
            break
        if (high - low > 2 * half).any() or seen[:, 2].min() < 0.5:
            distance *= 1.03
    if (np.abs(tangents) <= 1.1 * half).all() and seen[:, 2].min() >= 0.5 and distance < reach:
        return T_world_camera
    return _level_view(points, direction, half)


def _level_view(
    points: Float[ndarray, "N 3"], direction: Float[ndarray, "3"], half: Float[ndarray, "2"]
) -> Float[ndarray, "4 4"]:
    """The nearest level camera that sees all points: linear in the place of the eye, so exact.

    A point (x, y, z) is seen where |x - x_eye| <= half_x (z - z_eye), and alike for y.
    """
    T_world_camera = look_at(np.asarray(direction, float), np.zeros(3))
    local = points @ T_world_camera[:3, :3]
    right = np.max(local[:, :2] - half * local[:, 2:], axis=0)
    left = np.max(-local[:, :2] - half * local[:, 2:], axis=0)
    ahead = np.min(-(right + left) / (2.0 * half))
    eye = np.append(0.5 * (right - left), min(ahead, local[:, 2].min() - 0.5))
    T_world_camera[:3, 3] = T_world_camera[:3, :3] @ eye
    return T_world_camera


def _camera_bearing(performance: Performance) -> float:
    """Three-quarter from the front; more from the side where something travels far or two face."""
    rng, tracks = performance.rng, performance.tracks
    heading = float(np.angle(np.mean(np.exp(1j * tracks[0].heading))))
    side = 1.0 if rng.random() < 0.5 else -1.0
    if len(tracks) > 1:
        apart = tracks[1].root.mean(axis=0) - tracks[0].root.mean(axis=0)
        return float(np.arctan2(*apart)) + side * rng.uniform(1.25, 1.75)
    travel = max(
        float(np.linalg.norm(np.ptp(track.center[:, [0, 2]] - tracks[0].root, axis=0)))
        for track in performance.objects
    )
    return heading + side * (rng.uniform(0.9, 1.2) if travel > 0.8 else rng.uniform(0.5, 0.8))


def _corners(asset: Asset) -> Float[ndarray, "8 3"]:
    low, high = asset.vertices.min(0), asset.vertices.max(0)
    return np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1])
                     for z in (low[2], high[2])], float)  # fmt: skip
