"""Readers of AMASS, GVHMR, OMOMO and InterAct files. Plain npz only: no pickle, no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy import ndarray

from hoijax.bodies.kinematics import rotations_from_smplh
from hoijax.errors import UserError
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP, compose_rigid
from hoijax.importers.motion import ImportedMotion
from hoijax.io.npz import read_npz

Y_UP, Z_UP = np.eye(3), Z_UP_FROM_Y_UP.astype(np.float64).T
"""Rotations from a file's axes to ours."""
GVHMR_HINT = (
    "GVHMR writes hmr4d_results.pt; with torch, turn it into an npz once: "
    'r = torch.load("hmr4d_results.pt", weights_only=True)["smpl_params_global"]; '
    'numpy.savez("gvhmr.npz", **{k: v.numpy() for k, v in r.items()})'
)


def import_amass(path: str | Path, *, up: str | None = None) -> ImportedMotion:
    """An AMASS npz of SMPL-X (165 columns) or SMPL-H (156).

    up: "y" or "z"; by default what the file says (`up_axis`, ours), else z, as AMASS has it. The objects
    that hoijax writes beside the body are read too. UserError names what is missing or misshapen.
    """
    arrays = _read(path, ("poses", "trans"))
    poses, trans = _motion(path, arrays["poses"], arrays["trans"], (165, 156))
    rate = arrays.get("mocap_frame_rate", arrays.get("mocap_framerate"))
    if rate is None:
        raise UserError(f"{path}: not an AMASS npz: it has no mocap_frame_rate")
    said = _text(arrays, "up_axis", "z") if up is None else up
    if said not in ("y", "z"):
        raise UserError(f"{path}: the up axis must be y or z, not '{said}'")
    names = tuple(str(name) for name in arrays.get("object_names", np.zeros(0, np.str_)))
    poses_of_objects = np.zeros((0, len(poses), 4, 4), np.float32)
    if names:
        poses_of_objects = _poses(
            path, arrays, ("object_rotations", "object_translations"), (len(names), len(poses))
        )
    return ImportedMotion(
        source=str(path),
        fps=_rate(path, rate),
        joint_rotations=poses,
        translations=trans,
        betas=_betas(arrays),
        gender=_text(arrays, "gender", "neutral"),
        turn=Y_UP if said == "y" else Z_UP,
        object_names=names,
        Ts_file_object=poses_of_objects,
        **_rest(path, arrays),
    )


def import_gvhmr(path: str | Path, *, fps: float = 30.0) -> ImportedMotion:
    """GVHMR's `smpl_params_global` as an npz: body_pose (T, 63), global_orient, transl, betas; y up.

    fps: of the video; GVHMR stores none and works at 30. UserError tells how to make the npz.
    """
    if Path(path).suffix in (".pt", ".pth", ".pkl"):
        raise UserError(f"{path}: hoijax reads no torch or pickle files. {GVHMR_HINT}")
    arrays = _read(path, ("body_pose", "global_orient", "transl"), GVHMR_HINT)
    body = arrays["body_pose"]
    if body.ndim != 2 or body.shape[1] != 63 or arrays["global_orient"].shape != (len(body), 3):
        raise UserError(
            f"{path}: expected body_pose (T, 63) and global_orient (T, 3), found {body.shape} and "
            f"{arrays['global_orient'].shape}. {GVHMR_HINT}"
        )
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
    needed = ("trans", "root_orient", "pose_body", "obj_trans", "obj_rot")
    arrays = _read(path, needed)
    frames = len(arrays["trans"])
    body = np.concatenate(
        [
            arrays["root_orient"].reshape(frames, 3),
            arrays["pose_body"].reshape(frames, -1),
            np.zeros((frames, 90)),
        ],
        axis=1,
    )
    poses, trans = _motion(path, body, arrays["trans"], (156,))
    scale = arrays.get("obj_scale", np.ones(1))
    if not np.allclose(scale, 1.0, atol=1e-4):
        raise UserError(
            f"{path}: obj_scale is {float(scale.flat[0]):g}; scale the mesh by it, then set it to 1."
        )
    arrays["obj_trans"] = arrays["obj_trans"].reshape(1, -1, 3)
    arrays["obj_rot"] = arrays["obj_rot"].reshape(1, -1, 3, 3)
    words = _text(arrays, "seq_name", "").split("_")
    name = _text(arrays, "object_name", words[1] if len(words) > 1 else "object")
    pelvis = -arrays["trans2joint"].reshape(3) if "trans2joint" in arrays else None
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
        Ts_file_object=_poses(path, arrays, ("obj_rot", "obj_trans"), (1, frames)),
    )


