"""Readers of AMASS, GVHMR, OMOMO and InterAct files as motion in the world. No pickle."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy import ndarray

from hoijax.bodies.kinematics import SMPLH_JOINTS, rotations_from_smplh
from hoijax.errors import UserError
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP, compose_rigid
from hoijax.importers.containers import read_arrays
from hoijax.importers.motion import ImportedMotion
from hoijax.io.arrays import Field, field_problems
from hoijax.io.npz import read_npz, read_regular_file
from hoijax.io.validation import count_of, numbered

Y_UP, Z_UP = np.eye(3), Z_UP_FROM_Y_UP.astype(np.float64).T
"""Rotations from a file's axes to ours."""
LARGEST_TURN = 1e3
"""Axis-angles beyond this (radians) are in degrees, or damage."""
LARGEST_PLACE = 1e4
"""Metres: nobody walks further in a clip."""
LARGEST_BETA = 50.0
_TEXT = Field(None, kinds="US", needed=False)
_BODY = {
    "betas": Field(None, largest=LARGEST_BETA, needed=False),
    "gender": _TEXT,
    "up_axis": _TEXT,
    "rest_joints": Field("55 3", largest=LARGEST_PLACE, needed=False),
    "rest_pelvis": Field("3", largest=LARGEST_PLACE, needed=False),
}
_TRANSLATIONS = Field("T 3", largest=LARGEST_PLACE)
"""What is the same in all files; a file's reader adds its own keys."""


def import_amass(path: str | Path, *, up: str | None = None) -> ImportedMotion:
    """An AMASS npz of SMPL-X (165 columns) or SMPL-H (156).

    up: "y" or "z"; by default what the file says (`up_axis`, ours), else z, as AMASS has it. The objects
    that hoijax writes beside the body are read too. UserError names what is missing or misshapen.
    """
    arrays = _read(
        path,
        {
            "poses": Field("T D", largest=LARGEST_TURN),
            "trans": _TRANSLATIONS,
            "object_names": Field("O", kinds="US", needed=False),
            "object_rotations": Field("O T 3 3", is_rotation=True, needed=False),
            "object_translations": Field("O T 3", largest=LARGEST_PLACE, needed=False),
        },
    )
    poses, trans = _motion(path, arrays["poses"], arrays["trans"], (165, 156))
    rate = arrays.get("mocap_frame_rate", arrays.get("mocap_framerate"))
    if rate is None:
        raise UserError(f"{path}: not an AMASS npz: it has no mocap_frame_rate")
    axis = _text(arrays, "up_axis", "z") if up is None else up
    if axis not in ("y", "z"):
        raise UserError(f"{path}: the up axis must be y or z, not '{axis}'")
    names = tuple(str(name) for name in arrays.get("object_names", np.zeros(0, np.str_)))
    poses_of_objects = np.zeros((0, len(poses), 4, 4), np.float32)
    if names:
        poses_of_objects = _poses(path, arrays, "object_rotations", "object_translations")
    return ImportedMotion(
        source=str(path),
        fps=_rate(path, rate),
        joint_rotations=poses,
        translations=trans,
        betas=_betas(arrays),
        gender=_text(arrays, "gender", "neutral"),
        turn=Y_UP if axis == "y" else Z_UP,
        object_names=names,
        Ts_file_object=poses_of_objects,
        **_rest(arrays),
    )


def import_gvhmr(path: str | Path, *, fps: float = 30.0) -> ImportedMotion:
    """GVHMR's hmr4d_results.pt, an npz of it, or of its `smpl_params_global` alone; y up.

    fps: of the video; GVHMR stores none and works at 30. UserError names what is missing or misshapen.
    """
    turns = Field("T 3", largest=LARGEST_TURN)
    fields = {
        "body_pose": Field("T 63", largest=LARGEST_TURN),
        "global_orient": turns,
        "transl": _TRANSLATIONS,
    }
    arrays = {
        key.removeprefix("smpl_params_global_"): array for key, array in read_arrays(path).items()
    }
    _refuse(path, field_problems(arrays, {**_BODY, **fields}, str(path)))
    body = arrays["body_pose"]
    table = np.concatenate([arrays["global_orient"], body, np.zeros((len(body), 90))], axis=1)
    poses, trans = _motion(path, table, arrays["transl"], (156,))
    return ImportedMotion(
        source=str(path),
        fps=_rate(path, fps),
        joint_rotations=poses,
        translations=trans,
        betas=_betas(arrays),
        gender="neutral",
        turn=Y_UP,
    )


