"""The two tables of terms, and the problem that they make of object poses.

Published table: spec/hoi-page.md section 4. Our table adds the model-to-mask term, the ground and
object-object penetration, and drops the 2D chamfer that the mask term makes redundant.
"""

import dataclasses
from collections.abc import Sequence

from hoijax.losses.contacts import contact, contact_drift
from hoijax.losses.fit import (
    EXTENT_RHO,
    MASK_RHO,
    POINT_RHO,
    ROBUST_RHO,
    model_extent,
    model_mask,
    object_pixels,
    object_points,
    part_pixels,
    part_points,
    robust_object_points,
    robust_part_points,
)
from hoijax.losses.penetrations import ground, object_penetration, penetration
from hoijax.losses.smoothness import rotation_smoothness, translation_smoothness
from hoijax.losses.term import LossTerm
from hoijax.scene.posed import pose_scene
from hoijax.solver.neighbor_lists import refresh_all, refresh_bodies
from hoijax.solver.problem import Problem

PUBLISHED_TERMS = (
    LossTerm.constant("object_points", object_points, 1e3, scale=ROBUST_RHO),
    LossTerm.constant("object_pixels", object_pixels, 1e-4, reads_pixel_neighbors=True),
    LossTerm.constant("part_points", part_points, 1e2, scale=ROBUST_RHO),
    LossTerm.constant("part_pixels", part_pixels, 1e-4, reads_pixel_neighbors=True),
    LossTerm.constant("translation_smoothness", translation_smoothness, 1e3),
    LossTerm.constant("rotation_smoothness", rotation_smoothness, 1e3),
    LossTerm("penetration", penetration, 0.0, 10.0),
    LossTerm.constant("contact", contact, 1e3),
    LossTerm("contact_drift", contact_drift, 10.0, 1e3),
)

DEFAULT_TERMS = (
    LossTerm.constant("object_points", robust_object_points, 1e3, scale=POINT_RHO),
    LossTerm.constant("part_points", robust_part_points, 3e2, scale=POINT_RHO),
    LossTerm.constant("model_mask", model_mask, 1e-1, scale=MASK_RHO),
    LossTerm.constant("translation_smoothness", translation_smoothness, 3e3),
    LossTerm.constant("rotation_smoothness", rotation_smoothness, 1e2),
    LossTerm("penetration", penetration, 0.0, 3.0),
    LossTerm.constant("object_penetration", object_penetration, 10.0),
    LossTerm.constant("ground", ground, 1e2),
    LossTerm.constant("contact", contact, 1e1),
    LossTerm("contact_drift", contact_drift, 1.0, 1e1),
)

TERMS = {"default": DEFAULT_TERMS, "hoi-page": PUBLISHED_TERMS}
EXTENT_TERM = LossTerm.constant("model_extent", model_extent, 3e-1, scale=EXTENT_RHO)
"""Of the default table where objects have masks. Points alone say that what was seen is near the mesh, and
the mask that no mesh is beside it: this also that the mesh reaches as far as what was seen."""
DEPTHLESS_TERMS = (
    LossTerm.constant("model_mask", model_mask, 2e-2, scale=MASK_RHO),
    EXTENT_TERM,
    LossTerm.constant("translation_smoothness", translation_smoothness, 5e2),
    LossTerm("penetration", penetration, 0.0, 0.5),
    LossTerm.constant("contact", contact, 3e1),
)
"""Of the default table, where an object has no depth: contact tells it, a body pushes less, and
smoothness does not drown outlines that say less than points do."""


DEPTHLESS_FPS = 30.0
"""Frame rate of these weights."""
SLOWEST = 1.0 / 3.0
"""Of that rate: what is said of smoothness at lower ones says too little to choose by."""


def object_table(
    preset: str,
    *,
    outlines: bool,
    lacks_depth: bool = False,
    fps: float = DEPTHLESS_FPS,
    terms: Sequence[LossTerm] = (),
) -> tuple[LossTerm, ...]:
    """The terms of a scene, the user's own last. outlines: objects have masks. lacks_depth: and one of them has
    no points somewhere.

    Without depth translations are held to accelerations, not to differences of frames: a thing that flies
    or is kicked moves far between the frames of a slow clip, and what holds it back takes it nearer to the
    camera, where the same path is shorter.
    """
    table = {term.name: term for term in TERMS[preset]}
    if outlines and preset == "default":
        table[EXTENT_TERM.name] = EXTENT_TERM
    if lacks_depth:
        others = {term.name: term for term in DEPTHLESS_TERMS}
        smooth = others["translation_smoothness"]
        factor = min(max(fps / DEPTHLESS_FPS, SLOWEST), 1.0) ** 4
        others[smooth.name] = dataclasses.replace(
            smooth, start=factor * smooth.start, end=factor * smooth.end
        )
        table = table | others if preset == "default" else others | table
    return (*table.values(), *terms)


def object_problem(terms: Sequence[LossTerm]) -> Problem:
    """Object poses under the given terms, for `optimize`."""
    reads_pixels = any(term.reads_pixel_neighbors for term in terms)
    refresh = refresh_all if reads_pixels else refresh_bodies
    return Problem(tuple(terms), pose_scene, refresh)
