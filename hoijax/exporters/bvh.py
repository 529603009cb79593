"""A person's motion as BVH: the SMPL-X skeleton with the person's own bone lengths.

Axes: right-handed, y up (or z up: then the T-pose stands upright in z up as well). Lengths in
centimetres or metres, angles in degrees. A joint has the channels Zrotation Xrotation Yrotation, to be
multiplied in that order: R = Rz Rx Ry; one that comes near the pole of that order, where angles of a
small turn jump, has the order of which it stays farthest. The root also has its place, which is the pelvis itself
(rest pelvis + SMPL-X translation); its OFFSET is zero. Objects have no place in BVH.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bodies.kinematics import JOINT_NAMES, JOINT_PARENTS
from hoijax.exporters.clip import Clip
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP

UNITS_PER_METER = {"cm": 100.0, "m": 1.0}
ORDERS = ("ZXY", "ZYX", "XYZ", "XZY", "YXZ", "YZX")
NEAR_POLE = float(np.sin(np.radians(60.0)))
"""Sine of a middle angle beyond which another order is looked for."""
TIP = 0.6
"""Length of a last bone, as a share of the bone before it: BVH wants one, SMPL-X has none."""


def save_bvh(
    path: str | Path,
    clip: Clip,
    *,
    person: int = 0,
    unit: Literal["cm", "m"] = "cm",
    z_up: bool = False,
) -> Path:
    """Write one person of a clip (world y up) at the clip's frame rate. The unit is in no BVH file."""
    who = clip.people[person]
    scale = UNITS_PER_METER[unit]
    R_file_world = Z_UP_FROM_Y_UP.astype(np.float64) if z_up else np.eye(3)
    rest = np.asarray(who.shaped.joints_rest, np.float64)
    places = (rest[0] + who.translations.astype(np.float64)) @ R_file_world.T * scale
    # the same turn before and after: the rest pose stands upright, whichever axis is up
    vectors = who.joint_rotations.astype(np.float64) @ R_file_world.T
    orders, angles = euler_angles(vectors)
    rows = np.concatenate([places, angles[:, depth_first()].reshape(len(places), -1)], 1)
    lines = ["HIERARCHY", *_joint_lines(rest @ R_file_world.T * scale, orders, 0, ""), "MOTION"]
    lines += [f"Frames: {len(rows)}", f"Frame Time: {1.0 / clip.fps:.8f}"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows]
    path = Path(path)
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path


def depth_first() -> list[int]:
    """Joints in the order of a nested file: each followed by all that hangs on it."""
    order, waiting = [], [0]
    while waiting:
        joint = waiting.pop()
        order.append(joint)
        waiting.extend(reversed(_children(joint)))
    return order


def euler_angles(
    axis_angles: Float[ndarray, "T 55 3"],
) -> tuple[tuple[str, ...], Float[ndarray, "T 55 3"]]:
    """(order of every joint such as "ZXY", angles in degrees in that order), without jumps over time."""
    from scipy.spatial.transform import Rotation

    frames, joints = axis_angles.shape[:2]
    matrices = Rotation.from_rotvec(axis_angles.reshape(-1, 3)).as_matrix()
    matrices = matrices.reshape(frames, joints, 3, 3)
    angles, orders = euler_zxy(axis_angles), [ORDERS[0]] * joints
    # The sine of the middle angle of order "ijk" is the element (i, k) of R, up to its sign.
    sines = np.stack(
        [np.abs(matrices[..., "XYZ".index(o[0]), "XYZ".index(o[2])]).max(axis=0) for o in ORDERS]
    )
    for joint in np.flatnonzero(sines[0] > NEAR_POLE):
        order = ORDERS[int(sines[:, joint].argmin())]
        if order != ORDERS[0]:
            of_joint = Rotation.from_matrix(matrices[:, joint]).as_euler(order, degrees=True)
            angles[:, joint], orders[joint] = _continuous(of_joint), order
    return tuple(orders), angles


