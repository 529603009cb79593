"""Residuals of the inverse kinematics within a frame, with their Jacobians by hand; all frames at once.

Square-root weights: a residual of 1 costs the same everywhere. Every function gives values (T, R) and
their Jacobian (T, R, 69).
"""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from priors.choreography.joint_limits import (
    JOINT_LOWER,
    JOINT_STIFFNESS,
    JOINT_UPPER,
    MASS_JOINTS,
    MASSES,
)
from priors.choreography.kinematic_chain import UNKNOWN_COUNT, Chain
from priors.choreography.pose_targets import ANKLES, HEAD, WRISTS, PoseTargets, Skeleton

POSITION, DIRECTION, FOOT_POSITION, FOOT_ROTATION = 150.0, 20.0, 300.0, 40.0
LIMIT, BALANCE, LOOK, REFERENCE, SELF_COLLISION = 30.0, 8.0, 1.5, 1.0, 40.0
ELBOWS, TRUNK = (18, 19), (0, 3, 6, 9)
UPRIGHT = 2.5
"""How much stiffer the trunk is than its joints: people reach with their arms before they lean."""
_REFERENCE = REFERENCE * JOINT_STIFFNESS.astype(float)
_REFERENCE[list(TRUNK)] *= UPRIGHT

Rows = tuple[Float[ndarray, "T R"], Float[ndarray, "T R 69"]]


def point_residuals(
    chain: Chain, unknowns: Float[ndarray, "T 69"], targets: PoseTargets, skeleton: Skeleton
) -> Rows:
    """Of everything that depends on where joints are: hands, feet, pelvis, balance, gaze, pins."""
    parts = [
        *_hands(chain, targets, skeleton),
        *_feet(chain, targets),
        _pelvis(unknowns, targets),
        _balance(chain, targets),
        _gaze(chain, targets),
        _pins(chain, targets),
        _self_collisions(chain, targets, skeleton),
    ]
    return (
        np.concatenate([values for values, _ in parts], axis=1),
        np.concatenate([slopes for _, slopes in parts], axis=1),
    )


def _rows(weight: ndarray, values: ndarray, slopes: ndarray) -> Rows:
    """Weighted (T, K, 3) values and (T, K, 3, 69) slopes as rows; weight: (T, K) or a number."""
    weight = np.broadcast_to(np.asarray(weight, float), values.shape[:2])[..., None]
    frames = len(values)
    rows = (weight[..., None] * slopes).reshape(frames, -1, slopes.shape[-1])
    return (weight * values).reshape(frames, -1), rows


def _attached(
    chain: Chain, joints: Int[ndarray, " K"] | Int[ndarray, "T K"], local: Float[ndarray, "T K 3"]
) -> tuple[Float[ndarray, "T K 3"], Float[ndarray, "T K 3 69"]]:
    """Points given in the frames of joints, in the world, and their Jacobian."""
    points = _places(chain, joints, local)
    return points, chain.moved(points, joints)


def _places(
    chain: Chain, joints: Int[ndarray, " K"] | Int[ndarray, "T K"], local: Float[ndarray, "T K 3"]
) -> Float[ndarray, "T K 3"]:
    frames = np.arange(len(local))[:, None]
    turned = np.einsum("tkij,tkj->tki", chain.rotations[frames, joints], local)
    return chain.positions[frames, joints] + turned


def _hands(chain: Chain, targets: PoseTargets, skeleton: Skeleton) -> list[Rows]:
    wrists, weight = np.array(WRISTS), targets.hand_weight
    hands, by_hands = _attached(chain, wrists, targets.hand_local)
    rotations = chain.rotations[:, wrists]
    palms = np.einsum("thij,hj->thi", rotations, skeleton.palm_normals)
    knuckles = np.einsum("thij,hj->thi", rotations, skeleton.knuckle_axes)
    by_palms, by_knuckles = chain.turned(palms, wrists), chain.turned(knuckles, wrists)
    return [
        _rows(POSITION * weight[..., 0], hands - targets.hand_point, by_hands),
        _rows(DIRECTION * weight[..., 1], palms - targets.hand_normal, by_palms),
        _rows(DIRECTION * weight[..., 2], knuckles - targets.hand_axis, by_knuckles),
    ]


def _feet(chain: Chain, targets: PoseTargets) -> list[Rows]:
    ankles, weight = np.array(ANKLES), targets.foot_weight
    places, rotations = chain.positions[:, ankles], chain.rotations[:, ankles]
    rows = [
        _rows(FOOT_POSITION * weight[..., 0], places - targets.ankle, chain.moved(places, ankles))
    ]
    for axis in (0, 1):
        side = rotations[..., axis]
        off = side - targets.foot_rotation[..., axis]
        rows.append(_rows(FOOT_ROTATION * weight[..., 1], off, chain.turned(side, ankles)))
    return rows


def _pelvis(unknowns: Float[ndarray, "T 69"], targets: PoseTargets) -> Rows:
    slopes = targets.pelvis_weight[..., None] * np.eye(3, unknowns.shape[1])
    return targets.pelvis_weight * (unknowns[:, :3] - targets.pelvis), slopes


