"""AnchorHOI motion synthesis: body and object follow anchor keypoints (AAAI 2026, section 4)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hoijax.bodies.vposer import load_vposer
from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.losses.term import LossTerm
from hoijax.methods.anchor_motion.results import to_result
from hoijax.methods.anchor_motion.stages import moved, passes, prepare, reopen
from hoijax.methods.anchor_motion.terms import anchor_table
from hoijax.methods.base import Method
from hoijax.methods.passes import Lap, Pass, Prepared
from hoijax.results.result import Result
from hoijax.settings import STARTS, AnchorSettings, check_body_start
from hoijax.solver.problem import Solution

PRESETS: Mapping[str, AnchorSettings] = {"default": AnchorSettings()}


class AnchorMotion(Method[AnchorSettings]):
    """Bodies and objects move, in two passes of one problem."""

    name = "anchor-motion"
    presets = PRESETS
    renamed: ClassVar = {
        "optimise_hands": "hands",
        "optimize_hands": "hands",
        "picture_width": "render_width",
        "picture_every": "image_every",
        "palm_contact": None,
    }
    files = ("static", "video", "vposer")

    def settings(self, preset: str | None = None, **options: Any) -> AnchorSettings:
        """As `Method.settings`; steps that are given alone are those of both passes."""
        steps = options.get("steps")
        if steps is None or steps >= 1:  # what is refused is refused by its own name
            options["track_steps"] = options.get("track_steps") or steps
        return super().settings(preset, **options)

    def check(self, settings: AnchorSettings) -> None:
        super().check(settings)
        if settings.start not in STARTS:
            raise UserError(f"--start: no start '{settings.start}'. Known: {', '.join(STARTS)}.")
        check_body_start(settings.body_start, settings.static is not None)
        if settings.static is None and settings.static_frame:
            raise UserError(
                "--static-frame is a frame of --static RESULT: give that too, or omit it."
            )
        width = settings.render_width
        if width and not 16 <= width <= 512:
            raise UserError(f"--render-width is a width from 16 to 512 pixels, got {width}.")
        if settings.video is not None and width == 0:
            raise UserError("--video is compared with rendered images: omit --render-width 0.")
        if settings.vposer is not None:
            load_vposer(settings.vposer)

    def terms(self, settings: AnchorSettings) -> tuple[LossTerm, ...]:
        return anchor_table(rendered=True, jointed=True, hands=True, outlined=True, estimated=True)

    def prepare(
        self, bundle: Bundle, settings: AnchorSettings, terms: Sequence[LossTerm], lap: Lap
    ) -> Prepared:
        return prepare(bundle, settings, terms, lap)

    def passes(self, settings: AnchorSettings) -> tuple[Pass, ...]:
        return passes(settings)

    def result(self, prepared: Prepared, solution: Solution) -> Result:
        return to_result(prepared, solution)

    def reopen(self, bundle: Bundle, result: Result, settings: AnchorSettings) -> Prepared:
        return reopen(bundle, result, settings)

    def moved(self, prepared: Prepared, result: Result) -> Prepared:
        return moved(prepared, result)


METHOD = AnchorMotion()
