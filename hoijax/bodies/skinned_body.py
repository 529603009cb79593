"""One pytree for every body: shape -> pose -> mesh, by linear blend skinning on the SMPL-X joint tree.

A body is staged as types: a SkinnedBody (the model), a ShapedBody (one person's rest pose) and a PosedBody
(one frame). Everything is written for one example; the caller vmaps `ShapedBody.pose` over frames,
initializations and people, so the array fields of what comes back have leading batch axes.
"""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hoijax.bodies.kinematics import (
    BODY_JOINT_COUNT,
    JOINT_COUNT,
    JOINT_NAMES,
    JOINT_PARENTS,
    SMPLH_JOINTS,
    AnyArray,
    child_means,
    forward_kinematics,
    homogeneous,
    skinning_palette,
)
from hoijax.bodies.posed_points import pose_points
from hoijax.bodies.skinning import Skin, apply_skin, apply_skin_to_corrected, build_skin
from hoijax.errors import UserError
from hoijax.geometry.rotations import axis_angle_to_matrix
from hoijax.programs import program

__all__ = [
    "JOINT_COUNT",
    "JOINT_NAMES",
    "JOINT_PARENTS",
    "PosedBody",
    "ShapedBody",
    "SkinnedBody",
]

_CHILD_MEANS = child_means()


@flax.struct.dataclass
class PosedBody:
    """One frame of one body, in the world, metres."""

    vertices_world: Float[AnyArray, "... v 3"]
    joints_world: Float[AnyArray, "... 55 3"]
    Ts_world_joint: Float[AnyArray, "... 55 4 4"]


