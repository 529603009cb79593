"""Masks of objects that can hardly be of them: a hint beside its object, or a mesh in another unit.

Told from the person, whose limbs are a ruler: how large the mesh would be beside them, and whether it is
ever near them or another object.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.ndimage import distance_transform_edt

from priors.masks import mask_boxes

__all__ = ["doubts_about_objects", "pixels_a_metre"]

SEGMENTS = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (11, 12), (12, 13))
METRES = np.array([0.17, 0.17, 0.28, 0.25, 0.28, 0.25, 0.41, 0.40, 0.41, 0.40])
"""Shoulders, upper arms, forearms, thighs and shins of OpenPose-18, of an adult of 1.7 m."""
SURE = 0.3
UNFORESHORTENED = 80.0
"""Percentile over a person's segments and frames: most are seen shortened."""
TOO_LARGE, TOO_SMALL = 3.0, 0.25
"""Of a mesh's size beside the person; nearer or farther, or of a child, it may look 2 times as large."""
NEAR = 0.25
"""Metres: what is never as near to a person, or to another object, is not what the sentence is about."""
FEWEST = 20
"""Segments seen for sure, of all frames."""


def doubts_about_objects(
    names: Sequence[str],
    sides: Float[ndarray, "O 3"],
    objects: Bool[ndarray, "O T H W"],
    people: Bool[ndarray, "P T H W"],
    keypoints: Float[ndarray, "P T 18 3"],
) -> list[str]:
    """A sentence for each object whose mask can hardly be its. sides: of the meshes, in metres."""
    rulers = [ruler for points in keypoints if (ruler := pixels_a_metre(points)) is not None]
    if not rulers:
        return []
    ruler = max(rulers)
    sentences = []
    for o, (name, lengths, mask) in enumerate(zip(names, sides, objects, strict=True)):
        size = _seen_size(mask)
        if size is None:
            continue
        large = size / (ruler * float(np.linalg.norm(lengths)))
        small = size / (ruler * float(np.linalg.norm(np.sort(lengths)[:2])))
        if large > TOO_LARGE or small < TOO_SMALL:
            times = large if large > TOO_LARGE else small
            found = f"is {times:.2g} times as large as its mesh would be beside the person"
        elif not _is_ever_near(mask, [*people, *np.delete(objects, o, axis=0)], NEAR * ruler):
            found = f"is never within {100 * NEAR:.0f} cm of a person or another object"
        else:
            continue
        sentences.append(
            f"what was followed as {name} {found}: is the hint on the object (see video.mp4, `hoijax mask`), "
            "and the mesh in metres?"
        )
    return sentences


def pixels_a_metre(points: Float[ndarray, "T 18 3"]) -> float | None:
    """Of a person's limbs; None where too few are seen."""
    first, second = np.array(SEGMENTS).T
    lengths = np.linalg.norm(points[:, first, :2] - points[:, second, :2], axis=-1) / METRES
    sure = np.minimum(points[:, first, 2], points[:, second, 2]) > SURE
    if sure.sum() < FEWEST:
        return None
    return float(np.percentile(lengths[sure], UNFORESHORTENED))


def _seen_size(mask: Bool[ndarray, "T H W"]) -> float | None:
    """Diagonal of its box in most frames, pixels; None where it is never seen."""
    boxes, present = mask_boxes(mask)
    if not present.any():
        return None
    return float(np.median(np.linalg.norm(boxes[present, 2:] - boxes[present, :2], axis=-1)))


def _is_ever_near(
    mask: Bool[ndarray, "T H W"], others: Sequence[Bool[ndarray, "T H W"]], reach: float
) -> bool:
    """True too where they are never seen together. reach: pixels."""
    other = np.any(others, axis=0)
    together = np.flatnonzero(mask.any((1, 2)) & other.any((1, 2)))
    return not len(together) or any(
        np.asarray(distance_transform_edt(~other[t]))[mask[t]].min() <= reach for t in together
    )
