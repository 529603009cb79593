"""Body motion that other programs read off a video: in the camera, in the world, or in both.

GVHMR, WHAM, TRAM, PromptHMR, 4D-Humans and AMASS, told apart by their keys; SMPL (24 joints), SMPL-H
(52) and SMPL-X (55), axis-angle or matrices.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.bodies.kinematics import rotations_from_smplh
from hoijax.errors import UserError
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP, compose_rigid
from hoijax.importers.containers import read_arrays
from hoijax.importers.intrinsics import GivenIntrinsics, intrinsics_in
from hoijax.importers.phalp import phalp_people
from hoijax.io.validation import numbered

__all__ = ["BodyTrack", "RootMotion", "read_body_tracks"]

REST_PELVIS = {
    "smpl": np.array([-0.0018, -0.2233, 0.0282]),
    "smplh": np.array([-0.0018, -0.2233, 0.0282]),
    "smplx": np.array([0.0031, -0.3514, 0.0120]),
}
"""Where the mean body has its pelvis at rest, metres: a `transl` counts from there."""
Y_UP, Z_UP = np.eye(3), Z_UP_FROM_Y_UP.astype(np.float64).T
Arrays = Mapping[str, ndarray]
LARGEST = 1e4
HMR2_FOCAL = 5000 / 256
"""Focal length over the longer side that HMR2 assumes of every image."""
FORMS = (
    "Known are GVHMR's hmr4d_results.pt, and npz of GVHMR, WHAM, TRAM, PromptHMR, 4D-Humans and AMASS "
    "(docs/bring-your-own.md has the keys)."
)


@dataclass(frozen=True)
class RootMotion:
    """Orientation of the root and `transl`, in one frame of reference."""

    orientations: Float[ndarray, "T 3"]
    """Axis-angle."""
    translations: Float[ndarray, "T 3"]
    turn: Float[ndarray, "3 3"]
    """From the file's axes to ours: the world's y up, or a camera as in OpenCV."""


@dataclass(frozen=True)
class BodyTrack:
    """One person of a file. Joint rotations on the SMPL-X tree; the root's are in `camera` and `world`."""

    source: str
    layout: str
    """The program that wrote it."""
    model: str
    """smpl, smplh or smplx."""
    joint_rotations: Float[ndarray, "T 55 3"]
    """Axis-angle; zero at the root."""
    betas: Float[ndarray, " B"]
    camera: RootMotion | None = None
    world: RootMotion | None = None
    Ts_world_camera: Float[ndarray, "T 4 4"] | None = None
    """Where the file has the camera's own path; else it follows from `camera` and `world`."""
    intrinsics: GivenIntrinsics | None = None
    frames: Int[ndarray, " T"] | None = None
    """Frames of the clip that the rows are for; None: from the first on."""
    fps: float | None = None
    nominal_focal: bool = False
    """The focal length is a convention of the program, and says nothing of the clip's camera."""

    @property
    def rest_pelvis(self) -> Float[ndarray, " 3"]:
        return REST_PELVIS[self.model]


def read_body_tracks(path: str | Path) -> tuple[BodyTrack, ...]:
    """Everybody in a file, in its order. Raises UserError with what is known or what is wrong."""
    arrays = read_arrays(path)
    intrinsics = intrinsics_in(arrays, str(path))
    for layout, reader in LAYOUTS.items():
        try:
            tracks = reader(arrays, str(path))
        except (ValueError, IndexError, KeyError, TypeError) as error:
            raise UserError(
                f"--body {path}: looks like {layout}, but its arrays do not go together: {error}"
            ) from error
        if tracks:
            tracks = tuple(
                replace(t, layout=layout, intrinsics=intrinsics or t.intrinsics) for t in tracks
            )
            _check(tracks, path)
            return tracks
    keys = ", ".join(sorted(arrays)[:12]) or "nothing"
    raise UserError(f"--body {path}: no body motion is recognized among {keys}. {FORMS}")


