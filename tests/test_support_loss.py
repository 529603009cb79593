"""The loss `support` against non-negative least squares of SciPy, its gradient, and what it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_twins import Twin, contact_points, make_twin
from scene_factory import make_scene
from scipy.optimize import nnls

from hoijax.losses.supports import FRICTION, POINTS, SIGMA, SOFTNESS, support
from hoijax.scene.posed import pose_scene


@pytest.fixture(scope="module")
def made():
    return make_scene()


@pytest.fixture(scope="module")
def measured(made):
    """Values and mask, the mean value, and its gradient; a pose as translations and rotations."""

    @jax.jit
    def run(unknowns):
        def total(unknowns):
            values, mask = support(pose_scene(made.scene, unknowns, made.neighbors))
            return jnp.sum(jnp.where(mask, values, 0.0)), (values, mask)

        (value, (values, mask)), slope = jax.value_and_grad(total, has_aux=True)(unknowns)
        return values, mask, value, slope

    return run


def contacts_of(twin: Twin, o: int, t: int):
    """(point, normal into object o, gap) of all that may bear it."""
    edges = twin.scene.edges
    for e in np.flatnonzero(edges.mask):
        if o not in (edges.target[e], edges.source[e]) or edges.target[e] == edges.source[e]:
            continue
        target, row = edges.target[e], edges.grid[e]
        for side in np.flatnonzero(edges.slot_mask[e]):
            local = contact_points(twin, e, side, t)
            local = local[:: max(1, len(local) // POINTS)][:POINTS]
            gaps = twin.grid_distance(local, target, row)
            steps = 1e-4 * np.eye(3)
            slope = [
                twin.grid_distance(local + s, target, row)
                - twin.grid_distance(local - s, target, row)
                for s in steps
            ]
            slope = np.stack(slope, axis=-1)
            normals = slope @ twin.rotations[target, t].T
            normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
            sign = -1.0 if o == target else 1.0
            world = twin.to_world(local - twin.scene.objects.centers[target], target, t)
            yield from zip(world, sign * normals, gaps, strict=True)
    samples = twin.to_world(twin.scene.objects.samples[o, :512], o, t)
    for point in samples[np.argsort(samples[:, 1])[:POINTS]]:
        yield point, np.array([0.0, 1, 0]), point[1]


def min_price(twin: Twin, o: int, t: int) -> float:
    samples = twin.scene.objects.samples[o]
    center = twin.to_world(samples.mean(axis=0), o, t)
    radius = np.linalg.norm(samples, axis=-1).max()
    rows, prices = [], []
    for point, normal, gap in contacts_of(twin, o, t):
        side = np.cross(normal, [1.0, 0, 0] if abs(normal[0]) < 0.9 else [0, 1.0, 0])
        side /= np.linalg.norm(side)
        for around in (side, np.cross(normal, side), -side, -np.cross(normal, side)):
            edge = normal + FRICTION * around
            rows.append([*edge, *np.cross((point - center) / radius, edge)])
            prices.append(SOFTNESS * (1 + (max(gap, 0.0) / SIGMA) ** 2))
    system = np.concatenate([np.array(rows).T, np.diag(np.sqrt(prices))])
    return nnls(system, np.append([0, 1.0, 0, 0, 0, 0], np.zeros(len(rows))))[1] ** 2


def test_it_is_the_least_price_of_bearing_the_weight(made, measured):
    values, mask, _, _ = measured(made.unknowns)
    twin = make_twin(made)
    expected = [[min_price(twin, o, t) for t in range(twin.shape[1])] for o in range(2)]
    assert np.asarray(mask).any()
    np.testing.assert_allclose(values, expected, rtol=5e-3, atol=1e-4)


def test_its_gradient_is_that_of_the_least_price(made, measured):
    slope = np.asarray(measured(made.unknowns)[3].object_translation, np.float64)
    rng = np.random.default_rng(0)
    for _ in range(3):
        way = rng.normal(size=slope.shape)
        way *= 2e-4 / np.linalg.norm(way)
        ends = [
            float(
                measured(
                    made.unknowns.replace(
                        object_translation=made.unknowns.object_translation + sign * way
                    )
                )[2]
            )
            for sign in (1, -1)
        ]
        np.testing.assert_allclose(ends[0] - ends[1], 2 * (slope * way).sum(), rtol=0.1, atol=2e-6)


def test_nothing_bears_what_is_far_from_everything(made, measured):
    far = made.unknowns.object_translation + jnp.array([[[0, 30.0, 0]], [[0, 60.0, 0]]])
    values, mask, _, _ = measured(made.unknowns.replace(object_translation=far))
    twin = make_twin(made)
    held = np.asarray(values)[np.asarray(mask)]
    assert (held > 0.9).all()
    assert (held <= 1 + 1e-4).all()
    assert min_price(twin, 0, 0) < 0.9  # where the objects are, something does
