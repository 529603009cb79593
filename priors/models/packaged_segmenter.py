"""People and objects of a clip on two CPU cores, without a download: BlazePose, and hints followed by OpenCV.

People are what BlazePose's mask shows less the objects, cut again by color; objects are cut out where the user hinted at
them (`priors.models.object_cut`) and followed from there (`priors.models.object_tracking`), hands and
forearms taken out.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from priors.models.blazepose import BlazePose, Pose
from priors.models.camera_shake import estimate_shake
from priors.models.object_cut import (
    cut_around_points,
    cut_box,
    fill_holes,
    grow,
    main_pieces,
    opencv,
    refine_cut,
    shrink,
)
from priors.models.object_tracking import Background, ObjectTracker, background_of
from priors.models.packaged import MASK_LEVEL, MEDIAPIPE, prompt_box
from priors.protocols import ModelId, Prompt, Tracks

__all__ = ["PackagedSegmenter", "cut_prompt"]

WORK_SIDE = 640
"""Pixels: longer side of the pictures in which objects are followed."""
ARMS = ((13, 15, (17, 19, 21)), (14, 16, (18, 20, 22)))
"""BlazePose landmarks of an elbow, a wrist, and the ends of the fingers, left and right."""
FOREARM_WIDTH, HAND_WIDTH = 0.14, 0.16
"""Of the forearm's length: half widths."""
SURE = 0.5
CORRECTED = 0.3
"""Of the square root of an object's area: how far points of the user may move its edge."""


PERSON_BAND, PERSON_CORE = 0.12, 0.05
"""Of the square root of a person's area: how far out its edge is searched, and how far in it may be."""
MIN_REFINED, MAX_REFINED = 0.7, 1.6
"""Of a person's area before."""


class PackagedSegmenter:
    """`VideoSegmenter` of people by boxes and of objects by hints."""

    @cached_property
    def _people(self) -> BlazePose:
        return BlazePose()

    @property
    def model_id(self) -> ModelId:
        return ModelId(f"{MEDIAPIPE}, OpenCV {opencv().__version__}", "3")

    def track(self, frames: UInt8[ndarray, "T H W 3"], prompts: Sequence[Prompt]) -> Tracks:
        """Masks of people and objects, which do not overlap; where one is lost, its mask is empty.

        Raises UserError where nothing stands out at a hint.
        """
        count, height, width = frames.shape[:3]
        masks = np.zeros((len(prompts), count, height, width), bool)
        scores = np.zeros((len(prompts), count), np.float32)
        arms = np.zeros((count, height, width), bool)
        for i, prompt in enumerate(prompts):
            if not prompt.is_person:
                continue
            for t, pose in self._people.follow(frames, prompt):
                mask = pose.mask > MASK_LEVEL
                masks[i, t], scores[i, t] = main_pieces(mask), pose.presence
                arms[t] |= arm_mask(pose, height, width)
        objects = [i for i, prompt in enumerate(prompts) if not prompt.is_person]
        if objects:
            follower = _ObjectFollower(frames, arms)
            for i in objects:
                masks[i], scores[i] = follower.follow(prompts[i])
        people = [i for i, prompt in enumerate(prompts) if prompt.is_person]
        for t, image in enumerate(frames):
            taken = masks[objects, t].any(0)
            for i in people:
                others = np.asarray(taken | masks[[j for j in people if j != i], t].any(0))
                masks[i, t] = _refined_person(image, masks[i, t] & ~taken, others) & ~taken
        return Tracks(masks, scores)


def _refined_person(
    image: UInt8[ndarray, "H W 3"], mask: Bool[ndarray, "H W"], others: Bool[ndarray, "H W"]
) -> Bool[ndarray, "H W"]:
    """A person's mask with its edge where colors part: the network's has 256 pixels, holes, and no shoes.

    others: objects and other people. What changes the mask too much found other colors than the person's.
    """
    if not mask.any():
        return mask
    cv2 = opencv()
    scale = min(1.0, WORK_SIDE / max(image.shape))
    shape = (round(scale * image.shape[1]), round(scale * image.shape[0]))
    small = image if scale == 1.0 else cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
    rough, away = (cv2.resize(m.astype(np.float32), shape) > 0.5 for m in (mask, others))
    size = float(np.sqrt(rough.sum()))
    refined = refine_cut(
        small,
        rough,
        band=PERSON_BAND * size,
        core=shrink(rough, PERSON_CORE * size),
        background=away & ~rough,
    )
    refined &= main_pieces(refined | away)  # a shin below a ball belongs to the person
    refined = fill_holes(refined, float(refined.sum()))
    if not MIN_REFINED < refined.sum() / max(rough.sum(), 1) < MAX_REFINED:
        return mask
    whole = (image.shape[1], image.shape[0])
    return refined if scale == 1.0 else cv2.resize(refined.astype(np.float32), whole) > 0.5


