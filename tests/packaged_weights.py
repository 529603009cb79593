"""Whether the models of the wheel `mediapipe` can run here."""

import functools

import pytest

from hoijax.errors import UserError
from priors.models.blazepose import DETECTOR_FILE
from priors.models.packaged import TfliteModel, mediapipe_file


@functools.cache
def problem() -> str | None:
    """Why they cannot; None where they can."""
    try:
        TfliteModel(mediapipe_file(DETECTOR_FILE))
    except UserError as error:
        return str(error)
    return None


needs_weights = pytest.mark.skipif(problem() is not None, reason=str(problem()))