def import_interact(human: str | Path, objects: Sequence[str | Path] = ()) -> ImportedMotion:
    """InterAct's human.npz and any object.npz of one sequence; y up, 30 fps unless the file says."""
    from scipy.spatial.transform import Rotation

    arrays = _read(human, ("poses", "trans"))
    poses, trans = _motion(human, arrays["poses"], arrays["trans"], (156,))
    names, placed = [], []
    for path in objects:
        thing = _read(path, ("angles", "trans"))
        if thing["angles"].shape != trans.shape or thing["trans"].shape != trans.shape:
            raise UserError(
                f"{path}: expected angles and trans of shape {trans.shape}, as {human} has frames; found "
                f"{thing['angles'].shape} and {thing['trans'].shape}"
            )
        names.append(_text(thing, "name", "object"))
        turns = Rotation.from_rotvec(thing["angles"].astype(np.float64)).as_matrix()
        placed.append(compose_rigid(turns, thing["trans"]))
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
        **_rest(human, arrays),
    )


def _read(path: str | Path, needed: Sequence[str], hint: str = "") -> dict[str, ndarray]:
    """Arrays of an npz. What is pickled in it stays unread, and is an error only where it is needed."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    arrays, problems = read_npz(content, str(path))
    if "" in problems:
        raise UserError(f"{problems['']}. {hint}".strip())
    missing = [key for key in needed if key not in arrays]
    if missing:
        reasons = [problems.get(key, f"{path}: it has no '{key}'") for key in missing]
        raise UserError(f"{'; '.join(reasons)}. {hint}".strip())
    return arrays


def _motion(
    path: str | Path, poses: ndarray, trans: ndarray, widths: tuple[int, ...]
) -> tuple[ndarray, ndarray]:
    """(rotations (T, 55, 3), translations (T, 3)) from a table of 165 or 156 columns; float32, finite."""
    expected = " or ".join(str(width) for width in widths)
    if (
        poses.ndim != 2
        or poses.shape[1] not in widths
        or trans.shape != (len(poses), 3)
        or not len(poses)
    ):
        raise UserError(
            f"{path}: expected poses of {expected} columns and trans (T, 3) of as many frames, "
            f"found {poses.shape} and {trans.shape}"
        )
    if not (np.isfinite(poses).all() and np.isfinite(trans).all()):
        raise UserError(f"{path}: poses or trans are not finite")
    if poses.shape[1] == 165:
        rotations = poses.reshape(-1, 55, 3).astype(np.float32)
    else:
        rotations = rotations_from_smplh(poses.reshape(-1, 52, 3))
    return rotations, trans.astype(np.float32)


def _poses(
    path: str | Path, arrays: Mapping[str, ndarray], keys: tuple[str, str], size: tuple[int, int]
) -> ndarray:
    """(O, T, 4, 4) from rotations (O, T, 3, 3) and translations (O, T, 3)."""
    rotations, translations = (arrays.get(key, np.zeros(0)) for key in keys)
    if rotations.shape != (*size, 3, 3) or translations.shape != (*size, 3):
        raise UserError(
            f"{path}: expected {keys[0]} {(*size, 3, 3)} and {keys[1]} {(*size, 3)}, found "
            f"{rotations.shape} and {translations.shape}"
        )
    gaps = rotations.swapaxes(-1, -2).astype(np.float64) @ rotations - np.eye(3)
    if not np.abs(gaps).max(initial=0.0) < 1e-3:
        raise UserError(f"{path}: {keys[0]} are not rotations (R^T R is not 1)")
    return compose_rigid(rotations, translations)


def _rest(path: str | Path, arrays: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """Rest joints and pelvis where the file has them, as those of hoijax do."""
    if "rest_joints" not in arrays:
        return {}
    rest = arrays["rest_joints"].astype(np.float32)
    if rest.shape != (55, 3):
        raise UserError(f"{path}: expected rest_joints (55, 3), found {rest.shape}")
    return {"rest_joints": rest, "rest_pelvis": rest[0]}


def _betas(arrays: Mapping[str, ndarray]) -> ndarray:
    """One row of shape parameters; the mean where the file has a row a frame."""
    betas = np.atleast_1d(arrays.get("betas", np.zeros(10))).astype(np.float32)
    return betas.reshape(-1, betas.shape[-1]).mean(axis=0)


def _rate(path: str | Path, value) -> float:
    rate = np.asarray(value, np.float64).reshape(-1)
    if rate.size != 1 or not 0.0 < rate[0] < 1e4:
        raise UserError(f"{path}: the frame rate must be one positive number, found {value}")
    return float(rate[0])


def _text(arrays: Mapping[str, ndarray], key: str, default: str) -> str:
    """A string array as str; AMASS has some of them as bytes."""
    if key not in arrays:
        return default
    value = arrays[key].reshape(-1)[0] if arrays[key].size else default
    return value.decode() if isinstance(value, bytes) else str(value)
