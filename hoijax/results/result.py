"""What a solve returns, and the result folder it is saved to."""

import dataclasses
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.affordance.contact_table import ContactTable, compile_contacts
from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.candidates import lowest_loss
from hoijax.errors import UserError
from hoijax.geometry.transforms import compose_rigid
from hoijax.io.npz import npz_bytes, read_npz, read_regular_file
from hoijax.io.validation import (
    MAX_JSON_BYTES,
    count_of,
    numbered,
    parse_json,
    validation_problems,
)
from hoijax.objects.appearance import read_saved
from hoijax.objects.articulated.joints import Joint, joint_rows, joints_between
from hoijax.objects.asset import Asset, load_asset, save_asset
from hoijax.results.schema import RESULT_VERSION, ResultHeader, result_array_problems


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
    position_spread: Float[ndarray, "O T"] | None = None
    """Standard deviation of each object's center in metres, by `methods.confidence`. None: not known."""
    rotation_spread: Float[ndarray, "O T"] | None = None
    """Of its orientation, radians."""
    unseen: Bool[ndarray, "O T"] | None = None
    """The object was not seen in this frame: its pose is a guess from those beside it."""
    joints: tuple[Joint, ...] = ()
    """Between objects, by index: the links of articulated objects."""
    chosen: int | None = None
    """The winner, where losses cannot tell candidates apart; None: the lowest loss wins."""
    run: dict = field(default_factory=dict)
    """Settings, versions, device, times, bundle hash: what run.json holds."""

    @property
    def winner(self) -> int:
        """The candidate with the lowest finite loss, or of those that fit as well the one chosen."""
        if self.chosen is not None:
            return self.chosen
        return lowest_loss(self.losses)

    @cached_property
    def contact_table(self) -> ContactTable:
        """The graph as integers, in the order of the assets."""
        return compile_contacts(self.affordance, {a.name: a.part_names for a in self.assets})

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


APPEARANCES = "appearances"
"""Folder of what objects look like, where their files have colors."""
RENAMED_TERMS = {"rendered_colours": "rendered_colors"}
"""Terms in old folders that have another name today."""
_OPTIONAL = (
    "candidate_body_rotations",
    "candidate_body_translations",
    "joint_values",
    "position_spread",
    "rotation_spread",
    "unseen",
)


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
        "chosen",
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
        if asset.appearance is not None:
            (folder / APPEARANCES).mkdir(exist_ok=True)
            (folder / APPEARANCES / f"{asset.name}.glb").write_bytes(asset.appearance)
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
    """Read a result folder. Raises UserError with everything that is missing or damaged in it."""
    folder = Path(folder)
    for name in ("run.json", "result.npz", "affordance.json"):
        if not (folder / name).is_file():
            raise UserError(f"'{folder}' is not a result folder: {name} is missing.")
    run, problems = _read_run(folder / "run.json")
    graph, assets = None, []
    try:
        graph = PartAffordanceGraph.from_json(folder / "affordance.json")
    except UserError as error:
        problems.append(str(error))
    arrays, damage = _read_arrays(folder / "result.npz")
    problems += damage
    joints: tuple[Joint, ...] = ()
    if run is not None:
        header = ResultHeader.model_validate(run)
        for name in header.objects:
            try:
                asset = load_asset(folder / "objects" / f"{name}.glb", name=name)
                looks = folder / APPEARANCES / f"{name}.glb"
                assets.append(dataclasses.replace(asset, appearance=read_saved(looks)))
            except UserError as error:
                problems.append(str(error))
        joints, joint_damage = _read_joints(header)
        problems += joint_damage
        if header.winner >= len(header.labels):
            problems.append(
                f"run.json: winner: is {header.winner}, of {len(header.labels)} candidates from 0 on"
            )
        if any(k >= len(header.labels) for k in header.confidence.twins):
            problems.append("run.json: confidence: names a twin beyond the candidates")
        problems += [] if damage else result_array_problems(arrays, header, graph)
    if problems or run is None or graph is None:
        raise UserError(
            f"the result in '{folder}' is damaged, it has {count_of(problems)}:\n"
            f"{numbered(problems)}\nSolve again."
        )
    header = ResultHeader.model_validate(run)
    names = [*_array_names(), *(name for name in _OPTIONAL if name in arrays)]
    arrays_of: dict[str, Any] = {name: arrays[name] for name in names}
    result = Result(
        prompt=header.prompt,
        fps=header.fps,
        affordance=graph,
        assets=tuple(assets),
        body_name=header.body,
        labels=header.labels,
        term_names=header.term_names,
        joints=joints,
        run=run,
        **arrays_of,
    )
    is_other = result.winner != header.winner
    return dataclasses.replace(result, chosen=header.winner) if is_other else result


def _read_run(path: Path) -> tuple[dict | None, list[str]]:
    """(what run.json holds, where it has the form of one; its problems)."""
    try:
        run = parse_json(read_regular_file(path, MAX_JSON_BYTES).decode("utf-8"), finite=False)
    except (OSError, ValueError) as error:
        return None, [f"run.json: expected JSON, found damage: {error}"]
    version = run.get("result_version") if isinstance(run, dict) else None
    if version is not None and version != RESULT_VERSION:
        return None, [f"run.json: version {version}, expected {RESULT_VERSION}"]
    problems = [f"run.json: {problem}" for problem in validation_problems(ResultHeader, run)]
    return (None if problems else _with_new_names(run)), problems


def _with_new_names(run: dict[str, Any]) -> dict[str, Any]:
    """What an old folder says, with its terms called as they are today."""
    terms = [RENAMED_TERMS.get(name, name) for name in run["term_names"]]
    weights = {RENAMED_TERMS.get(name, name): x for name, x in run.get("weights", {}).items()}
    return {**run, "term_names": terms, **({"weights": weights} if weights else {})}


def _read_arrays(path: Path) -> tuple[dict[str, ndarray], list[str]]:
    try:
        arrays, damage = read_npz(read_regular_file(path), "result.npz")
    except OSError as error:
        return {}, [f"result.npz: cannot be read: {error.strerror or error}"]
    return arrays, list(damage.values())


def _read_joints(header: ResultHeader) -> tuple[tuple[Joint, ...], list[str]]:
    """(joints of run.json by index of object, what is wrong with them)."""
    rows = [
        (
            joint.name,
            joint.kind,
            joint.parent,
            joint.child,
            np.array(joint.T_parent_joint, np.float64),
            np.array(joint.axis, np.float64),
            (joint.lower, joint.upper),
        )
        for joint in header.joints
    ]
    joints, problems = joints_between(list(header.objects), rows)
    return joints, [f"run.json: {problem}" for problem in problems]
