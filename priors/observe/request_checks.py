"""What is refused before any model is loaded: files that do not fit each other, clips there is no memory for."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.errors import UserError
from hoijax.importers.masks import fit_labels
from hoijax.io.validation import numbered
from hoijax.progress import Log, silent
from hoijax.runtime import available_memory
from priors.models.from_files import FilePoints, frames_of
from priors.observe.hints import check_hints
from priors.protocols import Video
from priors.settings import GivenMasks, ObserveSettings, Request

PIXEL_BYTES = 9
"""Of a pixel of a frame: the clip, masks and labels (measured: 787 MB for 96 frames of 320 x 240 pixels, 1,235
for 240, `FittedBody.bytes_per_frame` included)."""


def checked_request(request: Request, settings: ObserveSettings, log: Log = silent) -> Request:
    """The request with its clip cut to the asked frames.

    Refuses, before any model is loaded, files of the user that do not fit.
    """
    names = [asset.name for asset in request.assets]
    if not request.text.strip():
        raise UserError("the text is empty. Say what happens: 'a person sweeps the floor'.")
    if not names or len(set(names)) < len(names):
        raise UserError(f"every object needs a name of its own, got {names or 'no object'}.")
    if request.pag is not None:
        problems = request.pag.check_against(known_parts(request, request.pag))
        if problems:
            raise UserError(f"--pag does not fit the objects:\n{numbered(problems)}")
    if request.video is not None and len(request.video.frames) < settings.frames:
        count = len(request.video.frames)
        raise UserError(
            f"stage 'video': the clip given with --video has {count} frames, {settings.frames} are "
            f"asked for. Give --frames {count}, or a longer clip."
        )
    if request.hints:
        if request.video is None:
            raise UserError("--hint needs the clip it belongs to: give --video as well.")
        height, width = request.video.frames.shape[1:3]
        check_hints(request.hints, names, settings.frames, height, width)
    if request.masks is not None:
        request = _fitted_masks(request, settings, log)
    if request.video is None:
        if request.sources or (request.intrinsics is not None and request.image is None):
            raise UserError(
                "files of keypoints, points, bodies or intrinsics belong to a clip: give --video as well "
                "(intrinsics may belong to an --image)."
            )
        return request
    height, width = request.video.frames.shape[1:3]
    for source in request.sources.values():
        source.check_clip(settings.frames, height, width, log)
        if isinstance(source, FilePoints) and request.intrinsics is None:
            source.check_camera()
    if request.intrinsics is not None:
        frames_of(request.intrinsics, settings.frames, height, width)  # or its UserError
    clip = Video(request.video.frames[: settings.frames], request.video.fps)
    return dataclasses.replace(request, video=clip)


def check_all_are_found(request: Request, detector: Any) -> None:
    """UserError for objects without a hint where the detector knows people only."""
    hinted = {hint.object for hint in request.hints}
    open_ = [asset.name for asset in request.assets if asset.name not in hinted]
    if open_ and getattr(detector, "people_only", False):
        raise UserError(
            f"nothing was computed: this detector finds people only, so say where {', '.join(open_)} "
            f"can be seen: --hint {open_[0]}=FRAME:x,y,width,height (a box in pixels, frames counted "
            "from 0), or mark it with `hoijax mask CLIP`; or give --masks, or another --detector."
        )


def check_memory(frames: int, size: Sequence[int], body: Any) -> None:
    """UserError for a clip whose frames a body model that takes them all at once has no memory for.

    size: height and width.
    """
    height, width = size
    per_frame = getattr(body, "bytes_per_frame", 0)
    if not per_frame:
        return
    per_frame += PIXEL_BYTES * height * width
    free = available_memory()
    if frames * per_frame > free:
        raise UserError(
            f"nothing was computed: {frames} frames of {width} x {height} pixels take about "
            f"{frames * per_frame / 1e9:.0f} GB and {free / 1e9:.0f} GB are free. Give a part of the clip "
            f"(--seconds START:END, at most {int(free / per_frame)} frames), fewer --frames, or observe it in "
            "pieces (hoijax observe --pieces SECONDS)."
        )


def _fitted_masks(request: Request, settings: ObserveSettings, log: Log) -> Request:
    """The request with its masks at the clip's size; UserError where they are of another clip."""
    assert request.masks is not None
    if request.video is None:
        raise UserError("--masks needs the clip they belong to: give --video as well.")
    shape = (settings.frames, *request.video.frames.shape[1:3])
    size = request.masks.instance_ids.shape
    if size[0] < shape[0]:
        raise UserError(
            f"stage 'masks': --masks holds {size[0]} images of {size[2]} x {size[1]} pixels, "
            f"the clip has {shape[0]} frames of {shape[2]} x {shape[1]}. Give one label image a "
            f"frame, or --frames {size[0]}."
        )
    if size[0] > shape[0]:
        log(f"masks: {size[0]} images for {shape[0]} frames; the first {shape[0]} are taken")
    height, width = shape[1:]
    labels = fit_labels(request.masks.instance_ids, height, width, log)
    parts = request.masks.part_ids
    parts = None if parts is None else fit_labels(parts, height, width)
    people = 1 if request.pag is None else len(request.pag.people)
    ids = set(np.unique(labels[: shape[0]]).tolist()) - {0}
    wanted = set(range(1, 1 + people + len(request.assets)))
    if not wanted <= ids:
        names = [f"person {p + 1}" for p in range(people)] if people > 1 else ["person"]
        names += [asset.name for asset in request.assets]
        missing = ", ".join(f"{value} ({names[value - 1]})" for value in sorted(wanted - ids))
        raise UserError(
            f"stage 'masks': --masks has no pixel of the value {missing}. Values are 1 to P for the "
            f"people, then one for each of the {len(request.assets)} objects, 0 for all else."
        )
    return dataclasses.replace(request, masks=GivenMasks(labels, parts))


def known_parts(request: Request, graph: PartAffordanceGraph) -> dict[str, tuple[str, ...]]:
    """Part names by object; a mesh without parts takes those that the graph names."""
    named = {node.name: node.parts for node in graph.objects}
    return {a.name: a.part_names or named.get(a.name, ()) for a in request.assets}
