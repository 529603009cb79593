"""Signed distances of scattered points, whose sides are asked for once a group."""

import igl
import numpy as np
import pytest

from hoijax.geometry.mesh_queries import signed_distance
from hoijax.objects.procedural import make_procedural


@pytest.fixture
def thin_walls():
    """A hollow box with walls of 4 mm: both sides of a wall are nearer to each other than to much else."""
    outer = make_procedural("box")[:2]
    middle = 0.5 * (outer[0].min(axis=0) + outer[0].max(axis=0))
    inner = (outer[0] - middle) * (1.0 - 0.008 / np.ptp(outer[0], axis=0)) + middle
    faces = np.concatenate([outer[1], outer[1][:, ::-1] + len(outer[0])])
    return np.concatenate([outer[0], inner]), faces


def _sides(points, vertices, faces):
    """Of every point by itself."""
    inside = np.abs(igl.fast_winding_number(vertices, faces.astype(np.int64), points)) > 0.5
    return np.where(inside, -1.0, 1.0)


def test_sides_are_those_of_each_point_alone(thin_walls, rng):
    for vertices, faces in (thin_walls, make_procedural("barbell")[:2]):
        lower, upper = vertices.min(axis=0), vertices.max(axis=0)
        about = rng.uniform(lower - 0.05, upper + 0.05, (4000, 3))
        corners = vertices[faces[rng.integers(len(faces), size=2000)]]
        on_it = np.einsum("nk,nkc->nc", rng.dirichlet(np.ones(3), 2000), corners)
        points = np.concatenate([about, on_it + rng.normal(0.0, 0.004, on_it.shape)])
        found = signed_distance(points, vertices, faces)
        assert (np.sign(found) == _sides(points, vertices, faces)).all()
        assert (found < 0.0).sum() > 300


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_few_points(count, rng):
    vertices, faces = make_procedural("box")[:2]
    middle = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    points = np.repeat(middle[None], count, axis=0)  # the same point twice, too
    assert (signed_distance(points, vertices, faces) < 0.0).tolist() == [True] * count
