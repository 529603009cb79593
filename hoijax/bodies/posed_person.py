"""A person in every frame of a clip, from arrays of SMPL-X parameters."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hoijax.bodies.skinned_body import JOINT_COUNT, PosedBody, ShapedBody, SkinnedBody
from hoijax.errors import UserError
from hoijax.programs import program

__all__ = ["PosedPerson", "pose_body", "pose_clip", "pose_joints", "pose_measured"]


@dataclass(frozen=True)
class PosedPerson:
    """Skin and joints of one person in the world, metres, y up."""

    body: SkinnedBody
    vertices_world: Float[Array, "T V 3"]
    joints_world: Float[Array, "T 55 3"]


def pose_body(body: SkinnedBody, betas: Any, rotations: Any, translations: Any) -> PosedPerson:
    """Pose a body in T frames.

    betas: (n,), those that are missing are zero. rotations: (T, J, 3) axis-angle local to the parent, of
    the first J of the 55 SMPL-X joints; the others rest. translations: (T, 3) metres. Raises UserError
    for other shapes.
    """
    betas, rotations, translations = (
        jnp.asarray(x, jnp.float32) for x in (betas, rotations, translations)
    )
    frames = translations.shape[0] if translations.ndim else 0
    if translations.shape != (frames, 3):
        raise UserError(f"translations must be (T, 3), got {translations.shape}.")
    if (
        rotations.ndim != 3
        or rotations.shape[::2] != (frames, 3)
        or rotations.shape[1] > JOINT_COUNT
    ):
        raise UserError(
            f"rotations must be ({frames}, J, 3) with at most {JOINT_COUNT} joints, got "
            f"{rotations.shape}."
        )
    rest = JOINT_COUNT - rotations.shape[1]
    rotations = jnp.pad(rotations, ((0, 0), (0, rest), (0, 0)))
    posed = pose_clip(body.shape(betas), rotations, translations)
    return PosedPerson(body, jnp.asarray(posed.vertices_world), jnp.asarray(posed.joints_world))


@program
def pose_clip(
    shaped: ShapedBody, rotations: Float[Array, "T 55 3"], translations: Float[Array, "T 3"]
) -> PosedBody:
    """`ShapedBody.pose` in every frame: all arrays have a leading axis T."""
    return jax.vmap(shaped.pose)(rotations, translations)


@program
def pose_joints(
    shaped: ShapedBody, rotations: Float[Array, "T 55 3"], translations: Float[Array, "T 3"]
) -> Float[Array, "T 55 4 4"]:
    """Ts_world_joint of `pose_clip`, without the skin."""
    return jax.vmap(shaped.pose_joints)(rotations, translations)


@program
def pose_measured(
    body: SkinnedBody,
    betas: Float[Array, " B"],
    rest_joints: Float[Array, "55 3"],
    rotations: Float[Array, "T 55 3"],
    translations: Float[Array, "T 3"],
) -> PosedBody:
    """`pose_clip` of a person of these betas on measured rest joints, as bundles and results have them."""
    shaped = body.shape(betas).with_rest_joints(rest_joints)
    return pose_clip(shaped, rotations, translations)
