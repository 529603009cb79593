"""People and objects as meshes in time, for evaluation: from result folders and from other programs' files."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.affordance.graph import HANDS
from hoijax.bodies import load_body
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.schema import GroundTruth
from hoijax.errors import UserError
from hoijax.exporters.clip import Clip, clip_from_result, make_person
from hoijax.importers.containers import read_arrays
from hoijax.importers.files import (
    import_amass,
    import_gvhmr,
    import_interact,
    import_omomo,
    import_recording,
)
from hoijax.importers.intermimic import import_intermimic
from hoijax.importers.mesh_folders import mesh_folders, read_mesh_folders
from hoijax.importers.motion import ImportedMotion
from hoijax.io.npz import read_npz
from hoijax.objects.asset import Asset, load_asset
from hoijax.results.protocols.mesh_motion import MeshMotion
from hoijax.results.result import Result

MESH_KEYS = ("body_vertices", "body_faces", "object_vertices", "object_faces", "fps")
NO_OBJECT = (
    "{}: moves no object; human-object protocols need one. Add object_names, object_rotations and "
    "object_translations (docs/exports.md)."
)
LONG, LYING = 1.3, 2.0
"""Metres, and times its height: of a body that lies, or of a file with another up axis."""
HEIGHTS = (0.3, 4.0)
"""Metres that a body may reach from its lowest to its highest vertex; else another unit is meant."""
SIZES = (1e-3, 50.0)
"""Metres of the diagonal of an object's box; else another unit is meant."""
FAR = 50.0
"""Metres from the body that an object must come within."""


def motions_of_result(result: Result) -> tuple[MeshMotion, ...]:
    """The winner's person and object pairs: objects of the first person first."""
    body = load_body(result.body_name)
    return motions_of_clip(clip_from_result(result, body), body)


def motions_of_ground_truth(result: Result, ground_truth: GroundTruth) -> tuple[MeshMotion, ...]:
    """The same pairs as they truly moved."""
    body = load_body(result.body_name)
    people = tuple(
        make_person(body, *arrays)
        for arrays in zip(
            ground_truth.body_rotations,
            ground_truth.body_translations,
            ground_truth.body_betas,
            ground_truth.body_rest_joints,
            strict=True,
        )
    )
    clip = Clip(result.fps, people, result.assets, ground_truth.Ts_world_object)
    return motions_of_clip(clip, body)


def motions_of_clip(clip: Clip, body: SkinnedBody) -> tuple[MeshMotion, ...]:
    """Every person with every object of a clip."""
    parts = np.asarray(body.part_ids)
    motions = []
    for person in clip.people:
        for o, asset in enumerate(clip.assets):
            poses = clip.Ts_world_object[o]
            moved = asset.vertices @ poses[:, :3, :3].swapaxes(-1, -2) + poses[:, None, :3, 3]
            motions.append(
                MeshMotion(
                    fps=clip.fps,
                    body_vertices=person.vertices_world,
                    body_faces=np.asarray(body.faces),
                    object_vertices=moved,
                    object_faces=asset.faces,
                    body_joints=person.Ts_world_joint[..., :3, 3],
                    hand_vertices=np.flatnonzero(np.isin(parts, HANDS)),
                    body_parts=parts,
                    object_name=asset.name,
                )
            )
    return tuple(motions)


def read_mesh_motions(
    path: str | Path,
    objects: Sequence[str | Path] = (),
    body: str = "anny",
    fps: float | None = None,
) -> tuple[MeshMotion, ...]:
    """Pairs of an npz of vertices, two folders of meshes, or AMASS, OMOMO, InterAct or InterMimic motion.

    docs/metrics.md lists the keys. fps: frames a second, where the file does not say (it wins over it).
    objects: mesh files of a motion's objects, in its order. body: the body that a motion moves; its own
    SMPL-X file for exact numbers, else a body of ours stood on the ground where the file leaves that
    open. Raises UserError for what is missing, of another unit, or not a motion.
    """
    path = Path(path)
    given = {} if fps is None else {"fps": np.asarray(fps)}
    folders = mesh_folders(path)
    if folders is not None:
        arrays = read_mesh_folders(folders) | given
        if "fps" not in arrays:
            raise UserError(f"'{path}': meshes have no frame rate; give it with --fps.")
        return (_mesh_pair(path, arrays),)
    if path.is_dir():
        human = path / "human.npz"
        if not human.is_file():
            raise UserError(
                f"'{path}' is no result folder and has neither human.npz (InterAct) nor "
                "folders human and object of meshes, one a frame."
            )
        rest = sorted(p for p in path.glob("*.npz") if p != human)
        return _moved_bodies(import_interact(human, rest), objects, body)
    if path.suffix.lower() == ".pt":
        return _moved_bodies(_from_tensors(path), objects, body)
    keys = _keys(path) | given
    if {"body_vertices", "object_vertices"} <= keys.keys():
        return (_mesh_pair(path, keys),)
    if {"pose_body", "obj_rot"} <= keys.keys():
        return _moved_bodies(import_omomo(path), objects, body)
    if {"root_orient", "pose_body", "object_rotation"} <= keys.keys():
        return _moved_bodies(import_recording(path), objects, body)
    if keys.get("motion", np.zeros(0)).ndim == 2:
        return _moved_bodies(import_intermimic(path), objects, body)
    if "poses" in keys:
        if "object_names" not in keys:
            raise UserError(NO_OBJECT.format(path))
        return _moved_bodies(import_amass(path), objects, body)
    raise UserError(
        f"{path}: no motion that can be evaluated. Give a result folder, an npz with {', '.join(MESH_KEYS)}, "
        "two folders of meshes, or AMASS, OMOMO, InterAct or InterMimic motion with objects."
    )


