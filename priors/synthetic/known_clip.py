"""A clip whose motion is taken as known, seen again through its own camera."""

import numpy as np

from hoijax.bundle.schema import GroundTruth
from hoijax.bundle.write import Bundle
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.camera_motion import average_static_camera
from priors.synthetic.ground_truth import KnownMotion, rendered_ground_truth
from priors.synthetic.rendered_observations import RenderedGroundTruth


def scene_of_bundle(bundle: Bundle, motion: GroundTruth) -> RenderedGroundTruth:
    """The bundle's objects and people moving as `motion` says, before its camera (the mean, if it moves)."""
    height, width = bundle.observations.instance_ids.shape[1:]
    K = np.median(bundle.observations.intrinsics, axis=0)
    fx, fy, cx, cy = (float(K[i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    camera = PinholeCamera(fx, fy, cx, cy, width, height)
    people = KnownMotion(
        motion.body_rotations, motion.body_translations, motion.body_betas, motion.body_rest_joints
    )
    return rendered_ground_truth(
        bundle.body,
        people,
        bundle.assets,
        motion.Ts_world_object,
        motion.edge_contact,
        view=(camera, average_static_camera(motion.Ts_world_camera)[0]),
    )
