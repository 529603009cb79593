"""Body motion as an SMPL-X npz in the keys of AMASS, with the objects' trajectories beside it."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.exporters.clip import Clip, PersonClip, turned_clip
from hoijax.exporters.resample import resample_clip
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP

BETA_COUNT = 16
SMPLX_REST_PELVIS = (0.00312, -0.35141, 0.01204)
"""Metres: where the neutral SMPL-X body has its pelvis at rest, betas zero."""
POSE_KEYS = {
    "root_orient": slice(0, 3),
    "pose_body": slice(3, 66),
    "pose_jaw": slice(66, 69),
    "pose_eye": slice(69, 75),
    "pose_hand": slice(75, 165),
}
"""Columns of `poses` that AMASS also stores one by one."""


def save_amass(
    path: str | Path,
    clip: Clip,
    *,
    person: int = 0,
    fps: float | None = None,
    z_up: bool = False,
) -> Path:
    """Write one person of a clip, resampled to `fps` (None keeps the clip's) by slerp.

    Keys of AMASS: poses (T, 165) axis-angle, trans (T, 3) in metres, betas, num_betas, gender,
    mocap_frame_rate, mocap_time_length, surface_model_type "smplx", root_orient, pose_body, pose_jaw,
    pose_eye, pose_hand. As in SMPL-X, the pelvis is at rest_pelvis + trans, where rest_pelvis is that of
    the model a reader loads: SMPL-X with these betas. Ours beside them: rest_pelvis (3,), rest_joints
    (55, 3) of the body it was solved on, up_axis, body_model, and object_names, object_rotations
    (O, T, 3, 3), object_translations (O, T, 3) at the same frames and in the same axes.

    Betas of another body than SMPL-X mean nothing to SMPL-X: they go to body_betas and `betas` is
    zero. z_up turns the world to z up, as AMASS has it.
    """
    clip = resample_clip(clip, fps or clip.fps)
    if z_up:
        clip = turned_clip(clip, Z_UP_FROM_Y_UP)
    who = clip.people[person]
    poses = who.joint_rotations.reshape(clip.frame_count, 165).astype(np.float32)
    betas = smplx_betas(who)
    arrays = {name: poses[:, columns] for name, columns in POSE_KEYS.items()} | {
        "poses": poses,
        "trans": smplx_translations(who),
        "rest_pelvis": smplx_rest_pelvis(who),
        "betas": betas,
        "num_betas": np.int64(len(betas)),
        "gender": np.array("neutral"),
        "surface_model_type": np.array("smplx"),
        "mocap_frame_rate": np.float64(clip.fps),
        "mocap_time_length": np.float64(clip.frame_count / clip.fps),
        "up_axis": np.array("z" if z_up else "y"),
        "body_model": np.array(who.body_name),
        "body_betas": np.asarray(who.betas, np.float32),
        "rest_joints": np.asarray(who.shaped.joints_rest, np.float32),
        "object_names": np.array([asset.name for asset in clip.assets], np.str_),
        "object_rotations": clip.Ts_world_object[..., :3, :3].astype(np.float32),
        "object_translations": clip.Ts_world_object[..., :3, 3].astype(np.float32),
    }
    path = Path(path)
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def smplx_rest_pelvis(person: PersonClip) -> Float[ndarray, "3"]:
    """Rest pelvis of the SMPL-X body with `smplx_betas`, whichever body the person has."""
    if person.body_name.startswith("smplx"):
        return np.asarray(person.shaped.joints_rest, np.float32)[0]
    return np.array(SMPLX_REST_PELVIS, np.float32)


def smplx_translations(person: PersonClip) -> Float[ndarray, "T 3"]:
    """`trans` that brings the pelvis of that SMPL-X body to where this person's is."""
    rest_pelvis = np.asarray(person.shaped.joints_rest, np.float64)[0]
    pelvis = rest_pelvis + person.translations.astype(np.float64)
    return (pelvis - smplx_rest_pelvis(person)).astype(np.float32)


def smplx_betas(person: PersonClip) -> Float[ndarray, "16"]:
    """SMPL-X shape parameters; zero for a body whose betas mean something else."""
    betas = np.zeros(BETA_COUNT, np.float32)
    if person.body_name.startswith("smplx"):
        count = min(BETA_COUNT, len(person.betas))
        betas[:count] = person.betas[:count]
    return betas
