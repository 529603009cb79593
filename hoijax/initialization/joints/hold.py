"""Joints that hold: poses of links found one by one, brought to the nearest poses that their joints allow.

A method without joint values among its unknowns moves every link freely. Here each tree of links gets one
pose and one value per joint, so that the corners of all links are as near as can be to where they were.
Least squares by turns: the root for given values (Kabsch), then each value for given poses (in closed form).
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.geometry.transforms import compose_rigid, invert_rigid
from hoijax.initialization.joints.equivalents import fitting_equivalents
from hoijax.objects.articulated.joints import FIXED, PRISMATIC, Joint
from hoijax.objects.asset import Asset

ROUNDS = 30

Poses = Float[ndarray, "*a 4 4"]


def hold_joints(
    joints: Sequence[Joint],
    assets: Sequence[Asset],
    rotations: Float[ndarray, "K O T 3 3"],
    translations: Float[ndarray, "K O T 3"],
) -> tuple[Float[ndarray, "K O T 3 3"], Float[ndarray, "K O T 3"], Float[ndarray, "K D T"]]:
    """Rotations, translations (T_world_asset) and joint values, radians or metres, within their limits.

    Objects on no joint stay where they are. Joints have parents before children. Of poses that show a link
    alike, those that fit its joints are meant.
    """
    free = np.moveaxis(compose_rigid(rotations, translations), 1, 0).astype(np.float64)
    free = fitting_equivalents(joints, assets, free, partial(_misfit, assets))
    held, values = free.copy(), np.zeros((len(joints), *free.shape[1:3]))
    for tree in _trees(joints):
        corners = {link: _corners(assets[link]) for link in tree}
        moving = [d for d, joint in enumerate(joints) if joint.child in corners]
        for d in moving:
            values[d] = _value(joints[d], free[joints[d].parent], free[joints[d].child], corners)
        for _ in range(ROUNDS):
            relative = _relative(joints, moving, tree[0], values)
            held[tree[0]] = _root(relative, free, corners)
            for link, T in relative.items():
                held[link] = held[tree[0]] @ T
            for d in moving:
                below = _below(joints, moving, d)
                values[d] = _joint_value(joints[d], held, free, values[d], below, corners)
                relative = _relative(joints, moving, tree[0], values)
                for link, T in relative.items():
                    held[link] = held[tree[0]] @ T
    poses = np.moveaxis(held, 0, 1).astype(np.float32)
    return poses[..., :3, :3], poses[..., :3, 3], np.moveaxis(values, 0, 1).astype(np.float32)


def _trees(joints: Sequence[Joint]) -> list[list[int]]:
    """Links that hang together, the root first, then parents before children."""
    children = {joint.child for joint in joints}
    trees = [[root] for root in dict.fromkeys(j.parent for j in joints) if root not in children]
    for joint in joints:
        next(tree for tree in trees if joint.parent in tree).append(joint.child)
    return trees


def _corners(asset: Asset) -> Float[ndarray, "8 3"]:
    low, high = asset.vertices.min(axis=0), asset.vertices.max(axis=0)
    box = np.stack(np.meshgrid(*zip(low, high, strict=True)), axis=-1)
    return box.reshape(-1, 3).astype(np.float64)


def joint_motion(joint: Joint, values: Float[ndarray, "*a"]) -> Poses:
    """T_parent_child of one joint."""
    from scipy.spatial.transform import Rotation

    T = np.broadcast_to(np.eye(4), (*values.shape, 4, 4)).copy()
    if joint.kind == PRISMATIC:
        T[..., :3, 3] = values[..., None] * joint.axis
    elif joint.kind != FIXED:
        turns = Rotation.from_rotvec(values.reshape(-1, 1) * np.asarray(joint.axis, np.float64))
        T[..., :3, :3] = turns.as_matrix().reshape(*values.shape, 3, 3)
    return np.asarray(joint.T_parent_joint, np.float64) @ T


def _relative(
    joints: Sequence[Joint], moving: Sequence[int], root: int, values: Float[ndarray, "D K T"]
) -> dict[int, Poses]:
    """T_root_link of every link of a tree."""
    relative = {root: np.broadcast_to(np.eye(4), (*values.shape[1:], 4, 4))}
    for d in moving:
        relative[joints[d].child] = relative[joints[d].parent] @ joint_motion(joints[d], values[d])
    return relative


def _below(joints: Sequence[Joint], moving: Sequence[int], d: int) -> list[int]:
    """Links that move with joint d: its child and what hangs on it."""
    links = [joints[d].child]
    for other in moving:
        if joints[other].parent in links:
            links.append(joints[other].child)
    return links


def _root(relative: dict[int, Poses], free: Float[ndarray, "O K T 4 4"], corners: dict) -> Poses:
    """The root's pose that brings the corners of all links nearest to where they were (Kabsch)."""
    source = np.concatenate([_moved(T, corners[link]) for link, T in relative.items()], axis=-2)
    target = np.concatenate([_moved(free[link], corners[link]) for link in relative], axis=-2)
    a, b = source.mean(axis=-2, keepdims=True), target.mean(axis=-2, keepdims=True)
    u, _, vt = np.linalg.svd(np.swapaxes(target - b, -1, -2) @ (source - a))
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[..., None]
    R = u @ vt
    return compose_rigid(R, b[..., 0, :] - (R @ a[..., 0, :, None])[..., 0])


