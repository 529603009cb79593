"""The body pass's problem about the estimates of a bundle (host)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int
from numpy import ndarray

from hoijax.bodies.contact import contact_candidates
from hoijax.bodies.fitting.residuals import FEET
from hoijax.bodies.kinematics import JOINT_NAMES
from hoijax.bodies.skinned_body import ShapedBody, SkinnedBody
from hoijax.bundle.observations import Observations
from hoijax.bundle.write import Bundle
from hoijax.geometry.camera_motion import average_static_camera
from hoijax.geometry.rotations import (
    axis_angle_to_matrix,
)
from hoijax.methods.joint.body_problem import (
    FACES,
    MOVING_JOINTS,
    BodyProblem,
    ClipChange,
    Deviations,
    FrameChange,
    FrameEvidence,
)
from hoijax.methods.joint.contours import contours_of
from hoijax.methods.joint.held import ContactRows, contact_rows, nothing_held
from hoijax.methods.joint.settings import BodyPassSettings
from hoijax.runtime import on_device

JOINT_DEGREES = (
    # words in the joint's name, frame's change, its change in a second, whole clip
    (("wrist",), 6.0, 30.0, 5.0),
    (("shoulder", "elbow", "collar"), 5.0, 25.0, 5.0),
    (("hip", "knee", "ankle", "foot"), 3.0, 20.0, 2.5),
    (("pelvis",), 2.0, 10.0, 4.0),
    (("",), 2.0, 10.0, 2.0),
)
"""Standard deviations of estimated joint rotations, before `BodyPassSettings.pose`."""
PELVIS_RATE = 0.1
MAP_SHIFT = 0.04
MAP_SCALE_RATE, MAP_SHIFT_RATE = 0.15, 0.2
"""A second."""
ACROSS_RAYS = 0.02
"""Shifts of a point map across the view, in those along it: points lie on the rays of their pixels."""
WITHOUT_POINTS = 0.1
"""Factor on the shifts along the view, where there is no point map."""
EVIDENCE_FPS = 10.0
"""Frame rate at which frames count as evidence for a clip's numbers: at a higher one their errors last for more
frames, and twice as many frames of the same seconds tell no more."""
RATES_ALONE = 1.5
"""Factor on all rates, and on that one, without a point map of people: what only keypoints and masks show
changes faster. (Numbers with point maps were chosen at 10 frames a second, those without at 15.)"""
FRAME_BUCKET = 8
"""Clips are padded to a multiple of so many frames."""
CANDIDATES = 32
"""Vertices of a body part that may touch."""


def body_problem(bundle: Bundle, body: SkinnedBody, settings: BodyPassSettings) -> BodyProblem:
    """The problem about the estimates of a bundle."""
    o, rows = bundle.observations, rows_of(bundle, body)
    candidates = np.asarray(rows.vertices)
    people = tuple(
        _person(o, p, body, settings.vertices, candidates) for p in range(o.person_count)
    )
    places = FACES + settings.vertices + np.arange(candidates.size).reshape(candidates.shape)
    rows = rows.replace(vertices=places.astype(np.int32))  # pyright: ignore[reportAttributeAccessIssue]
    stride = max(o.person_points.shape[2] // settings.points, 1)
    points = o.person_points[:, :, ::stride][:, :, : settings.points]
    mask = o.person_point_mask[:, :, ::stride][:, :, : settings.points]
    if not mask.any():
        points, mask = points[:, :, :0], mask[:, :, :0]
    pelvis = o.body_translations + o.body_rest_joints[:, None, 0]
    seen = {
        "rotations": _frames_first(axis_angle_to_matrix(on_device(o.body_rotations))),
        "pelvis": _frames_first(pelvis),
        "keypoints": _frames_first(o.keypoints),
        "intrinsics": o.intrinsics,
        "Ts_world_camera": average_static_camera(o.Ts_world_camera),
        "points": _frames_first(np.where(mask[..., None], points, 0.0)),
        "point_weights": _frames_first(mask / np.maximum(mask.sum(-1, keepdims=True), 1)),
        "real": np.ones(o.frame_count),
        "plants": np.zeros((o.frame_count, o.person_count, len(FEET))),
    }
    padding = -o.frame_count % FRAME_BUCKET
    whole = {name: padded(array, padding) for name, array in seen.items()}
    for name in ("keypoints", "point_weights", "real"):
        whole[name][o.frame_count :] = 0.0
    held = nothing_held(o.frame_count + padding, len(bundle.assets), len(candidates))
    labels = np.pad(np.asarray(o.instance_ids), ((0, padding), (0, 0), (0, 0)))
    is_alone = not mask.any()
    count = settings.contours if is_alone else 0
    contours = contours_of(labels, o.person_count, len(bundle.assets), count)
    evidence = FrameEvidence(
        **{name: on_device(x, np.float32) for name, x in whole.items()},
        contours=contours,
        held=held,
    )
    faster = RATES_ALONE if is_alone else 1.0
    settings = _with_rates(settings, faster)
    varying, rates, clip = _deviations(o.person_count, len(bundle.assets), settings)
    steps = scaled(rates, faster / bundle.fps)
    clip = scaled(clip, np.sqrt(faster * EVIDENCE_FPS / bundle.fps))
    if is_alone:
        varying, steps = _without_points(varying), _without_points(steps)
        clip = dataclasses.replace(clip, bias=_without_points(clip.bias))
    names = (field.name for field in dataclasses.fields(Deviations))
    deviations = Deviations(**{name: _number(getattr(settings, name)) for name in names})
    return BodyProblem(
        evidence, people, rows, _number(bundle.fps), deviations, varying, steps, clip
    )


def scaled(deviations: Any, factor: float) -> Any:
    """A pytree of standard deviations, all multiplied by a factor.

    In numpy: on the device every leaf would be a program.
    """
    return jax.tree.map(lambda x: on_device(np.asarray(x) * np.float32(factor)), deviations)


def _with_rates(settings: BodyPassSettings, factor: float) -> BodyPassSettings:
    """With all rates of evidence multiplied by a factor."""
    rates = {name: factor * getattr(settings, name) for name in ("skate", "plant", "slip")}
    return dataclasses.replace(settings, **rates)


def _without_points(change: FrameChange) -> FrameChange:
    """Without a point map what was seen of objects may move along its rays, hardly otherwise."""
    held = np.array([1.0, 1.0, 1.0, WITHOUT_POINTS], np.float32)
    return dataclasses.replace(change, point_map=on_device(np.asarray(change.point_map) * held))


def padded(leaf: ndarray, count: int) -> ndarray:
    """The last frame again, `count` times."""
    return np.concatenate([leaf, np.repeat(leaf[-1:], count, axis=0)])


def _number(value: float) -> jnp.ndarray:
    return on_device(value, np.float32)


def _frames_first(array) -> ndarray:
    return np.swapaxes(np.asarray(array, np.float32), 0, 1)


def rows_of(bundle: Bundle, body: SkinnedBody) -> ContactRows:
    """The contacts of a bundle's graph; vertices are those of the whole skin."""

    def of_part(part: str) -> Int[ndarray, " n"]:
        return contact_candidates(body, part, CANDIDATES)

    return contact_rows(bundle.contact_table, of_part, CANDIDATES)


