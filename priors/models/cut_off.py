"""People whose head or feet leave the image, read by a network that knows whole bodies only.

In the square around what is seen of such a person, BlazePose squeezes the whole body into it: the face
lies on the chest, the knees on the shins. In a larger square that reaches beyond the image it reads
most of them right, the missing part outside. Which square is right, the bones tell: they are as long
as in the frames that show all of the person.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from priors.models.packaged import MASK_BYTE, Region, mask_box

if TYPE_CHECKING:
    from priors.models.blazepose import BlazePose
    from priors.models.blazepose_poses import Pose

__all__ = ["read_cut_off"]

NEAR = 0.1
"""Of the image's height: a person that is seen to come closer to its border may go on beyond it."""
LARGER = (1.0, 1.2, 1.4, 1.65, 1.95, 2.3)
"""Sides of squares that are tried, times the one around what is seen."""
USUAL_LENGTH = 85
"""Percentile over the clip: squeezed bones are shorter than they are, never longer."""
STRANGE = 0.25
"""Sum over bones above which a pose is read again."""
BESIDE = 0.02
"""Of the image's width: a person who is seen so near to its end goes on beyond it."""
OUTWARD = (0.0, 0.15, 0.3)
"""Of the square around what is seen: how far out it is tried then."""
SQUARES = tuple(itertools.product(LARGER, OUTWARD))
"""All that are tried."""
USUAL_COST = 0.45
"""Of a pose read in a square: below it no squares but the first are tried."""
ALIKE = 0.15
"""Above the least cost: what squares show that are as good as the best is averaged."""
UPTURNED = 0.5
"""Of a shin: soles so far from the lowest that is seen are those of a body read upside down."""
MIN_PRESENCE = 0.05
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
    chosen: list[Pose | None] = []
    tried = SQUARES
    for image, pose, box in zip(frames, poses, np.asarray(boxes, np.float64), strict=True):
        if pose is not None:
            pose, tried = _read_again(model, image, pose, box, lengths, tried)
        chosen.append(pose)
    return chosen


def _read_again(
    model: "BlazePose",
    image: UInt8[ndarray, "H W 3"],
    pose: "Pose",
    box: Float[ndarray, " 4"],
    lengths: Float[ndarray, " 3"],
    first: Sequence[tuple[float, float]],
) -> tuple["Pose", Sequence[tuple[float, float]]]:
    """(the pose, squares to try first in the next frame). first: those of this frame."""
    mask = pose.mask > MASK_BYTE
    if mask[0].sum() > SHOULDER_WIDTH * lengths[0]:
        pose = _without(pose, FACE)
    if _bone_cost(pose, lengths) < STRANGE:
        return pose, SQUARES
    poses = [model.read(image, region) for region in model.search(image)[:MAX_FOUND]]
    sound = [p for p in poses if p is not None and _is_same(p, pose)]
    sound = [p for p in sound if _bone_cost(p, lengths) < STRANGE]
    if sound:  # the square that the frame before left was the wrong one
        return min(sound, key=lambda p: _bone_cost(p, lengths) - p.presence), SQUARES
    following: Sequence[tuple[float, float]] = SQUARES
    height, seen = len(image), _seen(mask, box)
    at_top, at_bottom = seen[1] < NEAR * height, seen[3] > (1 - NEAR) * height
    for is_near, top in ((at_top, True), (at_bottom and not at_top, False)):
        if is_near:
            squares = _Squares(model, image, pose, seen, lengths, top)
            pose, following = squares.best(first)
            pose = _without_invented(pose, lengths, top)
            soles = float(pose.landmarks[FEET, 1].max())
            if top and abs(soles - seen[3]) > UPTURNED * lengths[2]:
                pose = _without(pose, slice(None))
    return pose, following


def _seen(mask: ndarray, box: Float[ndarray, " 4"]) -> Float[ndarray, " 4"]:
    """The box around a mask and another one; an empty box does not count."""
    boxes = [box] if box[2] > box[0] and box[3] > box[1] else []
    if mask.any():
        boxes.append(mask_box(mask))
    around = np.array(boxes or [[0, 0, mask.shape[1], mask.shape[0]]], np.float64)
    return np.concatenate([around[:, :2].min(axis=0), around[:, 2:].max(axis=0)])


def _is_same(pose: "Pose", other: "Pose") -> bool:
    """Whether two readings of an image are of one person."""
    a, b = pose.mask > MASK_BYTE, other.mask > MASK_BYTE
    return bool((a & b).sum() > SHARED * min(a.sum(), b.sum()))


@dataclass(frozen=True)
class _Squares:
    """Squares about one cut-off person, which share the border of the person that is in sight."""

    model: "BlazePose"
    image: UInt8[ndarray, "H W 3"]
    pose: "Pose"
    seen: Float[ndarray, " 4"]
    lengths: Float[ndarray, " 3"]
    top: bool

    def best(
        self, first: Sequence[tuple[float, float]]
    ) -> tuple["Pose", Sequence[tuple[float, float]]]:
        """(the pose in the square whose bones are as usual, that square and those next to it).

        All squares are read only where none of the first ones shows usual bones.
        """
        costs: dict[tuple[float, float], tuple[float, Pose]] = {}
        for squares in (first, SQUARES):
            for square in squares:
                if square not in costs and (pose := self._read(square)) is not None:
                    costs[square] = self._strangeness(pose), pose
            if costs and min(cost for cost, _ in costs.values()) < USUAL_COST:
                break
        if not costs:
            return self.pose, SQUARES
        best = min(costs, key=lambda square: costs[square][0])
        alike = [costs[best][1]]
        if self.top:  # feet in sight pin every square; without them squares of any size look usual
            alike = [pose for cost, pose in costs.values() if cost < costs[best][0] + ALIKE]
        landmarks = np.mean([pose.landmarks for pose in alike], axis=0)
        depths = np.mean([pose.depths for pose in alike], axis=0)
        pose = replace(costs[best][1], landmarks=landmarks, depths=depths, mask=self.pose.mask)
        return pose, _next_to(best)

    def _read(self, square: tuple[float, float]) -> "Pose | None":
        factor, outward = square
        width = self.image.shape[1]
        at_end = float(self.seen[2] > (1 - BESIDE) * width) - float(self.seen[0] < BESIDE * width)
        if outward and not at_end:
            return None
        around = Region.around(self.seen, 1.25)
        side, reach = factor * around.side, 0.1 * around.side
        middle = 0.5 * (self.seen[0] + self.seen[2]) + at_end * outward * around.side
        level = self.seen[3] + reach - 0.5 * side if self.top else self.seen[1] - reach + 0.5 * side
        return self.model.read(self.image, Region(np.array([middle, level]), side), MIN_PRESENCE)

    def _strangeness(self, pose: "Pose") -> float:
        """How far bones are from their usual lengths, soles from the lowest pixel, and from presence."""
        cost = _bone_cost(pose, self.lengths) + 0.3 * (1 - pose.presence)
        if self.top:
            soles = float(pose.landmarks[FEET, 1].max())
            cost += abs(soles - self.seen[3]) / float(self.lengths[2])
        return cost


def _next_to(square: tuple[float, float]) -> list[tuple[float, float]]:
    """A square, those of the next sizes at its place, and those of its size at other places."""
    at = LARGER.index(square[0])
    sizes = [(factor, square[1]) for factor in LARGER[max(at - 1, 0) : at + 2]]
    return list(dict.fromkeys([square, *sizes, *((square[0], outward) for outward in OUTWARD)]))


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