def _check(tracks: tuple[BodyTrack, ...], path: str | Path) -> None:
    problems = ["it has no frame"] if not all(len(t.joint_rotations) for t in tracks) else []
    for number, track in enumerate(tracks, start=1):
        rows = {"joint_rotations": track.joint_rotations, "betas": track.betas}
        for name, motion in (("camera", track.camera), ("world", track.world)):
            if motion is not None:
                rows[f"{name} orientation"] = motion.orientations
                rows[f"{name} translation"] = motion.translations
        count = len(track.joint_rotations)
        for name, array in rows.items():
            if not np.isfinite(array).all() or np.abs(array).max(initial=0) > LARGEST:
                problems.append(
                    f"person {number}: {name} has numbers that are not finite, or giant"
                )
            if name != "betas" and len(array) != count:
                problems.append(
                    f"person {number}: {name} has {len(array)} frames, the pose {count}"
                )
    if problems:
        raise UserError(f"--body {path} is damaged:\n{numbered(problems)}")


# ---- layouts


def _gvhmr(arrays: Arrays, source: str) -> list[BodyTrack]:
    """`smpl_params_global` (y up) and `smpl_params_incam`; an npz made of it may have AMASS's keys too."""
    by_space = {
        name: _parameters(arrays, f"smpl_params_{name}_")
        for name in ("incam", "global")
        if f"smpl_params_{name}_body_pose" in arrays
    }
    if not by_space:
        return []
    body, betas, _ = by_space.get("incam") or by_space["global"]
    world = RootMotion(*by_space["global"][2], Y_UP) if "global" in by_space else None
    if world is None and (amass := _amass(arrays, source)):
        world = amass[0].world
    camera = RootMotion(*by_space["incam"][2], Y_UP) if "incam" in by_space else None
    return [_track(source, body, betas, camera=camera, world=world, model="smplx")]


def _parameters(
    arrays: Arrays, prefix: str, transl: str = "transl"
) -> tuple[ndarray, ndarray, tuple[ndarray, ndarray]]:
    """(poses (T, J, 3) with the root, betas, (orientation, translation)) of smplx-like keys."""
    body = _rotations(arrays[f"{prefix}body_pose"], root=False)
    root = _rotations(arrays[f"{prefix}global_orient"], root=True)[:, 0]
    moved = arrays.get(f"{prefix}{transl}", np.zeros((len(root), 3)))
    poses = np.concatenate([root[:, None], body], axis=1)
    betas = arrays.get(f"{prefix}betas", np.zeros(10))
    return poses, betas, (root, moved.reshape(len(root), -1)[:, :3].astype(np.float64))


def _wham(arrays: Arrays, source: str) -> list[BodyTrack]:
    """`wham_output`: pose and trans in the camera, pose_world and trans_world y up, of every subject."""
    tracks = []
    for prefix in _prefixes(arrays, "pose_world"):
        poses = _rotations(arrays[f"{prefix}pose_world"])
        world = RootMotion(poses[:, 0], _translation(arrays[f"{prefix}trans_world"]), Y_UP)
        camera = None
        if f"{prefix}pose" in arrays and f"{prefix}trans" in arrays:
            root = _rotations(arrays[f"{prefix}pose"])[:, 0]
            camera = RootMotion(root, _translation(arrays[f"{prefix}trans"]), Y_UP)
        betas, frames = arrays.get(f"{prefix}betas"), arrays.get(f"{prefix}frame_ids")
        tracks.append(
            _track(source, poses, betas, camera=camera, world=world, frames=frames, model="smpl")
        )
    return tracks


