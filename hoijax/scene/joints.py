"""Joints between the objects of a scene: poses of children from their parents' and the joints' values."""

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.objects.articulated.joints import PRISMATIC, Joint
from hoijax.objects.articulated.model import rotation_about
from hoijax.objects.asset import Asset
from hoijax.programs import program
from hoijax.runtime import on_device


@flax.struct.dataclass
class ObjectJoints:
    """Joints between objects, D of them, parents before children; see `hoijax.objects.articulated.model`.

    A child object has no pose of its own: its parent's and the joint's value give it.
    """

    Ts_parent_joint: Float[Array, "D 4 4"]
    axes: Float[Array, "D 3"]
    lower: Float[Array, " D"]
    upper: Float[Array, " D"]
    levers: Float[Array, " D"]
    """Metres by which the child's surface moves for a unit of the value, root mean square."""
    parents: tuple[int, ...] = flax.struct.field(pytree_node=False)
    children: tuple[int, ...] = flax.struct.field(pytree_node=False)
    slides: tuple[bool, ...] = flax.struct.field(pytree_node=False)


def object_joints(joints: tuple[Joint, ...], assets: Sequence[Asset]) -> ObjectJoints | None:
    """The bundle's joints between these objects as arrays; None without any."""
    if not joints:
        return None
    return ObjectJoints(
        Ts_parent_joint=on_device(np.stack([j.T_parent_joint for j in joints]), jnp.float32),
        axes=on_device(np.stack([j.axis for j in joints]), jnp.float32),
        lower=on_device([j.lower for j in joints], jnp.float32),
        upper=on_device([j.upper for j in joints], jnp.float32),
        levers=on_device([_lever(j, assets[j.child]) for j in joints], jnp.float32),
        parents=tuple(j.parent for j in joints),
        children=tuple(j.child for j in joints),
        slides=tuple(j.kind == PRISMATIC for j in joints),
    )


def _lever(joint: Joint, child: Asset) -> float:
    if joint.kind == PRISMATIC:
        return 1.0
    across = np.cross(
        child.samples, joint.axis
    )  # the child's frame is the joint's after the motion
    return float(np.sqrt(np.mean(np.sum(across**2, axis=-1))))


def jointed(
    joints: ObjectJoints,
    centers: Float[Array, "O 3"],
    object_rotations: Float[Array, "O T 3 3"],
    object_translations: Float[Array, "O T 3"],
    values: Float[Array, "D T"],
) -> tuple[Float[Array, "O T 3 3"], Float[Array, "O T 3"]]:
    """Poses (centerd frames) with the children of joints moved to where their parents hold them."""
    rotations, shifts = list(object_rotations), list(object_translations)
    for d, (parent, child) in enumerate(zip(joints.parents, joints.children, strict=True)):
        origin, rotation = joints.Ts_parent_joint[d, :3, 3], joints.Ts_parent_joint[d, :3, :3]
        axis, value = joints.axes[d], values[d]
        if joints.slides[d]:
            moved, local = rotation, _rotated(rotation, value[:, None] * axis)
        else:
            about = jax.vmap(rotation_about, in_axes=(None, 0))(axis, value)
            moved, local = _product(rotation, about), jnp.zeros(3)
        rotations[child] = _product(rotations[parent], moved)
        at = origin + local - centers[parent] + _rotated(moved, centers[child])
        shifts[child] = _rotated(rotations[parent], at) + shifts[parent]
    return jnp.stack(rotations), jnp.stack(shifts)


def _rotated(rotation: Float[Array, "*a 3 3"], point: Float[Array, "*b 3"]) -> Array:
    return jnp.sum(rotation * point[..., None, :], axis=-1)


def _product(a: Float[Array, "*a n n"], b: Float[Array, "*b n n"]) -> Array:
    """By multiply and sum: exact float32 on every device."""
    return jnp.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


@program(static=("d",))
def joint_transforms(
    joints: ObjectJoints, d: int, values: Float[Array, " n"]
) -> Float[Array, "n 4 4"]:
    """T_parent_child of one joint at several values."""

    def one(value: Array) -> Array:
        if joints.slides[d]:
            motion = jnp.eye(4).at[:3, 3].set(value * joints.axes[d])
        else:
            motion = jnp.eye(4).at[:3, :3].set(rotation_about(joints.axes[d], value))
        return _product(joints.Ts_parent_joint[d], motion)

    return jax.vmap(one)(values)
