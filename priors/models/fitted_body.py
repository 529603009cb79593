"""Body motion from a clip by our own fit."""

import dataclasses

import numpy as np

from hoijax.bodies.fitting.outline import fill_masks, outlines_of
from priors.masks import sample_pixels
from priors.models.body_recovery import BodyRecoverer, SeenPerson, on_the_ground
from priors.protocols import BodyMotion, ModelId

KEYPOINT_STEPS = 300  # of the fit to keypoints that masks refine
USUAL_SOLE = 50.0
"""Percentile over frames: of soles that float or sink as depth errs, the middle is the ground."""
FIT_POINTS = 512  # points of the point map that the fit gets for every frame


class FittedBody(BodyRecoverer):
    """`BodyRecovery` by our own optimizer: keypoints and point map, no weights (priors.models.body_fit)."""

    bytes_per_frame = 2.5e6
    """A whole clip is fitted at once."""

    def __init__(self, body_name: str = "anny"):
        """body_name: "anny", or the path of the user's SMPL-X or SMPL-H file."""
        self.body_name = body_name

    @property
    def model_id(self) -> ModelId:
        from priors.models.body_fit import MODEL_ID

        return MODEL_ID

    def _recover(self, seen: SeenPerson) -> BodyMotion:
        """The person's motion over a camera that stands still, on the ground that the maps show.

        Where the maps say nothing, of a grown person of average height, who fills the masks, the lowest sole of
        the clip on the ground; up is that of upright edges, else of a level camera. How high the camera
        stands, the fit to keypoints finds: an assumed height moved people by decimetres.
        """
        from priors.models.body_fit import fit_body

        keypoints, maps = seen.keypoints, seen.maps
        if not maps.valid.any():
            return self._without_maps(seen)
        usable = maps.valid & seen.masks & np.isfinite(maps.points).all(-1)
        chosen, mask = sample_pixels(usable, FIT_POINTS, np.random.default_rng(0))
        points = maps.points.reshape(len(chosen), -1, 3)[np.arange(len(chosen))[:, None], chosen]
        return fit_body(
            keypoints,
            maps.intrinsics,
            np.tile(seen.ground.T_world_camera, (len(keypoints), 1, 1)),
            body=self._body,
            person_points=np.where(mask[..., None], points, 0).astype(np.float32),
            person_point_mask=mask,
            fps=float(seen.video.fps),
        )

    def _without_maps(self, seen: SeenPerson) -> BodyMotion:
        from priors.models.body_fit import fit_body

        keypoints, intrinsics = seen.keypoints, seen.maps.intrinsics
        fps, camera = float(seen.video.fps), seen.ground.T_world_camera.astype(np.float32)
        average = np.zeros(1, np.float32)
        motion = fit_body(
            keypoints,
            intrinsics,
            np.tile(camera, (len(keypoints), 1, 1)),
            body=self._body,
            fps=fps,
            betas=average,
            ground_known=False,
            lifts=seen.lifts,
            steps=KEYPOINT_STEPS,
        )
        # Where soles usually are is the ground from now on: whoever stands there comes no nearer.
        motion = on_the_ground(motion, self._body, USUAL_SOLE)
        filled = fill_masks(
            motion.rotations,
            motion.translations,
            motion.rest_joints,
            outlines_of(seen.masks, seen.other_masks, intrinsics),
            body=self._body,
            keypoints=keypoints,
            intrinsics=intrinsics,
            Ts_world_camera=motion.Ts_world_camera,
            fps=fps,
            lifts=seen.lifts,
        )
        return on_the_ground(dataclasses.replace(motion, **vars(filled)), self._body)
