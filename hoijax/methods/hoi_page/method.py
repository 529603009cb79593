"""HOI-PAGE (ICML 2026): align point maps, find starts, fit objects under the graph's losses."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.initialization.starts import Starts
from hoijax.losses.term import LossTerm
from hoijax.methods.base import Method
from hoijax.methods.hoi_page.long_clips import check_windows, solve_long_bundle
from hoijax.methods.hoi_page.settings import PRESETS, STEPS, HoiPageSettings
from hoijax.methods.hoi_page.stages import (
    Evidence,
    optimize_pass,
    posed_bodies_of,
    prepare,
    prepared_of,
    scene_of,
    table_of,
    to_result,
)
from hoijax.methods.hoi_page.terms import TERMS, object_table
from hoijax.methods.hoi_page.windows import windows_of
from hoijax.methods.memory import chosen_window
from hoijax.methods.passes import Lap, Overrides, Pass, Prepared, Rates
from hoijax.methods.reopened import completed_with, contact_states_of
from hoijax.methods.results import centered_poses
from hoijax.progress import Log
from hoijax.results.result import Result
from hoijax.settings import STARTS
from hoijax.solver.neighbor_lists import first_neighbors
from hoijax.solver.problem import Solution
from hoijax.solver.resumable import Watch


class HoiPage(Method[HoiPageSettings]):
    """Objects move among bodies that stay where the bundle's estimate put them."""

    name = "hoi-page"
    presets = PRESETS
    published = "hoi-page"

    def settings(self, preset: str | None = None, **options: Any) -> HoiPageSettings:
        """As `Method.settings`; another optimizer brings the steps it needs."""
        optimizer, base = options.get("optimizer"), self.presets.get(preset or "default")
        if optimizer in STEPS and base is not None and optimizer != base.optimizer:
            options["steps"] = options.get("steps") or STEPS[optimizer]
        return super().settings(preset, **options)

    def check(self, settings: HoiPageSettings) -> None:
        super().check(settings)
        if settings.preset not in TERMS:
            raise UserError(f"no preset '{settings.preset}'. Known presets: {', '.join(TERMS)}.")
        if settings.optimizer not in STEPS:
            known = ", ".join(STEPS)
            raise UserError(f"no optimizer '{settings.optimizer}'. Known optimizers: {known}.")
        if settings.start not in STARTS:
            raise UserError(f"--start: no start '{settings.start}'. Known: {', '.join(STARTS)}.")

    def terms(self, settings: HoiPageSettings) -> tuple[LossTerm, ...]:
        return object_table(settings.preset, outlines=True, lacks_depth=True)

    def prepare(
        self, bundle: Bundle, settings: HoiPageSettings, terms: Sequence[LossTerm], lap: Lap
    ) -> Prepared:
        return prepare(bundle, settings, terms, lap)

    def passes(self, settings: HoiPageSettings) -> tuple[Pass, ...]:
        return (optimize_pass(settings),)

    def result(self, prepared: Prepared, solution: Solution) -> Result:
        return to_result(prepared, solution)

    def rates(self, settings: HoiPageSettings) -> Rates:
        return super().rates(settings) if settings.optimizer == "adam" else {}

    def window(self, bundle: Bundle, settings: HoiPageSettings, asked: int | None, log: Log) -> int:
        return chosen_window(bundle, settings, asked, log)

    def check_window(self, settings: HoiPageSettings, window: int) -> None:
        check_windows(settings)
        windows_of(window + 1, window)

    def solve_windows(
        self,
        bundle: Bundle,
        settings: HoiPageSettings,
        window: int,
        *,
        weights: Overrides | None,
        terms: Sequence[LossTerm],
        log: Log,
        watch: Callable[[str], Watch | None],
    ) -> Result:
        given = {"weights": weights, "terms": terms, "log": log, "watch": watch}
        return solve_long_bundle(bundle, settings, window, **given)

    def reopen(self, bundle: Bundle, result: Result, settings: HoiPageSettings) -> Prepared:
        bundle = completed_with(bundle, result)
        vertices = posed_bodies_of(bundle)
        scene = scene_of(bundle, result.Ts_world_pointmap, vertices, settings)
        states = contact_states_of(result, scene.edges.mask.shape[0])
        evidence = Evidence(states, result.Ts_world_pointmap)
        starts = Starts(centered_poses(result), tuple(result.labels))
        return prepared_of(bundle, table_of(scene, settings, bundle.fps), scene, starts, evidence)

    def moved(self, prepared: Prepared, result: Result) -> Prepared:
        states = contact_states_of(result, prepared.scene.edges.mask.shape[0])
        return dataclasses.replace(
            prepared,
            initial=centered_poses(result),
            neighbors=first_neighbors(prepared.scene, states),
            extra=dataclasses.replace(prepared.extra, states=states),
        )


METHOD = HoiPage()
