"""Forward kinematics on the SMPL-X tree, one small product per level of the tree."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.programs import program

AnyArray = jax.Array | np.ndarray
"""Bodies are loaded as numpy arrays and become JAX arrays when shaped; functions take both."""

_BODY = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle",
    "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
_FACE = ("jaw", "left_eye_smplhf", "right_eye_smplhf")
_FINGERS = tuple(
    f"{f}{k}" for f in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3)
)

JOINT_NAMES: tuple[str, ...] = (
    *_BODY, *_FACE, *(f"{side}_{finger}" for side in ("left", "right") for finger in _FINGERS)
)  # fmt: skip
"""The 55 SMPL-X joints: 22 body, jaw and eyes, 15 fingers left, 15 fingers right."""
MIRRORED = tuple(
    JOINT_NAMES.index(
        name.replace("left", "right") if name.startswith("left") else name.replace("right", "left")
    )
    for name in JOINT_NAMES
)
"""The joint of the other side; a joint in the middle is its own."""


def exchanged_sides(rotations: Float[np.ndarray, "*n 55 3"]) -> Float[np.ndarray, "*n 55 3"]:
    """Axis-angle rotations with left and right exchanged, but for the pelvis, which stays (host)."""
    exchanged = rotations[..., MIRRORED, :] * np.array([1.0, -1.0, -1.0], rotations.dtype)
    exchanged[..., 0, :] = rotations[..., 0, :]
    return exchanged


JOINT_PARENTS: tuple[int, ...] = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15,
    20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35, 20, 37, 38,
    21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50, 21, 52, 53,
)  # fmt: skip
"""Index of each joint's parent; -1 for the pelvis."""

JOINT_COUNT = len(JOINT_NAMES)
BODY_JOINT_COUNT = len(_BODY)
"""The first ones: fingers, jaw and eyes follow."""
SMPLH_JOINTS: tuple[int, ...] = (*range(22), *range(25, JOINT_COUNT))
"""Places of the 52 SMPL-H / AMASS joints (no jaw, no eyes) among the 55."""

_PARENTS = np.maximum(np.array(JOINT_PARENTS), 0)


def _levels() -> list[tuple[np.ndarray, np.ndarray]]:
    """Joints of each level of the tree, with the places of their parents in the level above."""
    depth = np.zeros(JOINT_COUNT, int)
    for joint in range(1, JOINT_COUNT):
        depth[joint] = depth[_PARENTS[joint]] + 1
    levels = [(np.array([0]), np.array([0]))]
    for level in range(1, depth.max() + 1):
        joints = np.flatnonzero(depth == level)
        levels.append((joints, np.searchsorted(levels[-1][0], _PARENTS[joints])))
    return levels


_LEVELS = _levels()
_FROM_LEVELS = np.argsort(np.concatenate([joints for joints, _ in _LEVELS]))


@program
def forward_kinematics(
    joints_rest: Float[AnyArray, "55 3"],
    rotations: Float[AnyArray, "55 3 3"],
    translation: Float[AnyArray, "3"],
) -> Float[Array, "55 3 4"]:
    """[R | t] of every joint frame in the world. The pelvis turns about its rest position, then all is moved.

    Products are written as multiply and sum: XLA fuses them, where batches of 3x3 matmuls run twenty times
    slower on CPU (measured, 49 frames vmapped).
    """
    offsets = joints_rest - joints_rest[_PARENTS]
    rotation, position = rotations[:1], (joints_rest[0] + translation)[None]
    all_rotations, all_positions = [rotation], [position]
    for joints, parents in _LEVELS[1:]:
        above = rotation[parents]
        position = position[parents] + jnp.sum(above * offsets[joints][:, None, :], axis=-1)
        rotation = jnp.sum(above[..., None] * rotations[joints][:, None], axis=2)
        all_rotations.append(rotation)
        all_positions.append(position)
    stacked = jnp.concatenate(
        [jnp.concatenate(all_rotations), jnp.concatenate(all_positions)[..., None]], axis=-1
    )
    return stacked[_FROM_LEVELS]


def skinning_palette(
    transforms: Float[Array, "55 3 4"], joints_rest: Float[AnyArray, "55 3"]
) -> Float[Array, "55 3 4"]:
    """What moves a rest vertex with each joint, of `forward_kinematics`."""
    turned = jnp.sum(transforms[..., :3] * joints_rest[:, None, :], axis=-1)
    return jnp.concatenate([transforms[..., :3], (transforms[..., 3] - turned)[..., None]], axis=-1)


def homogeneous(transforms: Float[AnyArray, "n 3 4"]) -> Float[Array, "n 4 4"]:
    """Append the row (0, 0, 0, 1)."""
    row = jnp.zeros((len(transforms), 1, 4), transforms.dtype).at[..., 3].set(1.0)
    return jnp.concatenate([transforms, row], axis=-2)


def child_means() -> Float[np.ndarray, "55 55"]:
    """Matrix whose product with joint positions is the far end of each bone: the mean of its children.

    A joint without children (finger tips, toes, eyes) ends where it starts.
    """
    means = np.zeros((JOINT_COUNT, JOINT_COUNT), np.float32)
    for joint in range(JOINT_COUNT):
        children = [c for c, p in enumerate(JOINT_PARENTS) if p == joint] or [joint]
        means[joint, children] = 1.0 / len(children)
    return means


def rotations_from_smplh(
    rotations: Float[np.ndarray, "*batch 52 3"],
) -> Float[np.ndarray, "*batch 55 3"]:
    """Axis-angle rotations of AMASS / SMPL-H on the 55-joint tree, with jaw and eyes at rest (host, float32)."""
    full = np.zeros((*rotations.shape[:-2], JOINT_COUNT, 3), np.float32)
    full[..., list(SMPLH_JOINTS), :] = rotations
    return full
