"""Where a body fit begins: place, heading and size of a person from keypoints (host, numpy)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.ndimage import median_filter

from hoijax.bodies.fitting.lifting import lifted_pose
from hoijax.bodies.keypoints import OPENPOSE_18
from hoijax.errors import UserError

SEEN = 0.15
"""Confidence from which on a keypoint is believed."""
VISIBLE = 0.5
"""Confidence from which on the skin seen at a keypoint is taken for its own."""
SKIN_DEPTH = 0.09
"""Metres from the skin a camera sees to the joint behind it, where the body is not known."""
PELVIS_ABOVE_HIPS = 0.10
"""Metres from the middle of the hip joints up to the pelvis joint, of the template."""
NEAR_PIXELS = 0.03
"""Of the focal length: how near a seen point must be to a keypoint's ray to lend it its depth."""
FASTEST = 0.25
"""Metres a frame that somebody walks away, at most."""
_INDEX = {name: i for i, name in enumerate(OPENPOSE_18)}
_BONES = (
    ("neck", "right_hip"),
    ("neck", "left_hip"),
    ("right_hip", "right_knee"),
    ("left_hip", "left_knee"),
    ("right_knee", "right_ankle"),
    ("left_knee", "left_ankle"),
)
_ACROSS = (("right_shoulder", "left_shoulder"), ("right_hip", "left_hip"))


@dataclass(frozen=True)
class MotionStart:
    """Coarse motion of one person."""

    pelvis_world: Float[ndarray, "T 3"]
    yaw: Float[ndarray, " T"]
    """Turn of the body about the world's y axis, radians; 0 faces +z."""
    scale: float
    """Size of the person in units of the template."""
    has_depth: bool
    """Whether a point map, or a network that lifts keypoints, settled the heading."""
    pose: Float[ndarray, "T 22 3"] | None = None
    """Axis-angles, root first, from keypoints that the point map lifted; None where it lifted too few."""


def find_start(
    keypoints: Float[ndarray, "T 18 3"],
    intrinsics: Float[ndarray, "T 3 3"],
    Ts_world_camera: Float[ndarray, "T 4 4"],
    rest_keypoints: Float[ndarray, "18 3"],
    person_points: Float[ndarray, "T M 3"] | None,
    person_mask: Bool[ndarray, "T M"] | None,
    scale: float | None = None,
    behind_skin: Float[ndarray, " 18"] | float = SKIN_DEPTH,
    lifts: Float[ndarray, "T 18"] | None = None,
) -> MotionStart:
    """Lift keypoints with the point map, or by bone lengths where there is none.

    rest_keypoints: of the template body (T-pose), for its bone lengths. scale: of a known person.
    behind_skin: metres from the seen skin to each keypoint. lifts: metres by which keypoints lie behind the
    person's middle, by a network that saw the image; what the point map does not show.
    Frames without a usable torso take the neighbors'. UserError where no frame has one.
    """
    seen = keypoints[..., 2] > SEEN
    rays = _rays(keypoints, intrinsics)
    depth = skin_depths(keypoints, intrinsics, person_points, person_mask) + behind_skin
    lengths = {bone: _length(rest_keypoints, bone) for bone in (*_BONES, *_ACROSS)}
    if scale is None:
        scale = _scale(rays * depth[..., None], lengths)
    apart = _bone_depth(rays, seen, lengths, scale)
    hips = [_INDEX["right_hip"], _INDEX["left_hip"]]
    center_ray, torso_seen = _center(rays, seen)
    with np.errstate(invalid="ignore"):
        torso = [*hips, _INDEX["neck"]]
        lifted = _nanmedian(depth[:, torso])
    z = np.where(np.isfinite(lifted), lifted, apart)
    usable = torso_seen & np.isfinite(z)
    if not usable.any():
        raise UserError(
            "the body cannot be fitted: no frame has keypoints of hips or shoulders with a "
            f"confidence over {SEEN}. Check the keypoint detector, or give a body motion."
        )
    z = _filled(z, usable)
    z = median_filter(z, size=min(7, len(z)), mode="nearest")
    if not np.isfinite(lifted).any():
        z = _reachable(z)
    pelvis_camera = _filled(center_ray, usable) * z[:, None]
    pelvis = np.einsum("tij,tj->ti", Ts_world_camera[:, :3, :3], pelvis_camera)
    pelvis = (pelvis + Ts_world_camera[:, :3, 3]).astype(np.float32)
    pelvis[:, 1] += np.float32(PELVIS_ABOVE_HIPS * scale)
    if lifts is not None:
        depth = np.where(np.isfinite(depth), depth, z[:, None] + lifts)
    yaw = _yaw(rays, depth, seen, z, Ts_world_camera, lengths, scale)
    visible = np.where(keypoints[..., 2] > VISIBLE, depth, np.nan)[..., None]
    linear, place = Ts_world_camera[:, :3, :3], Ts_world_camera[:, None, :3, 3]
    world = (rays * visible) @ np.swapaxes(linear, 1, 2) + place
    has_depth = bool(np.isfinite(depth[:, torso]).any())
    return MotionStart(pelvis, yaw, float(scale), has_depth, lifted_pose(world))


def _rays(keypoints: ndarray, intrinsics: ndarray) -> ndarray:
    """Camera directions with z = 1."""
    focal = np.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], axis=-1)[:, None]
    xy = (keypoints[..., :2] - intrinsics[:, None, :2, 2]) / focal
    return np.concatenate([xy, np.ones_like(xy[..., :1])], axis=-1)


