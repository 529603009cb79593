"""A person who is a capsule and walks: ground truth of rendered observations whose shapes are known."""

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from priors.synthetic.rendered_observations import RenderedGroundTruth


def straight_walk(reach: float, frames: int) -> np.ndarray:
    """From -reach to reach along x. (T, 3)"""
    return np.linspace(-reach, reach, frames)[:, None] * (1, 0, 0)


def turns(angle: float, frames: int) -> np.ndarray:
    """Rotations about a tilted axis, from none on. (T, 3, 3)"""
    return Rotation.from_rotvec(np.linspace(0, angle, frames)[:, None] * (0, 1, 0.2)).as_matrix()


def capsule_truth(walk: np.ndarray, low: float, **scene) -> RenderedGroundTruth:
    """The capsule along a walk, keypoints from `low` up to its top; poses of its body are noise."""
    rng, frames = np.random.default_rng(0), len(walk)
    capsule = trimesh.creation.capsule(height=1.2, radius=0.2)
    rest = np.asarray(capsule.vertices)[:, [1, 2, 0]] + (0, 0.9, 0)
    heights = np.linspace(low, 1.6, 18)[:, None] * (0, 1, 0)
    return RenderedGroundTruth(
        person_vertices_world=(rest + walk[:, None])[None].astype(np.float32),
        person_faces=np.asarray(capsule.faces, np.int32),
        keypoints_world=(heights + walk[:, None])[None].astype(np.float32),
        body_rotations=rng.normal(0, 0.3, (1, frames, 55, 3)).astype(np.float32),
        body_translations=walk[None].astype(np.float32),
        body_betas=np.zeros((1, 10), np.float32),
        body_rest_joints=rng.normal(0, 0.5, (1, 55, 3)).astype(np.float32),
        edge_contact=np.zeros((0, frames), bool),
        **scene,
    )
