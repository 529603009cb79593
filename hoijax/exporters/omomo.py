"""Motion with the keys of OMOMO's sequence dictionary (CHOIS uses the same), in an npz.

World z up, metres, 30 frames a second. Established from the code that reads these dictionaries (OMOMO's
hand_foot_dataset, CHOIS, InterAct's process_omomo.py); the data set itself is pickled with joblib, which we
neither read nor write. One person and one object a file.
"""

from pathlib import Path

import numpy as np

from hoijax.bodies.kinematics import JOINT_NAMES, JOINT_PARENTS
from hoijax.errors import UserError
from hoijax.exporters.amass import smplx_betas
from hoijax.exporters.clip import Clip, turned_clip
from hoijax.exporters.resample import resample_clip
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP

FPS = 30.0
JOINTS24 = (*range(22), JOINT_NAMES.index("left_index1"), JOINT_NAMES.index("right_index1"))


def save_omomo(path: str | Path, clip: Clip, *, person: int = 0, object_: int = 0) -> Path:
    """Write seq_name "subN_object_000", betas (1, 16), gender, trans (T, 3), root_orient (T, 3), pose_body
    (T, 63), rest_offsets (24, 3), trans2joint (3,), obj_trans (T, 3, 1), obj_rot (T, 3, 3), obj_scale
    (T,), obj_com_pos (T, 3); and ours: fps, body_model, object_name.

    trans is SMPL-X's: the pelvis is at rest pelvis + trans, and trans2joint = -rest pelvis. Fingers,
    jaw and eyes have no key in OMOMO and are lost. obj_scale is 1: a vertex is at obj_rot v + obj_trans.
    obj_com_pos is the mean of the vertices. rest_offsets are bones of the 22 body joints and of the two
    index fingers' first. Raises UserError when the clip has no such object.
    """
    if object_ >= len(clip.assets):
        raise UserError("omomo needs an object, and this result has none. Leave it out of --to.")
    asset = clip.assets[object_]
    clip = turned_clip(resample_clip(clip, FPS), Z_UP_FROM_Y_UP)
    who, poses = clip.people[person], clip.Ts_world_object[object_].astype(np.float64)
    rest = np.asarray(who.shaped.joints_rest, np.float32)
    parents = [max(JOINT_PARENTS[joint], 0) for joint in JOINTS24]
    offsets = rest[list(JOINTS24)] - rest[parents]
    offsets[0] = rest[0]
    rotations = who.joint_rotations.astype(np.float32)
    center = asset.vertices.astype(np.float64).mean(0)
    arrays = {
        "seq_name": np.array(f"sub{person + 1}_{asset.name}_000"),
        "betas": smplx_betas(who)[None],
        "gender": np.array("neutral"),
        "trans": who.translations.astype(np.float32),
        "root_orient": rotations[:, 0],
        "pose_body": rotations[:, 1:22].reshape(len(rotations), 63),
        "rest_offsets": offsets,
        "trans2joint": -rest[0],
        "obj_trans": poses[:, :3, 3:].astype(np.float32),
        "obj_rot": poses[:, :3, :3].astype(np.float32),
        "obj_scale": np.ones(len(poses), np.float32),
        "obj_com_pos": (poses[:, :3, :3] @ center + poses[:, :3, 3]).astype(np.float32),
        "fps": np.float64(FPS),
        "body_model": np.array(who.body_name),
        "object_name": np.array(asset.name),
    }
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    return Path(path)
