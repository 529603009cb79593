"""Products of rows against numpy's own, to the bit: images and bundles are made of them."""

import numpy as np
import pytest

from hoijax.geometry.rows import cross, dot, face_areas, unit
from hoijax.rendering.raycast import _MeshNormals


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_products_equal_those_of_numpy(kind):
    a, b = np.random.default_rng(0).normal(size=(2, 1000, 3)).astype(kind)
    np.testing.assert_array_equal(dot(a, b), (a * b).sum(-1))
    np.testing.assert_array_equal(cross(a, b), np.cross(a, b))
    np.testing.assert_array_equal(unit(a), a / np.linalg.norm(a, axis=-1, keepdims=True))
    np.testing.assert_array_equal(cross(a[:, None], b[:20]), np.cross(a[:, None], b[:20]))
    assert dot(a, b).dtype == cross(a, b).dtype == unit(a).dtype == kind


def test_zero_stays_zero():
    assert not unit(np.zeros((2, 3))).any()


def test_vertex_normals_are_the_mean_of_faces_by_area():
    rng = np.random.default_rng(1)
    vertices = rng.normal(size=(50, 3)).astype(np.float32)
    faces = rng.integers(0, 49, (200, 3)).astype(np.int32)  # vertex 49 has no face
    spread = np.repeat(face_areas(vertices[faces]), 3, axis=0)
    sums = [np.bincount(faces.ravel(), spread[:, i], len(vertices)) for i in range(3)]
    np.testing.assert_array_equal(
        _MeshNormals.of(vertices, faces).of_vertices, unit(np.stack(sums, axis=-1))
    )