@flax.struct.dataclass
class ShapedBody:
    """One person's rest pose (SMPL-X T-pose, metres) and skin. Joint frames are world-aligned at rest."""

    vertices_rest: Float[AnyArray, "... v 3"]
    joints_rest: Float[AnyArray, "... 55 3"]
    pose_correctives: Float[AnyArray, "... v 3 486"] | None
    skin_indices: Int[AnyArray, "... v k"]
    skin_weights: Float[AnyArray, "... v k"]
    faces: Int[AnyArray, "... f 3"]
    part_ids: Int[AnyArray, "... v"]
    skin: Skin

    def with_rest_joints(self, joints_rest: Float[AnyArray, "joints 3"]) -> ShapedBody:
        """The same person on other rest joints (T-pose, metres), such as measured bone lengths.

        55 joints, or the 52 of SMPL-H: then jaw and eyes keep their places on the head. The rest pose may
        be anywhere (the pelvis at the origin, say): `pose` turns about the new rest pelvis.
        Each vertex moves with a blend, by its skin weights, of what its bones do; along a bone the
        displacement goes linearly from its joint's to the mean of its children's, so bones stretch without
        cracks and joints land exactly. Skin beyond the last joint (finger tips, toes) translates.
        """
        start = self.joints_rest
        if joints_rest.shape[0] == len(SMPLH_JOINTS):
            joints_rest = _with_face_joints(joints_rest, start)
        elif joints_rest.shape[0] != JOINT_COUNT:
            raise UserError(f"expected 55 or 52 rest joints, got {joints_rest.shape[0]}")
        skin = self.skin_indices, self.skin_weights
        return self.replace(  # pyright: ignore[reportAttributeAccessIssue]
            vertices_rest=_stretched(self.vertices_rest, *skin, start, joints_rest),
            joints_rest=_as_jax(joints_rest),
        )

    def subset(self, vertex_indices: Int[np.ndarray, " n"]) -> ShapedBody:
        """The same person with only some vertices and no faces, so that contact candidates are posed cheaply.

        Call it outside jit: the skin is sorted into blocks on the host.
        """
        keep = np.asarray(vertex_indices)
        indices, weights = np.asarray(self.skin_indices)[keep], np.asarray(self.skin_weights)[keep]
        vertices, correctives = _rows((self.vertices_rest, self.pose_correctives), keep)
        part = ShapedBody(
            vertices_rest=vertices,
            joints_rest=self.joints_rest,
            pose_correctives=correctives,
            skin_indices=indices,
            skin_weights=weights,
            faces=np.zeros((0, 3), np.int32),
            part_ids=np.asarray(self.part_ids)[keep],
            skin=build_skin(indices, weights),
        )
        return jax.tree.map(_as_jax, part)

    def pose_joints(
        self, joint_rotations: Float[AnyArray, "55 3"], translation: Float[AnyArray, " 3"]
    ) -> Float[Array, "55 4 4"]:
        """Ts_world_joint of `pose` without the skinning: what inverse kinematics needs."""
        rotations = axis_angle_to_matrix(jnp.asarray(joint_rotations))
        return homogeneous(forward_kinematics(self.joints_rest, rotations, translation))

    def pose(
        self, joint_rotations: Float[AnyArray, "55 3"], translation: Float[AnyArray, " 3"]
    ) -> PosedBody:
        """Pose one frame. Axis-angle rotations are local to the parent joint (SMPL-X).

        The pelvis turns about its rest position, then everything is translated (metres, world), so the
        pelvis lands at joints_rest[0] + translation.
        """
        return self.pose_matrices(axis_angle_to_matrix(jnp.asarray(joint_rotations)), translation)

    @program
    def pose_matrices(
        self, rotations: Float[AnyArray, "55 3 3"], translation: Float[AnyArray, " 3"]
    ) -> PosedBody:
        """`pose` from rotation matrices local to the parent."""
        transforms = forward_kinematics(self.joints_rest, rotations, translation)
        palette = skinning_palette(transforms, self.joints_rest)
        if self.pose_correctives is None:
            vertices = apply_skin(self.skin, self.vertices_rest, palette)
        else:
            features = (rotations[1:] - jnp.eye(3, dtype=rotations.dtype)).reshape(-1)
            corrected = self.vertices_rest + self.pose_correctives @ features
            vertices = apply_skin_to_corrected(self.skin, corrected, palette)
        return PosedBody(
            vertices_world=vertices,
            joints_world=transforms[..., 3],
            Ts_world_joint=homogeneous(transforms),
        )

    def pose_chosen(
        self,
        rotations: Float[AnyArray, "55 3 3"],
        chosen: Int[AnyArray, " m"],
    ) -> tuple[Float[Array, "m 3"], Float[Array, "22 3"]]:
        """(some vertices, joints of the body) by `pose_matrices`, about the origin of the rest pose.

        Which vertices may be traced. Derivatives take fingers as fixed in their hands.
        """
        body, hands = jnp.split(jnp.asarray(rotations), [BODY_JOINT_COUNT])
        hands = jax.lax.stop_gradient(hands)
        rest = jnp.asarray(self.vertices_rest)[chosen]
        if self.pose_correctives is not None:
            features = (jnp.concatenate([body, hands])[1:] - jnp.eye(3)).reshape(-1)
            rest = rest + jnp.asarray(self.pose_correctives)[chosen] @ features
        slots = jax.nn.one_hot(jnp.asarray(self.skin_indices)[chosen], JOINT_COUNT)
        weights = jnp.sum(jnp.asarray(self.skin_weights)[chosen][..., None] * slots, axis=1)
        ends = self.joints_rest[:BODY_JOINT_COUNT]
        points = pose_points(
            body,
            hands,
            jnp.concatenate([rest, ends]),
            jnp.concatenate([weights, jnp.eye(BODY_JOINT_COUNT, JOINT_COUNT)]),
            self.joints_rest,
        )
        return points[: len(rest)], points[len(rest) :]


