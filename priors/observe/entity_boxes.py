"""Boxes of people and objects, from a detector, in the frame that shows them most surely."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from priors.protocols import Detection, Detector

__all__ = ["PERSON", "Found", "area", "distinct", "find_entities", "share_inside"]

PERSON = "person"
SAME_BOX = 0.7  # boxes that overlap more than this (of the smaller) show one entity

Found = tuple[int, Float[ndarray, " 4"]]


def find_entities(
    frames: ndarray,
    searched: Sequence[int],
    detector: Detector,
    phrases: Sequence[str],
    beside: Sequence[Float[ndarray, " 4"]] = (),
    crowds: dict[int, list[Float[ndarray, " 4"]]] | None = None,
) -> list[Found | None]:
    """(frame, box) of every phrase in the frame that shows as many as are asked most surely.

    Of equal frames the first. Entities of one phrase are told apart from left to right. Of more people
    than are asked the large ones are taken, for bystanders stand behind; `crowds` is given their boxes by
    frame. beside: boxes of objects that people act with, who are then rather those near them.
    """
    if not phrases:
        return []
    groups: dict[str, list[int]] = {}
    for i, phrase in enumerate(phrases):
        groups.setdefault(phrase, []).append(i)
    entities: list[Found | None] = [None] * len(phrases)
    best = dict.fromkeys(groups, 0.0)
    for t in searched:
        asked = list(groups)
        detections = detector.detect(frames[t], asked)
        for number, phrase in enumerate(asked):
            chosen = distinct([d for d in detections if d.phrase == number])
            members, near = groups[phrase], {}
            if phrase == PERSON:
                if crowds is not None:
                    crowds[t] = [np.asarray(d.box, np.float32) for d in chosen]
                near = {id(d): _nearness(np.asarray(d.box), beside) for d in chosen}
                chosen.sort(key=lambda d: -d.score * near[id(d)] * area(np.asarray(d.box)) ** 0.5)
            chosen = chosen[: len(members)]
            sureness = min((d.score * near.get(id(d), 1.0) for d in chosen), default=0.0)
            if len(chosen) < len(members) or sureness <= best[phrase]:
                continue
            best[phrase] = sureness
            boxes = [np.asarray(d.box, np.float32) for d in chosen]
            boxes.sort(key=lambda box: float(box[0] + box[2]))
            for member, box in zip(members, boxes, strict=True):
                entities[member] = (t, box)
    return entities


def _nearness(box: Float[ndarray, " 4"], others: Sequence[Float[ndarray, " 4"]]) -> float:
    """1 where a box touches one of the others, a half where it is as far away as it is long."""
    if not len(others):
        return 1.0
    gaps = [np.maximum(0.0, np.maximum(o[:2] - box[2:], box[:2] - o[2:])) for o in others]
    gap = min(float(np.linalg.norm(g)) for g in gaps)
    return 1.0 / (1.0 + (gap / max(float((box[2:] - box[:2]).max()), 1.0)) ** 2)


def distinct(detections: Sequence[Detection]) -> list[Detection]:
    """Detections, best first, without those that show the same thing again."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda d: -d.score):
        box = np.asarray(detection.box, np.float32)
        others = (np.asarray(d.box, np.float32) for d in kept)
        if all(share_inside(*_small_first(box, other)) < SAME_BOX for other in others):
            kept.append(detection)
    return kept


def _small_first(a: ndarray, b: ndarray) -> tuple[ndarray, ndarray]:
    return (a, b) if area(a) <= area(b) else (b, a)


def area(box: ndarray) -> float:
    return float(np.prod(np.maximum(box[2:] - box[:2], 0)))


def share_inside(inner: ndarray, outer: ndarray) -> float:
    """Share of a box that lies in another."""
    low, high = np.maximum(inner[:2], outer[:2]), np.minimum(inner[2:], outer[2:])
    return float(np.prod(np.maximum(high - low, 0))) / max(area(inner), 1e-6)
