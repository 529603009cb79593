"""A small clip that the tests of exports share: one person, a box in the left hand, a chair."""

import functools

import numpy as np
from scipy.spatial.transform import Rotation

from hoijax.bodies.anny import load_anny
from hoijax.exporters.clip import Clip, make_person
from hoijax.geometry.transforms import compose_rigid
from hoijax.objects.asset import load_asset

FRAMES, FPS = 5, 30.0


@functools.cache
def export_clip() -> Clip:
    """Every joint moves; the box (asset frame) sits at the left wrist, the chair stands two metres off."""
    rng = np.random.default_rng(3)
    steps = rng.normal(0, 0.08, (FRAMES, 55, 3))
    rotations = np.cumsum(steps, axis=0).astype(np.float32)
    rotations[:, 0, 1] += np.linspace(1.0, 2.5, FRAMES)
    steps = rng.normal(0, 0.05, (FRAMES, 3))
    translations = (np.cumsum(steps, axis=0) + np.array([0.3, 1.0, -0.2])).astype(np.float32)
    person = make_person(load_anny(), rotations, translations, np.zeros(10, np.float32))
    wrist = person.Ts_world_joint[:, 20].copy()
    chair = compose_rigid(
        Rotation.from_rotvec(np.outer(np.linspace(0, 1, FRAMES), [0.2, 1.0, 0])).as_matrix(),
        np.tile([2.5, 0.4, 1.0], (FRAMES, 1)),
    )
    poses = np.stack([wrist.astype(np.float32), chair])
    return Clip(FPS, (person,), (load_asset("box"), load_asset("chair")), poses)


def vertices_world(clip: Clip, index: int, frame: int) -> np.ndarray:
    """Vertices of an object where they are in one frame."""
    return clip.to_world(clip.assets[index].vertices, index, frame)
