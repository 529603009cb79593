"""People and objects of a clip on two CPU cores, without a download: BlazePose, and hints followed by OpenCV.

People are what BlazePose's mask shows less the objects (`priors.models.person_cut`); objects are cut out
where the user hinted at them (`priors.models.object_cut`) and followed from there
(`priors.models.object_tracking`), hands and forearms taken out.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from priors.models.blazepose import BlazePose
from priors.models.camera_shake import estimate_shake
from priors.models.motion_blur import without_blur
from priors.models.object_colors import Background, background_of
from priors.models.object_cut import (
    cut_around_points,
    cut_box,
    grow,
    main_pieces,
    opencv,
    refine_cut,
)
from priors.models.object_tracking import ObjectTracker
from priors.models.packaged import MASK_BYTE, MEDIAPIPE, prompt_box
from priors.models.person_cut import PersonView, bridged, cut_person, view_of
from priors.protocols import ModelId, Prompt, Tracks

__all__ = ["PackagedSegmenter", "cut_prompt"]

WORK_SIDE = 640
"""Pixels: longer side of the images in which objects are followed."""
STAIRS = 0.5
"""Pixels of those images: blur that takes the stairs off the edge of an enlarged mask."""
ARMS = ((13, 15, (17, 19, 21)), (14, 16, (18, 20, 22)))
"""BlazePose landmarks of an elbow, a wrist, and the ends of the fingers, left and right."""
FOREARM_WIDTH, HAND_WIDTH = 0.14, 0.16
"""Of the forearm's length: half widths."""
SURE = 0.5
CORRECTED = 0.3
"""Of the square root of an object's area: how far points of the user may move its edge."""

BRIDGED = 0.5
"""Score of a person who is followed by flow between two frames."""


class PackagedSegmenter:
    """`VideoSegmenter` of people by boxes and of objects by hints."""

    @cached_property
    def _people(self) -> BlazePose:
        return BlazePose()

    @property
    def model_id(self) -> ModelId:
        return ModelId(f"{MEDIAPIPE}, OpenCV {opencv().__version__}", "14")

    def track(self, frames: UInt8[ndarray, "T H W 3"], prompts: Sequence[Prompt]) -> Tracks:
        """Masks of people and objects, which do not overlap; where one is lost, its mask is empty.

        Raises UserError where nothing stands out at a hint.
        """
        count, height, width = frames.shape[:3]
        small = _at_work_size(frames)
        shape = small.shape[1:3]
        masks = np.zeros((len(prompts), count, *shape), bool)
        scores = np.zeros((len(prompts), count), np.float32)
        arms, likely = np.zeros((2, count, *shape), bool)
        views: dict[int, dict[int, PersonView]] = {}
        people = [i for i, prompt in enumerate(prompts) if prompt.is_person]
        objects = [i for i, prompt in enumerate(prompts) if not prompt.is_person]
        for i in objects:  # a hint beside its object is refused before people are followed
            cut_prompt(small[prompts[i].frame], prompts[i], shape[0] / height)
        for i in people:
            views[i] = {}
            for t, pose in self._people.follow(frames, prompts[i]):
                views[i][t], scores[i, t] = view_of(pose, shape), pose.presence
                arms[t] |= arm_mask(views[i][t].landmarks, *shape)
                likely[t] |= views[i][t].probability > MASK_BYTE
        if objects:
            follower = _ObjectFollower(small, shape[0] / height, arms, likely)
            for i in objects:
                masks[i], scores[i] = follower.follow(prompts[i])
                masks[i] = without_blur(masks[i])
        taken = np.asarray(masks[objects].any(axis=0))
        for i in people:
            for t, view in views[i].items():
                others = [
                    v[t].probability > MASK_BYTE for j, v in views.items() if j != i and t in v
                ]
                masks[i, t] = cut_person(small[t], view, np.any([taken[t], *others], axis=0))
        for i in people:
            others = np.asarray(taken | masks[[j for j in people if j != i]].any(axis=0))
            masks[i], filled = bridged(small, masks[i], others)
            scores[i] = np.where(filled, BRIDGED, scores[i])
        return Tracks(_enlarged(masks, (height, width)), scores)


def _at_work_size(frames: UInt8[ndarray, "T H W 3"]) -> UInt8[ndarray, "T h w 3"]:
    """Images whose longer side is at most `WORK_SIDE`."""
    scale = WORK_SIDE / max(frames.shape[1:3])
    if scale >= 1.0:
        return frames
    cv2 = opencv()
    shape = round(scale * frames.shape[2]), round(scale * frames.shape[1])
    return np.stack([cv2.resize(f, shape, interpolation=cv2.INTER_AREA) for f in frames])


