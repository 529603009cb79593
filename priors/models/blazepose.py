"""BlazePose: keypoints and mask of people with real weights, on the CPU, out of a registry package.

Bazarevsky et al., "BlazePose: On-device real-time body pose tracking" (2020). A single-shot detector
finds the hips and the circle around a body; the landmark network reads 33 points and a mask in the
square turned upright by them, and two more points that place the square of the next frame. The
weights are MediaPipe's (Apache-2.0), see `priors.models.packaged`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from priors.models.blazepose_poses import (
    CIRCLE_MARGIN,
    OTHER_SIDE,
    Pose,
    body_region,
    of_both,
    sides_differ,
    unmirrored,
)
from priors.models.cut_off import read_cut_off
from priors.models.packaged import (
    MASK_BYTE,
    MEDIAPIPE,
    Region,
    TfliteModel,
    mediapipe_file,
    prompt_box,
    single_person_prompt,
)
from priors.models.sides import with_steady_sides
from priors.protocols import Detection, ModelId, Prompt, Tracks

DETECTOR_FILE = "pose_detection/pose_detection.tflite"
LANDMARK_FILE = "pose_landmark/pose_landmark_full.tflite"
MODEL_NAME = f"{MEDIAPIPE}/{LANDMARK_FILE}"
ANCHOR_GRIDS = ((28, 2), (14, 2), (7, 6))
"""(cells a side, anchors a cell) of the detector's output, coarser and coarser."""
SEARCH_MARGIN = 1.4  # side of the square searched for a person over the longer side of the box
SHRUNK = 0.9  # least side of a person's square over that in the frame before
OVERLAP = 0.3  # circles that overlap more than this (intersection over union) are one person
ALIKE = 0.6  # the same of circles of two searches: of people side by side they overlap
LANDMARKS = 39
PERSON_WORDS = frozenset(
    [
        "person",
        "people",
        "human",
        "man",
        "woman",
        "boy",
        "girl",
        "child",
        "adult",
        "body",
        "someone",
    ]
)


@dataclass(frozen=True)
class BlazePoseSettings:
    """What counts as a person."""

    detection: float = 0.5
    """Least probability of the detector."""
    presence: float = 0.5
    """Least probability of the landmark network that its square shows a person."""


