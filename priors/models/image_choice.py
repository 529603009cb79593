"""Which of several generated images to use: pose first, then how well it shows the text.

HOI-PAGE draws up to 20 images, scores each by the summed confidence of the people's keypoints inside
their masks with the head counted once, keeps those over a threshold that is relaxed half-way, and lets a vision
language model choose among five by comparing pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from priors.protocols import (
    Detector,
    ImageModel,
    ImageTextScore,
    KeypointModel,
    Prompt,
    VideoSegmenter,
)

__all__ = [
    "CandidateScore",
    "Drawing",
    "Finders",
    "PairwiseJudge",
    "draw_candidates",
    "prompt_text",
    "score_candidates",
    "select_image",
]

HEAD = (0, 14, 15, 16, 17)  # nose, eyes, ears of OpenPose-18
BODY = tuple(range(1, 14))
FULL_POSE = len(BODY) + 1.0
"""Pose score of a person whose every point is certain; the head counts once."""
CONFIDENT = 0.3  # a keypoint at least this sure is taken as found
PERSON_SCORE = 0.35  # least score of a person's box: posters and mannequins are found at 0.25 too
PERSON_SHARE = 0.5  # of the best person's score
OVERLAP = 0.7  # boxes of one person that overlap more than this are one detection
MASK_MARGIN = 0.02  # of a person's height: ears, wrists and ankles lie on the edge of the mask


@dataclass(frozen=True)
class Finders:
    """The models that look for people in an image."""

    detector: Detector
    keypoints: KeypointModel
    segmenter: VideoSegmenter | None = None
    """Gives the masks in which keypoints must lie; None: they count anywhere in the frame."""


@dataclass(frozen=True)
class Drawing:
    """How many images are drawn, how large, and what they must show."""

    height: int
    width: int
    people: int
    seed: int = 0
    """Of the first image; the others follow."""
    tries: int = 20
    wanted: int = 5
    """Images that pass and are enough."""
    thresholds: tuple[float, float] = (10.0, 8.0)
    """On the pose score, before and after half of the tries."""


@dataclass(frozen=True)
class CandidateScore:
    """What was found in one image."""

    people: int
    pose: float
    """Mean over people of summed keypoint confidence, 0..14, head counted once; points outside the
    frame or the person's mask count nothing; 0 where the number of people is not the asked one."""
    whole: float
    """Share of the 13 body points of the worst person that are found there."""
    text: float | None = None
    """Cosine of image and text, where a scorer was given."""


@runtime_checkable
class PairwiseJudge(Protocol):
    """A vision language model that compares two images."""

    def prefers_second(
        self, first: UInt8[ndarray, "H W 3"], second: UInt8[ndarray, "H W 3"], question: str
    ) -> bool: ...


def prompt_text(name: str) -> str:
    """The text of a prompt that ships with priors, as "choose_image"."""
    return (files("priors") / "prompts" / f"{name}.txt").read_text(encoding="utf-8").strip()


def score_candidates(
    images: UInt8[ndarray, "N H W 3"],
    *,
    people: int,
    finders: Finders,
    text: str = "",
    text_score: ImageTextScore | None = None,
) -> list[CandidateScore]:
    """Score every image. UserError where `text_score` is given without a text."""
    if text_score is not None and not text.strip():
        raise UserError("image choice: a text is needed to score images against it")
    cosines = None if text_score is None else text_score.score(images, text)
    scores = []
    for n, image in enumerate(images):
        boxes = _person_boxes(finders.detector, image)
        right = len(boxes) == people and people > 0
        poses = _poses(finders, image, boxes) if right else []
        scores.append(
            CandidateScore(
                people=len(boxes),
                pose=float(np.mean([pose for pose, _ in poses])) if right else 0.0,
                whole=float(min(whole for _, whole in poses)) if right else 0.0,
                text=None if cosines is None else float(cosines[n]),
            )
        )
    return scores


def _person_boxes(detector: Detector, image: ndarray) -> list[Float[ndarray, " 4"]]:
    """Boxes of people, best first, without near-duplicates and what is hardly a person."""
    boxes: list[ndarray] = []
    people = sorted(detector.detect(image, ["person"]), key=lambda d: -d.score)
    least = max(PERSON_SCORE, PERSON_SHARE * people[0].score) if people else 0.0
    for detection in people:
        is_new = all(_overlap(detection.box, other) < OVERLAP for other in boxes)
        if detection.score >= least and is_new:
            boxes.append(np.asarray(detection.box, np.float32))
    return boxes


