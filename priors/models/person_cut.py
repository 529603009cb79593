"""People of a clip cut out where BlazePose is sure and, where it is not, by color; short losses bridged by flow."""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy.ndimage import distance_transform_edt

from priors.models.blazepose_poses import Pose
from priors.models.object_cut import (
    cut_trimap,
    fill_holes,
    grow,
    main_pieces,
    opencv,
    refine_cut,
    shrink,
)

__all__ = ["PersonView", "bridged", "cut_person", "view_of"]

SURE_PERSON, SURE_BACKGROUND = 0.97, 0.03
"""Probabilities beyond which the network is believed: colors of clothes are those of a background, too."""
NETWORK_SIDE = 256
FEET = ((27, 31), (28, 32), (27, 29), (28, 30), (29, 31), (30, 32))
"""BlazePose landmarks: ankles, heels, toes. Of shoes the network sees little."""
SHOE_WIDTH = 0.22
"""Of the trunk's length: how far from these lines color may find a shoe."""
TRUNK, LEGS = ((11, 12), (23, 24)), ((23, 25), (24, 26), (25, 27), (26, 28))
LEG_SHARE = 1.15
"""The trunk's length over a thigh's or a shin's: one of them is seldom foreshortened."""
MIN_CUT, MAX_CUT = 0.6, 1.6
"""Of a person's area before: what changes it more found other colors than the person's."""
COLLAPSED, AROUND = 0.8, 8
"""A mask smaller than this fraction of the usual one in so many frames on both sides is lost in part."""
USUAL_AREA = 75
"""Percentile: a person may be lost in part for longer than not."""
MAX_GAP = 12
"""Frames in a row over which a person is followed by flow."""
BRIDGE_BAND = 0.06
"""Of the square root of the area: how far a mask moved by flow may be off."""


@dataclass(frozen=True)
class PersonView:
    """What the network sees of a person in one image."""

    probability: UInt8[ndarray, "h w"]
    """That a pixel shows the person, of 255."""
    landmarks: Float[ndarray, "39 3"]
    pixel: float
    """Side of one of the network's own pixels."""


def view_of(pose: Pose, shape: tuple[int, int]) -> PersonView:
    """In an image of another (height, width)."""
    scale = shape[0] / pose.mask.shape[0]
    return PersonView(
        opencv().resize(pose.mask, shape[::-1]) if scale != 1.0 else pose.mask,
        pose.landmarks * (scale, scale, 1.0),
        scale * pose.next_region.side / NETWORK_SIDE,
    )


def cut_person(
    image: UInt8[ndarray, "h w 3"], view: PersonView, others: Bool[ndarray, "h w"]
) -> Bool[ndarray, "h w"]:
    """The person's mask. others: objects and other people, which it leaves out."""
    cv2 = opencv()
    probability = view.probability / 255.0
    seen = probability > 0.5
    rough = main_pieces(seen & ~others, others)
    if not rough.any():
        return rough
    trimap = np.full(rough.shape, cv2.GC_PR_BGD, np.uint8)
    trimap[rough] = cv2.GC_PR_FGD
    away = (probability < SURE_BACKGROUND) & ~grow(rough, view.pixel) & ~_shoes(view)
    trimap[away | others] = cv2.GC_BGD
    trimap[shrink((probability > SURE_PERSON) & rough, view.pixel)] = cv2.GC_FGD
    picture = _painted_over(image, others, trimap == cv2.GC_BGD)
    cut = cut_trimap(picture, trimap, float(np.sqrt(rough.sum())))
    cut = main_pieces(cut & ~others, others)
    cut = fill_holes(cut, float(cut.sum())) & ~others
    return cut if MIN_CUT < cut.sum() / rough.sum() < MAX_CUT else rough


