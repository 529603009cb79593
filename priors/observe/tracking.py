"""Who is where in a clip: boxes from a detector, masks from a tracker, parts inside their objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from hoijax.affordance.graph import AffordanceObject, PartAffordanceGraph
from hoijax.errors import UserError
from hoijax.objects.asset import Asset
from hoijax.progress import Log, silent
from priors.masks import mask_boxes
from priors.observe.hints import prompt_of
from priors.protocols import Detection, Detector, Hint, Prompt, VideoSegmenter

__all__ = [
    "EntityMasks",
    "find_and_track",
    "find_entities",
    "mask_boxes",
    "masks_from_labels",
    "spread_frames",
]

PERSON = "person"
SAME_BOX = 0.7  # boxes that overlap more than this (of the smaller) show one entity
PART_INSIDE = 0.6  # share of a part's box that must lie in its object's box
LARGEST_PART = 0.9  # of the object: a "part" larger than this is the whole object again


@dataclass(frozen=True)
class EntityMasks:
    """Masks of everything in every frame; a lost entity's are empty."""

    people: Bool[ndarray, "P T H W"]
    objects: Bool[ndarray, "O T H W"]
    parts: Bool[ndarray, "Q T H W"]
    part_of: Int[ndarray, "Q 2"]
    """(object, part index of its asset) of every part mask."""
    scores: Float[ndarray, "N T"]
    """Confidence that person or object n is in the frame; people first."""


def find_and_track(
    frames: UInt8[ndarray, "T H W 3"],
    graph: PartAffordanceGraph,
    assets: Sequence[Asset],
    detector: Detector,
    segmenter: VideoSegmenter,
    frames_searched: int,
    hints: Sequence[Hint] = (),
    log: Log = silent,
) -> EntityMasks:
    """Detect people, objects and parts in the best frame each, and track all of them.

    graph: its objects in the order of assets. hints: of objects, which are then not looked for.
    UserError where somebody or something is in no frame.
    """
    searched = spread_frames(len(frames), frames_searched)
    hinted = [prompt_of(hints, asset.name) for asset in assets]
    beside = [_shown(hint) for hint in hints]
    people = find_entities(
        frames, searched, detector, [PERSON] * len(graph.people), log, beside=beside
    )
    open_ = [o for o, prompt in enumerate(hinted) if prompt is None]
    phrases = [node.description or node.name for node in graph.objects]
    objects: list[_Found | None] = [None] * len(hinted)
    for o, where in zip(
        open_, find_entities(frames, searched, detector, [phrases[o] for o in open_]), strict=True
    ):
        objects[o] = where
    unseen = [graph.objects[o] for o in open_ if objects[o] is None]
    _refuse_unseen(people, unseen, len(searched))
    part_boxes, part_of = _find_parts(frames, objects, assets, detector)
    prompts = [Prompt(w[0], w[1], is_person=True) for w in people if w is not None]
    for prompt, where in zip(hinted, objects, strict=True):
        if prompt is not None:
            prompts.append(prompt)
        elif where is not None:
            prompts.append(Prompt(where[0], where[1]))
    prompts += [Prompt(frame, box) for frame, box in part_boxes]
    tracks = segmenter.track(frames, prompts)
    count = len(people)
    entities = count + len(objects)
    parts = tracks.masks[entities:] & tracks.masks[count + part_of[:, 0]]
    objects_masks = tracks.masks[count:entities]
    sizes = parts.sum(axis=(2, 3)) > LARGEST_PART * objects_masks[part_of[:, 0]].sum(axis=(2, 3))
    return EntityMasks(
        people=tracks.masks[:count],
        objects=objects_masks,
        parts=parts & ~sizes[:, :, None, None],
        part_of=part_of,
        scores=tracks.scores[:entities].astype(np.float32),
    )


def masks_from_labels(
    instance_ids: UInt8[ndarray, "T H W"],
    part_ids: Int[ndarray, "T H W"] | None,
    people: int,
    part_counts: Sequence[int],
) -> EntityMasks:
    """The masks that label images stand for."""
    objects = len(part_counts)
    entities = np.stack([instance_ids == i + 1 for i in range(people + objects)])
    pairs = [(o, q) for o, n in enumerate(part_counts) for q in range(n)]
    if part_ids is None:
        pairs = []
    part_of = np.array(pairs, np.int32).reshape(-1, 2)
    parts = np.zeros((len(pairs), *instance_ids.shape), bool)
    for row, (o, q) in enumerate(pairs):
        parts[row] = entities[people + o] & (part_ids == q)
    scores = np.asarray(entities.any(axis=(2, 3)), np.float32)
    return EntityMasks(entities[:people], entities[people:], parts, part_of, scores)


def spread_frames(count: int, wanted: int) -> list[int]:
    """The first frame, then frames spread over the clip."""
    return sorted({int(t) for t in np.linspace(0, count - 1, min(count, wanted))})


_Found = tuple[int, Float[ndarray, " 4"]]


