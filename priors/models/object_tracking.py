"""One object followed through a clip from its mask in one frame, by OpenCV's tools alone.

From frame to frame the mask moves with corners inside it (pyramidal Lucas-Kanade, an affine motion by
RANSAC), or, where too few are seen, to the place whose colors fit best; GrabCut then moves its edge to
where the colors part. Colors are judged against those of the hint's frame, and in a clip of a
static camera against the empty background. Where nothing fits, the object is missing until it fits again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from numpy import ndarray

from priors.models.object_colors import (
    OTHER,
    SAME,
    Background,
    ObjectColors,
    color_difference,
    lab_of,
    shadow,
)
from priors.models.object_cut import disc, fill_holes, grow, main_pieces, opencv, refine_cut, shrink

__all__ = ["ObjectTracker"]

EVIDENCE = 4.0
"""Largest log-likelihood ratio of one pixel."""
RING = 0.12
"""Of the square root of an object's area: width of the ring around it that should not look like it."""
BAND = 0.05
"""Of the same: how far from the moved mask the edge is searched."""
ADAPTED = 0.3
"""Part of the colors that is of the frame before, the rest is of the hint's frame."""
FIT = 0.35
"""Of the fit in the hint's frame: below it, nothing fits and the object is missing."""
REFOUND = 0.7
"""The same for an object that was missing: what merely looks alike is not it."""
MIN_SEEN = 0.3
"""Of the moved mask's visible area that must remain after GrabCut."""
REVEALED = 0.15
"""Of the square root of an object's area: width that may come into sight from one frame to the next."""
MAX_CHANGED = 0.25
"""Of a moved mask's area: a GrabCut that changes more found other colors than the object's."""
TRUSTED = (12, 0.5)
"""Corners, and fraction of them, that agree on a motion which then needs no search."""
MIN_CORNERS = 6
ALIKE, ALIKE_BLUR = 0.9, 1.5
"""Correlation of the object's two images under such a motion (blurred, pixels) from which it needs none either:
where highlights wander over metal, few corners agree, and colors are no longer those of the hint's frame."""
STRETCH = 1.25
"""Largest change of size between frames."""
SEARCH_PEAKS = 5
SEARCH_TEMPLATE = 24
"""Pixels: shorter side of the object in the image it is searched in."""


@dataclass
class _State:
    """Where the object was last seen."""

    frame: int
    mask: Bool[ndarray, "Y X"]
    """In an image with a margin, so that what left the image is remembered."""
    velocity: Float[ndarray, " 2"]
    missing: int = 0


@dataclass(frozen=True)
class _Seen:
    """What the colors of one frame say."""

    frame: int
    lab: UInt8[ndarray, "H W 3"]
    away: Float32[ndarray, "H W"] | None
    """Color difference to the empty background, where there is one."""
    evidence: Float32[ndarray, "H W"]
    """Log-likelihood ratio, object over all else."""