class BlazePose:
    """Keypoints of one person (`KeypointModel`), people as boxes (`Detector`), one person's mask
    (`VideoSegmenter`): three roles of one pair of small networks.

    Weak where a person is seen from very near or lies down, and where people cover each other. Its
    mask takes what a person holds before the body for a part of the person: subtract the masks of
    objects (`priors.observe.assemble` lets the smaller mask win).
    """

    people_only = True
    """As a detector: objects are to be shown by hints."""

    def __init__(self, settings: BlazePoseSettings | None = None):
        self.settings = settings or BlazePoseSettings()

    @cached_property
    def _detector(self) -> TfliteModel:
        return TfliteModel(mediapipe_file(DETECTOR_FILE))

    @cached_property
    def _landmarks(self) -> TfliteModel:
        return TfliteModel(mediapipe_file(LANDMARK_FILE))

    @property
    def model_id(self) -> ModelId:
        return ModelId(MODEL_NAME, "8")

    def keypoints(
        self,
        frames: UInt8[ndarray, "T H W 3"],
        boxes: Float[ndarray, "T 4"],
        present: Bool[ndarray, " T"],
    ) -> Float[ndarray, "T 18 3"]:
        """OpenPose-18 (u, v, confidence) of the person in the boxes; zeros where not found."""
        return self.lifted_keypoints(frames, boxes, present)[..., :3]

    def lifted_keypoints(
        self,
        frames: UInt8[ndarray, "T H W 3"],
        boxes: Float[ndarray, "T 4"],
        present: Bool[ndarray, " T"],
    ) -> Float[ndarray, "T 18 4"]:
        """As `keypoints`, and metres behind the middle of the hips along the view; NaN where not found."""
        poses = read_cut_off(self, frames, self.poses(frames, boxes, present), boxes)
        points = np.zeros((len(frames), 18, 4), np.float32)
        points[..., 3] = np.nan
        for t, pose in enumerate(poses):
            if pose is not None:
                points[t] = pose.lifted_openpose
        return with_steady_sides(points)

    def detect(self, image: UInt8[ndarray, "H W 3"], phrases: Sequence[str]) -> list[Detection]:
        """People, best first, for every phrase that means a person.

        In the whole image the network sees the most conspicuous one; the others, in squares of it.

        Raises UserError for phrases that do not: this model knows people only.
        """
        other = [p for p in phrases if not PERSON_WORDS & set(p.lower().replace(".", " ").split())]
        if other:
            raise UserError(
                f"BlazePose detects people only, not {', '.join(repr(p) for p in other)}. Say where "
                "objects are (--hint OBJECT=FRAME:x,y,width,height), give their masks (--masks), or "
                "use Grounding DINO (--detector grounding-dino)."
            )
        regions: list[Region] = []
        for around in (None, *_squares(image)):
            found = self.search(image, around)
            regions += [r for r in found if all(_overlap(r, other) < ALIKE for other in regions)]
        poses = [pose for region in regions if (pose := self.read(image, region))]
        poses.sort(key=lambda pose: -pose.presence)
        return [
            Detection(phrase, pose.box, pose.presence)
            for pose in poses
            for phrase in range(len(phrases))
        ]

    def track(self, frames: UInt8[ndarray, "T H W 3"], prompts: Sequence[Prompt]) -> Tracks:
        """Mask of one person over a clip, from one prompt in any frame; score: presence."""
        prompt = single_person_prompt(prompts, "BlazePose")
        count, height, width = frames.shape[:3]
        masks, scores = np.zeros((1, count, height, width), bool), np.zeros((1, count), np.float32)
        for t, pose in self.follow(frames, prompt):
            masks[0, t], scores[0, t] = pose.mask > MASK_BYTE, pose.presence
        return Tracks(masks, scores)

    def follow(
        self, frames: UInt8[ndarray, "T H W 3"], prompt: Prompt
    ) -> Iterator[tuple[int, Pose]]:
        """(frame, pose) of the prompted person wherever found: forward from the prompt, then back."""
        for order in (range(prompt.frame, len(frames)), range(prompt.frame - 1, -1, -1)):
            box, region = prompt_box(prompt), None
            for t in order:
                pose = self._follow(frames[t], box, region)
                if pose is not None:
                    box, region = pose.box, _carried(pose, region)
                    yield t, pose

    def poses(
        self,
        frames: UInt8[ndarray, "T H W 3"],
        boxes: Float[ndarray, "T 4"],
        present: Bool[ndarray, " T"],
    ) -> list[Pose | None]:
        """All that is read of the person in each frame; None where it is absent or not found."""
        poses: list[Pose | None] = []
        region = None
        for image, box, is_there in zip(frames, boxes, present, strict=True):
            pose = self._follow(image, box, region) if is_there else None
            region = None if pose is None else _carried(pose, region)
            poses.append(pose)
        return poses

    def _follow(self, image: ndarray, box: ndarray, region: Region | None) -> Pose | None:
        """The square that the frame before left, else a search in the box, else the box itself."""
        if region is not None and _is_near(region, box):
            pose = self.read(image, region)
            if pose is not None:
                return pose
        around = Region.around(box, SEARCH_MARGIN)
        regions = [r for r in self.search(image, around) if _is_near(r, box)]
        for candidate in (*regions[:1], Region.around(box, CIRCLE_MARGIN)):
            pose = self.read(image, candidate)
            if pose is not None:  # once more, in the square that the landmarks themselves ask for
                return self.read(image, pose.next_region) or pose
        return None

    def search(self, image: UInt8[ndarray, "H W 3"], around: Region | None = None) -> list[Region]:
        """Squares of the people in a region of the image (or all of it), best first."""
        height, width = image.shape[:2]
        around = around or Region.around(np.array([0.0, 0.0, width, height]))
        size = self._detector.input_size
        outputs = self._detector(around.crop(image, size).astype(np.float32) / 127.5 - 1)
        scores = _sigmoid(outputs[(len(ANCHORS), 1)][:, 0])
        points = outputs[(len(ANCHORS), 12)][:, 4:8].reshape(-1, 2, 2) / size
        points = around.to_image(points + ANCHORS[:, None])
        regions: list[Region] = []
        for i in np.argsort(-scores):
            if scores[i] < self.settings.detection or len(regions) == 16:
                break
            region = body_region(points[i, 0], points[i, 1])
            if all(_overlap(region, other) < OVERLAP for other in regions):
                regions.append(region)
        return regions

    def read(
        self, image: UInt8[ndarray, "H W 3"], region: Region, min_presence: float | None = None
    ) -> Pose | None:
        """Landmarks and mask in a square, None where it does not show a person."""
        height, width = image.shape[:2]
        size = self._landmarks.input_size
        crop = region.crop(image, size).astype(np.float32) / 255
        points, depths, presence, seen = self._look(crop)
        least = self.settings.presence if min_presence is None else min_presence
        if presence < least:
            return None
        mirrored, mirrored_depths, _, mirrored_seen = self._look(
            np.ascontiguousarray(crop[:, ::-1])
        )
        mirrored, mirrored_depths = unmirrored(mirrored, size), mirrored_depths[OTHER_SIDE]
        if sides_differ(points, mirrored):
            mirrored, mirrored_depths = mirrored[OTHER_SIDE], mirrored_depths[OTHER_SIDE]
        points = of_both(points, mirrored, size)
        depths = 0.5 * (depths + mirrored_depths)
        pixels = region.to_image(points[:, :2] / size)
        inside = ((pixels >= 0) & (pixels <= (width, height))).all(-1)
        mask = region.paste(127.5 * (seen + mirrored_seen[:, ::-1]), height, width)
        landmarks = np.concatenate([pixels, (points[:, 2] * inside)[:, None]], -1)
        return Pose(landmarks, depths, presence, mask.round().astype(np.uint8))

    def _look(
        self, crop: Float32[ndarray, "K K 3"]
    ) -> tuple[Float[ndarray, "39 3"], Float[ndarray, " 39"], float, Float32[ndarray, "K K"]]:
        """(landmarks in pixels of a square with confidences, their depths in metres, presence, probability
        of every pixel)."""
        size = self._landmarks.input_size
        outputs = self._landmarks(crop)
        rows = outputs[(5 * LANDMARKS,)].reshape(LANDMARKS, 5).astype(np.float64)
        confidence = _sigmoid(rows[:, 3]) * _sigmoid(rows[:, 4])
        points = np.concatenate([rows[:, :2], confidence[:, None]], -1)
        depths = outputs[(3 * LANDMARKS,)].reshape(LANDMARKS, 3)[:, 2].astype(np.float64)
        mask = _sigmoid(outputs[(size, size, 1)][..., 0])
        return points, depths, float(outputs[(1,)][0]), mask


