"""A bundle that lacks evidence, made whole: what nobody measured is estimated from what somebody did.

Frames that are not to be read are masked, gaps of a body motion filled, a focal length read off the point
map or off a person's height, and a body that is missing fitted. `completion_lines` says what was found.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy import ndarray
from scipy.spatial.transform import Rotation, Slerp

from hoijax.bodies import load_body
from hoijax.bodies.fitting.energy import rest_keypoints
from hoijax.bodies.fitting.fit import known_person
from hoijax.bodies.fitting.person import FittedPerson, fit_person
from hoijax.bodies.fitting.starts import SEEN, find_start
from hoijax.bodies.keypoints import OPENPOSE_18, openpose18_from
from hoijax.bodies.skinned_body import ShapedBody, SkinnedBody
from hoijax.bundle.evidence import observation_value_problems
from hoijax.bundle.observations import Observations
from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.io.validation import count_of, numbered
from hoijax.programs import program

NARROWEST, WIDEST = 0.5, 8.0
"""Of the image's longer side: a focal length that is read off something lies between."""
FEWEST_PAIRS = 12
"""Keypoints that a focal length is read off."""
ANKLE_HEIGHT = 0.09
"""Metres of an ankle above the ground it stands on."""
ANKLES = [OPENPOSE_18.index("right_ankle"), OPENPOSE_18.index("left_ankle")]


def complete(bundle: Bundle) -> Bundle:
    """The bundle with nothing missing that a solve needs; one that lacks nothing comes back as it is.

    Raises UserError where a missing body cannot be fitted, and for observations that nothing can be
    solved from: a bundle that was not read from a file has not been checked.
    """
    _check(bundle)
    o = without_unread_frames(bundle.observations)
    o = with_filled_bodies(o)
    if "intrinsics" in bundle.absent:
        o = with_focal_length(o, load_body(bundle.body))
    missing = [p for p in range(o.person_count) if not o.body_mask[p].any()]
    if missing:
        body = load_body(bundle.body)
        knows_shape = "body_rest_joints" not in bundle.absent
        if "Ts_world_camera" in bundle.absent:
            o = with_camera_height(o, body)
        o = with_fitted_bodies(o, body, missing, bundle.fps, knows_shape)
    return bundle if o is bundle.observations else dataclasses.replace(bundle, observations=o)


def with_known_camera(bundle: Bundle) -> Bundle:
    """The bundle with the intrinsics that `complete` finds, where it has none; its bodies as they are."""
    if "intrinsics" not in bundle.absent:
        return bundle
    o = with_filled_bodies(without_unread_frames(bundle.observations))
    o = with_focal_length(o, load_body(bundle.body))
    seen = dataclasses.replace(bundle.observations, intrinsics=o.intrinsics)
    return dataclasses.replace(bundle, observations=seen)


def _check(bundle: Bundle) -> None:
    counts = [len(asset.part_names) for asset in bundle.assets]
    names = [asset.name for asset in bundle.assets]
    problems = observation_value_problems(bundle.observations, bundle.absent, names, counts)
    if problems:
        raise UserError(f"the observations have {count_of(problems)}:\n{numbered(problems)}")


def completion_lines(before: Bundle, after: Bundle) -> list[str]:
    """What `complete` found, in words."""
    lines, o = [], after.observations
    if "intrinsics" in before.absent:
        focal = float(np.median(o.intrinsics[:, 0, 0]))
        angle = np.degrees(2.0 * np.arctan(0.5 * o.image_size[1] / focal))
        lines.append(f"focal length: {focal:.0f} pixels (a field of view of {angle:.0f} degrees)")
    fitted = ~before.observations.body_mask.any(axis=1)
    if fitted.any() and "Ts_world_camera" in before.absent:
        lines.append(f"camera: {o.Ts_world_camera[0, 1, 3]:.2f} m above the ground, level")
    for p in np.flatnonzero(fitted):
        rest, name = o.body_rest_joints[p], before.affordance.people[p].name
        depth = _in_camera(o, o.body_translations[p] + rest[0])[:, 2]
        lines.append(
            f"{name}: body fitted, {float(np.median(depth)):.2f} m from the camera, "
            f"{float(np.ptp(rest[:, 1])):.2f} m from toes to head joint"
        )
    return lines


