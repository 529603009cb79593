"""One pytree for every body: shape -> pose -> mesh, by linear blend skinning on the SMPL-X joint tree.

A body is staged as types: a SkinnedBody (the model), a ShapedBody (one person's rest pose) and a PosedBody
(one frame). Write for one example; the caller vmaps `ShapedBody.pose` over frames and candidates.
"""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hoijax.rotations import axis_angle_to_matrix

_BODY = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle",
    "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
_FACE = ("jaw", "left_eye_smplhf", "right_eye_smplhf")
_FINGERS = tuple(f"{f}{k}" for f in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3))

JOINT_NAMES: tuple[str, ...] = (
    *_BODY, *_FACE, *(f"{side}_{f}" for side in ("left", "right") for f in _FINGERS)
)  # fmt: skip
"""The 55 SMPL-X joints: 22 body, jaw and eyes, 15 fingers left, 15 fingers right."""

JOINT_PARENTS: tuple[int, ...] = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15,
    20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35, 20, 37, 38,
    21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50, 21, 52, 53,
)  # fmt: skip
"""Index of each joint's parent; -1 for the pelvis."""

JOINT_COUNT = len(JOINT_NAMES)


def _ancestors() -> np.ndarray:
    """Tables (rounds, 55) for pointer doubling: in round r a joint reads the joint 2^r levels above it."""
    jump = np.array([JOINT_COUNT if p < 0 else p for p in JOINT_PARENTS] + [JOINT_COUNT])
    rounds = []
    while (jump[:-1] != JOINT_COUNT).any():
        rounds.append(jump[:-1])
        jump = jump[jump]
    return np.stack(rounds)


_JUMPS = _ancestors()


@flax.struct.dataclass
class PosedBody:
    """One frame of one body, in the world, metres."""

    vertices_world: Float[Array, "v 3"]
    joints_world: Float[Array, "55 3"]
    Ts_world_joint: Float[Array, "55 4 4"]


@flax.struct.dataclass
class ShapedBody:
    """One person's rest pose (SMPL-X T-pose) and skin. All joint frames are world-aligned at rest."""

    vertices_rest: Float[Array, "v 3"]
    joints_rest: Float[Array, "55 3"]
    skin_indices: Int[Array, "v k"]
    skin_weights: Float[Array, "v k"]
    faces: Int[Array, "f 3"]
    part_ids: Int[Array, " v"]
    pose_correctives: Float[Array, "v 3 486"] | None = None

    def with_rest_joints(self, joints_rest: Float[Array, "55 3"]) -> ShapedBody:
        """The same person on other rest joints (T-pose, metres), such as measured bone lengths.

        Each vertex moves with a blend, by its skin weights, of what its bones do; along a bone the
        displacement goes linearly from the joint's to that of its children, so that bones stretch and
        joints land exactly. Skin that only hangs on one joint translates.
        """
        moved = joints_rest - self.joints_rest
        start = self.joints_rest
        end, moved_end = _CHILD_MEANS @ start, _CHILD_MEANS @ moved
        bone = end - start
        offset = self.vertices_rest[:, None] - start[self.skin_indices]
        length_squared = jnp.maximum(jnp.sum(bone * bone, axis=-1), 1e-8)
        along = jnp.sum(offset * bone[self.skin_indices], axis=-1)
        along = jnp.clip(along / length_squared[self.skin_indices], 0.0, 1.0)[..., None]
        shift = (1.0 - along) * moved[self.skin_indices] + along * moved_end[self.skin_indices]
        shift = jnp.sum(self.skin_weights[..., None] * shift, axis=1)
        return self.replace(  # pyright: ignore[reportAttributeAccessIssue]
            vertices_rest=self.vertices_rest + shift, joints_rest=joints_rest
        )

    def subset(self, vertex_indices: Int[Array, " n"] | np.ndarray) -> ShapedBody:
        """The same person with only some vertices (and no faces), to pose contact candidates cheaply."""
        keep = jnp.asarray(vertex_indices)
        correctives = None if self.pose_correctives is None else self.pose_correctives[keep]
        return self.replace(  # pyright: ignore[reportAttributeAccessIssue]
            vertices_rest=self.vertices_rest[keep],
            skin_indices=self.skin_indices[keep],
            skin_weights=self.skin_weights[keep],
            part_ids=self.part_ids[keep],
            faces=jnp.zeros((0, 3), jnp.int32),
            pose_correctives=correctives,
        )

    def pose_joints(
        self, joint_rotations: Float[Array, "55 3"], translation: Float[Array, "3"]
    ) -> Float[Array, "55 4 4"]:
        """Ts_world_joint only, without skinning: what inverse kinematics needs."""
        return _forward_kinematics(
            self.joints_rest, axis_angle_to_matrix(joint_rotations), translation
        )

    def pose(
        self, joint_rotations: Float[Array, "55 3"], translation: Float[Array, "3"]
    ) -> PosedBody:
        """Pose one frame. SMPL-X conventions: axis-angle local to the parent; the pelvis rotates about its
        rest position, then everything is translated, so pelvis_world = joints_rest[0] + translation."""
        rotations = axis_angle_to_matrix(joint_rotations)
        transforms = _forward_kinematics(self.joints_rest, rotations, translation)
        vertices = self.vertices_rest
        if self.pose_correctives is not None:
            features = (rotations[1:] - jnp.eye(3, dtype=rotations.dtype)).reshape(-1)
            vertices = vertices + self.pose_correctives @ features
        return PosedBody(
            vertices_world=self._skin(vertices, transforms),
            joints_world=transforms[:, :3, 3],
            Ts_world_joint=transforms,
        )

    def _skin(self, vertices: Array, transforms: Array) -> Array:
        rotation = transforms[:, :3, :3]
        offset = transforms[:, :3, 3] - jnp.einsum("jab,jb->ja", rotation, self.joints_rest)
        palette = jnp.concatenate([rotation, offset[..., None]], axis=-1).reshape(-1, 12)
        dense = jnp.zeros((len(vertices), JOINT_COUNT), vertices.dtype)
        rows = jnp.arange(len(vertices))[:, None]
        dense = dense.at[rows, self.skin_indices].add(self.skin_weights)
        blended = (dense @ palette).reshape(-1, 3, 4)
        return jnp.einsum("vab,vb->va", blended[..., :3], vertices) + blended[..., 3]


