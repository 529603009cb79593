"""One object cut out of one image from a hint: GrabCut (Rother et al., 2004), in OpenCV.

Images are uint8 RGB; boxes are (left, top, right, bottom) in pixels; points are (u, v, sign), sign
+1 on the object and -1 beside it. A cut is empty where nothing stands out from its surroundings.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from hoijax.errors import UserError

__all__ = [
    "cut_around_points",
    "cut_box",
    "cut_trimap",
    "disc",
    "fill_holes",
    "grow",
    "refine_cut",
    "shrink",
]

INSTALL = 'pip install "hoijax[video]"'
MARGIN = 0.35
"""Of a box's longer side: how far around it the background is learned."""
ROUNDS = 5
SEARCH_SIDE = 200
"""Pixels: shorter side of the image in which a clicked object's size is searched."""
CLICK_RADII = tuple(0.02 * 1.35**i for i in range(11))
"""Of the image's shorter side: sizes of an object tried around a click."""
SEED_RADIUS = 0.15
"""Of the tried size: the disc around a point that is the object (or is not) for sure."""
GROWTH = 2.0
"""Least area of a cut over that of the discs it was grown from."""
STABLE = 0.6
"""Least agreement of the cuts of two sizes; below it nothing closed stands out around the clicks."""
ALIKE = 0.9
"""Of the best agreement: of sizes that agree nearly as well the largest is the object, not its label."""
CLICK_MARGIN = 0.08
"""Of a clicked object's longer side: how far around it the final cut may reach."""
HOLE = 0.06
"""Of the object's area: what it encloses and is smaller is a label or a highlight, not a hole."""
SPECK = 0.2
"""Of the largest piece: smaller pieces of a cut are dropped."""
MOST_PEOPLE = 0.6
"""Of a box's pixels: more that are people's are no reason to look elsewhere for the object."""
MIN_CUT = 0.05
"""Of a box's area: a cut smaller than this is no object."""


def opencv() -> Any:
    """The module cv2. Raises UserError with the command that installs it."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(f"OpenCV is not installed. Run: {INSTALL}") from error
    return cv2


def disc(radius: float) -> UInt8[ndarray, "K K"]:
    """A round structuring element."""
    side = 2 * max(1, round(radius)) + 1
    cv2 = opencv()
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def grow(mask: Bool[ndarray, "H W"], radius: float) -> Bool[ndarray, "H W"]:
    return opencv().dilate(mask.astype(np.uint8), disc(radius)) > 0


def shrink(mask: Bool[ndarray, "H W"], radius: float) -> Bool[ndarray, "H W"]:
    """The image's border does not count as the mask's edge."""
    return opencv().erode(mask.astype(np.uint8), disc(radius)) > 0


def fill_holes(mask: Bool[ndarray, "H W"], area: float) -> Bool[ndarray, "H W"]:
    """Enclosed holes smaller than `HOLE` of an area filled; those at the image's border stay."""
    _, labels, stats, _ = opencv().connectedComponentsWithStats(
        (~mask).astype(np.uint8), connectivity=4
    )
    height, width = mask.shape
    right, bottom = stats[:, 0] + stats[:, 2], stats[:, 1] + stats[:, 3]
    enclosed = (stats[:, :2] > 0).all(1) & (right < width) & (bottom < height)
    small = np.flatnonzero((stats[:, 4] < HOLE * area) & enclosed)
    return mask | np.isin(labels, small)


def main_pieces(
    mask: Bool[ndarray, "H W"], others: Bool[ndarray, "H W"] | None = None
) -> Bool[ndarray, "H W"]:
    """The largest connected piece and those not much smaller: an object may be cut by an arm.

    others: what is joined behind these counts as one piece: a shin below a ball.
    """
    joined = mask if others is None else mask | others
    count, labels = opencv().connectedComponents(joined.astype(np.uint8))
    areas = np.bincount(labels[mask], minlength=count)
    return mask & (areas > SPECK * areas.max())[labels]