def _person(
    o: Observations, p: int, body: SkinnedBody, count: int, touching: Int[ndarray, "C n"]
) -> ShapedBody:
    """The person about the rest pelvis: keypoints of the face, `count` vertices, and those that may touch."""
    shaped = body.shape(o.body_betas[p])
    shaped = shaped.with_rest_joints(o.body_rest_joints[p])
    spread = np.linspace(0, len(shaped.vertices_rest) - 1, count).astype(np.int32)
    chosen = [np.asarray(body.face_vertices), spread, touching.ravel()]
    part = shaped.subset(np.concatenate(chosen).astype(np.int32))
    vertices, joints = np.asarray(part.vertices_rest), np.asarray(part.joints_rest)
    return part.replace(  # pyright: ignore[reportAttributeAccessIssue]
        vertices_rest=vertices - joints[0], joints_rest=joints - joints[0]
    )


def _deviations(
    people: int, objects: int, settings: BodyPassSettings
) -> tuple[FrameChange, FrameChange, ClipChange]:
    """Of a frame's change, of its change in a second, and of the clip's numbers."""

    def joints(column: int) -> jnp.ndarray:
        rows = [
            next(row for row in JOINT_DEGREES if any(word in name for word in row[0]))
            for name in JOINT_NAMES[:MOVING_JOINTS]
        ]
        radians = settings.pose * np.radians([row[column] for row in rows])
        shape = people, MOVING_JOINTS, 3
        return on_device(np.broadcast_to(radians[None, :, None], shape), np.float32)

    def frame(column: int, pelvis: float, scale: float, shift: float, moved: tuple) -> FrameChange:
        across = ACROSS_RAYS * shift
        point_map = [scale, across, across, shift]
        rows = np.full((people, 3), pelvis), point_map, np.broadcast_to(moved, (objects, 6))
        return FrameChange(joints(column), *(on_device(x, np.float32) for x in rows))

    def moved(turn: float, across: float, along: float) -> tuple[float, ...]:
        return (turn,) * 3 + (across, across, along)

    drift, turn = settings.object_drift, settings.object_turn

    camera = [settings.camera_turn] * 3 + [settings.camera_shift] * 3
    bias = frame(
        3,
        settings.pelvis_bias,
        settings.map_scale,
        settings.map_shift,
        moved(turn, settings.object_bias, settings.object_bias_depth),
    )
    clip = ClipChange(
        bias,
        on_device(np.full(people, settings.body_size), np.float32),
        _number(settings.focal),
        on_device(camera, np.float32),
    )
    still = moved(0.5 * turn, drift, 2.0 * drift)
    slow = moved(3.0 * turn, 5.0 * drift, 10.0 * drift)
    varying = frame(1, settings.pelvis_drift, settings.map_scale, MAP_SHIFT, still)
    return varying, frame(2, PELVIS_RATE, MAP_SCALE_RATE, MAP_SHIFT_RATE, slow), clip
