"""The paper's ablation: score distillation straight into the body's pose, without an anchor field.

Person and object were made apart; their image together is a drawn mesh, and its gradient moves
{s, r, t, theta}. Silhouettes say how a limb in the wrong place should move only while it overlaps the right
one, which is why an anchor is needed at all.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hoijax.bodies.fitting.energy import MotionUnknowns, pose_motion
from hoijax.bodies.pose_prior import limit_excess, pose_energy, standing_reference
from hoijax.bodies.skinned_body import ShapedBody
from hoijax.composition.settings import ComposeSettings
from hoijax.rendering.soft_raster import SurfaceSamples, join_samples, render, sample_mesh

__all__ = ["DirectRender", "standing_unknowns"]

LIMIT_WEIGHT, PRIOR_WEIGHT, SCALE_WEIGHT = 20.0, 0.05, 20.0
"""Of squared radians, of the pose prior's energy, of the squared logarithm of the size."""


def standing_unknowns(person: ShapedBody) -> MotionUnknowns:
    """One frame: the avatar as it was made, standing over the origin, facing +z."""
    rest = np.asarray(person.vertices_rest)
    pelvis = float(np.asarray(person.joints_rest)[0, 1] - rest[:, 1].min())
    return MotionUnknowns(
        root_6d=jnp.array([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]]),
        joints=jnp.asarray(standing_reference()[None, 1:], jnp.float32),
        pelvis=jnp.array([[0.0, pelvis, 0.0]], jnp.float32),
        shift=jnp.zeros((1, 3)),
        log_scale=jnp.zeros(()),
    )


def DirectRender(
    person: ShapedBody,
    skin: SurfaceSamples,
    object_mesh: tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"], Float[np.ndarray, "F 3"]],
    settings: ComposeSettings,
    pixel: float,
) -> Callable:
    """`Render` of the posed avatar (painted `skin`) and the object (vertices in the world, faces, colors)."""
    vertices, faces, colors = object_mesh
    object_samples = sample_mesh(vertices, faces, colors, 0.5 * pixel)
    count = int(person.vertices_rest.shape[0])
    host = jax.tree.map(np.asarray, skin)
    samples = join_samples([host, object_samples], [count, len(vertices)])
    fixed = jnp.asarray(vertices, jnp.float32)
    size = (settings.size, settings.size)

    def draw(params: MotionUnknowns, constants, intrinsics, Ts_world_camera, key: Array):
        posed = jnp.asarray(pose_motion(person, params).vertices_world)[0]
        scene = jnp.concatenate([posed, fixed])
        behind = jnp.full(3, 0.85)
        images = jnp.stack(
            [
                render(samples, scene, intrinsics[i], Ts_world_camera[i], size).over(behind)
                for i in range(intrinsics.shape[0])
            ]
        )
        pose = jnp.concatenate([jnp.zeros((1, 3)), params.joints[0]])
        price = (
            LIMIT_WEIGHT * limit_excess(pose)
            + PRIOR_WEIGHT * pose_energy(pose)
            + SCALE_WEIGHT * params.log_scale**2
        )
        return images, price, {}

    return draw