def _continuous(angles: Float[ndarray, "T 3"]) -> Float[ndarray, "T 3"]:
    """Of the two triples of each rotation, and of all whole turns, the one nearest to the frame before."""
    path = angles.copy()
    for frame in range(1, len(path)):
        before, same = path[frame - 1], path[frame]
        other = np.array([same[0] + 180.0, 180.0 - same[1], same[2] + 180.0])
        choices = [a - 360.0 * np.round((a - before) / 360.0) for a in (same, other)]
        path[frame] = min(choices, key=lambda a: float(np.abs(a - before).sum()))
    return path


def euler_zxy(axis_angles: Float[ndarray, "T 55 3"]) -> Float[ndarray, "T 55 3"]:
    """Angles z, x, y in degrees with R = Rz Rx Ry, without jumps over time.

    Of the two triples that give the same rotation, and of all whole turns, each frame takes the one
    nearest to the frame before: a reader that interpolates angles does not spin.
    """
    from scipy.spatial.transform import Rotation

    frames, joints = axis_angles.shape[:2]
    matrices = Rotation.from_rotvec(axis_angles.reshape(-1, 3)).as_matrix()
    # R[2, 1] = sin x; the formulas hold at the poles too, where z and y share one freedom
    x = np.arcsin(np.clip(matrices[:, 2, 1], -1.0, 1.0))
    pole = np.abs(matrices[:, 2, 1]) > 1.0 - 1e-9
    z = np.where(
        pole,
        np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]),
        np.arctan2(-matrices[:, 0, 1], matrices[:, 1, 1]),
    )
    y = np.where(pole, 0.0, np.arctan2(-matrices[:, 2, 0], matrices[:, 2, 2]))
    angles = np.degrees(np.stack([z, x, y], -1)).reshape(frames, joints, 3)
    pole, side = pole.reshape(frames, joints), np.sign(matrices[:, 2, 1]).reshape(frames, joints)
    for frame in range(1, frames):
        before = angles[frame - 1]
        same = angles[frame]
        # At a pole only z + y (or z - y) is given: y stays, and z takes the rest.
        y = np.where(pole[frame], before[:, 2], same[:, 2])
        z = np.where(pole[frame], same[:, 0] - side[frame] * y, same[:, 0])
        same = np.stack([z, same[:, 1], y], -1)
        other = np.stack([same[:, 0] + 180.0, 180.0 - same[:, 1], same[:, 2] + 180.0], -1)
        same, other = (a - 360.0 * np.round((a - before) / 360.0) for a in (same, other))
        nearer = np.abs(other - before).sum(-1) < np.abs(same - before).sum(-1)
        angles[frame] = np.where(nearer[:, None], other, same)
    return angles


def _children(joint: int) -> list[int]:
    return [child for child, parent in enumerate(JOINT_PARENTS) if parent == joint]


def _joint_lines(
    rest: Float[ndarray, "55 3"], orders: tuple[str, ...], joint: int, indent: str
) -> list[str]:
    """HIERARCHY of a joint and of everything below it."""
    inner = indent + "  "
    if joint == 0:
        head, offset = "ROOT", np.zeros(3)
        places = "6 Xposition Yposition Zposition"
    else:
        head, offset = "JOINT", rest[joint] - rest[JOINT_PARENTS[joint]]
        places = "3"
    lines = [f"{indent}{head} {JOINT_NAMES[joint]}", indent + "{", inner + _offset(offset)]
    turns = " ".join(f"{axis}rotation" for axis in orders[joint])
    lines.append(f"{inner}CHANNELS {places} {turns}")
    children = _children(joint)
    for child in children:
        lines += _joint_lines(rest, orders, child, inner)
    if not children:
        lines += [inner + "End Site", inner + "{", f"{inner}  {_offset(TIP * offset)}", inner + "}"]
    return [*lines, indent + "}"]


def _offset(values: Float[ndarray, "3"]) -> str:
    return "OFFSET " + " ".join(f"{value:.6f}" for value in values)
