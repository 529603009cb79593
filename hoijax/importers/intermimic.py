"""InterMimic's (T, 591) tensors as motion: a .pt of one tensor, or an npz that has it as `motion`."""

from pathlib import Path

import numpy as np
from numpy import ndarray

from hoijax.bodies.kinematics import JOINT_PARENTS, SMPLH_JOINTS
from hoijax.errors import UserError
from hoijax.exporters.intermimic import COLUMNS, FPS, MUJOCO_ORDER, UPRIGHT_QUATERNION, WIDTH
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP, compose_rigid
from hoijax.importers.containers import read_arrays
from hoijax.importers.motion import ImportedMotion

__all__ = ["import_intermimic"]


def import_intermimic(path: str | Path) -> ImportedMotion:
    """One person and one object at 30 fps; z up. `hoijax.exporters.intermimic` describes the columns.

    The tensor has no bone lengths: they are those between its joints, and jaw and eyes stay at the head.
    The object's name is the second word of a file name such as sub2_largetable_003.pt.
    Raises UserError for other files, with what was found.
    """
    from scipy.spatial.transform import Rotation

    path = Path(path)
    arrays = read_arrays(path)
    motion = arrays.get("motion", arrays.get(""))
    if motion is None or motion.ndim != 2 or motion.shape[1] != WIDTH or not len(motion):
        shapes = ", ".join(f"{k or 'a tensor'} {v.shape}" for k, v in arrays.items()) or "nothing"
        raise UserError(f"{path}: InterMimic's motion is a (T, {WIDTH}) tensor, found {shapes}.")
    if motion.dtype.kind != "f" or not np.isfinite(motion).all():
        raise UserError(f"{path}: the motion must be finite numbers.")
    motion = motion.astype(np.float64)
    frames = len(motion)
    order = np.argsort(MUJOCO_ORDER)  # to the order of SMPL-H
    upright = _rotations(path, motion[:, COLUMNS["body_rot"]].reshape(frames, 52, 4))
    world = (upright @ Rotation.from_quat(UPRIGHT_QUATERNION).as_matrix())[:, order]
    joints = motion[:, COLUMNS["body_pos"]].reshape(frames, 52, 3)[:, order]
    rest, local = _local(world, joints)
    rotations = np.zeros((frames, 55, 3), np.float32)
    rotations[:, SMPLH_JOINTS] = (
        Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(frames, 52, 3)
    )
    poses = compose_rigid(
        _rotations(path, motion[:, COLUMNS["obj_rot"]]), motion[:, COLUMNS["obj_pos"]]
    )
    words = path.stem.split("_")
    name = str(arrays["object_name"]) if "object_name" in arrays else ""
    return ImportedMotion(
        source=str(path),
        fps=FPS,
        joint_rotations=rotations,
        translations=joints[:, 0].astype(np.float32),
        betas=np.zeros(10, np.float32),
        gender="neutral",
        turn=Z_UP_FROM_Y_UP[:3, :3].T,
        rest_pelvis=np.zeros(3, np.float32),
        rest_joints=rest.astype(np.float32),
        object_names=(name or (words[1] if len(words) > 1 else "object"),),
        Ts_file_object=poses[None].astype(np.float32),
    )


def _local(world: ndarray, joints: ndarray) -> tuple[ndarray, ndarray]:
    """(rest joints (55, 3) from the pelvis, local rotations (T, 52, 3, 3)) of SMPL-H joints in the world."""
    parents = [SMPLH_JOINTS.index(JOINT_PARENTS[j]) for j in SMPLH_JOINTS[1:]]
    local = world.copy()
    local[:, 1:] = world[:, parents].swapaxes(-1, -2) @ world[:, 1:]
    bones = np.einsum("tjik,tji->tjk", world[:, parents], joints[:, 1:] - joints[:, parents])
    rest = np.zeros((55, 3))
    for joint, parent, bone in zip(SMPLH_JOINTS[1:], parents, bones.mean(axis=0), strict=True):
        rest[joint] = rest[SMPLH_JOINTS[parent]] + bone
    rest[22:25] = rest[15]
    return rest, local


def _rotations(path: Path, quaternions: ndarray) -> ndarray:
    """Matrices of xyzw quaternions; UserError where some have no length."""
    from scipy.spatial.transform import Rotation

    if np.linalg.norm(quaternions, axis=-1).min() < 1e-6:
        raise UserError(
            f"{path}: holds quaternions of length 0; it is no complete InterMimic file."
        )
    return (
        Rotation.from_quat(quaternions.reshape(-1, 4))
        .as_matrix()
        .reshape(*quaternions.shape[:-1], 3, 3)
    )
