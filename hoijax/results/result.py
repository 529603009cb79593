"""What a solve returns, and the result folder it is saved to."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.errors import UserError
from hoijax.geometry.transforms import compose_rigid
from hoijax.io.npz import npz_bytes, read_npz
from hoijax.objects.articulated.joints import Joint, joint_rows, joints_between
from hoijax.objects.asset import Asset, load_asset, save_asset

RESULT_VERSION = 1


@dataclass(frozen=True)
class Result:
    """Poses of every candidate and the winner. Object poses are T_world_asset (the mesh's frame)."""

    prompt: str
    fps: float
    affordance: PartAffordanceGraph
    assets: tuple[Asset, ...]
    body_name: str
    body_rotations: Float[ndarray, "P T 55 3"]
    body_translations: Float[ndarray, "P T 3"]
    body_betas: Float[ndarray, "P B"]
    body_rest_joints: Float[ndarray, "P 55 3"]
    object_rotations: Float[ndarray, "K O T 3 3"]
    object_translations: Float[ndarray, "K O T 3"]
    losses: Float[ndarray, " K"]
    initial_losses: Float[ndarray, " K"]
    codes: Int[ndarray, " K"]
    labels: tuple[str, ...]
    """Where each candidate started."""
    term_names: tuple[str, ...]
    reports: Float[ndarray, "K n"]
    history: Float[ndarray, "K steps n"]
    contact: Bool[ndarray, "K E T"]
    """Frames in which each PAG edge group was taken to touch."""
    Ts_world_pointmap: Float[ndarray, "T 4 4"]
    candidate_body_rotations: Float[ndarray, "C P T 55 3"] | None = None
    """Bodies of every candidate, where the method moves bodies; else all share the winner's."""
    candidate_body_translations: Float[ndarray, "C P T 3"] | None = None
    joint_values: Float[ndarray, "K D T"] | None = None
    """Radians or metres of the joints between objects, where the method solved for them."""
    joints: tuple[Joint, ...] = ()
    """Between objects, by index: the links of articulated objects."""
    run: dict = field(default_factory=dict)
    """Settings, versions, device, times, bundle hash: what run.json holds."""

    @property
    def winner(self) -> int:
        """The candidate with the lowest finite loss."""
        return int(np.argmin(np.where(np.isfinite(self.losses), self.losses, np.inf)))

    @property
    def Ts_world_object(self) -> Float[ndarray, "O T 4 4"]:
        """The winner's object poses, T_world_asset."""
        return compose_rigid(
            self.object_rotations[self.winner], self.object_translations[self.winner]
        )

    def bodies_of(
        self, candidate: int
    ) -> tuple[Float[ndarray, "P T 55 3"], Float[ndarray, "P T 3"]]:
        """Body rotations and translations of one candidate."""
        if self.candidate_body_rotations is None or self.candidate_body_translations is None:
            return self.body_rotations, self.body_translations
        return self.candidate_body_rotations[candidate], self.candidate_body_translations[candidate]

    @property
    def frame_count(self) -> int:
        return int(self.body_translations.shape[1])


_OPTIONAL = ("candidate_body_rotations", "candidate_body_translations", "joint_values")


def _array_names() -> list[str]:
    plain = {
        "prompt",
        "fps",
        "affordance",
        "assets",
        "body_name",
        "labels",
        "term_names",
        "run",
        "joints",
    }
    plain |= set(_OPTIONAL)
    return [f.name for f in dataclasses.fields(Result) if f.name not in plain]


def save_result(result: Result, folder: str | Path) -> Path:
    """Write result.npz, run.json, affordance.json and objects/*.glb into an existing folder."""
    folder = Path(folder)
    (folder / "objects").mkdir(exist_ok=True)
    given = [name for name in _OPTIONAL if getattr(result, name) is not None]
    arrays = {name: np.asarray(getattr(result, name)) for name in (*_array_names(), *given)}
    (folder / "result.npz").write_bytes(npz_bytes(arrays))
    for asset in result.assets:
        save_asset(asset, folder / "objects" / f"{asset.name}.glb")
    (folder / "affordance.json").write_text(result.affordance.to_json())
    header = {
        "result_version": RESULT_VERSION,
        "prompt": result.prompt,
        "fps": result.fps,
        "body": result.body_name,
        "objects": [asset.name for asset in result.assets],
        **({"joints": joint_rows(result.joints, result.assets)} if result.joints else {}),
        "labels": list(result.labels),
        "term_names": list(result.term_names),
        "winner": result.winner,
    }
    (folder / "run.json").write_text(json.dumps(header | result.run, indent=2) + "\n")
    return folder


def load_result(folder: str | Path) -> Result:
    """Read a result folder. Raises UserError naming the file that is missing or damaged."""
    folder = Path(folder)
    for name in ("run.json", "result.npz", "affordance.json"):
        if not (folder / name).is_file():
            raise UserError(f"'{folder}' is not a result folder: {name} is missing.")
    try:
        header = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        if header["result_version"] != RESULT_VERSION:
            raise ValueError(f"version {header['result_version']}, expected {RESULT_VERSION}")
        names = [str(name) for name in header["objects"]]
        if any(Path(name).name != name for name in names):
            raise ValueError(f"run.json names objects outside the folder: {names}")
        stored, problems = read_npz((folder / "result.npz").read_bytes(), "result.npz")
        if problems:
            raise ValueError("; ".join(problems.values()))
        arrays = {name: stored[name] for name in _array_names()}
        arrays |= {name: stored[name] for name in _OPTIONAL if name in stored}
        _check_sizes(arrays, len(header["labels"]), len(names))
        return Result(
            prompt=str(header["prompt"]),
            fps=float(header["fps"]),
            affordance=PartAffordanceGraph.from_json(folder / "affordance.json"),
            assets=tuple(load_asset(folder / "objects" / f"{n}.glb", name=n) for n in names),
            body_name=str(header["body"]),
            labels=tuple(header["labels"]),
            term_names=tuple(header["term_names"]),
            joints=_read_joints(header.get("joints", []), names),
            run=header,
            **arrays,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise UserError(f"the result in '{folder}' is damaged: {reason}. Solve again.") from error


def _read_joints(rows: list[dict], names: list[str]) -> tuple[Joint, ...]:
    """Joints of run.json. Raises ValueError where they are none."""
    raw = [
        (
            str(row["name"]),
            str(row["kind"]),
            str(row["parent"]),
            str(row["child"]),
            np.array(row["T_parent_joint"], np.float64).reshape(4, 4),
            np.array(row["axis"], np.float64).reshape(3),
            (float(row.get("lower", -np.inf)), float(row.get("upper", np.inf))),
        )
        for row in rows
    ]
    joints, problems = joints_between(names, raw)
    if problems:
        raise ValueError("; ".join(problems))
    return joints


def _check_sizes(arrays: dict[str, ndarray], labels: int, objects: int) -> None:
    """Candidates, objects and frames must be the same in every array. Raises ValueError."""
    poses = arrays["object_translations"].shape
    if len(poses) != 4 or arrays["object_rotations"].shape != (*poses, 3):
        raise ValueError(f"object poses have shapes {arrays['object_rotations'].shape} and {poses}")
    per_candidate = ("losses", "initial_losses", "codes", "reports", "history", "contact")
    found = [labels, *(len(arrays[name]) for name in per_candidate)]
    if set(found) != {poses[0]}:
        raise ValueError(
            f"{poses[0]} candidates, but labels, {', '.join(per_candidate)} of {found}"
        )
    frames = arrays["body_translations"].shape[1]
    if (objects, frames) != poses[1:3]:
        raise ValueError(
            f"poses of {poses[1]} objects in {poses[2]} frames, but {objects} objects and {frames} "
            "frames of body motion"
        )
