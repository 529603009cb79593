"""The joint solve: bodies, camera and point maps are settled together first, then objects among them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hoijax.bodies import load_body
from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.initialization.evidence import complete
from hoijax.losses.term import LossTerm
from hoijax.methods.hoi_page.long_clips import solve_long_bundle
from hoijax.methods.hoi_page.method import HoiPage
from hoijax.methods.hoi_page.stages import posed_bodies_of, prepare_aligned
from hoijax.methods.joint.corrections import Corrections, correct_bundle, corrected_again
from hoijax.methods.joint.settings import PRESETS, JointSettings
from hoijax.methods.joint.settle import JointEvidence, settle_pass, with_flights
from hoijax.methods.joint.sizes import (
    FIXED,
    known_scales,
    recorded_scales,
    scale_range,
    with_scales,
    with_start_sizes,
)
from hoijax.methods.passes import Lap, Overrides, Pass, Prepared, stopwatch
from hoijax.progress import Log
from hoijax.results.result import Result
from hoijax.scene.build_bodies import without_broken_numbers
from hoijax.scene.resizing import along_all_axes, resized_bundle
from hoijax.solver.resumable import Watch


class Joint(HoiPage):
    """HOI-PAGE's search and descent for objects, among bodies that the body pass corrected."""

    name = "joint"
    presets = PRESETS
    published = "default"

    def check(self, settings: JointSettings) -> None:
        super().check(settings)
        allowed = scale_range(settings.object_scale)
        if settings.keep_body and allowed != FIXED:
            raise UserError(
                f"--object-scale {settings.object_scale}: with --keep-body (and --preset hoi-page) meshes "
                "keep their size. Give --object-scale fixed with it, or NAME=FILE,scale=... in --objects."
            )

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
            with_start_sizes(settings, has_joints=bool(bundle.joints)),
            terms,
            lap,
        )
        e = prepared.extra
        run = run_of(corrected, settings)
        if e.sizes:
            run = with_scales(run, prepared.bundle, along_all_axes(e.sizes))
            corrected = dataclasses.replace(corrected, bundle=prepared.bundle)
        evidence = JointEvidence(e.states, e.Ts_world_pointmap, run, corrections=corrected)
        return dataclasses.replace(prepared, extra=evidence)

    def passes(self, settings: JointSettings) -> tuple[Pass, ...]:
        (descent,) = super().passes(settings)
        sizes_known = scale_range(settings.object_scale).is_known
        if settings.keep_body or (sizes_known and not settings.body_pass.contact_rounds):
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
        if not scale_range(settings.object_scale).is_known:
            log("clips that are solved in windows keep the size of their meshes")
        return dataclasses.replace(result, run=run | run_of(corrected, settings))

    def reopen(self, bundle: Bundle, result: Result, settings: JointSettings) -> Prepared:
        if settings.keep_body:
            return super().reopen(bundle, result, settings)
        again = corrected_again(bundle, result)
        if again is None:
            bundle = corrections_of(bundle, settings).bundle
        else:
            bundle = resized_bundle(again, recorded_scales(again, result.run))
        prepared = super().reopen(bundle, result, settings)
        states = prepared.extra.states
        scene = with_flights(prepared.scene, prepared.initial, states, result.winner, bundle.fps)
        return dataclasses.replace(prepared, scene=scene)


def corrections_of(bundle: Bundle, settings: JointSettings) -> Corrections:
    """What the body pass makes of a bundle, which then lacks nothing; meshes have a size that is given."""
    whole = complete(without_broken_numbers(bundle))
    whole = resized_bundle(whole, known_scales(whole, settings.object_scale))
    return correct_bundle(whole, load_body(bundle.body), settings.body_pass)


def run_of(corrected: Corrections, settings: JointSettings) -> dict[str, Any]:
    """What `run.json` says after the body pass."""
    factors = known_scales(corrected.bundle, settings.object_scale)
    if np.all(factors == 1.0):
        return corrected.run
    return with_scales(corrected.run, corrected.bundle, factors)


METHOD = Joint()
