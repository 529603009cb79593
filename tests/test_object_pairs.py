"""Objects in objects: many of them look at their nearest others only."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scene_factory import make_scene

from hoijax.geometry.rotations import axis_angle_to_matrix
from hoijax.losses import penetrations
from hoijax.scene.posed import PosedScene, pose_objects

COUNT = 6


@pytest.fixture(scope="module")
def row() -> PosedScene:
    """Copies of two objects in a row: each reaches into its neighbors and no further."""
    made = make_scene()
    scene = made.scene
    copies = COUNT // scene.object_count

    def repeat(tree):
        return jax.tree.map(lambda x: jnp.concatenate([x] * copies), tree)

    objects = repeat(scene.objects)
    grids = replace(
        scene.grids, lower=repeat(scene.grids.lower), spacing=repeat(scene.grids.spacing)
    )
    rng = np.random.default_rng(3)
    frames = scene.frame_count
    spins = jnp.asarray(rng.normal(size=(COUNT, frames, 3)), jnp.float32)
    radius = float(np.linalg.norm(np.asarray(objects.samples), axis=-1).max())
    place = 0.5 * radius * np.arange(COUNT)[:, None, None] * np.array([1.0, 0.0, 0.0])
    place = place + 0.05 * radius * rng.normal(size=(COUNT, frames, 3))
    scene = replace(scene, objects=objects, grids=grids)
    return jax.jit(pose_objects)(
        scene, axis_angle_to_matrix(spins), jnp.asarray(place, jnp.float32), made.neighbors
    )


@pytest.mark.slow
def test_each_looks_at_those_that_come_nearest(row, monkeypatch):
    found, mask = jax.jit(penetrations.object_penetration)(row)
    monkeypatch.setattr(penetrations, "NEAREST_OBJECTS", COUNT)
    every, _ = jax.jit(lambda row: penetrations.object_penetration(row))(row)  # traced anew
    others = np.asarray(row.object_translations)
    apart = np.linalg.norm(others[:, None] - others[None], axis=-1)
    radii = np.linalg.norm(np.asarray(row.scene.objects.samples), axis=-1).max(axis=-1)
    apart = apart - radii[:, None, None]
    apart[np.arange(COUNT), np.arange(COUNT)] = np.inf
    # Axis 0 is whose samples go in: every column keeps its three nearest rows.
    nearest = np.argsort(np.argsort(apart, axis=0), axis=0) < 3
    np.testing.assert_allclose(found, np.where(nearest, every, 0.0), atol=1e-7)
    assert (np.asarray(found) > 0.0).sum() > COUNT
    assert (np.asarray(mask) == ~np.eye(COUNT, dtype=bool)[:, :, None]).all()


def test_curvature_is_that_of_the_depths_that_are_counted(row):
    """v^T H v of the reweighted squares, from the change of every sample's depth."""
    scene, step = row.scene, 1e-3
    twist = np.random.default_rng(4).normal(size=(COUNT, scene.frame_count, 6))
    twist = jnp.asarray(twist, jnp.float32)

    @jax.jit
    def distances(twist):
        moved = replace(
            row,
            object_rotations=axis_angle_to_matrix(twist[..., :3]) @ row.object_rotations,
            object_translations=row.object_translations + twist[..., 3:],
        )
        pairs = penetrations._pairs(moved)
        grid = scene.objects.first_grid + penetrations.WHOLE_SIGNED
        return scene.distance(pairs.points, grid, pairs.owner)

    here = np.asarray(distances(0.0 * twist), np.float64)
    weight = np.where(here < 0.0, 0.5 / np.maximum(-here, penetrations.SOFT_DEPTH), 0.0)
    alone = []  # one object moves at a time: there are no blocks between two
    for mover in range(COUNT):
        move = step * twist * (np.arange(COUNT) == mover)[:, None, None].astype(np.float32)
        after, before = (np.asarray(distances(x), np.float64) for x in (move, -move))
        slope = (after - before) / (2.0 * step)
        alone.append(2.0 * (weight * slope**2).sum() / penetrations.OBJECT_SAMPLES)
    blocks = np.asarray(
        jax.jit(penetrations.object_penetration_curvature)(row).diagonal, np.float64
    )
    ours = np.einsum("oti,otij,otj->o", twist, blocks, twist)
    np.testing.assert_allclose(ours, alone, rtol=0.05)
