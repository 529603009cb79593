"""Motion of other programs and data sets, as people in a clip, as bodies of a bundle, or as its truth."""

from hoijax.importers.files import import_amass, import_gvhmr, import_interact, import_omomo
from hoijax.importers.motion import ImportedMotion, body_arrays, ground_truth_of

__all__ = [
    "ImportedMotion",
    "body_arrays",
    "ground_truth_of",
    "import_amass",
    "import_gvhmr",
    "import_interact",
    "import_omomo",
]
