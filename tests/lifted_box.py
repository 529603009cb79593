"""A lift of a box that the test files share: made once in a process."""

import functools

import hoijax
from hoijax.bundle.bundle import Bundle
from hoijax.bundle.write import GroundTruth
from priors.synthetic.erring_observations import erring_bundle
from priors.synthetic.from_text import BODY, scene_of_text

TEXT, FRAMES = "a person lifts a box", 12


@functools.cache
def _scene():
    return scene_of_text(TEXT, hoijax.load_objects(["box"]), frames=FRAMES, seed=0)


def lifted_box(**strengths: float) -> tuple[Bundle, GroundTruth]:
    """The lift, seen with errors of these strengths (none: without), and its truth."""
    return _seen(tuple(strengths.items()))


@functools.cache
def _seen(strengths: tuple[tuple[str, float], ...]) -> tuple[Bundle, GroundTruth]:
    scene, script, fps = _scene()
    given = {"prompt": TEXT, "fps": fps, "body": BODY, "strengths": dict(strengths), "seed": 4}
    return erring_bundle(scene, script.graph, **given)