def cut_box(
    image: UInt8[ndarray, "H W 3"],
    box: Float[ndarray, " 4"],
    points: Float[ndarray, "N 3"] | None = None,
    people: Bool[ndarray, "H W"] | None = None,
) -> Bool[ndarray, "H W"]:
    """What stands out in a box; points inside it are held to their side.

    people: what is surely a person's, so that the object of a wide box (a broom, held aslant) is not who
    holds it. Where they fill most of the box they say nothing: what is held before the body is then the object.
    """
    cv2 = opencv()
    height, width = image.shape[:2]
    left, top = np.maximum(np.floor(box[:2]), 0).astype(int)
    right, bottom = np.minimum(np.ceil(box[2:]), (width, height)).astype(int)
    trimap = np.full((height, width), cv2.GC_BGD, np.uint8)
    trimap[top:bottom, left:right] = cv2.GC_PR_FGD
    if people is not None and people[top:bottom, left:right].mean() < MOST_PEOPLE:
        trimap[(trimap == cv2.GC_PR_FGD) & people] = cv2.GC_PR_BGD
    size = float(max(right - left, bottom - top))
    _mark(trimap, points, SEED_RADIUS * size)
    mask = _grab(image, trimap, MARGIN * size, ROUNDS)
    mask = main_pieces(mask)
    if mask.sum() < MIN_CUT * (right - left) * (bottom - top):
        return np.zeros_like(mask)
    return fill_holes(mask, float(mask.sum()))


