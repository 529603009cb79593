"""Files of other programs and data sets: motion, and what they read off a clip."""

from hoijax.importers.body_tracks import BodyTrack, read_body_tracks
from hoijax.importers.files import import_amass, import_gvhmr, import_interact, import_omomo
from hoijax.importers.intrinsics import GivenIntrinsics, read_intrinsics
from hoijax.importers.keypoints import GivenKeypoints, read_keypoints
from hoijax.importers.masks import read_label_masks
from hoijax.importers.motion import ImportedMotion, body_arrays, ground_truth_of
from hoijax.importers.points import GivenPoints, read_points

__all__ = [
    "BodyTrack",
    "GivenIntrinsics",
    "GivenKeypoints",
    "GivenPoints",
    "ImportedMotion",
    "body_arrays",
    "ground_truth_of",
    "import_amass",
    "import_gvhmr",
    "import_interact",
    "import_omomo",
    "read_body_tracks",
    "read_intrinsics",
    "read_keypoints",
    "read_label_masks",
    "read_points",
]
