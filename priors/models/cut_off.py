"""People whose head or feet leave the image, read by a network that knows whole bodies only.

In the square around what is seen of such a person, BlazePose squeezes the whole body into it: the face
lies on the chest, the knees on the shins. In a larger square that reaches beyond the image it reads
most of them right, the missing part outside. Which square is right, the bones tell: they are as long
as in the frames that show all of the person.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from priors.models.packaged import MASK_LEVEL, Region, mask_box

if TYPE_CHECKING:
    from priors.models.blazepose import BlazePose, Pose

__all__ = ["read_cut_off"]

NEAR = 0.1
"""Of the image's height: a person that is seen to come closer to its border may go on beyond it."""
LARGER = (1.0, 1.2, 1.4, 1.65, 1.95, 2.3)
"""Squares that are tried, times the one around what is seen."""
USUAL_LENGTH = 85
"""Percentile over the clip: squeezed bones are shorter than they are, never longer."""
STRANGE = 0.25
"""Sum over bones above which a pose is read again."""
BESIDE = 0.02
"""Of the image's width: a person who is seen so near to its end goes on beyond it."""
OUTWARD = (0.0, 0.15, 0.3)
"""Of the square around what is seen: how far out it is tried then."""
UPTURNED = 0.5
"""Of a shin: soles so far from the lowest that is seen are those of a body read upside down."""
LEAST_PRESENCE = 0.05
"""Of a network that sees a part of a person."""
USUAL = 0.15
"""Log of a bone's length over the usual one that is not held against a square."""
SQUEEZED = 0.7
"""Of a bone's usual length: below it, its end at the cut is invented."""
MAX_FOUND = 4
"""People that an image is searched for when a pose is strange."""
SHARED = 0.5
"""Of the smaller mask: two readings that share more are of one person."""
SHOULDER_WIDTH = 0.55
"""Of the torso's length: a mask that leaves the image over a wider run has its head above it."""
SHOULDERS, HIPS, KNEES, ANKLES = (11, 12), (23, 24), (25, 26), (27, 28)
FACE, FEET = slice(0, 11), slice(27, 33)
BONES = ((SHOULDERS, HIPS), (HIPS, KNEES), (KNEES, ANKLES))


def read_cut_off(
    model: "BlazePose",
    frames: UInt8[ndarray, "T H W 3"],
    poses: Sequence["Pose | None"],
    boxes: Float[ndarray, "T 4"],
) -> list["Pose | None"]:
    """The poses, those of cut-off people read again, without confidence in what cannot be seen.

    boxes: what is seen of the person; a squeezed pose's own mask may end before the image does.
    """
    measured = [_lengths(pose) for pose in poses if pose is not None]
    if not measured:
        return list(poses)
    lengths = np.percentile(measured, USUAL_LENGTH, axis=0)
    return [
        None if pose is None else _read_again(model, image, pose, box, lengths)
        for image, pose, box in zip(frames, poses, np.asarray(boxes, np.float64), strict=True)
    ]


def _read_again(
    model: "BlazePose",
    image: UInt8[ndarray, "H W 3"],
    pose: "Pose",
    box: Float[ndarray, " 4"],
    lengths: Float[ndarray, " 3"],
) -> "Pose":
    mask = pose.mask > MASK_LEVEL
    if mask[0].sum() > SHOULDER_WIDTH * lengths[0]:
        pose = _without(pose, FACE)
    if _bone_cost(pose, lengths) < STRANGE:
        return pose
    found = [model.read(image, region) for region in model.search(image)[:MAX_FOUND]]
    sound = [p for p in found if p is not None and _is_same(p, pose)]
    sound = [p for p in sound if _bone_cost(p, lengths) < STRANGE]
    if sound:  # the square that the frame before left was the wrong one
        return min(sound, key=lambda p: _bone_cost(p, lengths) - p.presence)
    height, seen = len(image), _seen(mask, box)
    at_top, at_bottom = seen[1] < NEAR * height, seen[3] > (1 - NEAR) * height
    for is_near, top in ((at_top, True), (at_bottom and not at_top, False)):
        if is_near:
            pose = _best(model, image, pose, seen, lengths, top)
            pose = _without_invented(pose, lengths, top)
            soles = float(pose.landmarks[FEET, 1].max())
            if top and abs(soles - seen[3]) > UPTURNED * lengths[2]:
                pose = _without(pose, slice(None))
    return pose