def without_unread_frames(o: Observations) -> Observations:
    """Everything that was seen in frames that are not to be read, marked as not seen."""
    read = np.asarray(o.frame_mask)
    if read.all():
        return o
    seen = np.where(read[:, None], 1.0, 0.0).astype(np.float32)
    keypoints = np.array(o.keypoints)
    keypoints[..., 2] *= seen
    return dataclasses.replace(
        o,
        instance_ids=np.where(read[:, None, None], o.instance_ids, 0).astype(np.uint8),
        object_detected=o.object_detected & read,
        object_point_mask=o.object_point_mask & read[:, None],
        person_point_mask=o.person_point_mask & read[:, None],
        keypoints=keypoints,
        body_mask=o.body_mask & read,
    )


def with_filled_bodies(o: Observations) -> Observations:
    """Body motions without gaps: slerp and straight lines between frames that have an estimate."""
    if o.body_mask.all() or not o.body_mask.any():
        return o
    rotations, translations = np.array(o.body_rotations), np.array(o.body_translations)
    mask = np.array(o.body_mask)
    for p in np.flatnonzero(mask.any(axis=1)):
        rotations[p], translations[p] = _filled(rotations[p], translations[p], mask[p])
        mask[p] = True
    return dataclasses.replace(
        o, body_rotations=rotations, body_translations=translations, body_mask=mask
    )


def _filled(
    rotations: Float[ndarray, "T 55 3"],
    translations: Float[ndarray, "T 3"],
    mask: Bool[ndarray, " T"],
) -> tuple[ndarray, ndarray]:
    good = np.flatnonzero(mask)
    frames = np.clip(np.arange(len(mask)), good[0], good[-1])
    position = np.stack([np.interp(frames, good, translations[good, i]) for i in range(3)], axis=-1)
    if len(good) == 1:
        turned = np.broadcast_to(rotations[good], rotations.shape)
    else:
        turned = np.stack(
            [
                Slerp(good, Rotation.from_rotvec(rotations[good, j]))(frames).as_rotvec()
                for j in range(rotations.shape[1])
            ],
            axis=1,
        )
    return turned.astype(np.float32), position.astype(np.float32)


def with_focal_length(o: Observations, body: SkinnedBody) -> Observations:
    """A focal length that point maps were made with, or under which people are as tall as they are.

    Where there is neither, the guess stays.
    """
    focal = _focal_of_points(o)
    if focal is None:
        focal = _focal_of_people(o, body)
    if focal is None:
        return o
    longest = max(o.image_size)
    intrinsics = np.array(o.intrinsics)
    intrinsics[:, [0, 1], [0, 1]] = np.clip(focal, NARROWEST * longest, WIDEST * longest)
    return dataclasses.replace(o, intrinsics=intrinsics)


def _focal_of_points(o: Observations) -> float | None:
    """Pixels from the image's center against slopes of the points seen there."""
    slopes, pixels = [], []
    for kind in ("person", "object"):
        mask = np.array(getattr(o, f"{kind}_point_mask"))
        points, at = getattr(o, f"{kind}_points")[mask], getattr(o, f"{kind}_pixels")[mask]
        near = points[:, 2] > 0.05
        slopes.append(points[near, :2] / points[near, 2:])
        pixels.append((at - o.intrinsics[0, :2, 2])[near])
    return _robust_slope(np.concatenate(slopes), np.concatenate(pixels))


def _focal_of_people(o: Observations, body: SkinnedBody) -> float | None:
    """Extent of keypoints in the image against that of the given body's, in every frame.

    Only their differences count: where the body is in the image says nothing of its size.
    """
    slopes, pixels = [], []
    for p in np.flatnonzero(np.any(o.body_mask, axis=1)):
        joints = _in_camera(o, body_keypoints(body, o, int(p)))
        seen = (o.keypoints[p, ..., 2] > SEEN) & (joints[..., 2] > 0.05)
        seen &= o.body_mask[p][:, None] & np.isfinite(joints[..., 0])
        for t in np.flatnonzero(seen.sum(axis=1) >= 4):
            slope = joints[t, seen[t], :2] / joints[t, seen[t], 2:]
            at = o.keypoints[p, t, seen[t], :2]
            slopes.append(slope - slope.mean(axis=0))
            pixels.append(at - at.mean(axis=0))
    if not slopes:
        return None
    return _robust_slope(np.concatenate(slopes), np.concatenate(pixels))