def detector_anchors() -> Float[ndarray, "2254 2"]:
    """Centers of the detector's anchors in shares of its image, in the order of its output."""
    grids = []
    for cells, repeat in ANCHOR_GRIDS:
        middle = (np.arange(cells) + 0.5) / cells
        u, v = np.meshgrid(middle, middle)
        grids.append(np.repeat(np.stack([u, v], -1).reshape(-1, 2), repeat, axis=0))
    return np.concatenate(grids)


ANCHORS = detector_anchors()


def _squares(image: UInt8[ndarray, "H W 3"]) -> list[Region]:
    """Squares as high or wide as the image: at both its ends and in the middle."""
    size = np.array(image.shape[1::-1], np.float64)
    side = float(size.min())
    return [Region(0.5 * side + share * (size - side), side) for share in (0.0, 0.5, 1.0)]


def _carried(pose: Pose, before: Region | None) -> Region:
    """The square for the next frame. Nobody shrinks much in a frame; who leaves the image is squeezed into it."""
    region = pose.next_region
    least = 0.0 if before is None else SHRUNK * before.side
    return region if region.side >= least else Region(region.center, least, region.angle)


def _is_near(region: Region, box: ndarray) -> bool:
    """Whether a square's center lies in a box and it is not far larger or smaller."""
    box = np.asarray(box, np.float64)
    longest = max(*(box[2:] - box[:2]), 1.0)
    inside = (region.center >= box[:2]).all() and (region.center <= box[2:]).all()
    return bool(inside and 0.4 * longest < region.side < 4 * longest)


def _overlap(a: Region, b: Region) -> float:
    """Intersection over union of two squares, both taken upright."""
    shared = 0.5 * (a.side + b.side) - np.abs(a.center - b.center)
    shared = np.clip(shared, 0, min(a.side, b.side))
    common = float(shared[0] * shared[1])
    return common / (a.side**2 + b.side**2 - common)


def _sigmoid(x: ndarray) -> ndarray:
    return (0.5 + 0.5 * np.tanh(0.5 * np.asarray(x))).astype(x.dtype)
