"""Outlines of people in the body pass, against shapes whose border is known and a numpy twin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hoijax.methods.joint.contours import Contours, contour_skin, contours_of, off_contours

SIZE, RADIUS, CENTER = 96, 24.0, np.array([48.0, 45.0])


@pytest.fixture
def ids():
    """A round person with a hole, whose right third is behind an object that reaches further."""
    v, u = np.mgrid[:SIZE, :SIZE] + 0.5
    labels = (np.hypot(u - CENTER[0], v - CENTER[1]) < RADIUS).astype(np.int32)
    labels[44:48, 40:44] = 0
    labels[30:60, 58:80] = 2
    return labels


def test_contours_lie_on_the_border_and_look_outward(ids):
    contours = jax.tree.map(lambda x: x[0, 0], contours_of(ids[None], 1, 1, 64))
    own = contours.is_own > 0.0
    assert own.sum() > 30
    assert (~own).sum() > 3
    away = contours.places[own] - CENTER
    distance = np.linalg.norm(away, axis=-1)
    np.testing.assert_allclose(distance, RADIUS, atol=1.2)  # the hole has no border
    assert np.mean(np.sum(away * contours.normals[own], axis=-1) / distance > 0.9) > 0.9
    assert (contours.places[~own, 0] > 55.0).all()
    np.testing.assert_allclose(contours.weights, 1.0 / 64)


def test_frames_in_which_an_object_is_lost_say_nothing(ids):
    ids[ids == 2] = 0
    assert not np.any(contours_of(ids[None], 1, 1, 16).weights)


def test_skin_is_matched_as_a_brute_force_search_does():
    rng = np.random.default_rng(0)
    angle = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
    normals = np.stack([np.cos(angle), np.sin(angle)], axis=-1)[None]
    places, weights = 10.0 * normals, np.ones((1, 12))
    weights[0, -2:] = 0.0
    contours = Contours(*(jnp.asarray(x) for x in (places, normals, weights, weights)))
    pixels = rng.normal(scale=6.0, size=(1, 40, 2)) + np.array([-3.0, 0.0])
    matched = np.asarray(contour_skin(jnp.asarray(pixels), contours))[0]
    away = np.linalg.norm(pixels[0][:, None] - places[0, :10], axis=-1)
    for j in range(10):
        mine = np.flatnonzero(away.argmin(axis=1) == j)
        along = (pixels[0] - places[0, j]) @ normals[0, j]
        expected = mine[along[mine].argmax()] if len(mine) else away[:, j].argmin()
        assert matched[j] == expected


def test_skin_short_of_a_border_is_wrong_only_where_the_border_is_the_persons():
    normals, places = np.array([[[1.0, 0.0]] * 4]), np.array([[[5.0, 0.0]] * 4])
    pixels = np.array([[[3.0, 1.0], [8.0, 1.0], [3.0, 1.0], [8.0, 1.0]]])
    own, weights = np.array([[1.0, 1.0, 0.0, 0.0]]), np.ones((1, 4))
    contours = Contours(*(jnp.asarray(x) for x in (places, normals, own, weights)))
    np.testing.assert_allclose(
        off_contours(jnp.asarray(pixels), contours)[0], [-2.0, 3.0, 0.0, 3.0]
    )
