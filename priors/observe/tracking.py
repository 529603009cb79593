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
from priors.observe.entity_boxes import Found, area, find_entities, share_inside
from priors.observe.hints import prompt_of
from priors.observe.people import find_people
from priors.protocols import WHOLE_FILE, ClipOrigin, Detector, Hint, Prompt, VideoSegmenter

__all__ = [
    "EntityMasks",
    "find_and_track",
    "mask_boxes",
    "masks_from_labels",
    "spread_frames",
]

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
    origin: ClipOrigin = WHOLE_FILE,
    log: Log = silent,
) -> EntityMasks:
    """Detect people, objects and parts in the best frame each, and track all of them.

    graph: its objects in the order of assets. hints: of objects, which are then not looked for, and of
    people. origin: of the frames, for what is said.
    UserError where somebody or something is in no frame.
    """
    searched = spread_frames(len(frames), frames_searched)
    hinted = [prompt_of(hints, asset.name) for asset in assets]
    people = find_people(frames, searched, detector, len(graph.people), hints, origin, log)
    open_ = [o for o, prompt in enumerate(hinted) if prompt is None]
    phrases = [node.description or node.name for node in graph.objects]
    objects: list[Found | None] = [None] * len(hinted)
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
    names = [*(node.name for node in graph.people), *(asset.name for asset in assets)]
    _say_where_lost(names, tracks.masks, origin, log)
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


def _say_where_lost(
    names: Sequence[str], masks: Bool[ndarray, "N T H W"], origin: ClipOrigin, log: Log
) -> None:
    """A line for each entity that is not seen throughout, in frames of the clip's file."""
    for name, mask in zip(names, masks, strict=False):
        seen = np.asarray(mask.any(axis=(1, 2)))
        if not seen.all():
            numbers = np.arange(len(seen)) if origin.frames is None else origin.frames
            lost = int(numbers[: len(seen)][~seen][0])
            log(
                f"masks: {name} is seen in {seen.sum()} of {len(seen)} frames, first lost in frame {lost}; "
                "a hint there helps if it is in the image (--hint, `hoijax mask`)"
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


def _find_parts(
    frames: ndarray,
    objects: Sequence[Found | None],
    assets: Sequence[Asset],
    detector: Detector,
) -> tuple[list[Found], Int[ndarray, "Q 2"]]:
    """Boxes of the parts of every object in the frame it was found in; parts not seen are left out."""
    boxes: list[Found] = []
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
            if key not in part_of and share_inside(box, outer) >= PART_INSIDE:
                part_of.append(key)
                boxes.append((frame, box))
    return boxes, np.array(part_of, np.int32).reshape(-1, 2)


def _is_whole(box: ndarray, outer: ndarray) -> bool:
    """Whether a part's box is its object's again."""
    box = np.asarray(box, np.float32)
    return area(box) * share_inside(box, outer) > LARGEST_PART * area(outer)


def _refuse_unseen(
    people: Sequence[Found | None], objects: Sequence[AffordanceObject], searched: int
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
