"""Motion in InterAct's layout: human.npz and object.npz of a sequence.

World y up with the ground at 0, metres, 30 frames a second, axis-angle. human.npz: poses (T, 156) of
the 52 SMPL-H joints (root, 21 of the body, 15 of the left hand, 15 of the right, as in AMASS), betas
(16,), trans (T, 3), gender. object.npz: angles (T, 3), trans (T, 3), name: vertex = R(angles) v + trans
for v of the object's own mesh. As in SMPL-X, the pelvis is at rest pelvis + trans. Established from
InterAct's own processing of OMOMO (process/process_omomo.py).
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bodies.kinematics import SMPLH_JOINTS
from hoijax.exporters.amass import smplx_betas, smplx_rest_pelvis, smplx_translations
from hoijax.exporters.clip import Clip
from hoijax.exporters.resample import resample_clip

FPS = 30.0


def save_interact_human(path: str | Path, clip: Clip, *, person: int = 0) -> Path:
    """Write human.npz of one person. Beside InterAct's keys: fps, body_model, rest_joints (55, 3), rest_pelvis (3,).

    Betas of another body than SMPL-X are not SMPL-X's: `betas` is zero then. Hands are relative to the
    flat hand.
    """
    clip = resample_clip(clip, FPS)
    who = clip.people[person]
    arrays = {
        "poses": smplh_poses(who.joint_rotations),
        "betas": smplx_betas(who),
        "trans": smplx_translations(who),
        "rest_pelvis": smplx_rest_pelvis(who),
        "gender": np.array("neutral"),
        "fps": np.float64(FPS),
        "body_model": np.array(who.body_name),
        "rest_joints": np.asarray(who.shaped.joints_rest, np.float32),
    }
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    return Path(path)


def save_interact_object(path: str | Path, clip: Clip, *, object_: int = 0) -> Path:
    """Write object.npz of one object."""
    from scipy.spatial.transform import Rotation

    clip = resample_clip(clip, FPS)
    poses = clip.Ts_world_object[object_].astype(np.float64)
    arrays = {
        "angles": Rotation.from_matrix(poses[:, :3, :3]).as_rotvec().astype(np.float32),
        "trans": poses[:, :3, 3].astype(np.float32),
        "name": np.array(clip.assets[object_].name),
        "fps": np.float64(FPS),
    }
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    return Path(path)


def smplh_poses(joint_rotations: Float[ndarray, "T 55 3"]) -> Float[ndarray, "T 156"]:
    """Axis-angle of the 52 joints without jaw and eyes, one row a frame."""
    chosen = joint_rotations[:, list(SMPLH_JOINTS)]
    return chosen.reshape(len(chosen), -1).astype(np.float32)
