"""People and objects of a clip on two CPU cores, without a download: BlazePose, and hints followed by OpenCV.

People are what BlazePose's mask shows less the objects; objects are cut out where the user hinted at
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
from priors.models.object_cut import cut_around_points, cut_box, grow, main_pieces, opencv
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


class PackagedSegmenter:
    """`VideoSegmenter` of people by boxes and of objects by hints."""

    @cached_property
    def _people(self) -> BlazePose:
        return BlazePose()

    @property
    def model_id(self) -> ModelId:
        return ModelId(f"{MEDIAPIPE}, OpenCV {opencv().__version__}", "1")

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
            taken = masks[objects].any(0)
            masks[[i for i in range(len(prompts)) if i not in objects]] &= ~taken
        return Tracks(masks, scores)


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
        """Between two hints, each frame takes the track of the nearer one that sees the object."""
        count = len(self.frames)
        tracks: list[dict[int, tuple[ndarray, float]]] = []
        hinted = sorted(one.frame for one in prompt.all)
        for one in sorted(prompt.all, key=lambda p: p.frame):
            mask = cut_prompt(self.frames[one.frame], one, self.scale)
            tracker = ObjectTracker(
                self.frames,
                one.frame,
                mask,
                background=self.background,
                occluders=self.occluders,
            )
            later = [t for t in hinted if t > one.frame]
            earlier = [t for t in hinted if t < one.frame]
            ahead = range(one.frame + 1, min(later, default=count))
            back = range(one.frame - 1, max(earlier, default=-1), -1)
            track = tracker.follow(ahead) | tracker.follow(back)
            tracks.append(track | {one.frame: (mask, 1.0)})
        masks = np.zeros((count, *self.size), bool)
        scores = np.zeros(count, np.float32)
        for t in range(count):
            seen = [
                (abs(frame - t), track[t])
                for frame, track in zip(hinted, tracks, strict=True)
                if t in track and track[t][1] > 0
            ]
            if seen:
                mask, scores[t] = min(seen, key=lambda item: item[0])[1]
                masks[t] = self._full_size(mask)
        return masks, scores

    def _full_size(self, mask: Bool[ndarray, "h w"]) -> Bool[ndarray, "H W"]:
        if self.scale == 1.0:
            return mask
        shape = (self.size[1], self.size[0])
        return opencv().resize(mask.astype(np.float32), shape) > 0.5


def cut_prompt(
    image: UInt8[ndarray, "H W 3"], prompt: Prompt, scale: float = 1.0
) -> Bool[ndarray, "H W"]:
    """The mask of a prompt in a picture that is `scale` times the prompt's.

    Raises UserError where nothing stands out.
    """
    if prompt.mask is not None:
        shape = (image.shape[1], image.shape[0])
        mask = opencv().resize(prompt.mask.astype(np.float32), shape) > 0.5
    else:
        points = None if prompt.points is None else prompt.points * (scale, scale, 1)
        if prompt.box is not None:
            mask = cut_box(image, scale * prompt_box(prompt), points)
        else:
            assert points is not None
            mask = cut_around_points(image, points)
    if not mask.any():
        raise UserError(
            f"nothing stands out from its surroundings at the hint in frame {prompt.frame}: is it on "
            "the object? Give a box that holds all of it (--hint OBJECT=FRAME:x,y,width,height), another "
            "frame, or mark it with `hoijax mask`."
        )
    return mask


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