def _enlarged(masks: Bool[ndarray, "N T h w"], size: tuple[int, int]) -> Bool[ndarray, "N T H W"]:
    if masks.shape[2:] == size:
        return masks
    whole, blur = np.zeros((*masks.shape[:2], *size), bool), STAIRS * size[0] / masks.shape[2]
    for index in np.argwhere(masks.any(axis=(2, 3))):
        one = opencv().resize(masks[tuple(index)].astype(np.float32), size[::-1])
        whole[tuple(index)] = opencv().GaussianBlur(one, (0, 0), blur) > 0.5
    return whole


class _ObjectFollower:
    """Objects of one clip, followed in images of `WORK_SIDE`."""

    def __init__(
        self,
        frames: UInt8[ndarray, "T h w 3"],
        scale: float,
        occluders: Bool[ndarray, "T h w"],
        people: Bool[ndarray, "T h w"],
    ):
        """scale: of these images over the prompts' pixels."""
        self.frames, self.scale = frames, scale
        self.occluders, self.people = occluders, people
        self.background: Background | None = None
        if estimate_shake(self.frames).is_static:
            self.background = background_of(self.frames)

    def follow(self, prompt: Prompt) -> tuple[Bool[ndarray, "T h w"], Float[ndarray, " T"]]:
        """Between two hints, each frame takes the track of the nearer one that sees the object.

        Points without a box, in a frame where the object is already seen, correct its mask there.
        """
        whole = [
            one for one in prompt.all if one is prompt or one.points is None or one.box is not None
        ]
        seeds = {
            one.frame: cut_prompt(
                self.frames[one.frame], one, self.scale, people=self.people[one.frame]
            )
            for one in whole
        }
        corrections = [one for one in prompt.all if one.frame not in seeds]
        if corrections:
            masks, _ = self._tracked(seeds)
            for one in corrections:
                seeds[one.frame] = cut_prompt(
                    self.frames[one.frame], one, self.scale, before=masks[one.frame]
                )
        return self._tracked(seeds)

    def _tracked(
        self, seeds: dict[int, Bool[ndarray, "h w"]]
    ) -> tuple[Bool[ndarray, "T h w"], Float[ndarray, " T"]]:
        """Masks and fits of all frames, from the masks of some."""
        count = len(self.frames)
        masks = np.zeros(self.frames.shape[:3], bool)
        scores, distances = np.zeros(count, np.float32), np.full(count, np.inf)
        for frame, seed in seeds.items():
            tracker = ObjectTracker(
                self.frames,
                frame,
                seed,
                background=self.background,
                occluders=self.occluders,
                people=self.people,
            )
            ahead = range(frame + 1, min((t for t in seeds if t > frame), default=count))
            back = range(frame - 1, max((t for t in seeds if t < frame), default=-1), -1)
            track = tracker.follow(ahead) | tracker.follow(back) | {frame: (seed, 1.0)}
            for t, (mask, fit) in track.items():
                if fit > 0 and abs(t - frame) < distances[t]:
                    masks[t], scores[t], distances[t] = mask, fit, abs(t - frame)
        return masks, scores


def cut_prompt(
    image: UInt8[ndarray, "H W 3"],
    prompt: Prompt,
    scale: float = 1.0,
    before: Bool[ndarray, "H W"] | None = None,
    people: Bool[ndarray, "H W"] | None = None,
) -> Bool[ndarray, "H W"]:
    """The mask of a prompt in an image that is `scale` times the prompt's.

    before: a mask that points without a box correct, where they lie near it. people: what is likely a
    person's in a box. Raises UserError where nothing stands out.
    """
    points = None if prompt.points is None else prompt.points * (scale, scale, 1)
    mask = None
    if prompt.mask is not None:
        shape = (image.shape[1], image.shape[0])
        mask = opencv().resize(prompt.mask.astype(np.float32), shape) > 0.5
    elif prompt.box is not None:
        mask = cut_box(image, scale * prompt_box(prompt), points, people)
    elif points is not None:
        mask = None if before is None else _corrected(image, before, points)
        if mask is None and (points[:, 2] > 0).any():
            mask = cut_around_points(image, points)
    if mask is None or not mask.any():
        where = f"--hint {prompt.hint}" if prompt.hint else f"the hint in frame {prompt.frame}"
        raise UserError(
            f"nothing stands out from its surroundings at {where}: is it on "
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


def arm_mask(landmarks: Float[ndarray, "39 3"], height: int, width: int) -> Bool[ndarray, "H W"]:
    """Forearms and hands that are seen for sure."""
    cv2 = opencv()
    mask = np.zeros((height, width), np.uint8)
    for elbow, wrist, fingers in ARMS:
        points = landmarks[[elbow, wrist, *fingers]]
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