def _moved(T: Poses, points: Float[ndarray, "n 3"]) -> Float[ndarray, "*a n 3"]:
    return points @ np.swapaxes(T[..., :3, :3], -1, -2) + T[..., None, :3, 3]


def _value(joint: Joint, parent: Poses, child: Poses, corners: dict) -> Float[ndarray, "K T"]:
    """Of one joint alone, from the free poses of its two links."""
    zero = parent @ joint_motion(joint, np.zeros(parent.shape[:2]))
    points = corners[joint.child]
    return _nearest_value(joint, zero, _moved(zero, points), _moved(child, points))


def _joint_value(
    joint: Joint, held: Poses, free: Poses, value: ndarray, below: Sequence[int], corners: dict
) -> Float[ndarray, "K T"]:
    """Of one joint, with all else as it is held; everything that hangs on it counts."""
    T_world_joint = held[joint.parent] @ joint_motion(joint, np.zeros_like(value))
    back = T_world_joint @ invert_rigid(held[joint.parent] @ joint_motion(joint, value))
    now = np.concatenate([_moved(back @ held[link], corners[link]) for link in below], axis=-2)
    target = np.concatenate([_moved(free[link], corners[link]) for link in below], axis=-2)
    return _nearest_value(joint, T_world_joint, now, target)


def _misfit(
    assets: Sequence[Asset], joint: Joint, parent: Poses, child: Poses
) -> Float[ndarray, " K"]:
    """Mean square of metres between a child's corners and where its joint, at its best, has them."""
    corners = _corners(assets[joint.child])
    value = _value(joint, parent, child, {joint.child: corners})
    away = _moved(parent @ joint_motion(joint, value), corners) - _moved(child, corners)
    return np.mean(np.sum(away**2, axis=-1), axis=(1, 2))


def _nearest_value(
    joint: Joint, T_world_joint: Poses, zero: ndarray, target: ndarray
) -> Float[ndarray, "K T"]:
    """The value that brings points from where they are at zero nearest to a target, within the limits."""
    if joint.kind == FIXED:
        return np.zeros(zero.shape[:2])
    axis = T_world_joint[..., :3, :3] @ np.asarray(joint.axis, np.float64)
    if joint.kind == PRISMATIC:
        along = np.einsum("ktni,kti->kt", target - zero, axis) / zero.shape[-2]
        return np.clip(along, joint.lower, joint.upper)
    origin = T_world_joint[..., None, :3, 3]
    a, b = zero - origin, target - origin
    a = a - np.einsum("ktni,kti->ktn", a, axis)[..., None] * axis[..., None, :]
    sine = np.einsum("ktni,kti->kt", np.cross(a, b), axis)
    cosine = np.einsum("ktni,ktni->kt", a, b)
    return _within(np.arctan2(sine, cosine), joint.lower, joint.upper)


def _within(angle: ndarray, lower: float, upper: float) -> ndarray:
    """An angle brought into its limits: by whole turns where that does it, else to the nearer end."""
    if not (np.isfinite(lower) and np.isfinite(upper)):
        return np.clip(angle, lower, upper)
    middle = 0.5 * (lower + upper)
    nearest = middle + (angle - middle + np.pi) % (2.0 * np.pi) - np.pi
    return np.clip(nearest, lower, upper)
