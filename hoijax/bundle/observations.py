"""The contract between priors and solver: what was seen, as padded arrays with masks.

Axes: P people, O objects, T frames, N samples a frame, H x W image. In memory missing data is a mask,
never a NaN; a file may leave whole arrays out (`hoijax.bundle.evidence`). Everything here is an
*estimate* by some prior; the ground truth, where it exists, lives in the bundle's truth.npz and is never read
by the solver.
"""

from typing import cast

import flax.struct
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

OBJECT_POINT_COUNT = 1024
PERSON_POINT_COUNT = 1024


@flax.struct.dataclass
class Observations:
    """Everything the solver may know about a clip. numpy on the host; see docs/bundle.md.

    A point map is a prior's per-pixel 3D estimate in the camera's axes (OpenCV), right only up to a
    similarity per frame. A sample is one pixel of an entity's eroded mask: its pixel, its point-map
    point, and the object part it was labeled with.
    """

    intrinsics: Float[ndarray, "T 3 3"]
    """Pinhole intrinsics in pixels of the stored image size."""
    Ts_world_camera: Float[ndarray, "T 4 4"]
    """Estimated camera pose; the start of the point-map alignment (T_world_pointmap)."""
    instance_ids: UInt8[ndarray, "T H W"]
    """0 background, 1..P people, P+1..P+O objects; where nothing was detected, all 0."""
    object_detected: Bool[ndarray, "O T"]
    """False where the detector missed the object: its other arrays are padding there."""
    object_points: Float[ndarray, "O T N 3"]
    object_pixels: Float[ndarray, "O T N 2"]
    object_point_parts: Int[ndarray, "O T N"]
    """Part index of the asset the sample was labeled with, -1 none."""
    object_point_mask: Bool[ndarray, "O T N"]
    person_points: Float[ndarray, "P T M 3"]
    person_pixels: Float[ndarray, "P T M 2"]
    person_point_mask: Bool[ndarray, "P T M"]
    keypoints: Float[ndarray, "P T 18 3"]
    """OpenPose-18: u, v in pixels, confidence in [0, 1]; confidence 0 where not detected."""
    body_rotations: Float[ndarray, "P T 55 3"]
    """Axis-angle of the 55 SMPL-X joints, local to the parent (joint 0: world)."""
    body_translations: Float[ndarray, "P T 3"]
    """SMPL-X translation: offset from the rest pose, so the pelvis is at rest_joints[0] + this."""
    body_betas: Float[ndarray, "P B"]
    body_rest_joints: Float[ndarray, "P 55 3"]
    """T-pose joints of this person (bone lengths); the skin follows them."""
    body_mask: Bool[ndarray, "P T"] = cast(ndarray, None)
    """False: no estimate of the body in this frame. Not given: it is there in all frames."""
    frame_mask: Bool[ndarray, " T"] = cast(ndarray, None)
    """False: nothing of this frame is to be read. Not given: all frames are."""
    color_images: UInt8[ndarray, "T h w 3"] = cast(ndarray, None)
    """The clip made small, sRGB, over the same field of view. Not given: h = w = 0."""

    def __post_init__(self) -> None:
        if self.body_mask is None:
            object.__setattr__(self, "body_mask", np.ones(np.shape(self.body_rotations)[:2], bool))
        if self.frame_mask is None:
            object.__setattr__(self, "frame_mask", np.ones(np.shape(self.instance_ids)[0], bool))
        if self.color_images is None:
            nothing = np.zeros((np.shape(self.instance_ids)[0], 0, 0, 3), np.uint8)
            object.__setattr__(self, "color_images", nothing)

    @property
    def frame_count(self) -> int:
        return int(self.instance_ids.shape[0])

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.instance_ids.shape[1]), int(self.instance_ids.shape[2])

    @property
    def person_count(self) -> int:
        return int(self.body_rotations.shape[0])

    @property
    def object_count(self) -> int:
        return int(self.object_detected.shape[0])


def observation_dtypes() -> dict[str, np.dtype]:
    """Storage dtype of every array of an observations.npz, by key."""
    kinds = {
        "instance_ids": np.uint8,
        "object_detected": np.bool_,
        "object_point_parts": np.int32,
        "color_images": np.uint8,
    }
    names = list(Observations.__dataclass_fields__)
    return {
        name: np.dtype(kinds.get(name, np.bool_ if name.endswith("_mask") else np.float32))
        for name in names
    }