def import_omomo(path: str | Path) -> ImportedMotion:
    """One sequence with OMOMO's keys as an npz (docs/exports.md has the keys); z up, 30 fps.

    The data set is one pickle of many sequences, which is not read: load it where you trust it and
    `numpy.savez(f"{d['seq_name']}.npz", **d)` each one. `trans` is taken as SMPL-X's. UserError names
    what is missing; an obj_scale other than 1 belongs into the mesh and is refused.
    """
    turns = Field(None, largest=LARGEST_TURN)
    arrays = _read(
        path,
        {
            "trans": _TRANSLATIONS,
            "root_orient": turns,
            "pose_body": turns,
            "obj_trans": Field(None, largest=LARGEST_PLACE),
            "obj_rot": Field(None),
            "obj_scale": Field(None, needed=False),
            "trans2joint": Field(None, largest=LARGEST_PLACE, needed=False),
            "seq_name": _TEXT,
            "object_name": _TEXT,
        },
    )
    frames = len(arrays["trans"])
    # OMOMO keeps axes of length one here and there: (T, 3, 1), (T, 1, 3)
    shapes = {"root_orient": (frames, 3), "pose_body": (frames, 63), "trans2joint": (3,)}
    shapes |= {"obj_trans": (1, frames, 3), "obj_rot": (1, frames, 3, 3)}
    for key, shape in shapes.items():
        if key in arrays:
            arrays[key] = _reshaped(path, key, arrays[key], shape)
    body = np.concatenate(
        [arrays["root_orient"], arrays["pose_body"], np.zeros((frames, 90))], axis=1
    )
    poses, trans = _motion(path, body, arrays["trans"], (156,))
    scale = arrays.get("obj_scale", np.ones(1))
    if not np.allclose(scale, 1.0, atol=1e-4):
        raise UserError(
            f"{path}: obj_scale is {float(scale.flat[0]):g}; scale the mesh by it, then set it to 1."
        )
    words = _text(arrays, "seq_name", "").split("_")
    name = _text(arrays, "object_name", words[1] if len(words) > 1 else "object")
    pelvis = -arrays["trans2joint"] if "trans2joint" in arrays else None
    return ImportedMotion(
        source=str(path),
        fps=_rate(path, arrays.get("fps", 30.0)),
        joint_rotations=poses,
        translations=trans,
        betas=_betas(arrays),
        gender=_text(arrays, "gender", "neutral"),
        turn=Z_UP,
        rest_pelvis=pelvis,
        object_names=(name,),
        Ts_file_object=_poses(path, arrays, "obj_rot", "obj_trans"),
    )


def import_recording(path: str | Path) -> ImportedMotion:
    """A recording whose npz has SMPL-H's rotations part by part and the person's own bones; y up.

    Keys: root_orient (T, 3), pose_body (T, 63), pose_hand (T, 90), trans (T, 3) of the pelvis itself,
    rest_joints (52, 3) from the pelvis, object_rotation (T, 3, 3), object_translation (T, 3), fps,
    object_name. Jaw and eyes are not recorded: they stay at the head.
    """
    widths = {"root_orient": 3, "pose_body": 63, "pose_hand": 90}
    fields = {key: Field(f"T {width}", largest=LARGEST_TURN) for key, width in widths.items()}
    fields |= {
        "trans": _TRANSLATIONS,
        "rest_joints": Field("52 3", largest=LARGEST_PLACE),
        "object_rotation": Field("T 3 3", is_rotation=True),
        "object_translation": Field("T 3", largest=LARGEST_PLACE),
        "object_name": _TEXT,
    }
    arrays = _read(path, fields)
    turns = np.concatenate([arrays[key] for key in widths], axis=1)
    poses, trans = _motion(path, turns, arrays["trans"], (156,))
    rest = np.repeat(arrays["rest_joints"][15:16], 55, axis=0).astype(np.float32)
    rest[list(SMPLH_JOINTS)] = arrays["rest_joints"]
    return ImportedMotion(
        source=str(path),
        fps=_rate(path, arrays.get("fps", 30.0)),
        joint_rotations=poses,
        translations=trans - rest[0],
        betas=_betas(arrays),
        gender=_text(arrays, "gender", "neutral"),
        turn=Y_UP,
        rest_pelvis=rest[0],
        rest_joints=rest,
        object_names=(_text(arrays, "object_name", "object"),),
        Ts_file_object=compose_rigid(arrays["object_rotation"], arrays["object_translation"])[None],
    )