def _balance(chain: Chain, targets: PoseTargets) -> Rows:
    """The center of mass stays above the point of support."""
    joints, ground = np.array(MASS_JOINTS), np.array([0, 2])
    center = np.einsum("k,tkc->tc", MASSES, chain.positions[:, joints])[:, ground]
    slopes = chain.mean_moved(joints, MASSES)[:, ground]
    weight = BALANCE * targets.balance_weight[:, None]
    return weight * (center - targets.support), weight[..., None] * slopes


def _gaze(chain: Chain, targets: PoseTargets) -> Rows:
    """The head's forward axis points at what is looked at."""
    joint, head = np.array([HEAD]), chain.positions[:, HEAD]
    forward = chain.rotations[:, HEAD, :, 2]
    away = targets.look_at - head
    length = np.linalg.norm(away, axis=1, keepdims=True) + 1e-6
    reach = length + 1e-3
    by_head = chain.moved(head[:, None], joint)[:, 0]
    along = np.einsum("tc,tcn->tn", away, by_head)[:, None]
    bent = -by_head / reach[..., None] + (away / (length * reach**2))[..., None] * along
    off = (forward - away / reach)[:, None]
    slopes = chain.turned(forward[:, None], joint) - bent[:, None]
    return _rows(LOOK * targets.look_weight[:, None], off, slopes)


def _pins(chain: Chain, targets: PoseTargets) -> Rows:
    points, slopes = _attached(chain, targets.slot_joint, targets.slot_local)
    return _rows(POSITION * targets.slot_weight, points - targets.slot_point, slopes)


def _self_collisions(chain: Chain, targets: PoseTargets, skeleton: Skeleton) -> Rows:
    """Depth of hands, wrists, forearms and elbows inside the torso and thigh capsules."""
    limbs = np.array(WRISTS + WRISTS + ELBOWS + ELBOWS)
    local = np.zeros((len(chain.positions), len(limbs), 3))
    local[:, :2] = targets.hand_local
    points = _middled(_places(chain, limbs, local))
    ends = chain.positions[:, skeleton.capsule_joints]  # (T, C, 2, 3)
    axis = ends[:, :, 1] - ends[:, :, 0]
    arms = points[:, :, None] - ends[:, None, :, 0]
    fraction = np.clip(
        np.einsum("tscj,tcj->tsc", arms, axis) / np.sum(axis**2, -1)[:, None], 0.0, 1.0
    )
    off = arms - fraction[..., None] * axis[:, None]
    distance = np.linalg.norm(off, axis=-1) + 1e-9
    depth = SELF_COLLISION * np.maximum(skeleton.capsule_radii - distance, 0.0)
    slopes = np.zeros((*depth.shape, UNKNOWN_COUNT))
    some = np.flatnonzero(depth.any(axis=(1, 2)))
    t, s, c = np.nonzero(depth[some])
    there = chain.at(some)
    by_points = _middled(_attached(there, limbs, local[some])[1])
    corners = skeleton.capsule_joints.reshape(-1)
    by_ends = there.moved(ends[some].reshape(len(some), corners.size, 3), corners)
    by_ends = by_ends.reshape(len(some), corners.size // 2, 2, 3, UNKNOWN_COUNT)
    out = (off / distance[..., None])[some][t, s, c]
    # The nearest point of the axis slides along it, across the way out: its share may stand still.
    nearest = by_ends[t, c, 0] + fraction[some][t, s, c, None, None] * (
        by_ends[t, c, 1] - by_ends[t, c, 0]
    )
    turned = np.einsum("nj,njk->nk", out, by_points[t, s] - nearest)
    slopes[some[t], s, c] = -SELF_COLLISION * turned
    return depth.reshape(len(depth), -1), slopes.reshape(len(depth), -1, UNKNOWN_COUNT)


def _middled(limbs: Float[ndarray, "T 8 *rest"]) -> Float[ndarray, "T 8 *rest"]:
    """Hands, wrists, wrists, elbows, with the middles of forearms in place of the second wrists."""
    limbs = limbs.copy()
    limbs[:, 4:6] = 0.5 * (limbs[:, 2:4] + limbs[:, 6:])
    return limbs


def pose_prior(
    unknowns: Float[ndarray, "T 69"], targets: PoseTargets
) -> tuple[Float[ndarray, "2 T 69"], Float[ndarray, "2 T 69"]]:
    """Residuals towards the reference pose and beyond the joint limits, and their slopes.

    They concern one unknown each, so the Jacobian is diagonal; the pelvis position has none.
    """
    pose = unknowns[:, 3:]
    reference = _REFERENCE.reshape(-1)
    beyond = pose - np.clip(pose, JOINT_LOWER.reshape(-1), JOINT_UPPER.reshape(-1))
    off = pose - targets.reference.reshape(len(pose), -1)
    values = np.stack([reference * off, LIMIT * beyond])
    slopes = np.stack(np.broadcast_arrays(reference, LIMIT * (beyond != 0.0)))
    pad = ((0, 0), (0, 0), (3, 0))
    return np.pad(values, pad), np.pad(slopes, pad)
