"""Another exemplar of an object's category: the mesh that a user has, where the video shows its like.

The shipped object of the category, turned and scaled to lie as the true mesh does: by ICP from each of the
24 rotations that keep axes. Its faces have the parts of the true mesh's nearest points.
"""

import dataclasses
from itertools import permutations, product

import numpy as np
from numpy import ndarray
from scipy.spatial import KDTree
from trimesh.registration import icp

import hoijax
from hoijax.objects.asset import Asset

CATEGORIES = ("chair", "table", "suitcase", "box")
"""Shipped objects that stand for captured ones which have the word in their names."""
POINTS = 400
"""Of either surface, for ICP."""


def other_exemplar(asset: Asset) -> Asset:
    """Another object of the category, in the frame of `asset` and by its name.

    Raises UserError where no shipped object is of the category.
    """
    category = next((word for word in CATEGORIES if word in asset.name), None)
    if category is None:
        raise hoijax.UserError(f"no shipped object is another {asset.name}.")
    (other,) = hoijax.load_objects([category])
    size = float(np.linalg.norm(asset.extents) / np.linalg.norm(other.extents))

    def lying(turn: ndarray) -> Asset:
        T = np.eye(4)
        T[:3, :3] = size * turn
        T[:3, 3] = asset.center - size * turn @ other.center
        return _moved(other, icp(other.samples[:POINTS], asset.samples, T, reflection=False)[0])

    moved = min(map(lying, axis_rotations()), key=lambda x: _apart(x.samples, asset.samples))
    nearest = KDTree(asset.samples)
    middles = moved.vertices[moved.faces].mean(axis=1)
    return dataclasses.replace(
        moved,
        name=asset.name,
        part_names=asset.part_names,
        face_parts=asset.sample_parts[nearest.query(middles)[1]],
        sample_parts=asset.sample_parts[nearest.query(moved.samples)[1]],
    )


def axis_rotations() -> list[ndarray]:
    """The 24 rotations that map axes to axes."""
    signed = (
        np.eye(3)[list(order)] * np.array(signs)[:, None]
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    )
    return [turn for turn in signed if np.linalg.det(turn) > 0.0]


def _moved(asset: Asset, T: ndarray) -> Asset:
    """The asset after a similarity."""
    scale = np.cbrt(np.linalg.det(T[:3, :3]))

    def move(points: ndarray) -> ndarray:
        return (points @ T[:3, :3].T + T[:3, 3]).astype(np.float32)

    return dataclasses.replace(
        asset,
        vertices=move(asset.vertices),
        samples=move(asset.samples),
        sample_normals=(asset.sample_normals @ T[:3, :3].T / scale).astype(np.float32),
        appearance=None,
    )


def _apart(a: ndarray, b: ndarray) -> float:
    """Mean distance of two point sets, both ways."""
    return float(KDTree(a).query(b)[0].mean() + KDTree(b).query(a)[0].mean())