def import_interact(human: str | Path, objects: Sequence[str | Path] = ()) -> ImportedMotion:
    """InterAct's human.npz and any object.npz of one sequence; y up, 30 fps unless the file says."""
    from scipy.spatial.transform import Rotation

    fields = {"poses": Field("T 156", largest=LARGEST_TURN), "trans": _TRANSLATIONS}
    arrays = _read(human, fields)
    poses, trans = _motion(human, arrays["poses"], arrays["trans"], (156,))
    names, placed = [], []
    for path in objects:
        fields = {"angles": Field("T 3", largest=LARGEST_TURN), "trans": _TRANSLATIONS}
        track = _read(path, fields | {"name": _TEXT}, sizes={"T": len(trans)})
        names.append(_text(track, "name", "object"))
        turns = Rotation.from_rotvec(track["angles"].astype(np.float64)).as_matrix()
        placed.append(compose_rigid(turns, track["trans"]))
    return ImportedMotion(
        source=str(human),
        fps=_rate(human, arrays.get("fps", 30.0)),
        joint_rotations=poses,
        translations=trans,
        betas=_betas(arrays),
        gender=_text(arrays, "gender", "neutral"),
        turn=Y_UP,
        object_names=tuple(names),
        Ts_file_object=np.stack(placed) if placed else np.zeros((0, len(trans), 4, 4), np.float32),
        **_rest(arrays),
    )


def _read(
    path: str | Path,
    fields: Mapping[str, Field],
    sizes: Mapping[str, int] | None = None,
) -> dict[str, ndarray]:
    """Arrays of an npz, checked. What is pickled stays unread; texts that are optional may be, as in AMASS."""
    try:
        content = read_regular_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    arrays, damage = read_npz(content, str(path))
    if "" in damage:
        raise UserError(f"{damage['']}.")
    fields = {**_BODY, **fields}
    problems = [damage[key] for key, field in fields.items() if field != _TEXT and key in damage]
    known = {key: field for key, field in fields.items() if key not in damage}
    problems += field_problems(arrays, known, str(path), sizes)
    if "betas" in arrays and arrays["betas"].ndim == 0:
        problems.append(f"{path}: key 'betas': expected a row of numbers, found one number")
    _refuse(path, problems)
    return arrays


def _refuse(path: str | Path, problems: list[str]) -> None:
    if problems:
        raise UserError(f"{path} has {count_of(problems)}:\n{numbered(problems)}")


def _motion(
    path: str | Path, poses: ndarray, trans: ndarray, widths: tuple[int, ...]
) -> tuple[ndarray, ndarray]:
    """(rotations (T, 55, 3), translations (T, 3)) from a table of 165 or 156 columns; float32."""
    if poses.shape[1] not in widths or not len(poses):
        expected = " or ".join(str(width) for width in widths)
        raise UserError(
            f"{path}: expected poses of {expected} columns and at least one frame, found {poses.shape}"
        )
    if poses.shape[1] == 165:
        rotations = poses.reshape(-1, 55, 3).astype(np.float32)
    else:
        rotations = rotations_from_smplh(poses.reshape(-1, 52, 3))
    return rotations, trans.astype(np.float32)


def _reshaped(path: str | Path, key: str, array: ndarray, shape: tuple[int, ...]) -> ndarray:
    if array.size != np.prod(shape):
        raise UserError(f"{path}: key {key!r}: expected shape {shape}, found {array.shape}")
    return array.reshape(shape)


def _poses(
    path: str | Path, arrays: Mapping[str, ndarray], rotations: str, translations: str
) -> ndarray:
    """(O, T, 4, 4) from the keys of rotations (O, T, 3, 3) and translations (O, T, 3)."""
    poses = {key: arrays[key] for key in (rotations, translations) if key in arrays}
    fields = {rotations: Field("O T 3 3", is_rotation=True), translations: Field("O T 3")}
    if problems := field_problems(poses, fields, str(path)):
        raise UserError("; ".join(problems))
    return compose_rigid(arrays[rotations], arrays[translations])


def _rest(arrays: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """Rest joints and pelvis where the file has them, as those of hoijax do."""
    if "rest_joints" not in arrays:
        return {}
    rest = arrays["rest_joints"].astype(np.float32)
    pelvis = arrays.get("rest_pelvis", rest[0]).astype(np.float32)
    return {"rest_joints": rest, "rest_pelvis": pelvis}


def _betas(arrays: Mapping[str, ndarray]) -> ndarray:
    """One row of shape parameters; the mean where the file has a row a frame."""
    betas = np.atleast_1d(arrays.get("betas", np.zeros(10))).astype(np.float32)
    if not betas.size:
        return np.zeros(10, np.float32)
    return betas.reshape(-1, betas.shape[-1]).mean(axis=0)


def _rate(path: str | Path, value) -> float:
    rate = np.asarray(value).reshape(-1)
    if rate.size != 1 or rate.dtype.kind not in "fiu" or not 0.1 <= rate[0] < 1e4:
        raise UserError(f"{path}: the frame rate must be one positive number, found {value}")
    return float(rate[0])


def _text(arrays: Mapping[str, ndarray], key: str, default: str) -> str:
    """A string array as str; AMASS has some of them as bytes."""
    if key not in arrays:
        return default
    value = arrays[key].reshape(-1)[0] if arrays[key].size else default
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