def _seen(mask: ndarray, box: Float[ndarray, " 4"]) -> Float[ndarray, " 4"]:
    """The box around a mask and another one; an empty box does not count."""
    boxes = [box] if box[2] > box[0] and box[3] > box[1] else []
    if mask.any():
        boxes.append(mask_box(mask))
    around = np.array(boxes or [[0, 0, mask.shape[1], mask.shape[0]]], np.float64)
    return np.concatenate([around[:, :2].min(axis=0), around[:, 2:].max(axis=0)])


def _is_same(pose: "Pose", other: "Pose") -> bool:
    """Whether two readings of an image are of one person."""
    a, b = pose.mask > MASK_LEVEL, other.mask > MASK_LEVEL
    return bool((a & b).sum() > SHARED * min(a.sum(), b.sum()))


def _best(
    model: "BlazePose",
    image: UInt8[ndarray, "H W 3"],
    pose: "Pose",
    seen: Float[ndarray, " 4"],
    lengths: Float[ndarray, " 3"],
    top: bool,
) -> "Pose":
    """The pose in the square whose bones are as usual; the squares share the border that is in sight.

    At the left or right end of the image they are also tried farther out.
    """
    width = image.shape[1]
    outward = float(seen[2] > (1 - BESIDE) * width) - float(seen[0] < BESIDE * width)
    around = Region.around(seen, 1.25)
    middle = 0.5 * (seen[0] + seen[2])
    anchor = seen[3] + 0.1 * around.side if top else seen[1] - 0.1 * around.side
    best, least = pose, np.inf
    shifts = outward * around.side * np.array(OUTWARD if outward else (0.0,))
    for factor, shift in itertools.product(LARGER, shifts):
        side = factor * around.side
        center = np.array([middle + shift, anchor - 0.5 * side if top else anchor + 0.5 * side])
        read = model.read(image, Region(center, side), LEAST_PRESENCE)
        if read is None:
            continue
        cost = _strangeness(read, lengths, seen[3] if top else None)
        if cost < least:
            best, least = read, cost
    return replace(best, mask=pose.mask)


def _strangeness(pose: "Pose", lengths: Float[ndarray, " 3"], floor: float | None) -> float:
    """How far bones are from their usual lengths, soles from the lowest pixel, and from presence."""
    cost = _bone_cost(pose, lengths) + 0.3 * (1 - pose.presence)
    if floor is not None:
        soles = float(pose.landmarks[FEET, 1].max())
        cost += abs(soles - floor) / float(lengths[2])
    return cost


def _bone_cost(pose: "Pose", lengths: Float[ndarray, " 3"]) -> float:
    ratio = np.log(np.maximum(_lengths(pose), 1e-3) / lengths)
    return float((np.maximum(-ratio - USUAL, 0) + 2 * np.maximum(ratio - USUAL, 0)).sum())


def _without_invented(pose: "Pose", lengths: Float[ndarray, " 3"], top: bool) -> "Pose":
    """No confidence in the ends of squeezed bones that lie at the cut, nor in all beyond them."""
    torso, thigh, shin = _lengths(pose) < SQUEEZED * lengths
    if top:
        pose = _without(pose, FACE)
        for squeezed, end in ((torso, HIPS), (thigh, KNEES), (shin, ANKLES)):
            pose = _without(pose, slice(0, end[0])) if squeezed else pose
    else:
        for squeezed, start in ((shin, ANKLES), (thigh, KNEES)):
            pose = _without(pose, slice(start[0], None)) if squeezed else pose
    return pose


def _without(pose: "Pose", which: slice) -> "Pose":
    landmarks = pose.landmarks.copy()
    landmarks[which, 2] = 0
    return replace(pose, landmarks=landmarks)


def _lengths(pose: "Pose") -> Float[ndarray, " 3"]:
    """Torso, thigh and shin in pixels, of the side that shows them longer."""
    points = pose.landmarks[:, :2]
    return np.array(
        [
            max(float(np.linalg.norm(points[a] - points[b])) for a, b in zip(*bone, strict=True))
            for bone in BONES
        ]
    )