def find_entities(
    frames: ndarray,
    searched: Sequence[int],
    detector: Detector,
    phrases: Sequence[str],
    log: Log = silent,
    beside: Sequence[Float[ndarray, " 4"]] = (),
) -> list[_Found | None]:
    """(frame, box) of every phrase in the frame that shows as many as are asked most surely.

    Of equal frames the first. Entities of one phrase are told apart from left to right. Of more people
    than are asked the large ones are taken, for bystanders stand behind; `log` hears of it. beside: boxes of
    objects that people act with, who are then rather those near them.
    """
    if not phrases:
        return []
    groups: dict[str, list[int]] = {}
    for i, phrase in enumerate(phrases):
        groups.setdefault(phrase, []).append(i)
    entities: list[_Found | None] = [None] * len(phrases)
    best, most = dict.fromkeys(groups, 0.0), 0
    for t in searched:
        asked = list(groups)
        detections = detector.detect(frames[t], asked)
        for number, phrase in enumerate(asked):
            chosen = _distinct([d for d in detections if d.phrase == number])
            members, near = groups[phrase], {}
            if phrase == PERSON:
                most = max(most, len(chosen))
                near = {id(d): _nearness(np.asarray(d.box), beside) for d in chosen}
                chosen.sort(key=lambda d: -d.score * near[id(d)] * _area(np.asarray(d.box)) ** 0.5)
            chosen = chosen[: len(members)]
            sureness = min((d.score * near.get(id(d), 1.0) for d in chosen), default=0.0)
            if len(chosen) < len(members) or sureness <= best[phrase]:
                continue
            best[phrase] = sureness
            boxes = [np.asarray(d.box, np.float32) for d in chosen]
            boxes.sort(key=lambda box: float(box[0] + box[2]))
            for member, box in zip(members, boxes, strict=True):
                entities[member] = (t, box)
    wanted = len(groups.get(PERSON, ()))
    if most > wanted > 0:
        which = "largest" if not len(beside) else "large ones near the hints"
        log(f"people: up to {most} are seen at once, the {wanted} {which} followed")
    return entities


def _shown(hint: Hint) -> Float[ndarray, " 4"]:
    """Box of what a hint marks; of clicks on the object where it has no box."""
    if hint.box is not None:
        left, top, width, height = hint.box
        return np.array([left, top, left + width, top + height])
    on = np.array([point[:2] for point in hint.points if point[2] > 0] or [hint.points[0][:2]])
    return np.concatenate([on.min(axis=0), on.max(axis=0)])


def _nearness(box: Float[ndarray, " 4"], others: Sequence[Float[ndarray, " 4"]]) -> float:
    """1 where a box touches one of the others, a half where it is as far away as it is long."""
    if not len(others):
        return 1.0
    gaps = [np.maximum(0.0, np.maximum(o[:2] - box[2:], box[:2] - o[2:])) for o in others]
    gap = min(float(np.linalg.norm(g)) for g in gaps)
    return 1.0 / (1.0 + (gap / max(float((box[2:] - box[:2]).max()), 1.0)) ** 2)


def _distinct(detections: Sequence[Detection]) -> list[Detection]:
    """Detections, best first, without those that show the same thing again."""
    distinct: list[Detection] = []
    for detection in sorted(detections, key=lambda d: -d.score):
        box = np.asarray(detection.box, np.float32)
        others = (np.asarray(d.box, np.float32) for d in distinct)
        if all(_share_inside(*_small_first(box, other)) < SAME_BOX for other in others):
            distinct.append(detection)
    return distinct


def _small_first(a: ndarray, b: ndarray) -> tuple[ndarray, ndarray]:
    return (a, b) if _area(a) <= _area(b) else (b, a)


def _area(box: ndarray) -> float:
    return float(np.prod(np.maximum(box[2:] - box[:2], 0)))


def _share_inside(inner: ndarray, outer: ndarray) -> float:
    """Share of a box that lies in another."""
    low, high = np.maximum(inner[:2], outer[:2]), np.minimum(inner[2:], outer[2:])
    return float(np.prod(np.maximum(high - low, 0))) / max(_area(inner), 1e-6)


def _find_parts(
    frames: ndarray,
    objects: Sequence[_Found | None],
    assets: Sequence[Asset],
    detector: Detector,
) -> tuple[list[_Found], Int[ndarray, "Q 2"]]:
    """Boxes of the parts of every object in the frame it was found in; parts not seen are left out."""
    boxes: list[_Found] = []
    part_of: list[tuple[int, int]] = []
    for o, (asset, where) in enumerate(zip(assets, objects, strict=True)):
        if where is None or len(asset.part_names) < 2:
            continue
        frame, outer = where
        phrases = [f"the {part} part of the {asset.name}" for part in asset.part_names]
        detections = detector.detect(frames[frame], phrases)
        # Boxes of the whole object come last: their masks would be dropped as no part.
        for detection in sorted(detections, key=lambda d: (_is_whole(d.box, outer), -d.score)):
            key = (o, detection.phrase)
            box = np.asarray(detection.box, np.float32)
            if key not in part_of and _share_inside(box, outer) >= PART_INSIDE:
                part_of.append(key)
                boxes.append((frame, box))
    return boxes, np.array(part_of, np.int32).reshape(-1, 2)


def _is_whole(box: ndarray, outer: ndarray) -> bool:
    """Whether a part's box is its object's again."""
    box = np.asarray(box, np.float32)
    return _area(box) * _share_inside(box, outer) > LARGEST_PART * _area(outer)


def _refuse_unseen(
    people: Sequence[_Found | None], objects: Sequence[AffordanceObject], searched: int
) -> None:
    looked = f"in {searched} frames of the clip"
    remedy = (
        "Try another clip (--video) or part of it (--seconds), another detector (--detector) or your "
        "own masks (--masks); of a clip that is made, another --seed"
    )
    if any(where is None for where in people):
        wanted = len(people)
        who = "no person was found" if wanted == 1 else f"{wanted} people were not found together"
        raise UserError(f"{who} {looked}. {remedy}")
    unseen = {node.name: node.description or node.name for node in objects}
    if unseen:
        raise UserError(
            f"{_names(unseen)} {looked}: never seen. Give a better description in the graph "
            f"(--pag). {remedy}"
        )


def _names(unseen: Mapping[str, str]) -> str:
    return "; ".join(f"object {name!r} (looked for as {text!r})" for name, text in unseen.items())
