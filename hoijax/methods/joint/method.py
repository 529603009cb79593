"""The joint solve: bodies, camera and point maps are settled together first, then objects among them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hoijax.bodies import load_body
from hoijax.bundle.write import Bundle
from hoijax.initialization.evidence import complete
from hoijax.losses.term import LossTerm
from hoijax.methods.base import Lap, Overrides, Pass, Prepared, stopwatch
from hoijax.methods.hoi_page.long_clips import solve_long_bundle
from hoijax.methods.hoi_page.method import HoiPage
from hoijax.methods.hoi_page.stages import posed_bodies_of, prepare_aligned
from hoijax.methods.joint.corrections import (
    OBJECT_SHIFTS,
    Corrections,
    correct_bundle,
    shifted,
    zoomed,
)
from hoijax.methods.joint.settings import PRESETS, JointSettings
from hoijax.methods.joint.settle import JointEvidence, settle_pass
from hoijax.methods.reopened import with_bodies_of
from hoijax.progress import Log
from hoijax.results.observed import focal_factor
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
        if settings.keep_body:
            return super().prepare(bundle, settings, terms, lap)
        corrected = corrections_of(bundle, settings)
        lap("body pass")
        prepared = prepare_aligned(
            corrected.bundle,
            corrected.Ts_world_pointmap,
            posed_bodies_of(corrected.bundle),
            settings,
            terms,
            lap,
        )
        e = prepared.extra
        evidence = JointEvidence(e.states, e.Ts_world_pointmap, corrected.run, corrected)
        return dataclasses.replace(prepared, extra=evidence)

    def passes(self, settings: JointSettings) -> tuple[Pass, ...]:
        (descent,) = super().passes(settings)
        if settings.keep_body or not settings.body_pass.contact_rounds:
            return (descent,)
        return descent, settle_pass(settings, descent)

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
        given: dict[str, Any] = {"weights": weights, "terms": terms, "log": log, "watch": watch}
        if settings.keep_body:
            return super().solve_windows(bundle, settings, window, **given)
        times, lap = stopwatch(log)
        corrected = corrections_of(bundle, settings)
        lap("body pass")
        Ts = corrected.Ts_world_pointmap
        result = solve_long_bundle(
            corrected.bundle, settings, window, Ts_world_pointmap=Ts, **given
        )
        run = result.run | {"seconds": times | result.run["seconds"]}
        return dataclasses.replace(result, run=run | {"corrections": corrected.numbers})

    def reopen(self, bundle: Bundle, result: Result, settings: JointSettings) -> Prepared:
        if settings.keep_body:
            return super().reopen(bundle, result, settings)
        zoom = focal_factor(result)
        if zoom is None:  # of an earlier version
            bundle = corrections_of(bundle, settings).bundle
        else:
            whole = complete(with_bodies_of(without_broken_numbers(bundle), result))
            o = zoomed(whole.observations, zoom)
            if OBJECT_SHIFTS in result.run:
                o = shifted(o, np.asarray(result.run[OBJECT_SHIFTS], np.float32))
            bundle = dataclasses.replace(whole, observations=o, absent=())
        return super().reopen(bundle, result, settings)


def corrections_of(bundle: Bundle, settings: JointSettings) -> Corrections:
    """What the body pass makes of a bundle, which then lacks nothing."""
    whole = complete(without_broken_numbers(bundle))
    return correct_bundle(whole, load_body(bundle.body), settings.body_pass)


METHOD = Joint()
