"""The joint solve: bodies, camera and point maps are settled together first, then objects among them."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from hoijax.bodies import load_body
from hoijax.bundle.write import Bundle
from hoijax.losses.term import LossTerm
from hoijax.methods.base import Lap, Overrides, Prepared
from hoijax.methods.hoi_page.long_clips import solve_long_bundle
from hoijax.methods.hoi_page.method import HoiPage
from hoijax.methods.hoi_page.stages import posed_bodies_of, prepare_aligned
from hoijax.methods.joint.corrections import correct_bundle
from hoijax.methods.joint.settings import PRESETS, JointSettings
from hoijax.progress import Log, Stopwatch, silent
from hoijax.results.result import Result
from hoijax.scene.build_bodies import without_broken_numbers
from hoijax.solver.resumable import Watch


class Joint(HoiPage):
    """HOI-PAGE's search and descent for objects, among bodies that the body pass corrected."""

    name = "joint"
    presets = PRESETS
    published = "default"

    def prepare(
        self, bundle: Bundle, settings: JointSettings, terms: Sequence[LossTerm], lap: Lap
    ) -> Prepared:
        bundle, Ts_world_pointmap = self._corrected(bundle, settings, lap)
        vertices = posed_bodies_of(bundle)
        return prepare_aligned(bundle, Ts_world_pointmap, vertices, settings, terms, lap)

    def solve_windows(
        self,
        bundle: Bundle,
        settings: JointSettings,
        window: int,
        *,
        weights: Overrides | None,
        terms: Sequence[LossTerm],
        log: Log,
        watch: Callable[[str], Watch | None],
    ) -> Result:
        seconds: dict[str, float] = {}
        bundle, Ts = self._corrected(bundle, settings, Stopwatch(seconds, log).lap)
        given = {"weights": weights, "terms": terms, "log": log, "watch": watch}
        result = solve_long_bundle(bundle, settings, window, **given, Ts_world_pointmap=Ts)
        run = result.run | {"seconds": seconds | result.run["seconds"]}
        return dataclasses.replace(result, run=run)

    def reopen(self, bundle: Bundle, result: Result, settings: JointSettings) -> Prepared:
        bundle, _ = self._corrected(bundle, settings, silent)
        return super().reopen(bundle, result, settings)

    def _corrected(
        self, bundle: Bundle, settings: JointSettings, lap: Lap
    ) -> tuple[Bundle, Float[np.ndarray, "T 4 4"]]:
        bundle = without_broken_numbers(bundle)
        corrections = correct_bundle(bundle, load_body(bundle.body), settings.body_pass)
        lap("body pass")
        return corrections.bundle, corrections.Ts_world_pointmap


METHOD = Joint()