class _ObjectFollower:
    """Objects of one clip, followed in pictures of `WORK_SIDE`."""

    def __init__(self, frames: UInt8[ndarray, "T H W 3"], occluders: Bool[ndarray, "T H W"]):
        cv2 = opencv()
        self.size = frames.shape[1:3]
        self.scale = min(1.0, WORK_SIDE / max(self.size))
        if self.scale == 1.0:
            self.frames, self.occluders = frames, occluders
        else:
            shape = tuple(round(self.scale * side) for side in self.size)[::-1]
            smaller = [cv2.resize(f, shape, interpolation=cv2.INTER_AREA) for f in frames]
            arms = [cv2.resize(m.astype(np.uint8), shape) > 0 for m in occluders]
            self.frames, self.occluders = np.stack(smaller), np.stack(arms)
        self.background: Background | None = None
        if estimate_shake(self.frames).is_static:
            self.background = background_of(self.frames)

    def follow(self, prompt: Prompt) -> tuple[Bool[ndarray, "T H W"], Float[ndarray, " T"]]:
        """Between two hints, each frame takes the track of the nearer one that sees the object.

        Points without a box, in a frame where the object is already seen, correct its mask there.
        """
        count = len(self.frames)
        whole = [
            one for one in prompt.all if one is prompt or one.points is None or one.box is not None
        ]
        seeds = {one.frame: cut_prompt(self.frames[one.frame], one, self.scale) for one in whole}
        corrections = [one for one in prompt.all if one.frame not in seeds]
        if corrections:
            masks, _ = self._tracked(seeds)
            for one in corrections:
                seeds[one.frame] = cut_prompt(
                    self.frames[one.frame], one, self.scale, before=masks[one.frame]
                )
        masks, scores = self._tracked(seeds)
        whole_size = np.zeros((count, *self.size), bool)
        for t in np.flatnonzero(scores):
            whole_size[t] = self._full_size(masks[t])
        return whole_size, scores

    def _tracked(
        self, seeds: dict[int, Bool[ndarray, "h w"]]
    ) -> tuple[Bool[ndarray, "T h w"], Float[ndarray, " T"]]:
        """Masks and fits of all frames, from the masks of some."""
        count = len(self.frames)
        masks = np.zeros(self.frames.shape[:3], bool)
        scores, distances = np.zeros(count, np.float32), np.full(count, np.inf)
        for frame, seed in seeds.items():
            tracker = ObjectTracker(
                self.frames, frame, seed, background=self.background, occluders=self.occluders
            )
            ahead = range(frame + 1, min((t for t in seeds if t > frame), default=count))
            back = range(frame - 1, max((t for t in seeds if t < frame), default=-1), -1)
            track = tracker.follow(ahead) | tracker.follow(back) | {frame: (seed, 1.0)}
            for t, (mask, fit) in track.items():
                if fit > 0 and abs(t - frame) < distances[t]:
                    masks[t], scores[t], distances[t] = mask, fit, abs(t - frame)
        return masks, scores

    def _full_size(self, mask: Bool[ndarray, "h w"]) -> Bool[ndarray, "H W"]:
        if self.scale == 1.0:
            return mask
        shape = (self.size[1], self.size[0])
        return opencv().resize(mask.astype(np.float32), shape) > 0.5


def cut_prompt(
    image: UInt8[ndarray, "H W 3"],
    prompt: Prompt,
    scale: float = 1.0,
    before: Bool[ndarray, "H W"] | None = None,
) -> Bool[ndarray, "H W"]:
    """The mask of a prompt in a picture that is `scale` times the prompt's.

    before: a mask that points without a box correct, where they lie near it. Raises UserError where
    nothing stands out.
    """
    points = None if prompt.points is None else prompt.points * (scale, scale, 1)
    mask = None
    if prompt.mask is not None:
        shape = (image.shape[1], image.shape[0])
        mask = opencv().resize(prompt.mask.astype(np.float32), shape) > 0.5
    elif prompt.box is not None:
        mask = cut_box(image, scale * prompt_box(prompt), points)
    elif points is not None:
        mask = None if before is None else _corrected(image, before, points)
        if mask is None and (points[:, 2] > 0).any():
            mask = cut_around_points(image, points)
    if mask is None or not mask.any():
        raise UserError(
            f"nothing stands out from its surroundings at the hint in frame {prompt.frame}: is it on "
            "the object? Give a box that holds all of it (--hint OBJECT=FRAME:x,y,width,height), another "
            "frame, or mark it with `hoijax mask`."
        )
    return mask


def _corrected(
    image: UInt8[ndarray, "H W 3"], mask: Bool[ndarray, "H W"], points: Float[ndarray, "N 3"]
) -> Bool[ndarray, "H W"] | None:
    """A mask with points put on their side; None where they are of something far from it."""
    band = float(max(4.0, CORRECTED * np.sqrt(mask.sum())))
    on = points[points[:, 2] > 0].astype(int)
    if not mask.any() or not grow(mask, band)[on[:, 1], on[:, 0]].all():
        return None
    nothing = np.zeros(mask.shape, bool)
    corrected = refine_cut(
        image, mask, band=band, core=nothing, background=nothing, points=points, rounds=4
    )
    return main_pieces(corrected)


def arm_mask(pose: Pose, height: int, width: int) -> Bool[ndarray, "H W"]:
    """Forearms and hands that are seen for sure."""
    cv2 = opencv()
    mask = np.zeros((height, width), np.uint8)
    for elbow, wrist, fingers in ARMS:
        points = pose.landmarks[[elbow, wrist, *fingers]]
        if points[1, 2] < SURE:
            continue
        corners = points[:, :2].round().astype(np.int32)
        length = float(np.linalg.norm(points[0, :2] - points[1, :2]))
        hand = np.zeros_like(mask)
        cv2.fillConvexPoly(hand, cv2.convexHull(corners[1:]), 1)
        mask |= grow(hand > 0, max(1.0, HAND_WIDTH * length)).astype(np.uint8)
        if points[0, 2] >= SURE:
            line = max(1, round(2 * FOREARM_WIDTH * length))
            cv2.line(mask, corners[0].tolist(), corners[1].tolist(), 1, line)
    return mask > 0
