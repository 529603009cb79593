"""`hoijax solve --method anchor-motion`: options to settings, the static scene, the solve."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hoijax.bodies.vposer import load_vposer
from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.io.video import read_video
from hoijax.losses.term import LossTerm
from hoijax.methods.anchor_motion import method as anchor_motion
from hoijax.methods.anchor_motion.static_scene import load_static
from hoijax.progress import Log
from hoijax.results.result import Result
from hoijax.settings import AnchorSettings, check_body_start
from hoijax.solver.resumable import Watch


@dataclasses.dataclass(frozen=True)
class AnchorOptions:
    """What only anchor motion can be told."""

    static: str | Path | None = None
    """Result folder whose first frame is the still that contacts are read off."""
    static_frame: int = 0
    body_start: str = "fit"
    """See AnchorSettings.body_start."""
    hands: bool = False
    """Optimize fingers too."""
    render_width: int | None = None
    """Width of the small pictures that body and objects are drawn into; 0: none; None: as the settings say."""
    video: str | Path | None = None
    """The clip, as long as the bundle: its colors count too."""
    vposer: str | Path | None = None
    """VPoser weights (npz) as the pose prior."""


def anchor_settings(
    options: AnchorOptions, inits: int | None, steps: int | None, seed: int
) -> AnchorSettings:
    """Settings of a solve. Raises UserError on what makes no sense, before any work."""
    for name, value in {"inits": inits, "steps": steps}.items():
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, got {value}.")
    check_body_start(options.body_start, options.static is not None)
    if options.render_width and not 16 <= options.render_width <= 512:
        raise UserError(
            f"--render-width is a width from 16 to 512 pixels, got {options.render_width}."
        )
    if options.video is not None and options.render_width == 0:
        raise UserError("--video is compared with drawn pictures: leave --render-width 0 away.")
    if options.vposer is not None:
        load_vposer(options.vposer)
    given = {"inits": inits, "steps": steps, "track_steps": steps}
    given["render_width"] = options.render_width
    chosen = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(
        AnchorSettings(),
        seed=seed,
        body_start=options.body_start,
        optimize_hands=options.hands,
        vposer=None if options.vposer is None else str(options.vposer),
        **chosen,
    )


def solve_anchor(
    bundle: Bundle,
    settings: AnchorSettings,
    options: AnchorOptions,
    *,
    weights: Mapping[str, float | tuple[float, float]] | None,
    terms: Sequence[LossTerm],
    log: Log,
    watch: Callable[[str], Watch | None] = lambda stage: None,
) -> Result:
    """Solve a bundle with the static scene that the options name."""
    static = None
    if options.static is not None:
        static = load_static(options.static, bundle, options.static_frame)
    return anchor_motion.solve_bundle(
        bundle,
        settings,
        static=static,
        weights=weights,
        terms=terms,
        video=None if options.video is None else _clip(Path(options.video), bundle.frame_count),
        log=log,
        watch=watch,
    )


def _clip(path: Path, frames: int) -> np.ndarray:
    """Frames of the clip. Raises UserError where it cannot be read or is too short."""
    video = read_video(path, frames).frames
    if len(video) < frames:
        raise UserError(f"--video '{path}' has {len(video)} frames, the bundle {frames}.")
    return video
