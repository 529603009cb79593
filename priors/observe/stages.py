"""The stages from a sentence to a bundle: what each needs, how it is keyed, and what stands in for it.

PAG -> object parts -> image -> video -> masks -> point maps -> keypoints -> body -> bundle -> yaws. A
stage is a pure function of the request, of earlier results, of named settings and of its models; `chain.Run`
looks its key up in the store and computes only what is not there.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from priors.observe import stage_functions as work
from priors.observe.stage_inputs import Content, Inputs
from priors.settings import Request

__all__ = ["MAKER", "STAGES", "STAGE_NAMES", "Stage"]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One step of the chain."""

    name: str
    title: str
    compute: Callable[[Inputs], Content]
    needs: tuple[str, ...] = ()
    """Earlier stages whose results are its inputs."""
    roles: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    """Fields of `ObserveSettings` that its result depends on."""
    asked: Callable[[Request], Any] = lambda request: None
    """What of the request it depends on."""
    given: Callable[[Request], Content | None] = lambda request: None
    """The user's own file in place of the result."""
    skipped: Callable[[Request], bool] = lambda request: False
    version: int = 1
    """Raised when the same inputs give another result, so that older entries are not found."""


STAGES = (
    Stage(
        "pag",
        "part affordance graph",
        work.write_graph,
        roles=("language",),
        settings=("seed",),
        asked=lambda r: [r.text, [[a.name, a.part_names] for a in r.assets]],
        given=work.given_graph,
    ),
    Stage(
        "parts",
        "object parts",
        work.label_parts,
        needs=("pag",),
        roles=("detector", "segmenter"),
        asked=work.unlabeled_assets,
        skipped=lambda r: all(a.part_names for a in r.assets),
    ),
    Stage(
        "image",
        "image",
        work.draw_image,
        needs=("pag",),
        roles=("image", "detector", "segmenter", "keypoints", "score"),
        settings=(
            "height", "width", "seed", "image_tries", "image_candidates", "image_thresholds"
        ),
        asked=lambda r: r.text,
        given=work.given_image,
        skipped=lambda r: r.video is not None,
        version=2,
    ),
    Stage(
        "video",
        "video",
        work.make_video,
        needs=("pag", "image"),
        roles=("video",),
        settings=("frames", "seed"),
        asked=lambda r: r.text,
        given=work.given_video,
    ),
    Stage(
        "masks",
        "masks",
        work.track_masks,
        needs=("pag", "parts", "video"),
        roles=("detector", "segmenter"),
        settings=("frames_searched",),
        asked=lambda r: [
            [[a.name, a.part_names] for a in r.assets],
            *([{**dataclasses.asdict(hint), "text": None}] for hint in r.hints),
        ],
        given=work.given_masks,
        version=2,
    ),
    Stage(
        "points",
        "point maps",
        work.map_points,
        needs=("video",),
        roles=("geometry",),
        asked=lambda r: None if r.intrinsics is None else dataclasses.asdict(r.intrinsics),
    ),
    Stage(
        "keypoints",
        "keypoints",
        work.find_keypoints,
        needs=("video", "masks"),
        roles=("keypoints",),
        version=3,
    ),
    Stage(
        "body",
        "body",
        work.recover_bodies,
        needs=("video", "masks", "points", "keypoints"),
        roles=("hands", "body"),  # the last is named as the maker
        version=3,
    ),
    Stage(
        "bundle",
        "bundle",
        work.assemble_bundle,
        needs=("pag", "parts", "video", "masks", "points", "keypoints", "body"),
        settings=("seed",),
        asked=lambda r: [[a.name, a.part_names, bool(a.appearance)] for a in r.assets],
        version=3,
    ),
    Stage(
        "yaws",
        "proposed yaws",
        work.propose_yaws,
        needs=("pag", "parts", "bundle"),
        roles=("language",),
        settings=("seed",),
        asked=lambda r: [r.text, [[a.name, a.part_names, a.vertices] for a in r.assets]],
        skipped=lambda r: r.pag is not None,  # who brings the graph needs no language model
    ),
)  # fmt: skip
STAGE_NAMES = tuple(stage.name for stage in STAGES)
MAKER = {
    "intrinsics": "points",
    "object_points": "points",
    "person_points": "points",
    "Ts_world_camera": "body",
    "body_rotations": "body",
    "body_translations": "body",
    "body_betas": "body",
    "body_rest_joints": "body",
    "keypoints": "keypoints",
    "instance_ids": "masks",
    "color_images": "video",
    "object_detected": "masks",
    "object_pixels": "masks",
    "object_point_parts": "masks",
    "object_point_mask": "masks",
    "person_pixels": "masks",
    "person_point_mask": "masks",
}
"""Stage whose model each array of the observations comes from."""
