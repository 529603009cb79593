"""What a result folder must hold: run.json, and the arrays of result.npz. Checked on load, all at once."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy import ndarray
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints
from pydantic import Field as JsonField

from hoijax.affordance.graph import MAX_TEXT_LETTERS, PartAffordanceGraph
from hoijax.io.arrays import Field, field_problems

RESULT_VERSION = 1
LARGEST_TURN, LARGEST_PLACE, LARGEST_BETA = 1e3, 1e4, 1e3
"""Radians of an axis-angle, metres, shape parameters: beyond these a file is damaged."""
FRAME_RATES = 0.1, 1e4
LONGEST_NAME = 240
"""Bytes of an object's name: its files have endings."""


def _stays_inside(name: str) -> str:
    if name in (".", ".."):
        raise ValueError("leads out of the folder")
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"is too long for a file; at most {LONGEST_NAME} bytes")
    return name


_Tuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
_Text = Annotated[str, JsonField(strict=True, max_length=MAX_TEXT_LETTERS)]
_FileName = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=255, pattern=r"^[^\x00-\x1f/\\]+$"),
    AfterValidator(_stays_inside),
]
_Line = Annotated[str, StringConstraints(strict=True, pattern=r"^[^\x00-\x1f]*$")]
_Number = Annotated[float, JsonField(strict=True)]
_Finite = Annotated[float, JsonField(strict=True, allow_inf_nan=False)]
_Row = Annotated[tuple[_Number, _Number, _Number, _Number], _Tuple]


class ResultJoint(BaseModel):
    """A joint between two objects, as in bundle.json."""

    name: _Text
    kind: _Text
    parent: _Text
    child: _Text
    T_parent_joint: Annotated[tuple[_Row, _Row, _Row, _Row], _Tuple]
    axis: Annotated[tuple[_Number, _Number, _Number], _Tuple]
    lower: _Number = -math.inf
    upper: _Number = math.inf


class ResultConfidence(BaseModel):
    """How far a result is to be trusted."""

    model_config = ConfigDict(extra="allow")

    doubts: Annotated[tuple[_Text, ...], _Tuple] = ()
    twins: Annotated[tuple[Annotated[int, JsonField(strict=True, ge=0)], ...], _Tuple] = ()
    unexplained_colors: tuple[tuple[_Number, ...], ...] = ()


class ResultHeader(BaseModel):
    """run.json. What a method records beside these is its own."""

    model_config = ConfigDict(extra="allow")

    result_version: Literal[1]
    prompt: _Text
    fps: Annotated[float, JsonField(strict=True, ge=FRAME_RATES[0], le=FRAME_RATES[1])]
    body: _Line
    objects: Annotated[tuple[_FileName, ...], _Tuple, JsonField(min_length=1)]
    labels: Annotated[tuple[_Text, ...], _Tuple, JsonField(min_length=1)]
    term_names: Annotated[tuple[_Text, ...], _Tuple]
    joints: Annotated[tuple[ResultJoint, ...], _Tuple] = ()
    winner: Annotated[int, JsonField(strict=True, ge=0)] = 0
    bundle: _Line | None = None
    bundle_hash: _Line | None = None
    method: _Line | None = None
    device: _Line | None = None
    peak_memory_gb: Annotated[_Finite, JsonField(ge=0.0)] | None = None
    versions: dict[str, _Line] = {}
    settings: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    seconds: dict[str, _Number] = {}
    confidence: ResultConfidence = ResultConfidence()
    corrections: dict[str, _Finite] = {}
    object_scale: dict[str, _Finite | tuple[_Finite, _Finite, _Finite]] = {}
    object_shifts: tuple[tuple[tuple[_Finite, _Finite, _Finite], ...], ...] = ()
    camera_change: tuple[_Finite, _Finite, _Finite, _Finite, _Finite, _Finite] | None = None


RESULT_FIELDS = {
    "body_rotations": Field("P T 55 3", largest=LARGEST_TURN),
    "body_translations": Field("P T 3", largest=LARGEST_PLACE),
    "body_betas": Field("P B", largest=LARGEST_BETA),
    "body_rest_joints": Field("P 55 3", largest=LARGEST_PLACE),
    "object_rotations": Field("K O T 3 3", is_finite=False),
    "object_translations": Field("K O T 3", is_finite=False),
    "losses": Field("K", is_finite=False),
    "initial_losses": Field("K", is_finite=False),
    "codes": Field("K", kinds="iu", lowest=0.0, largest=3.0),
    "reports": Field("K n", is_finite=False),
    "history": Field("K steps n", is_finite=False),
    "contact": Field("K E T", kinds="b"),
    "Ts_world_pointmap": Field("T 4 4", largest=LARGEST_PLACE),
    "candidate_body_rotations": Field("K P T 55 3", is_finite=False, needed=False),
    "candidate_body_translations": Field("K P T 3", is_finite=False, needed=False),
    "joint_values": Field("K D T", is_finite=False, needed=False),
    "position_spread": Field("O T", needed=False, lowest=0.0, largest=LARGEST_PLACE),
    "rotation_spread": Field("O T", needed=False, lowest=0.0, largest=LARGEST_TURN),
    "unseen": Field("O T", kinds="b", needed=False),
}
_MOVING = {
    "object_rotations": Field("K O T 3 3", is_rotation=True),
    "object_translations": Field("K O T 3", largest=LARGEST_PLACE),
    "candidate_body_rotations": Field("K P T 55 3", needed=False, largest=LARGEST_TURN),
    "candidate_body_translations": Field("K P T 3", needed=False, largest=LARGEST_PLACE),
    "joint_values": Field("K D T", needed=False, largest=LARGEST_TURN),
}
"""Of the candidates whose loss is finite; another may have ended anywhere."""


def result_array_problems(
    arrays: Mapping[str, ndarray], header: ResultHeader, graph: PartAffordanceGraph | None
) -> list[str]:
    """Every problem of the arrays, for what run.json and the graph say of their sizes."""
    sizes = {
        "K": len(header.labels),
        "O": len(header.objects),
        "n": len(header.term_names),
    }
    if header.joints:
        sizes["D"] = len(header.joints)
    if graph is not None:
        sizes["P"] = len(graph.people)
    problems = field_problems(arrays, RESULT_FIELDS, "result.npz", sizes)
    if problems:
        return problems
    is_finite = np.isfinite(arrays["losses"])
    if not is_finite.any():
        return ["result.npz: key 'losses': no candidate has a finite loss"]
    T = arrays["Ts_world_pointmap"]
    is_similarity = (np.linalg.det(T[:, :3, :3]) > 0.0) & (T[:, 3] == [0, 0, 0, 1]).all(axis=1)
    if not is_similarity.all():
        return ["result.npz: key 'Ts_world_pointmap': expected similarities that do not mirror"]
    moving = {key: arrays[key][is_finite] for key in _MOVING if key in arrays}
    return field_problems(moving, _MOVING, "result.npz")
