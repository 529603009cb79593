"""Gradients of a grid look-up behind two rigid transforms, compiled, at several sizes.

XLA on CPU (jaxlib 0.10.2) compiled them wrongly when the look-up put its gradient together by selection
(`where` on an iota) instead of stacking: the third component was lost, while values stayed right.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scene_factory import make_assets, stacked_grids
from scipy.spatial.transform import Rotation

from hoijax.geometry.point_transforms import to_local, to_world
from hoijax.objects.distance_grid import DistanceGrids, query


@pytest.fixture(scope="module")
def table() -> DistanceGrids:
    return stacked_grids(make_assets(), 10)[0]


def depth_inside(table: DistanceGrids, rotation, translation, points):
    """Mean depth of every object's points in every other: object_penetration in one expression."""
    count, frames, samples = points.shape[:3]
    posed = to_world(rotation, translation, points)
    shape = (count, count, frames, samples, 3)
    others = jnp.broadcast_to(posed[:, None], shape)
    local = to_local(
        jnp.broadcast_to(rotation[None], (*shape[:3], 3, 3)),
        jnp.broadcast_to(translation[None], (*shape[:3], 3)),
        others,
    )
    owner = jnp.arange(count)[None, :, None, None]
    grids = DistanceGrids(table.corners, table.lower[owner], table.spacing[owner])
    distance = query(grids, local, 4 * owner)
    return jnp.sum(
        jnp.mean(jnp.maximum(-distance, 0.0), axis=-1) * (1.0 - jnp.eye(count))[..., None]
    )


@pytest.mark.parametrize("vmapped", [False, True])
@pytest.mark.parametrize(("frames", "samples"), [(1, 3), (3, 257)])
def test_moving_everything_changes_nothing(table, frames, samples, vmapped, rng):
    """The gradients of the two translations cancel, and the value's differences confirm each."""
    rotation = Rotation.random(2 * frames, rng).as_matrix().reshape(2, frames, 3, 3)
    translation = 0.1 * rng.normal(size=(2, frames, 3))
    points = 0.15 * rng.normal(size=(2, frames, samples, 3))
    poses = [jnp.asarray(x, jnp.float32) for x in (rotation, translation, points)]
    slope = jax.grad(depth_inside, argnums=2)
    if vmapped:
        batched = jax.jit(jax.vmap(slope, (None, 0, 0, 0)))
        found = np.asarray(batched(table, *(jnp.stack([x, x]) for x in poses)))[1]
    else:
        found = np.asarray(jax.jit(slope)(table, *poses))
    scale = np.abs(found).max()
    assert scale > 0.0
    np.testing.assert_allclose(found.sum(axis=0), 0.0, atol=1e-5 * scale)

    step = 1e-3
    moves = jnp.asarray(np.eye(6 * frames).reshape(-1, 2, frames, 3), jnp.float32) * step
    value = jax.jit(jax.vmap(lambda move: depth_inside(table, poses[0], poses[1] + move, poses[2])))
    differences = np.asarray(value(moves) - value(-moves)).reshape(2, frames, 3) / (2 * step)
    np.testing.assert_allclose(found, differences, atol=0.03 * scale)
