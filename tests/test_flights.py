"""What flies is told from its path, and gravity bends it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from scene_factory import FRAMES, OBJECTS, make_scene

from hoijax.initialization.flights import drops
from hoijax.losses.smoothness import translation_curvature, translation_smoothness
from hoijax.scene.posed import pose_objects

FPS, G = 30.0, 9.81
DROP = 0.5 * G / FPS**2


def juggled() -> np.ndarray:
    """Three throws of 0.6 s, of a ball that is caught at 1 m."""
    time = np.arange(18) / FPS
    throw = 1.0 + 0.5 * G * time * (0.6 - time)
    return np.concatenate([throw, throw, throw, [1.0]])


def test_a_juggled_ball_flies_between_its_touches():
    path = juggled()
    found = drops(path[None], np.zeros((1, len(path)), bool), FPS)[0]
    flying = np.ones(len(path), bool)
    flying[[0, 17, 18, 19, 35, 36, 37, 54]] = False
    np.testing.assert_allclose(found, np.where(flying, DROP, 0.0), rtol=1e-6)


def test_what_is_held_carried_or_hangs_does_not_fly():
    path = juggled()
    time = np.linspace(0.0, 1.0, len(path))
    lifted = 0.4 + 0.8 * (3.0 * time**2 - 2.0 * time**3)
    lowered = 1.0 - 0.3 * time**2
    held = np.ones_like(path)
    heights = np.stack([path, lifted, lowered, held])
    touched = np.zeros(heights.shape, bool)
    touched[0] = True
    np.testing.assert_array_equal(drops(heights, touched, FPS), 0.0)


def test_a_throw_costs_nothing_where_it_is_known_and_its_straight_path_does():
    """The path that descends from a straight line, its ends held, is the throw's parabola."""
    made = make_scene(resolution=16, noise=0.0)
    scene = replace(made.scene, drops=jnp.full((OBJECTS, FRAMES), DROP))
    scene = replace(scene, objects=replace(scene.objects, is_translational=jnp.ones(OBJECTS, bool)))
    time = np.arange(FRAMES) / FPS
    throw = np.stack([2.0 * time, 3.0 * time - 0.5 * G * time**2, 0.0 * time], axis=-1)
    rotations = jnp.broadcast_to(jnp.eye(3), (OBJECTS, FRAMES, 3, 3))

    @jax.jit
    def cost(inner: jax.Array) -> jax.Array:
        path = jnp.concatenate([throw[:1], inner, throw[-1:]])
        path = jnp.broadcast_to(path, (OBJECTS, FRAMES, 3))
        values, mask = translation_smoothness(pose_objects(scene, rotations, path, made.neighbors))
        return jnp.sum(jnp.where(mask, values, 0.0))

    straight = throw[0] + (throw[-1] - throw[0]) * np.linspace(0, 1, FRAMES)[1:-1, None]
    assert cost(jnp.asarray(throw[1:-1])) < 1e-9 < 1e-5 < cost(jnp.asarray(straight))
    count = straight.size
    hessian = jax.jit(jax.hessian(cost))(jnp.asarray(straight)).reshape(count, count)
    step = np.linalg.solve(
        np.asarray(hessian, np.float64), np.ravel(jax.jit(jax.grad(cost))(straight))
    )
    np.testing.assert_allclose(straight - step.reshape(straight.shape), throw[1:-1], atol=1e-4)


def kicked(flies: np.ndarray):
    """(scene in which objects fly in these frames, cost of a path (n, 3) in it, curvature of that cost)."""
    made = make_scene(resolution=16, noise=0.0)
    scene = replace(made.scene, drops=jnp.asarray(DROP * flies)[None].repeat(OBJECTS, 0))
    scene = replace(scene, objects=replace(scene.objects, is_translational=jnp.ones(OBJECTS, bool)))
    rotations = jnp.broadcast_to(jnp.eye(3), (OBJECTS, FRAMES, 3, 3))

    def posed(path: jax.Array):
        return pose_objects(scene, rotations, jnp.stack([path] * OBJECTS), made.neighbors)

    def cost(path: jax.Array) -> jax.Array:
        return translation_smoothness(posed(path))[0][0].sum()

    return jax.jit(cost), jax.jit(lambda path: translation_curvature(posed(path)))


def test_a_kicked_ball_is_the_smoothest_in_its_true_size():
    """Seen from afar, a ball a tenth smaller takes a path a tenth shorter, which is no smoother for its kick."""
    time, kick = np.arange(FRAMES) / FPS, FRAMES - 2
    heights = 2.0 - 2.5 * time
    heights[kick:] = heights[kick] + 3.0 * time[: FRAMES - kick]
    falls = np.where(np.arange(FRAMES) < kick, time, time - time[kick])
    heights = heights - 0.5 * G * falls**2
    heights[kick:] += heights[kick - 1] - 2.5 / FPS - heights[kick]
    path = jnp.asarray(heights)[:, None] * jnp.asarray([0.0, 1.0, 0.0])
    cost, _ = kicked((np.abs(np.arange(FRAMES) - kick) > 1).astype(float))
    costs = [float(cost(size * path)) for size in (0.9, 1.0, 1.1)]
    assert costs[1] < 1e-9 < min(costs[0], costs[2])


def test_curvature_beside_a_flight_is_that_of_the_loss():
    """Against automatic differentiation, for a flight that begins in the middle of the clip."""
    cost, curvature = kicked((np.arange(FRAMES) > FRAMES // 2).astype(float))
    path = jnp.zeros((FRAMES, 3))
    hessian = np.asarray(jax.jit(jax.hessian(cost))(path))[:, 1, :, 1]
    blocks = curvature(path)
    for offset, block in enumerate((blocks.diagonal, blocks.to_next, blocks.to_second)):
        np.testing.assert_allclose(block[0, :, 4, 4], np.diagonal(hessian, offset), atol=1e-5)