def _robust_slope(x: Float[ndarray, "n 2"], y: Float[ndarray, "n 2"]) -> float | None:
    """a of y = a x by reweighted least squares; None where too little is there."""
    if len(x) < FEWEST_PAIRS or not np.sum(x**2) > 0.0:
        return None
    weight = np.ones(len(x))
    slope = 0.0
    for _ in range(20):
        slope = float(np.sum(weight[:, None] * x * y) / np.sum(weight[:, None] * x**2))
        off = np.linalg.norm(y - slope * x, axis=-1)
        scale = max(float(np.median(off)), 1e-3)
        weight = 1.0 / (1.0 + (off / (2.0 * scale)) ** 2)
    return slope if slope > 0.0 else None


def body_keypoints(body: SkinnedBody, o: Observations, p: int) -> Float[ndarray, "T 18 3"]:
    """Keypoints of a given body motion in the world; NaN in the face, which needs the skin."""
    shaped = body.shape(o.body_betas[p])
    shaped = shaped.with_rest_joints(o.body_rest_joints[p])
    return np.asarray(_body_keypoints(shaped, o.body_rotations[p], o.body_translations[p]))


@program
def _body_keypoints(shaped: ShapedBody, rotations: Array, translations: Array) -> Array:
    joints = jax.vmap(shaped.pose_joints)(rotations, translations)[..., :3, 3]
    return jax.vmap(openpose18_from)(joints, jnp.full((len(joints), 5, 3), jnp.nan))


def _in_camera(o: Observations, points: Float[ndarray, "T *n 3"]) -> Float[ndarray, "T *n 3"]:
    T = np.linalg.inv(np.asarray(o.Ts_world_camera, np.float64))
    extra = (1,) * (points.ndim - 2)
    linear, shift = T[:, :3, :3], T[:, :3, 3].reshape(len(T), *extra, 3)
    return np.einsum("tij,t...j->t...i", linear, points) + shift


def with_camera_height(o: Observations, body: SkinnedBody) -> Observations:
    """The level camera as high above the ground as the lowest ankles are below it."""
    heights = []
    betas = np.zeros(1, np.float32)
    person = known_person(body, betas, np.asarray(body.shape(betas).joints_rest))
    for p in range(o.person_count):
        try:
            seen = o.keypoints[p], o.intrinsics, o.Ts_world_camera
            start = find_start(
                *seen, rest_keypoints(person), o.person_points[p], o.person_point_mask[p]
            )
        except UserError:
            continue  # a person who cannot be fitted is refused by the fit itself
        depth = _in_camera(o, start.pelvis_world)[:, 2]
        for ankle in ANKLES:
            seen = o.keypoints[p, :, ankle, 2] > SEEN
            slope = (o.keypoints[p, :, ankle, 1] - o.intrinsics[:, 1, 2]) / o.intrinsics[:, 1, 1]
            heights.append((slope * depth)[seen])
    every = np.concatenate(heights) if heights else np.zeros(0)
    if not len(every):
        return o
    cameras = np.array(o.Ts_world_camera)
    cameras[:, 1, 3] = float(np.median(every)) + ANKLE_HEIGHT
    return dataclasses.replace(o, Ts_world_camera=cameras)


def with_fitted_bodies(
    o: Observations, body: SkinnedBody, people: list[int], fps: float, knows_shape: bool
) -> Observations:
    """Bodies of the people that have none, fitted to their keypoints and points.

    knows_shape: whether their rest joints are given. Raises UserError that names who cannot be fitted.
    """
    fitted: dict[int, FittedPerson] = {}
    for p in people:
        shape = {"betas": o.body_betas[p], "rest_joints": o.body_rest_joints[p]}
        try:
            fitted[p] = fit_person(
                o.keypoints[p],
                o.intrinsics,
                o.Ts_world_camera,
                body=body,
                person_points=o.person_points[p],
                person_point_mask=o.person_point_mask[p],
                fps=fps,
                **(shape if knows_shape else {}),
            )
        except UserError as error:
            raise UserError(f"person {p + 1}: {error}") from error
    count = max(len(o.body_betas[0]), *(len(f.betas) for f in fitted.values()))
    betas = np.zeros((o.person_count, count), np.float32)
    betas[:, : o.body_betas.shape[1]] = o.body_betas
    rotations, translations = np.array(o.body_rotations), np.array(o.body_translations)
    rest, mask = np.array(o.body_rest_joints), np.array(o.body_mask)
    for p, one in fitted.items():
        betas[p], rest[p], mask[p] = 0.0, one.rest_joints, True
        betas[p, : len(one.betas)] = one.betas
        rotations[p], translations[p] = one.rotations, one.translations
    return dataclasses.replace(
        o,
        body_betas=betas,
        body_rest_joints=rest,
        body_rotations=rotations,
        body_translations=translations,
        body_mask=mask,
    )
