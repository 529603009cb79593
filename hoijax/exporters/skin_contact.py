"""Which skin is near an object, and how near: what contact labels of robots are made of."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from hoijax.exporters.clip import Clip
from hoijax.geometry.mesh_queries import NearestOnMesh, nearest_on_mesh


class NearSkin(NamedTuple):
    """Skin in the grown box of an object, a row for every vertex and frame."""

    frames: Int[ndarray, " N"]
    vertices: Int[ndarray, " N"]
    on_object: NearestOnMesh
    """In the object's own frame."""


def skin_near_object(clip: Clip, person: int, object_: int, reach: float) -> NearSkin:
    """Every vertex of a person within an object's box grown by `reach` metres, and farther ones never."""
    asset = clip.assets[object_]
    poses = clip.Ts_world_object[object_].astype(np.float64)
    low, high = asset.vertices.min(axis=0) - reach, asset.vertices.max(axis=0) + reach
    frames, vertices, points = [], [], []
    for frame, (skin, T) in enumerate(zip(clip.people[person].vertices_world, poses, strict=True)):
        local = (skin - T[:3, 3]) @ T[:3, :3]
        near = np.flatnonzero(((local > low) & (local < high)).all(axis=-1))
        frames.append(np.full(len(near), frame))
        vertices.append(near)
        points.append(local[near])
    nearest = nearest_on_mesh(np.concatenate(points), asset.vertices, asset.faces)
    return NearSkin(np.concatenate(frames), np.concatenate(vertices), nearest)