def _from_tensors(path: Path) -> ImportedMotion:
    """A .pt: InterMimic's tensor, or GVHMR's dictionary."""
    arrays = read_arrays(path)
    if any(key.startswith("smpl_params") for key in arrays):
        return import_gvhmr(path)
    return import_intermimic(path)


def _keys(path: Path) -> dict[str, ndarray]:
    try:
        arrays, problems = read_npz(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if "" in problems:
        raise UserError(problems[""])
    return arrays


def _moved_bodies(
    motion: ImportedMotion, objects: Sequence[str | Path], body: str
) -> tuple[MeshMotion, ...]:
    if not motion.object_names:
        raise UserError(NO_OBJECT.format(motion.source))
    if len(objects) != len(motion.object_names):
        raise UserError(
            f"{motion.source} moves {', '.join(motion.object_names)}: give the mesh of each with "
            f"--objects, in this order; {len(objects)} were given."
        )
    assets: list[Asset] = [load_asset(mesh) for mesh in objects]
    model = load_body(body)
    at_rest = motion.rest_pelvis is not None or model.name.startswith("smpl")
    motions = motions_of_clip(motion.clip(model, assets, on_ground=not at_rest), model)
    for one in motions:
        _check_metres(motion.source, one)
    return motions


def _warn_about_up(path: Path, body: Float[ndarray, "T V 3"]) -> None:
    """Warn of a body that is tall along another axis than y: it lies, or the file has another up axis."""
    wide, tall, deep = np.median(np.ptp(body, axis=1), axis=0)
    if deep > max(LONG, LYING * tall, wide):
        warnings.warn(
            f"{path}: the body measures {tall:.2f} m along y, which is up here, and {deep:.2f} m along z. If it "
            "does not lie, the file is z up: turn (x, y, z) into (x, z, -y).",
            stacklevel=3,
        )


def _mesh_pair(path: Path, arrays: dict[str, ndarray]) -> MeshMotion:
    missing = [key for key in MESH_KEYS if key not in arrays]
    if missing:
        raise UserError(
            f"{path}: it has no {', '.join(missing)}; {', '.join(MESH_KEYS)} are needed."
        )
    rate = arrays["fps"].reshape(-1)
    if rate.size != 1 or not 0 < float(rate[0]) < 1e4:
        raise UserError(f"{path}: fps must be one positive number, found {arrays['fps']}")
    points = {key: _points(path, key, arrays[key]) for key in ("body_vertices", "object_vertices")}
    frames = {len(p) for p in points.values()}
    if "joints" in arrays:
        points["body_joints"] = _points(path, "joints", arrays["joints"])
        frames.add(len(points["body_joints"]))
        if points["body_joints"].shape[1] < 22:
            raise UserError(f"{path}: joints must be 22 or more in SMPL's order")
    if len(frames) != 1:
        raise UserError(f"{path}: arrays of different numbers of frames: {sorted(frames)}")
    low, high = HEIGHTS
    height = float(np.median(np.ptp(points["body_vertices"], axis=1).max(axis=-1)))
    if not low < height < high:
        raise UserError(
            f"{path}: the body measures {height:g}; vertices must be in metres (y up). Scale the file."
        )
    _warn_about_up(path, points["body_vertices"])
    faces = {
        what: _indices(path, arrays[f"{what}_faces"], points[f"{what}_vertices"], 3)
        for what in ("body", "object")
    }
    hands = arrays.get("hand_vertices")
    motion = MeshMotion(
        fps=float(rate[0]),
        hand_vertices=None if hands is None else _indices(path, hands, points["body_vertices"]),
        body_vertices=points["body_vertices"],
        object_vertices=points["object_vertices"],
        body_joints=points.get("body_joints"),
        body_faces=faces["body"],
        object_faces=faces["object"],
    )
    _check_metres(path, motion)
    return motion


def _check_metres(path: str | Path, motion: MeshMotion) -> None:
    """Refuse objects of another unit: of a size that none has, or never within FAR of the body."""
    name = f"the object {motion.object_name}".rstrip()
    size = float(np.linalg.norm(np.ptp(motion.object_vertices[0], axis=0)))
    low, high = SIZES
    if not low < size < high:
        raise UserError(f"{path}: {name} measures {size:g}; meshes must be in metres. Scale it.")
    ways = motion.object_vertices.mean(axis=1) - motion.body_vertices.mean(axis=1)
    apart = float(np.linalg.norm(ways, axis=-1).min())
    if apart > FAR:
        raise UserError(
            f"{path}: {name} is never nearer than {apart:.0f} m to the body; translations must be in metres, of "
            "one world. Scale or move them."
        )


def _points(path: Path, key: str, array: ndarray) -> ndarray:
    good = array.ndim == 3 and array.shape[-1] == 3 and array.size
    if not good or not np.issubdtype(array.dtype, np.floating):
        found = f"{array.dtype} {array.shape}"
        raise UserError(f"{path}: {key} must be decimal numbers (T, N, 3), found {found}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=(1, 2)))
    if len(bad):
        raise UserError(
            f"{path}: {key} is NaN or infinite in {len(bad)} of {len(array)} frames, first in frame {bad[0]}; "
            "leave them out or fill them."
        )
    return array.astype(np.float64)


def _indices(path: Path, array: ndarray, vertices: ndarray, columns: int = 0) -> ndarray:
    good = array.ndim == (2 if columns else 1) and (not columns or array.shape[-1] == columns)
    good = good and np.issubdtype(array.dtype, np.integer) and array.size
    if not good or array.min() < 0 or array.max() >= vertices.shape[1]:
        raise UserError(f"{path}: faces and hand_vertices must be indices of its vertices.")
    return array.astype(np.int64)