def _prompt_hmr(arrays: Arrays, source: str) -> list[BodyTrack]:
    """`results`: people's smplx_cam and smplx_world (y up), and camera_world."""
    tracks = []
    for prefix in _prefixes(arrays, "smplx_cam_trans"):
        cam, ground = f"{prefix}smplx_cam_", f"{prefix}smplx_world_"
        pose_key = f"{cam}rotmat" if f"{cam}rotmat" in arrays else f"{cam}pose"
        poses = _rotations(arrays[pose_key])
        camera = RootMotion(poses[:, 0], _translation(arrays[f"{cam}trans"]), Y_UP)
        world = None
        if f"{ground}pose" in arrays:
            root = _rotations(arrays[f"{ground}pose"])[:, 0]
            world = RootMotion(root, _translation(arrays[f"{ground}trans"]), Y_UP)
        betas, frames = arrays.get(f"{cam}shape"), arrays.get(f"{prefix}frames")
        tracks.append(
            _track(source, poses, betas, camera=camera, world=world, frames=frames, model="smplx")
        )
    return tracks


def _tram(arrays: Arrays, source: str) -> list[BodyTrack]:
    """`hps_track`: matrices in the camera. TRAM's world has no up of its own: the camera is enough."""
    if "pred_rotmat" not in arrays or "pred_trans" not in arrays:
        return []
    poses = _rotations(arrays["pred_rotmat"])
    camera = RootMotion(poses[:, 0], _translation(arrays["pred_trans"]), Y_UP)
    betas, frames = arrays.get("pred_shape"), arrays.get("frame")
    return [_track(source, poses, betas, camera=camera, frames=frames, model="smpl")]


def _humans_4d(arrays: Arrays, source: str) -> list[BodyTrack]:
    """`pred_smpl_params` in the camera with pred_cam_t of the whole image (HMR2), or the tracks of `track.py`."""
    if people := phalp_people(arrays):
        return [track for person in people for track in _humans_4d(person, source)]
    prefix = "pred_smpl_params_"
    if f"{prefix}body_pose" not in arrays:
        return []
    transl = next((n for n in ("pred_cam_t_full", "pred_cam_t") if n in arrays), None)
    if transl is None:
        raise UserError(
            f"--body {source}: has pred_smpl_params but no pred_cam_t_full (cam_crop_to_full of the demo): "
            "where the person is cannot be told. Save it beside."
        )
    poses, betas, (root, _) = _parameters(arrays, prefix)
    camera = RootMotion(root, _translation(arrays[transl]), Y_UP)
    nominal = GivenIntrinsics(source, focal_share=HMR2_FOCAL)
    return [
        _track(
            source,
            poses,
            betas,
            camera=camera,
            frames=arrays.get("frame"),
            model="smpl",
            intrinsics=nominal,
            nominal_focal=True,
        )
    ]


def _amass(arrays: Arrays, source: str) -> list[BodyTrack]:
    """`poses` and `trans`, z up (`up_axis` of ours may say y)."""
    if "poses" not in arrays or "trans" not in arrays:
        return []
    poses = _rotations(arrays["poses"])
    up = arrays.get("up_axis")
    turn = Y_UP if up is not None and str(up.reshape(-1)[0]) == "y" else Z_UP
    rate = next((arrays[n] for n in ("mocap_framerate", "mocap_frame_rate") if n in arrays), None)
    fps = None if rate is None else float(rate.reshape(-1)[0])
    world = RootMotion(poses[:, 0], _translation(arrays["trans"]), turn)
    return [_track(source, poses, arrays.get("betas"), world=world, fps=fps)]


def _smplx_keys(arrays: Arrays, source: str) -> list[BodyTrack]:
    """smplx's own argument names (global_orient, body_pose, transl), in a world that is y up."""
    if "body_pose" not in arrays or "global_orient" not in arrays or "transl" not in arrays:
        return []
    poses, betas, root = _parameters(arrays, "")
    return [_track(source, poses, betas, world=RootMotion(*root, Y_UP))]


