"""The stand-in for a mesh of the same category lies as the mesh does."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

import hoijax
from scripts.benchmarks.exemplars import axis_rotations, other_exemplar


def test_a_turned_and_scaled_chair_is_found_again():
    (chair,) = hoijax.load_objects(["chair"])
    turn = Rotation.from_euler("xyz", [100.0, 20.0, -75.0], degrees=True).as_matrix()
    place = lambda x: (0.8 * x @ turn.T + [0.3, 0.1, 0.0]).astype(np.float32)  # noqa: E731
    given = dataclasses.replace(
        chair, name="woodchair", vertices=place(chair.vertices), samples=place(chair.samples)
    )
    other = other_exemplar(given)
    assert other.name == "woodchair"
    assert KDTree(given.samples).query(other.samples)[0].mean() < 0.02
    np.testing.assert_allclose(other.vertices, given.vertices, atol=0.03)
    assert np.mean(other.face_parts == chair.face_parts) > 0.9
    np.testing.assert_allclose(np.linalg.norm(other.sample_normals, axis=1), 1.0, atol=1e-3)


def test_axes_are_turned_in_24_ways():
    turns = np.array(axis_rotations())
    assert len(np.unique(turns.round(), axis=0)) == 24
    np.testing.assert_allclose(np.linalg.det(turns), 1.0)


def test_what_no_shipped_object_stands_for_is_refused():
    (ball,) = hoijax.load_objects(["ball"])
    with pytest.raises(hoijax.UserError, match="no shipped object"):
        other_exemplar(ball)