class ObjectTracker:
    """Follows one object from one frame, in either direction."""

    def __init__(
        self,
        frames: UInt8[ndarray, "T H W 3"],
        start: int,
        mask: Bool[ndarray, "H W"],
        *,
        background: Background | None = None,
        occluders: Bool[ndarray, "T H W"] | None = None,
        people: Bool[ndarray, "T H W"] | None = None,
    ):
        """mask: the object in frame `start`. occluders: what may cover it (hands and forearms). people: where
        nothing of the object comes into sight."""
        self.frames, self.start, self.first_mask = frames, start, mask
        self.occluders, self.people = occluders, people
        rows, columns = np.nonzero(mask)
        self.margin = int(0.6 * max(np.ptp(rows), np.ptp(columns))) + 2
        lab = lab_of(frames[start])
        self._colors = self._first_colors = ObjectColors.of(lab, mask)
        self._background = background
        if background is not None:
            self._known = self._known_background(background, lab)
        self._reference = self._fit(self._with_margin(mask), self._seen(start).evidence)

    def follow(self, order: Iterable[int]) -> dict[int, tuple[Bool[ndarray, "H W"], float]]:
        """(mask, fit relative to the hint's frame) of the frames in an order that begins beside `start`.

        A missing object has an empty mask and fit 0.
        """
        self._colors = self._first_colors
        state = _State(self.start, self._with_margin(self.first_mask), np.zeros(2))
        return {t: self._step(state, t) for t in order}

    def _step(self, state: _State, t: int) -> tuple[Bool[ndarray, "H W"], float]:
        seen = self._seen(t)
        moved, fit = self._moved(state, t, seen.evidence)
        expected = self._visible(moved)
        enough = fit >= self._needed(state)
        mask = self._refined(seen, moved) if enough else None
        if mask is None or mask.sum() < max(MIN_SEEN * expected.sum(), 4):
            state.missing += 1
            return np.zeros(expected.shape, bool), 0.0
        whole = moved.copy()
        covered = expected & self.occluders[t] if self.occluders is not None else False
        self._visible(whole)[:] = mask | covered
        self._colors = self._first_colors.mixed(ObjectColors.of(seen.lab, mask), ADAPTED)
        step = _center(moved) - _center(state.mask)
        state.velocity = step if not state.missing else np.zeros(2)
        state.frame, state.mask, state.missing = t, whole, 0
        return mask, float(np.clip(fit / max(self._reference, 1e-6), 0, 1))

    def _moved(
        self, state: _State, t: int, evidence: ndarray
    ) -> tuple[Bool[ndarray, "Y X"], float]:
        """The mask before, where it most likely is now, and how well its colors fit there."""
        size = np.sqrt(state.mask.sum())
        candidates: list[tuple[ndarray, float]] = []
        motion, agreed = self._corner_motion(state, t)
        if motion is not None:
            mask = self._warped(state.mask, motion)
            fit = self._fit(mask, evidence)
            if (agreed and not state.missing) or self._likeness(state, t, motion) >= ALIKE:
                return mask, max(fit, self._needed(state))
            if not state.missing:
                candidates.append((mask, 0.3))
        if not state.missing:
            candidates.append((self._shifted(state.mask, state.velocity), 0.0))
        distrust = 0.3 if not state.missing else 0.02
        for shift in self._search(state.mask, evidence):
            away = float(np.linalg.norm(shift - state.velocity)) / size
            candidates.append((self._shifted(state.mask, shift), -distrust * away))
        fits = [self._fit(mask, evidence) for mask, _ in candidates]
        best = int(
            np.argmax([fit + bonus for fit, (_, bonus) in zip(fits, candidates, strict=True)])
        )
        return candidates[best][0], fits[best]

    def _corner_motion(self, state: _State, t: int) -> tuple[Float[ndarray, "2 3"] | None, bool]:
        """Affine motion of corners inside the mask since it was seen, and whether it can be trusted."""
        cv2 = opencv()
        before, now = (cv2.cvtColor(self.frames[i], cv2.COLOR_RGB2GRAY) for i in (state.frame, t))
        inner = shrink(self._visible(state.mask), 2.0).astype(np.uint8)
        corners = cv2.goodFeaturesToTrack(before, 200, 0.005, 4, mask=inner)
        if corners is None or len(corners) < MIN_CORNERS:
            return None, False
        options = {"winSize": (15, 15), "maxLevel": 4}
        there, good, _ = cv2.calcOpticalFlowPyrLK(before, now, corners, None, **options)
        back, good_back, _ = cv2.calcOpticalFlowPyrLK(now, before, there, None, **options)
        returned = np.linalg.norm((back - corners).reshape(-1, 2), axis=1) < 1
        tracked = (good.ravel() > 0) & (good_back.ravel() > 0) & returned
        if tracked.sum() < MIN_CORNERS:
            return None, False
        motion, agree = cv2.estimateAffine2D(
            corners[tracked], there[tracked], ransacReprojThreshold=1.5
        )
        if motion is None:
            return None, False
        stretch = np.linalg.svd(motion[:, :2], compute_uv=False)
        count = int(agree.sum())
        if count < MIN_CORNERS or stretch[0] > STRETCH or stretch[1] < 1 / STRETCH:
            return None, False
        return motion, count >= TRUSTED[0] and count >= TRUSTED[1] * len(corners)

    def _needed(self, state: _State) -> float:
        """Fit below which the object is missing."""
        return (REFOUND if state.missing else FIT) * self._reference

    def _likeness(self, state: _State, t: int, motion: Float[ndarray, "2 3"]) -> float:
        """Correlation of the image inside the mask, when it was seen, with the one that it moved to."""
        cv2 = opencv()
        images = (cv2.cvtColor(self.frames[i], cv2.COLOR_RGB2GRAY) for i in (state.frame, t))
        before, now = (cv2.GaussianBlur(i, (0, 0), ALIKE_BLUR).astype(np.float32) for i in images)
        options = {"flags": cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR, "borderValue": -1.0}
        back = cv2.warpAffine(now, motion, now.shape[::-1], **options)
        both = self._visible(state.mask) & (back >= 0.0)
        if both.sum() < MIN_SEEN * self._visible(state.mask).sum():
            return 0.0
        pair = before[both], back[both]
        return float(np.corrcoef(*pair)[0, 1]) if min(np.std(x) for x in pair) > 0.0 else 0.0

    def _search(self, mask: Bool[ndarray, "Y X"], evidence: ndarray) -> list[Float[ndarray, " 2"]]:
        """Shifts to the places whose evidence is highest inside the mask's shape and low around it."""
        cv2 = opencv()
        rows, columns = np.nonzero(mask)
        box = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        center = np.array([columns.min() + columns.max(), rows.min() + rows.max()]) / 2
        width = float(int(max(2, RING * np.sqrt(box.sum()))))
        shape = np.pad(box, int(width) + 1)
        ring = grow(shape, width) & ~grow(shape, 1.0)
        scale = min(1.0, SEARCH_TEMPLATE / min(shape.shape))

        def smaller(values: ndarray) -> ndarray:
            options = {"fx": scale, "fy": scale, "interpolation": cv2.INTER_AREA}
            return cv2.resize(values.astype(np.float32), None, **options)

        inside, around = smaller(shape), smaller(ring)
        kernel = inside / inside.sum() - 0.5 * around / max(float(around.sum()), 1e-6)
        field = smaller(np.pad(np.maximum(evidence, -2), self.margin))
        response = cv2.filter2D(field, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
        apart = int(0.5 * min(kernel.shape))
        shifts = []
        for _ in range(SEARCH_PEAKS):
            y, x = np.unravel_index(response.argmax(), response.shape)
            shifts.append(np.array([x + 0.5, y + 0.5]) / scale - 0.5 - center)
            response[max(0, y - apart) : y + apart + 1, max(0, x - apart) : x + apart + 1] = -np.inf
        return shifts

    def _fit(self, mask: Bool[ndarray, "Y X"], evidence: ndarray) -> float:
        """Mean evidence inside a mask less half of that around it; bad where hardly any is in sight."""
        seen = self._visible(mask)
        area = seen.sum()
        if area < max(0.15 * mask.sum(), 20):
            return -EVIDENCE
        ring = grow(seen, float(max(2, RING * np.sqrt(area)))) & ~grow(seen, 1.0)
        around = np.maximum(evidence[ring], -1).mean() if ring.any() else 0.0
        return float(evidence[seen].mean() - 0.5 * around)

    def _refined(self, seen: _Seen, moved: Bool[ndarray, "Y X"]) -> Bool[ndarray, "H W"]:
        """A moved mask with its edge where the colors part; as it was where GrabCut goes astray."""
        cv2, evidence, visible = opencv(), seen.evidence, self._visible(moved)
        band = float(max(2, BAND * np.sqrt(visible.sum())))
        core = self._visible(shrink(moved, band)) & (evidence > -0.5)
        gone = np.zeros(visible.shape, bool)
        if seen.away is not None:
            gone = self._known & (seen.away < SAME)
        if self.occluders is not None:
            gone = gone | (self.occluders[seen.frame] & (evidence < 1))
        gone &= ~(core & (evidence > 1))
        gone = cv2.morphologyEx(gone.astype(np.uint8), cv2.MORPH_OPEN, disc(2.0)) > 0
        core &= ~gone
        image = self.frames[seen.frame]
        mask = refine_cut(image, visible, band=band, core=core, background=gone)
        if (mask ^ (visible & ~gone)).sum() > MAX_CHANGED * visible.sum():
            mask = visible & ~gone
        mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc(1.0)) > 0
        mask = self._with_revealed(seen, mask)
        whole = moved.copy()
        self._visible(whole)[:] = main_pieces(mask)
        covered = gone & visible  # a hole through which something else is seen is none to fill
        return self._visible(fill_holes(whole, float(whole.sum()))) & ~covered

    def _with_revealed(self, seen: _Seen, mask: Bool[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
        """With what of the object was hidden or turned away: its colors beside it, where the background is not."""
        if self._background is None or seen.away is None or not mask.any():
            return mask
        near = grow(mask, REVEALED * float(np.sqrt(mask.sum())))
        new = near & self._known & (seen.away > OTHER) & (seen.evidence > 1)
        new &= ~shadow(seen.lab, self._background.lab)
        for covered in (self.occluders, self.people):
            if covered is not None:
                new &= ~covered[seen.frame]
        cv2 = opencv()
        new = cv2.morphologyEx(new.astype(np.uint8), cv2.MORPH_OPEN, disc(2.0)) > 0
        _, labels = cv2.connectedComponents((mask | new).astype(np.uint8))
        return np.isin(labels, np.unique(labels[mask]))

    def _seen(self, t: int) -> _Seen:
        lab, away = lab_of(self.frames[t]), None
        ratio = self._colors.log_ratio(lab)
        if self._background is not None:
            away = color_difference(lab, self._background.lab)
            ratio = ratio + np.where(self._known, np.clip((away - OTHER) / 4, -4, 1), 0)
        evidence = opencv().blur(np.clip(ratio, -EVIDENCE, EVIDENCE).astype(np.float32), (3, 3))
        return _Seen(t, lab, away, evidence)

    def _known_background(self, background: Background, lab: ndarray) -> Bool[ndarray, "H W"]:
        """Where the background is not the object itself, lying still for most of the clip: where it was seen
        beside the object in the hint's frame, or has other colors."""
        cv2 = opencv()
        alike = (self._colors.log_ratio(background.lab) > 0).astype(np.uint8)
        alike = cv2.morphologyEx(alike, cv2.MORPH_CLOSE, disc(3.0))
        _, labels, stats, _ = cv2.connectedComponentsWithStats(alike)
        large = 1 + np.flatnonzero(stats[1:, 4] > 0.25 * self.first_mask.sum())
        as_before = color_difference(lab, background.lab)
        there = grow(self.first_mask, 3.0) & (as_before < OTHER)
        beside = ~grow(self.first_mask, 3.0) & (as_before < SAME)
        return beside | ~grow(np.isin(labels, large) | there, 3.0)

    def _with_margin(self, mask: Bool[ndarray, "H W"]) -> Bool[ndarray, "Y X"]:
        return np.pad(mask, self.margin)

    def _visible(self, mask: Bool[ndarray, "Y X"]) -> Bool[ndarray, "H W"]:
        """The part of a mask with a margin that lies in the image (a view)."""
        margin = self.margin
        return mask[margin:-margin, margin:-margin]

    def _warped(self, mask: ndarray, motion: Float[ndarray, "2 3"]) -> Bool[ndarray, "Y X"]:
        motion = motion.copy()
        motion[:, 2] += self.margin - motion[:, :2].sum(1) * self.margin
        size = (mask.shape[1], mask.shape[0])
        return opencv().warpAffine(mask.astype(np.uint8) * 255, motion, size) > 127

    def _shifted(self, mask: ndarray, shift: Float[ndarray, " 2"]) -> Bool[ndarray, "Y X"]:
        return self._warped(mask, np.concatenate([np.eye(2), shift[:, None]], axis=1))


def _center(mask: Bool[ndarray, "Y X"]) -> Float[ndarray, " 2"]:
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()])