def skin_depths(
    keypoints: Float[ndarray, "T 18 3"],
    intrinsics: Float[ndarray, "T 3 3"],
    points: Float[ndarray, "T M 3"] | None,
    mask: Bool[ndarray, "T M"] | None,
) -> Float[ndarray, "T 18"]:
    """Camera depth of the skin at believed keypoints; NaN where no seen point lies near their ray."""
    rays, seen = _rays(keypoints, intrinsics), keypoints[..., 2] > SEEN
    out = np.full(seen.shape, np.nan)
    if points is None or mask is None:
        return out
    for t in range(len(rays)):
        near = points[t][mask[t] & (points[t][:, 2] > 0.05)]
        if len(near) == 0:
            continue
        flat = near[:, :2] / near[:, 2:]
        for j in np.flatnonzero(seen[t]):
            away = np.linalg.norm(flat - rays[t, j, :2], axis=-1)
            close = np.argsort(away)[:7]
            close = close[away[close] < NEAR_PIXELS]
            if len(close):
                out[t, j] = np.median(near[close, 2])
    return out


def _length(points: ndarray, bone: tuple[str, str]) -> float:
    return float(np.linalg.norm(points[_INDEX[bone[0]]] - points[_INDEX[bone[1]]]))


def _scale(lifted: ndarray, lengths: dict) -> float:
    """Median ratio of lifted to template bone lengths, not far from one."""
    ratios = []
    for bone in _BONES:
        span = np.linalg.norm(lifted[:, _INDEX[bone[0]]] - lifted[:, _INDEX[bone[1]]], axis=-1)
        ratios.append(span / lengths[bone])
    scales = np.stack(ratios)
    scales = scales[np.isfinite(scales)]
    return float(np.clip(np.median(scales), 0.8, 1.2)) if len(scales) >= 10 else 1.0


def _bone_depth(rays: ndarray, seen: ndarray, lengths: dict, scale: float) -> ndarray:
    """Depth from apparent bone lengths: the least foreshortened bone is nearest to its true length."""
    depths = []
    for bone in _BONES:
        a, b = _INDEX[bone[0]], _INDEX[bone[1]]
        apparent = np.linalg.norm(rays[:, a, :2] - rays[:, b, :2], axis=-1)
        both = seen[:, a] & seen[:, b] & (apparent > 1e-3)
        with np.errstate(divide="ignore", invalid="ignore"):
            depths.append(np.where(both, scale * lengths[bone] / apparent, np.inf))
    nearest = np.min(depths, axis=0)
    return np.where(np.isfinite(nearest), nearest, np.nan)


def _reachable(z: Float[ndarray, " T"]) -> Float[ndarray, " T"]:
    """Depths from bone lengths, no farther than one gets from the other frames: bones that are squeezed (of a
    person who is half read) or foreshortened look far away, never near."""
    frames = np.arange(len(z))
    return (z + FASTEST * np.abs(frames[:, None] - frames)).min(axis=1)


def _center(rays: ndarray, seen: ndarray) -> tuple[ndarray, ndarray]:
    """Ray through the middle of the hips; from the neck downwards where the hips are not seen."""
    hips, neck = np.array([_INDEX["right_hip"], _INDEX["left_hip"]]), _INDEX["neck"]
    weight = seen[:, hips].astype(float)
    total = weight.sum(axis=1)
    middle = (rays[:, hips] * weight[..., None]).sum(axis=1) / np.maximum(total, 1)[:, None]
    below = rays[:, neck] + (0.0, 0.13, 0.0)  # half a metre at about four
    return np.where(total[:, None] > 0, middle, below), (total > 0) | seen[:, neck]


def _yaw(
    rays: ndarray,
    depth: ndarray,
    seen: ndarray,
    z: ndarray,
    Ts_world_camera: ndarray,
    lengths: dict,
    scale: float,
) -> Float[ndarray, " T"]:
    """Heading from the lines across shoulders and hips, summed over neighboring frames.

    Without depth the sign of the turn away from the camera's plane is unknown: zero is taken, and
    the hypotheses of the fit turn from there.
    """
    frames = len(rays)
    total = np.zeros((frames, 2))
    for bone in _ACROSS:
        right, left = _INDEX[bone[0]], _INDEX[bone[1]]
        both = seen[:, right] & seen[:, left]
        lifted = np.isfinite(depth[:, right]) & np.isfinite(depth[:, left])
        z_right = np.where(lifted, depth[:, right], z)[:, None]
        z_left = np.where(lifted, depth[:, left], z)[:, None]
        across = rays[:, left] * z_left - rays[:, right] * z_right
        across = across / np.maximum(
            np.linalg.norm(across, axis=-1, keepdims=True), scale * lengths[bone]
        )
        world = np.einsum("tij,tj->ti", Ts_world_camera[:, :3, :3], across)
        total += np.where(both[:, None], world[:, [0, 2]], 0.0)
    reach = np.arange(frames)
    window = np.exp(-0.5 * ((reach[:, None] - reach) / 2.0) ** 2)
    smooth = window @ total
    # The body's +x (its left) turned by yaw about y is (cos yaw, 0, -sin yaw).
    return np.arctan2(-smooth[:, 1], smooth[:, 0]).astype(np.float32)


def _nanmedian(values: ndarray) -> ndarray:
    out = np.full(len(values), np.nan)
    some = np.isfinite(values).any(axis=1)
    out[some] = np.nanmedian(values[some], axis=1)
    return out


def _filled(values: ndarray, usable: ndarray) -> ndarray:
    """Linear between usable frames, constant beyond them."""
    frames, good = np.arange(len(values)), np.flatnonzero(usable)
    if values.ndim == 1:
        return np.interp(frames, good, values[good])
    return np.stack([np.interp(frames, good, column[good]) for column in values.T], axis=-1)
