"""What a bundle must hold: bundle.json, and the keys, dtypes, shapes and values of its arrays.

The shapes are read off the annotations of `Observations` and `Truth`, so that there is one place
that states them. docs/bundle.md says the same in words.
"""

from collections.abc import Container, Mapping
from typing import Annotated, Any, Literal

import flax.struct
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints

from hoijax.affordance.graph import MAX_TEXT_LETTERS
from hoijax.bundle.observations import Observations, observation_dtypes

FORMAT = "hoijax-bundle"
VERSION = 2
VERSIONS = (1, 2)
"""Versions that open; in version 1 every array is required."""
EVERY_ARRAY = "*"
"""The provenance key that stands for all arrays without an entry of their own."""
MAX_YAWS = 16
"""Proposed starts of one object: each costs a candidate of the solve."""

_Tuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
_Text = Annotated[str, Field(strict=True, max_length=MAX_TEXT_LETTERS)]
_Name = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=80, pattern=r"^[^\x00-\x1f/\\]+$"),
]
_Digest = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{64}$")]
_Count = Annotated[int, Field(strict=True, ge=1)]
_Degrees = Annotated[float, Field(allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Provenance(_Frozen):
    """Where an array came from, closely enough to make it again."""

    model: _Text
    """Model id, program or sensor: "Ruicheng/moge-vitl", "hoijax choreographer"."""
    revision: _Text
    settings: dict[str, JsonValue] = {}
    seed: Annotated[int, Field(strict=True)] | None = None


class ManifestPerson(_Frozen):
    name: _Name
    body: _Text
    """The body model the shape parameters belong to: "anny", or the name of an SMPL-X file."""


class ManifestObject(_Frozen):
    name: _Name
    parts: Annotated[tuple[_Name, ...], _Tuple]
    file: _Text
    """The mesh: an npz of `vertices`, `faces`, `face_parts`, or any mesh file that loads."""
    preview: _Text | None = None
    """The same mesh for other programs to open; never read."""
    yaws: Annotated[tuple[_Degrees, ...], _Tuple, Field(max_length=MAX_YAWS)] = ()
    """Proposed turns about the world's vertical axis, in degrees, best first: starts of a solve."""


_Number = Annotated[float, Field(allow_inf_nan=False)]
_Row = Annotated[tuple[_Number, _Number, _Number, _Number], _Tuple]


class ManifestJoint(_Frozen):
    """How an object hangs on another one, as in URDF: it turns about, or slides along, an axis."""

    name: _Name
    kind: Literal["revolute", "prismatic", "fixed"]
    parent: _Name
    child: _Name
    """Names of objects; the child's mesh frame is the joint's frame after the motion."""
    T_parent_joint: Annotated[tuple[_Row, _Row, _Row, _Row], _Tuple]
    axis: Annotated[tuple[_Number, _Number, _Number], _Tuple]
    lower: _Number | None = None
    upper: _Number | None = None
    """Radians or metres; None where there is no limit."""


class Manifest(_Frozen):
    """bundle.json."""

    format: Literal["hoijax-bundle"]
    version: Literal[1, 2]
    prompt: _Text
    fps: Annotated[float, Field(strict=True, ge=0.1, le=1e4, allow_inf_nan=False)]
    frame_count: _Count
    image_size: Annotated[tuple[_Count, _Count], _Tuple]
    """Height, width in pixels."""
    people: Annotated[tuple[ManifestPerson, ...], _Tuple, Field(min_length=1)]
    objects: Annotated[tuple[ManifestObject, ...], _Tuple, Field(min_length=1)]
    joints: Annotated[tuple[ManifestJoint, ...], _Tuple] = ()
    provenance: dict[str, Provenance]
    sha256: dict[str, _Digest]
    """Of every other file of the bundle, by its path inside."""


@flax.struct.dataclass
class GroundTruth:
    """What really happened, in made and captured scenes: for metrics; the solver never opens it.

    Axes: P people, O objects (in the order of the bundle), T frames, E edges of the graph.
    """

    Ts_world_object: Float[ndarray, "O T 4 4"]
    Ts_world_camera: Float[ndarray, "T 4 4"]
    edge_contact: Bool[ndarray, "E T"]
    """Whether the two ends of an edge touch in a frame."""
    body_rotations: Float[ndarray, "P T 55 3"]
    body_translations: Float[ndarray, "P T 3"]
    body_betas: Float[ndarray, "P B"]
    body_rest_joints: Float[ndarray, "P 55 3"]


def _annotations(struct: type) -> dict[str, str]:
    return {key: kind.dim_str for key, kind in struct.__annotations__.items()}


OBSERVATION_SHAPES = _annotations(Observations)
TRUTH_SHAPES = _annotations(GroundTruth)
TRUTH_DTYPES = {
    key: np.dtype(np.bool_ if key == "edge_contact" else np.float32) for key in TRUTH_SHAPES
}
MESH_SHAPES = {"vertices": "V 3", "faces": "F 3", "face_parts": "F"}
MESH_DTYPES = {
    "vertices": np.dtype(np.float32),
    "faces": np.dtype(np.int32),
    "face_parts": np.dtype(np.int32),
}
SAMPLE_SHAPES = {"samples": "S 3", "sample_normals": "S 3", "sample_parts": "S"}
SAMPLE_DTYPES = {
    "samples": np.dtype(np.float32),
    "sample_normals": np.dtype(np.float32),
    "sample_parts": np.dtype(np.int32),
}


def manifest_problems(data: Any) -> list[str]:
    """Problems of form of a parsed bundle.json, beside those that pydantic finds.

    A foreign format or version is the only problem reported: the rest would follow from it.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        actual = data.get("format") if isinstance(data, dict) else type(data).__name__
        return [f"bundle.json: key 'format': expected {FORMAT!r}, found {actual!r}"]
    version = data.get("version")
    if version not in VERSIONS or isinstance(version, bool):
        return [
            f"bundle.json: key 'version': expected 1 or {VERSION}, found {version!r}; make the bundle "
            "again with this version of hoijax, or install the one that wrote it"
        ]
    return []


def array_problems(
    arrays: Mapping[str, ndarray],
    where: str,
    shapes: Mapping[str, str],
    dtypes: Mapping[str, np.dtype],
    sizes: Mapping[str, tuple[int, str]],
    damage: Mapping[str, str],
    optional: Container[str] = (),
) -> list[str]:
    """Missing and unknown keys, wrong dtypes and shapes, and values that are not finite.

    shapes: axis names or numbers by key, as in a jaxtyping annotation. sizes: (length, what sets
    it) of the axes known beforehand; the others are set by the first array that has them.
    damage: a problem for every key that is there but cannot be read. optional: keys that may be missing.
    """
    problems = list(damage.values())
    problems += [
        f"{where}: key {key!r}: is missing; expected {dtypes[key]} ({', '.join(axes.split())})"
        for key, axes in shapes.items()
        if key not in arrays and key not in damage and key not in optional
    ]
    problems += [
        f"{where}: key {key!r}: is unknown; the keys are {', '.join(shapes)}"
        for key in arrays
        if key not in shapes
    ]
    known = dict(sizes)
    for key, axes in shapes.items():
        if key not in arrays:
            continue
        array, place = arrays[key], f"{where}: key {key!r}"
        if array.dtype != dtypes[key]:
            problems.append(f"{place}: expected dtype {dtypes[key]}, found {array.dtype}")
        problems += _shape_problems(array, place, axes, known)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(array.size - np.isfinite(array).sum())
            problems.append(
                f"{place}: expected finite numbers, found {bad} of {array.size} NaN or infinite; "
                "mark missing data in the masks, and fill with 0"
            )
    return problems


def _shape_problems(
    array: ndarray, place: str, axes: str, known: dict[str, tuple[int, str]]
) -> list[str]:
    names = axes.split()
    if array.ndim != len(names):
        wanted = ", ".join(names)
        return [f"{place}: expected {len(names)} axes ({wanted}), found shape {array.shape}"]
    problems = []
    for axis, (name, length) in enumerate(zip(names, array.shape, strict=True)):
        if name.isdigit():
            expected, source = int(name), "always"
        else:
            expected, source = known.setdefault(name, (length, place.split(": ")[1]))
        if length != expected:
            problems.append(
                f"{place}: axis {axis} ({name}): expected {expected} ({source}), found {length} "
                f"in shape {array.shape}"
            )
    return problems


def rigid_problems(transforms: Float[ndarray, "*batch 4 4"], place: str) -> list[str]:
    """Whether every matrix is a rotation and a translation."""
    rotations = transforms[..., :3, :3].astype(np.float64)
    error = np.abs(rotations @ np.swapaxes(rotations, -1, -2) - np.eye(3)).max(axis=(-1, -2))
    is_rigid = (error < 1e-3) & (np.linalg.det(rotations) > 0)
    is_rigid &= (transforms[..., 3, :] == [0, 0, 0, 1]).all(axis=-1)
    if is_rigid.all():
        return []
    first = tuple(int(i) for i in np.argwhere(~is_rigid)[0])
    return [
        f"{place}: expected rotations and translations with a last row 0 0 0 1, found "
        f"{int((~is_rigid).sum())} of {is_rigid.size} that are not, the first at {list(first)}"
    ]


def observation_layout() -> tuple[dict[str, str], dict[str, np.dtype]]:
    """(axes, dtypes) of observations.npz by key."""
    return OBSERVATION_SHAPES, observation_dtypes()