@flax.struct.dataclass
class SkinnedBody:
    """A body model on the SMPL-X tree. Rest = flat-hand T-pose facing +z, y up, left = +x, metres."""

    template: Float[AnyArray, "... v 3"]
    shape_directions: Float[AnyArray, "... v 3 b"]
    joints_template: Float[AnyArray, "... 55 3"]
    joints_directions: Float[AnyArray, "... 55 3 b"]
    pose_correctives: Float[AnyArray, "... v 3 486"] | None
    skin_indices: Int[AnyArray, "... v k"]
    skin_weights: Float[AnyArray, "... v k"]
    faces: Int[AnyArray, "... f 3"]
    part_ids: Int[AnyArray, "... v"]
    face_vertices: Int[AnyArray, "... 5"]  # nose, right eye, left eye, right ear, left ear
    skin: Skin
    name: str = flax.struct.field(pytree_node=False, default="body")

    def shape(self, betas: Float[AnyArray, " n"]) -> ShapedBody:
        """Rest mesh and joints of one person. Fewer betas than the model has mean zeros for the others.

        The rest pelvis is in general not at the origin (SMPL-X convention). UserError on too many betas.
        """
        count, known = betas.shape[0], self.shape_directions.shape[-1]
        if count > known:
            raise UserError(
                f"the body {self.name!r} has {known} shape directions; got {count} betas"
            )
        skin, joints = self.shape_directions, self.joints_directions
        shaped = ShapedBody(
            vertices_rest=_moved_along(self.template, skin, betas),
            joints_rest=_moved_along(self.joints_template, joints, betas),
            pose_correctives=self.pose_correctives,
            skin_indices=self.skin_indices,
            skin_weights=self.skin_weights,
            faces=self.faces,
            part_ids=self.part_ids,
            skin=self.skin,
        )
        return jax.tree.map(_as_jax, shaped)

    def fit_betas(
        self, joints_rest: Float[np.ndarray, "joints 3"], regularization: float = 5e-3
    ) -> Float[np.ndarray, " b"]:
        """Betas whose rest joints (55, or the 52 of SMPL-H) are closest to measured ones, up to a translation.

        Host, least squares; `regularization` is the price of one squared unit of beta in square metres.
        """
        chosen = np.arange(JOINT_COUNT)
        if len(joints_rest) == len(SMPLH_JOINTS):
            chosen = np.array(SMPLH_JOINTS)
        target = np.asarray(joints_rest, np.float64) - np.asarray(joints_rest, np.float64)[:1]
        template = np.asarray(self.joints_template)[chosen]
        directions = np.asarray(self.joints_directions)[chosen].astype(np.float64)
        directions = (directions - directions[:1]).reshape(-1, directions.shape[-1])
        residual = (target - (template - template[:1])).reshape(-1)
        normal = directions.T @ directions + regularization * np.eye(directions.shape[1])
        return np.linalg.solve(normal, directions.T @ residual).astype(np.float32)


def _as_jax(leaf: AnyArray) -> Array:
    """An array of the device; `jnp.asarray` would compile a copy for every shape."""
    return jax.device_put(leaf) if isinstance(leaf, np.ndarray) else leaf


@program
def _rows(arrays: tuple[Array, Array | None], keep: Array) -> tuple[Array, Array | None]:
    return jax.tree.map(lambda array: array[keep], arrays)


@program
def _moved_along(
    template: Float[Array, "n 3"], directions: Float[Array, "n 3 b"], betas: Float[Array, " m"]
) -> Float[Array, "n 3"]:
    return template + directions[..., : betas.shape[0]] @ betas


@program
def _stretched(
    vertices: Float[Array, "v 3"],
    joint: Int[Array, "v k"],
    weights: Float[Array, "v k"],
    start: Float[Array, "55 3"],
    joints_rest: Float[Array, "55 3"],
) -> Float[Array, "v 3"]:
    """The vertices on other rest joints; see `ShapedBody.with_rest_joints`."""
    moved = joints_rest - start
    bone, moved_end = _CHILD_MEANS @ start - start, _CHILD_MEANS @ moved
    length_squared = jnp.maximum(jnp.sum(bone * bone, axis=-1), 1e-8)
    along = jnp.sum((vertices[:, None] - start[joint]) * bone[joint], axis=-1)
    along = jnp.clip(along / length_squared[joint], 0.0, 1.0)[..., None]
    shift = (1.0 - along) * moved[joint] + along * moved_end[joint]
    return vertices + jnp.sum(weights[..., None] * shift, axis=1)


@program
def _with_face_joints(
    joints: Float[Array, "52 3"], reference: Float[Array, "55 3"]
) -> Float[Array, "55 3"]:
    """SMPL-H joints with the jaw and eyes of the reference, at the same offsets from the head."""
    head = JOINT_NAMES.index("head")
    full = reference + (joints[head] - reference[head])
    return full.at[np.array(SMPLH_JOINTS)].set(joints)


def as_numpy(tree: ShapedBody) -> ShapedBody:
    """The same person with host numpy arrays, for exporters and renderers."""
    return jax.tree.map(np.asarray, tree)