@flax.struct.dataclass
class SkinnedBody:
    """A body model on the SMPL-X tree. Rest = flat-hand T-pose facing +z, y up, left = +x, metres."""

    template: Float[Array, "v 3"]
    shape_directions: Float[Array, "v 3 b"]
    joints_template: Float[Array, "55 3"]
    joints_directions: Float[Array, "55 3 b"]
    pose_correctives: Float[Array, "v 3 486"] | None
    skin_indices: Int[Array, "v k"]
    skin_weights: Float[Array, "v k"]
    faces: Int[Array, "f 3"]
    part_ids: Int[Array, " v"]
    name: str = flax.struct.field(pytree_node=False, default="body")

    def shape(self, betas: Float[Array, " n"]) -> ShapedBody:
        """Rest mesh and joints of one person; fewer betas than the model has mean zeros for the others."""
        count = betas.shape[0]
        return ShapedBody(
            vertices_rest=self.template + self.shape_directions[..., :count] @ betas,
            joints_rest=self.joints_template + self.joints_directions[..., :count] @ betas,
            skin_indices=self.skin_indices,
            skin_weights=self.skin_weights,
            faces=self.faces,
            part_ids=self.part_ids,
            pose_correctives=self.pose_correctives,
        )


def _child_means() -> np.ndarray:
    """Matrix (55, 55) whose product with the joints is the far end of each bone: the mean of its children.

    The fingers' tips and the feet's toes have no child; their bone has no length.
    """
    means = np.zeros((JOINT_COUNT, JOINT_COUNT), np.float32)
    for joint in range(JOINT_COUNT):
        children = [c for c, p in enumerate(JOINT_PARENTS) if p == joint]
        means[joint, children or [joint]] = 1.0 / len(children or [joint])
    return means


_CHILD_MEANS = _child_means()


def _forward_kinematics(
    joints_rest: Float[Array, "55 3"],
    rotations: Float[Array, "55 3 3"],
    translation: Float[Array, "3"],
) -> Float[Array, "55 4 4"]:
    """World transforms of all joints in log2(depth) rounds of 55 products (pointer doubling)."""
    parents = np.maximum(np.array(JOINT_PARENTS), 0)
    offsets = joints_rest - joints_rest[parents]
    offsets = offsets.at[0].set(joints_rest[0] + translation)
    last_row = jnp.broadcast_to(jnp.array([0.0, 0.0, 0.0, 1.0]), (JOINT_COUNT, 1, 4))
    local = jnp.concatenate([rotations, offsets[..., None]], axis=-1)
    transforms = jnp.concatenate([local, last_row], axis=-2)
    identity = jnp.eye(4, dtype=transforms.dtype)[None]
    for jump in _JUMPS:
        padded = jnp.concatenate([transforms, identity])
        transforms = padded[jump] @ transforms
    return transforms


def as_numpy(shaped: ShapedBody) -> ShapedBody:
    """The same person with host numpy arrays, for exporters and tests."""
    return jax.tree.map(np.asarray, shaped)