LAYOUTS: Mapping[str, Callable[[Arrays, str], list[BodyTrack]]] = {
    "GVHMR": _gvhmr,
    "WHAM": _wham,
    "PromptHMR": _prompt_hmr,
    "TRAM": _tram,
    "4D-Humans": _humans_4d,
    "AMASS": _amass,
    "smplx parameters": _smplx_keys,
}
"""Tried in this order: the first whose keys are there."""


# ---- pieces


def _track(
    source: str,
    poses: Float[ndarray, "T J 3"],
    betas: ndarray | None,
    *,
    model: str | None = None,
    frames: ndarray | None = None,
    **more,
) -> BodyTrack:
    """A track of poses with 22, 24, 52 or 55 joints; their number says which body it is."""
    rotations = np.zeros((len(poses), 55, 3), np.float32)
    count = poses.shape[1]
    if count == 55:
        rotations[:] = poses
    elif count == 52:
        rotations[:] = rotations_from_smplh(poses.astype(np.float32))
    else:  # SMPL's two hand joints have no place on the tree
        rotations[:, :22] = poses[:, :22]
    rotations[:, 0] = 0
    named = model or {22: "smplx", 24: "smpl", 52: "smplh", 55: "smplx"}[count]
    shape = np.zeros(10) if betas is None or not betas.size else betas
    shape = shape.reshape(-1, shape.shape[-1]).mean(0).astype(np.float32)
    numbers = None if frames is None else frames.reshape(-1).astype(np.int64)
    return BodyTrack(source, "", named, rotations, shape, frames=numbers, **more)


def _rotations(array: ndarray, root: bool | None = None) -> Float[ndarray, "T J 3"]:
    """Axis-angle of (T, 3J), (T, J, 3) or (T, J, 3, 3); UserError for a number of joints of no body."""
    from scipy.spatial.transform import Rotation

    if array.shape[-2:] == (3, 3) and array.ndim >= 3:
        matrices = array.astype(np.float64).reshape(len(array), -1, 3, 3)
        vectors = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec()
        array = vectors.reshape(*matrices.shape[:2], 3)
    rows = np.asarray(array, np.float64).reshape(len(array), -1, 3)
    allowed = {None: (22, 24, 52, 55), True: (1,), False: (21, 23, 51, 54)}[root]
    if rows.shape[1] not in allowed:
        raise UserError(
            f"poses of {rows.shape[1]} joints; SMPL has 24, SMPL-H 52, SMPL-X 55 (or 22 without hands)"
        )
    return rows


def _translation(array: ndarray) -> Float[ndarray, "T 3"]:
    return np.asarray(array, np.float64).reshape(len(array), -1)[:, :3]


def _prefixes(arrays: Arrays, ending: str) -> list[str]:
    """What comes before a key of every person: "people_1_" of "people_1_smplx_cam_trans"."""
    prefixes = [key.removesuffix(ending) for key in arrays if key.endswith(ending)]
    return sorted(
        (p for p in prefixes if p == "" or p.endswith("_")),
        key=lambda p: [int(word) if word.isdigit() else -1 for word in re.findall(r"\d+|\D+", p)],
    )


def camera_path(track: BodyTrack) -> Float[ndarray, "T 4 4"] | None:
    """T_world_camera that carries the body in the camera to the body in the world; None where one is missing.

    Both describe the same body: the turn from one root orientation to the other is the camera's
    rotation, and its place follows from the pelvis.
    """
    from scipy.spatial.transform import Rotation

    if track.camera is None or track.world is None:
        return track.Ts_world_camera
    world = Rotation.from_matrix(track.world.turn) * Rotation.from_rotvec(track.world.orientations)
    rotation = world * Rotation.from_rotvec(track.camera.orientations).inv()
    pelvis_world = (track.rest_pelvis + track.world.translations) @ track.world.turn.T
    pelvis_camera = track.rest_pelvis + track.camera.translations
    return compose_rigid(rotation.as_matrix(), pelvis_world - rotation.apply(pelvis_camera))