def _painted_over(
    image: UInt8[ndarray, "h w 3"], others: Bool[ndarray, "h w"], away: Bool[ndarray, "h w"]
) -> UInt8[ndarray, "h w 3"]:
    """The image with the nearest background in place of objects and other people.

    What a box looks like says nothing of what lies behind a person: shoes of its color are not background.
    """
    behind = away & ~others
    if not behind.any():
        return image
    nearest = distance_transform_edt(~behind, return_distances=False, return_indices=True)
    rows, columns = np.asarray(nearest)
    return np.where(others[..., None], image[rows, columns], image)


def _shoes(view: PersonView) -> Bool[ndarray, "h w"]:
    """Around the feet."""
    cv2 = opencv()
    p = view.landmarks[:, :2]
    ends = [p[list(pair)].mean(axis=0) for pair in TRUNK]
    legs = [LEG_SHARE * float(np.linalg.norm(p[a] - p[b])) for a, b in LEGS]
    trunk = max(float(np.linalg.norm(ends[0] - ends[1])), *legs)
    lines = np.zeros(view.probability.shape, np.uint8)
    for pair in FEET:
        begin, end = p[list(pair)].round().astype(int).tolist()
        cv2.line(lines, begin, end, 1, max(1, round(2 * SHOE_WIDTH * trunk)))
    return lines > 0


def bridged(
    frames: UInt8[ndarray, "T h w 3"],
    masks: Bool[ndarray, "T h w"],
    others: Bool[ndarray, "T h w"],
) -> tuple[Bool[ndarray, "T h w"], Bool[ndarray, " T"]]:
    """(masks, frames that were bridged).

    Short losses between two sound frames are followed from the nearer one; at the clip's ends only losses in
    part, for whoever is not seen at all there may have left.
    """
    areas = masks.sum(axis=(1, 2))
    known = np.flatnonzero(_sound(areas))
    masks, filled = masks.copy(), np.zeros(len(masks), bool)
    steps: list[tuple[int, int]] = []
    for before, after in itertools.pairwise(known):
        if 1 < after - before <= MAX_GAP + 1:
            middle = (before + after) // 2
            steps += [(t, t - 1) for t in range(before + 1, middle + 1)]
            steps += [(t, t + 1) for t in range(after - 1, middle, -1)]
    if len(known):
        first, last = int(known[0]), int(known[-1])
        back = range(first - 1, max(first - 1 - MAX_GAP, -1), -1)
        ahead = range(last + 1, min(last + 1 + MAX_GAP, len(masks)))
        for end, inward in ((back, 1), (ahead, -1)):
            steps += [(t, t + inward) for t in itertools.takewhile(lambda t: areas[t] > 0, end)]
    for t, beside in steps:
        followed = _followed(frames[beside], frames[t], masks[beside], others[t])
        if followed.sum() > areas[t]:
            masks[t], filled[t] = followed, True
    return masks, filled


def _sound(areas: ndarray) -> Bool[ndarray, " T"]:
    """Frames whose mask is not far smaller than those around."""
    sound = areas > 0
    for t in np.flatnonzero(sound):
        around = areas[max(t - AROUND, 0) : t + AROUND + 1]
        sound[t] = areas[t] >= COLLAPSED * np.percentile(around[around > 0], USUAL_AREA)
    return sound


def _followed(
    image: UInt8[ndarray, "h w 3"],
    target: UInt8[ndarray, "h w 3"],
    mask: Bool[ndarray, "h w"],
    others: Bool[ndarray, "h w"],
) -> Bool[ndarray, "h w"]:
    """A mask of one image where dense flow (DIS) and color find it in another."""
    cv2 = opencv()
    grays = [cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (target, image)]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grays, None)
    height, width = mask.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    u, v = columns + flow[..., 0], rows + flow[..., 1]
    moved = cv2.remap(mask.astype(np.float32), u, v, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
    rough = (moved > 0.5) & ~others
    if not rough.any():
        return rough
    band = BRIDGE_BAND * float(np.sqrt(rough.sum()))
    cut = refine_cut(target, rough, band=band, core=shrink(rough, band), background=others)
    return main_pieces(cut) & ~others
