"""SMPL-X and SMPL-H bodies from the user's own licensed npz file."""

from pathlib import Path

import numpy as np

from hoijax.bodies.kinematics import JOINT_COUNT, JOINT_NAMES, JOINT_PARENTS, SMPLH_JOINTS
from hoijax.bodies.parts import find_face_vertices, part_ids_from_skin
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bodies.skinning import build_skin, sparse_weights
from hoijax.errors import UserError
from hoijax.io.arrays import Field, field_problems
from hoijax.io.npz import read_npz, read_regular_file

HOW_TO_GET = (
    "SMPL-X and SMPL-H are licensed: register at https://smpl-x.is.tue.mpg.de or https://mano.is.tue.mpg.de, "
    "download the npz (SMPLX_NEUTRAL.npz, or model.npz of the extended SMPL+H) and pass its path; "
    "the body 'anny' ships with hoijax and needs no file"
)

_HEAD = JOINT_NAMES.index("head")

_METERS = 10.0  # no part of a person at rest, and no shape direction, is larger
_FIELDS = {
    "v_template": Field("V 3", largest=_METERS),
    "shapedirs": Field("V 3 B", largest=_METERS),
    "posedirs": Field("V 3 P", largest=_METERS),
    "J_regressor": Field("J V", largest=_METERS),
    "kintree_table": Field("2 J", kinds="iu"),
    "weights": Field("V J", lowest=-1e-6, largest=1.0 + 1e-3),
    "f": Field("F 3", kinds="iu"),
}


def load_smplx(path: str | Path, betas: int = 10) -> SkinnedBody:
    """Read an SMPL-X (55 joints) or SMPL-H (52 joints) npz; the first `betas` shape directions are kept.

    Hands are flat at zero rotation (the file's mean hand is not added), and there is no expression space.
    Pose correctives are kept; `shaped.replace(pose_correctives=None)` drops them for speed. Nothing pickled
    is read. UserError if the file is missing, unreadable, or not of this format, naming every problem.
    """
    path = Path(path).expanduser()
    arrays = _read(path)
    targets = np.array(_check(path, arrays))
    template = arrays["v_template"].astype(np.float32)
    regressor = arrays["J_regressor"].astype(np.float64)
    directions = arrays["shapedirs"][..., :betas].astype(np.float64)
    joints, joint_directions = _on_tree(
        regressor @ arrays["v_template"], np.einsum("jv,vcb->jcb", regressor, directions), targets
    )
    dense = np.zeros((len(template), JOINT_COUNT), np.float32)
    dense[:, targets] = arrays["weights"]
    indices, weights = sparse_weights(dense)
    part_ids = part_ids_from_skin(template, joints, indices, weights)
    return SkinnedBody(
        template=template,
        shape_directions=directions.astype(np.float32),
        joints_template=joints,
        joints_directions=joint_directions,
        pose_correctives=_correctives_on_tree(arrays["posedirs"], targets),
        skin_indices=indices,
        skin_weights=weights,
        faces=arrays["f"].astype(np.int32),
        part_ids=part_ids,
        face_vertices=find_face_vertices(template, joints, part_ids),
        skin=build_skin(indices, weights),
        name=path.stem,
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"no body file at {path.resolve()}. {HOW_TO_GET}")
    if path.suffix != ".npz":
        raise UserError(
            f"{path.resolve()} is not an npz file; pickled bodies (.pkl) are never read. {HOW_TO_GET}"
        )
    try:
        arrays, damage = read_npz(read_regular_file(path), "the file")
    except OSError as error:
        raise UserError(f"{path.resolve()}: {error.strerror or error}. {HOW_TO_GET}") from error
    if "" in damage:
        raise UserError(f"{path.resolve()} is not a readable npz file ({damage['']}). {HOW_TO_GET}")
    # Real files also hold pickled keys that nothing here needs.
    problems = [damage[key] for key in _FIELDS if key in damage]
    present = {key: field for key, field in _FIELDS.items() if key not in damage}
    problems += field_problems(arrays, present, "the file")
    if problems:
        raise UserError(_not_a_body(path, problems))
    return arrays


def _not_a_body(path: Path, problems: list[str]) -> str:
    listed = "; ".join(problems)
    return f"{path.resolve()} is not an SMPL-X or SMPL-H body: {listed}. {HOW_TO_GET}"


def _check(path: Path, arrays: dict[str, np.ndarray]) -> tuple[int, ...]:
    """Places of the file's joints on the 55-joint tree, after checking what the arrays say together."""
    count = arrays["weights"].shape[1]
    targets = {55: tuple(range(JOINT_COUNT)), 52: SMPLH_JOINTS}.get(count, ())
    problems = (
        _check_joints(arrays, targets)
        if targets
        else [f"it has {count} joints, expected 55 (SMPL-X) or 52 (SMPL-H)"]
    )
    if problems:
        raise UserError(_not_a_body(path, problems))
    return targets


def _check_joints(arrays: dict[str, np.ndarray], targets: tuple[int, ...]) -> list[str]:
    problems = []
    parents = [targets.index(JOINT_PARENTS[t]) for t in targets[1:]]
    if arrays["kintree_table"][0, 1:].tolist() != parents:
        problems.append("kintree_table is not the SMPL-X joint tree")
    if arrays["posedirs"].shape[-1] != 9 * (len(targets) - 1):
        problems.append(
            f"posedirs has {arrays['posedirs'].shape[-1]} directions, expected {9 * (len(targets) - 1)}"
        )
    if (
        not arrays["f"].size
        or arrays["f"].min() < 0
        or arrays["f"].max() >= len(arrays["v_template"])
    ):
        problems.append("f names vertices that do not exist")
    if not np.allclose(arrays["weights"].sum(1), 1.0, atol=1e-3):
        problems.append("weights of a vertex do not sum to one")
    return problems


def _on_tree(
    joints: np.ndarray, directions: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Joints on the 55-joint tree; those the file lacks sit on the head joint."""
    source = np.full(JOINT_COUNT, int(np.flatnonzero(targets == _HEAD)[0]))
    source[targets] = np.arange(len(targets))
    return joints[source].astype(np.float32), directions[source].astype(np.float32)


def _correctives_on_tree(posedirs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Pose correctives (V, 3, 486) on the 54 joints below the pelvis; zero for joints the file lacks."""
    count = posedirs.shape[0]
    full = np.zeros((count, 3, JOINT_COUNT - 1, 9), np.float32)
    full[:, :, targets[1:] - 1] = posedirs.reshape(count, 3, len(targets) - 1, 9)
    return full.reshape(count, 3, -1)
