"""Linear blend skinning as a few small matrix products.

A vertex hangs on a handful of the 55 joints, and vertices of one region share them. So vertices are sorted
into blocks, each with the few joints it needs, and a block of n vertices with g joints is one (n, 4g) by
(4g, 3) product: the weights times the homogeneous rest vertices, times the joints' transforms. Under vmap
over T frames the left side is shared and XLA runs one (n, 4g) x (4g, 3T) product per block. Measured for
49 frames of 12k vertices on two CPU cores: 4 ms, against 35 to 110 ms for blending dense 3x4 matrices and
560 ms for gathering them by vertex; gradients keep the same order.
"""

from __future__ import annotations

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hoijax.bodies.kinematics import JOINT_COUNT, JOINT_NAMES, AnyArray

MINIMUM_WEIGHT = 1e-6


def _named(*names: str) -> tuple[int, ...]:
    return tuple(JOINT_NAMES.index(name) for name in names)


def _sided(side: str, *names: str) -> tuple[int, ...]:
    return _named(*(f"{side}_{name}" for name in names))


def _hand(side: str) -> tuple[int, ...]:
    start = JOINT_NAMES.index(f"{side}_index1")
    return (*_sided(side, "elbow", "wrist"), *range(start, start + 15))


_JOINT_GROUPS: tuple[tuple[int, ...], ...] = (
    _named("spine3", "neck", "head", "jaw", "left_eye_smplhf", "right_eye_smplhf"),
    _sided("left", "hip", "knee", "ankle", "foot"),
    _sided("right", "hip", "knee", "ankle", "foot"),
    _named("pelvis", "left_hip", "right_hip", "spine1", "spine2", "spine3"),
    _named("spine2", "spine3", "neck") + _sided("left", "collar", "shoulder", "elbow", "wrist"),
    _named("spine2", "spine3", "neck") + _sided("right", "collar", "shoulder", "elbow", "wrist"),
    _hand("left"),
    _hand("right"),
    tuple(range(25)),
    tuple(range(JOINT_COUNT)),
)
"""A vertex goes to the first group that has all of its joints; the last group has them all."""


@flax.struct.dataclass
class SkinBlock:
    """Vertices that share a few joints: weights (n, g) on the g joints."""

    weights: Float[AnyArray, "... n g"]
    joints: tuple[int, ...] = flax.struct.field(pytree_node=False, default=())


@flax.struct.dataclass
class Skin:
    """Blocks of vertices. `order` sorts vertices into blocks and `restore` undoes it; None: sorted already."""

    blocks: tuple[SkinBlock, ...]
    order: Int[AnyArray, "... v"] | None = None
    restore: Int[AnyArray, "... v"] | None = None


def dense_weights(
    skin_indices: Int[np.ndarray, "v k"], skin_weights: Float[np.ndarray, "v k"]
) -> Float[np.ndarray, "v 55"]:
    """Weights on all joints from the sparse form (host)."""
    dense = np.zeros((len(skin_indices), JOINT_COUNT), np.float32)
    np.add.at(dense, (np.arange(len(dense))[:, None], skin_indices), skin_weights)
    return dense


def sparse_weights(
    dense: Float[np.ndarray, "v 55"], most: int = JOINT_COUNT
) -> tuple[Int[np.ndarray, "v k"], Float[np.ndarray, "v k"]]:
    """Indices and weights (V, k) of the k strongest joints, k as small as the data needs (host)."""
    count = min(most, int((dense > MINIMUM_WEIGHT).sum(1).max()))
    indices = np.argsort(-dense, axis=1, kind="stable")[:, :count]
    weights = np.take_along_axis(dense, indices, 1)
    weights = np.where(weights > MINIMUM_WEIGHT, weights, 0.0)
    weights /= weights.sum(1, keepdims=True)
    return np.where(weights > 0, indices, 0).astype(np.int32), weights.astype(np.float32)


def block_of_vertices(dense: Float[np.ndarray, "v 55"]) -> Int[np.ndarray, " v"]:
    """Number of the first joint group that holds every joint of the vertex."""
    outside = np.ones((len(_JOINT_GROUPS), JOINT_COUNT), np.float32)
    for row, joints in zip(outside, _JOINT_GROUPS, strict=True):
        row[list(joints)] = 0.0
    return (dense @ outside.T <= MINIMUM_WEIGHT).argmax(1)


def build_skin(
    skin_indices: Int[np.ndarray, "v k"], skin_weights: Float[np.ndarray, "v k"]
) -> Skin:
    """Sort vertices into blocks (host, once per body)."""
    dense = dense_weights(skin_indices, skin_weights)
    block = block_of_vertices(dense)
    order = np.argsort(block, kind="stable").astype(np.int32)
    blocks = []
    for number in np.unique(block):
        rows = dense[block == number]
        used = np.flatnonzero(rows.max(0) > 0)
        blocks.append(SkinBlock(rows[:, used], tuple(int(j) for j in used)))
    if (np.diff(order) == 1).all():
        return Skin(tuple(blocks))
    return Skin(tuple(blocks), order, np.argsort(order).astype(np.int32))


def apply_skin(
    skin: Skin, vertices: Float[AnyArray, "v 3"], palette: Float[AnyArray, "55 3 4"]
) -> Float[Array, "v 3"]:
    """Skinned vertices from rest vertices that do not depend on the frame (no pose correctives)."""
    if skin.order is not None:
        vertices = vertices[skin.order]
    by_row = jnp.swapaxes(palette, 0, 1)
    skinned, start = [], 0
    for block in skin.blocks:
        count, joints = block.weights.shape[0], np.array(block.joints)
        points = vertices[start : start + count]
        points = jnp.concatenate([points, jnp.ones_like(points[:, :1])], axis=1)
        left = (jnp.asarray(block.weights)[:, :, None] * points[:, None, :]).reshape(count, -1)
        # (3, 4g) x (4g, n): this side first, so that vmap over frames leaves the vertex axis contiguous.
        skinned.append(by_row[:, joints].reshape(3, -1) @ left.T)
        start += count
    result = jnp.concatenate(skinned, axis=1).T
    return result if skin.restore is None else result[skin.restore]


def apply_skin_to_corrected(
    skin: Skin, vertices: Float[AnyArray, "v 3"], palette: Float[AnyArray, "55 3 4"]
) -> Float[Array, "v 3"]:
    """The same for vertices that differ in every frame (pose correctives): blend matrices, then apply."""
    if skin.order is not None:
        vertices = vertices[skin.order]
    flat = palette.reshape(JOINT_COUNT, 12)
    skinned, start = [], 0
    for block in skin.blocks:
        count, joints = block.weights.shape[0], np.array(block.joints)
        points = vertices[start : start + count]
        blended = (jnp.asarray(block.weights) @ flat[joints]).reshape(count, 3, 4)
        skinned.append(jnp.sum(blended[..., :3] * points[:, None, :], axis=-1) + blended[..., 3])
        start += count
    result = jnp.concatenate(skinned)
    return result if skin.restore is None else result[skin.restore]