def _overlap(a: ndarray, b: ndarray) -> float:
    """Intersection over the smaller box."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    smaller = min(float(np.prod(np.maximum(box[2:] - box[:2], 0))) for box in (a, b))
    return common / max(smaller, 1e-6)


def _poses(
    finders: Finders, image: UInt8[ndarray, "H W 3"], boxes: Sequence[Float[ndarray, " 4"]]
) -> list[tuple[float, float]]:
    """(summed confidence 0..14, share of body points found) of every person, where they are seen."""
    masks: Sequence[ndarray | None] = [None] * len(boxes)
    if finders.segmenter is not None:
        masks = list(finders.segmenter.track(image[None], [Prompt(0, box) for box in boxes]).masks)
    results = []
    for box, mask in zip(boxes, masks, strict=True):
        points = finders.keypoints.keypoints(image[None], box[None], np.ones(1, bool))[0]
        size = np.array([image.shape[1], image.shape[0]], np.float32)
        seen = ((points[:, :2] >= 0) & (points[:, :2] <= size)).all(-1)
        if mask is not None:
            seen &= _near_mask(points[:, :2], mask[0], MASK_MARGIN * float(box[3] - box[1]))
        sure = np.where(seen, np.clip(points[:, 2], 0, 1), 0)
        pose = sure[list(BODY)].sum() + sure[list(HEAD)].max()
        results.append((float(pose), float((sure[list(BODY)] >= CONFIDENT).mean())))
    return results


def _near_mask(
    pixels: Float[ndarray, "n 2"], mask: Bool[ndarray, "H W"], margin: float
) -> Bool[ndarray, " n"]:
    """Whether pixels lie in a mask or at most `margin` pixels beside it."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return np.zeros(len(pixels), bool)
    distance = np.asarray(distance_transform_edt(~mask))
    last = np.array([mask.shape[1] - 1, mask.shape[0] - 1])
    column, row = np.clip(np.floor(pixels), 0, last).astype(int).T
    return distance[row, column] <= margin


def select_image(
    images: UInt8[ndarray, "N H W 3"],
    scores: Sequence[CandidateScore],
    *,
    threshold: float = 10.0,
    judge: PairwiseJudge | None = None,
    question: str = "",
) -> int:
    """Index of the image to use.

    Among images whose pose reaches `threshold`: the judge's winner by a knock-out in order of pose,
    else the best text score, else the best pose. UserError, with what was found, where none does.
    """
    fit = [n for n, score in enumerate(scores) if score.pose >= threshold]
    if not fit:
        counts = ", ".join(f"{s.people} people / pose {s.pose:.1f}" for s in scores) or "no image"
        raise UserError(
            f"image: no candidate shows the asked people whole (pose {threshold:g} of "
            f"{FULL_POSE:g} is needed; found {counts}). Draw more candidates with other seeds, say "
            "in the prompt that the whole body is in view, or give your own image with --image"
        )
    by_pose = sorted(fit, key=lambda n: (-scores[n].pose, -scores[n].whole, n))
    if judge is not None:
        winner = by_pose[0]
        for challenger in by_pose[1:]:
            if judge.prefers_second(images[winner], images[challenger], question):
                winner = challenger
        return winner
    if any(scores[n].text is not None for n in fit):
        return max(by_pose, key=lambda n: _cosine(scores[n]))
    return by_pose[0]


def _cosine(score: CandidateScore) -> float:
    return -1.0 if score.text is None else score.text


def draw_candidates(
    model: ImageModel, prompt: str, drawing: Drawing, finders: Finders
) -> tuple[UInt8[ndarray, "N H W 3"], list[CandidateScore], list[int]]:
    """Draw images with seeds seed, seed + 1, ... until enough of them pass, or the tries are used up.

    Returns the images that passed (those over the relaxed threshold where fewer than wanted
    passed), their scores and their seeds; all of them where none passed.
    """
    images, scores, seeds = [], [], []
    strict, relaxed = drawing.thresholds
    for n in range(drawing.tries):
        seeds.append(drawing.seed + n)
        drawn = model.generate(prompt, height=drawing.height, width=drawing.width, seeds=seeds[-1:])
        images.append(drawn[0])
        scores += score_candidates(drawn, people=drawing.people, finders=finders)
        limit = strict if n + 1 < drawing.tries / 2 else relaxed
        if sum(score.pose >= limit for score in scores) >= drawing.wanted:
            break
    passed = [i for i, score in enumerate(scores) if score.pose >= relaxed] or range(len(images))
    best = sorted(passed, key=lambda i: -scores[i].pose)[: drawing.wanted]
    chosen = sorted(best)
    return (
        np.stack([images[i] for i in chosen]),
        [scores[i] for i in chosen],
        [seeds[i] for i in chosen],
    )