def cut_around_points(
    image: UInt8[ndarray, "H W 3"], points: Float[ndarray, "N 3"]
) -> Bool[ndarray, "H W"]:
    """What stands out around clicks (at least one of them on the object).

    Boxes of growing size are tried in a small image; the cut that changes least from one size to
    the next is the object's, for only an object's edge stops it. It is cut again in full size.
    """
    cv2 = opencv()
    height, width = image.shape[:2]
    scale = min(1.0, SEARCH_SIDE / min(height, width))
    size = (round(width * scale), round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    clicks = points * (scale, scale, 1)
    positive = clicks[clicks[:, 2] > 0, :2]
    cuts, scores = [], []
    for share in CLICK_RADII:
        radius = share * min(size)
        box = np.concatenate([positive.min(0) - radius, positive.max(0) + radius])
        cut = _connected(cut_box(small, box, clicks), positive)
        grown = cut.sum() > GROWTH * len(positive) * np.pi * (SEED_RADIUS * 2 * radius) ** 2
        scores.append(_iou(cuts[-1], cut) * _freedom(cut, box) * grown if cuts else 0.0)
        cuts.append(cut)
    best = cuts[int(np.flatnonzero(np.array(scores) >= ALIKE * max(scores))[-1])]
    if max(scores) < STABLE:
        return np.zeros((height, width), bool)
    around = np.concatenate([edge[::-1] for edge in _extent(best)]) / scale
    margin = CLICK_MARGIN * max(around[2:] - around[:2])
    cut = cut_box(image, around + margin * np.array([-1, -1, 1, 1]), points)
    return _connected(cut, points[points[:, 2] > 0, :2])


def refine_cut(
    image: UInt8[ndarray, "H W 3"],
    mask: Bool[ndarray, "H W"],
    *,
    band: float,
    core: Bool[ndarray, "H W"],
    background: Bool[ndarray, "H W"],
    points: Float[ndarray, "N 3"] | None = None,
    rounds: int = 2,
) -> Bool[ndarray, "H W"]:
    """A roughly known mask with its edge moved to where the colors part, at most `band` pixels out.

    core: pixels that stay; background: pixels that go, wherever they lie.
    """
    cv2 = opencv()
    outer = grow(mask, band)
    trimap = np.full(mask.shape, cv2.GC_BGD, np.uint8)
    trimap[outer], trimap[mask] = cv2.GC_PR_BGD, cv2.GC_PR_FGD
    trimap[core] = cv2.GC_FGD
    trimap[background] = cv2.GC_BGD
    size = float(np.sqrt(mask.sum()))
    _mark(trimap, points, SEED_RADIUS * size)
    return _grab(image, trimap, MARGIN * size + band, rounds)


def cut_trimap(
    image: UInt8[ndarray, "H W 3"], trimap: UInt8[ndarray, "H W"], size: float, rounds: int = 2
) -> Bool[ndarray, "H W"]:
    """GrabCut of what a trimap (OpenCV's four labels) leaves open; size: of the object, in pixels."""
    return _grab(image, trimap, MARGIN * size, rounds)


def _mark(trimap: UInt8[ndarray, "H W"], points: ndarray | None, radius: float) -> None:
    """Discs around points, negative ones half as large so that a touching object stays."""
    cv2 = opencv()
    for u, v, sign in () if points is None else points:
        label, reach = (cv2.GC_FGD, radius) if sign > 0 else (cv2.GC_BGD, 0.5 * radius)
        cv2.circle(trimap, (int(u), int(v)), max(1, round(reach)), int(label), -1)


def _grab(
    image: UInt8[ndarray, "H W 3"], trimap: UInt8[ndarray, "H W"], margin: float, rounds: int
) -> Bool[ndarray, "H W"]:
    """GrabCut in the part of the image around what may be the object."""
    cv2 = opencv()
    mask = np.zeros(trimap.shape, bool)
    rows, columns = np.nonzero(trimap != cv2.GC_BGD)
    if not len(rows):
        return mask
    reach = int(margin) + 2
    window = (
        slice(max(0, rows.min() - reach), rows.max() + reach + 1),
        slice(max(0, columns.min() - reach), columns.max() + reach + 1),
    )
    labels = trimap[window].copy()
    object_seeds = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if object_seeds.all() or not object_seeds.any():
        mask[window] = object_seeds
        return mask
    cv2.setRNGSeed(0)  # its color clusters start at random
    models = np.zeros((1, 65)), np.zeros((1, 65))
    crop = np.ascontiguousarray(image[window])
    cv2.grabCut(crop, labels, None, *models, rounds, cv2.GC_INIT_WITH_MASK)
    mask[window] = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return mask


def _connected(mask: Bool[ndarray, "H W"], points: Float[ndarray, "N 2"]) -> Bool[ndarray, "H W"]:
    """The pieces of a mask that hold one of the points."""
    _, labels = opencv().connectedComponents(mask.astype(np.uint8))
    height, width = mask.shape
    columns = np.clip(points[:, 0].astype(int), 0, width - 1)
    rows = np.clip(points[:, 1].astype(int), 0, height - 1)
    return mask & np.isin(labels, labels[rows, columns])


def _freedom(mask: Bool[ndarray, "H W"], box: Float[ndarray, " 4"]) -> float:
    """Fraction of a box's sides (inside the image) that the mask does not run into."""
    height, width = mask.shape
    left, top, right, bottom = np.round(box).astype(int)
    rows, columns = slice(max(top, 0), bottom), slice(max(left, 0), right)
    sides = [mask[rows, x] for x in (left, right - 1) if 0 < x < width - 1]
    sides += [mask[y, columns] for y in (top, bottom - 1) if 0 < y < height - 1]
    return 1 - float(np.concatenate(sides).mean()) if sides else 0.0


def _extent(mask: Bool[ndarray, "H W"]) -> Int[ndarray, "2 2"]:
    """(top, left) and (bottom, right) of a mask; edges, not pixel centers."""
    where = np.argwhere(mask)
    return np.stack([where.min(0), where.max(0) + 1])


def _iou(a: Bool[ndarray, "H W"], b: Bool[ndarray, "H W"]) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 0.0
